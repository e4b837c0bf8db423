"""Broken and hostile inputs made from real ones, and what they are given to."""
