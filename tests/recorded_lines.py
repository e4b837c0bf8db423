"""What a journal holds, read back with nothing but the standard library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def journal_folder(database: Path) -> Path:
    """Where the journal of a database lies."""
    return database.with_name(database.name + ".journal")


def spans_in(database: Path, *, marks: bool = False) -> list[dict[str, Any]]:
    """Spans of all segments in order of writing, attributes as a plain dict; ended ones, or with `marks` those that had only started."""
    found = []
    for segment in sorted(journal_folder(database).glob("*.jsonl")):
        for line in segment.read_bytes().splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        span["attributes"] = {a["key"]: _plain(a["value"]) for a in span["attributes"]}
                        span["scope"] = scope["scope"].get("name")
                        if ("endTimeUnixNano" not in span) == marks:
                            found.append(span)
    return found


def span_named(database: Path, name: str) -> dict[str, Any]:
    """The one ended span of that name."""
    (span,) = [s for s in spans_in(database) if s["name"] == name]
    return span


def _plain(value: dict[str, Any]) -> Any:
    if "arrayValue" in value:
        return [_plain(v) for v in value["arrayValue"].get("values", [])]
    if "intValue" in value:
        return int(value["intValue"])
    return next(iter(value.values()), None)
