"""Spans out of a database: as OTLP JSON Lines in current GenAI conventions, or as Parquet. Reading them back gives the same rows.

`stored` reads whole runs, `attributes` says each row in the conventions' names, `jsonl` and `parquet` write.
"""
