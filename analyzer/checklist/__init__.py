"""The ten points that an agent in production needs, each ticked with evidence: from what its runs recorded, or from a policy alone."""

from __future__ import annotations

from analyzer.checklist.points import Checklist, Point, checked
from analyzer.checklist.seen import Seen, seen_in, seen_of_policy
from analyzer.checklist.shown import shown
from analyzer.checklist.state import Shown, State

__all__ = ["Checklist", "Point", "Seen", "Shown", "State", "checked", "seen_in", "seen_of_policy", "shown"]
