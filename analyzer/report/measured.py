"""What `make accuracy` measured of a detector, for its page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

_NAME: Final = "accuracy.json"


def accuracy_section(slug: str) -> str:
    """A section of Markdown with the detector's precision and recall, ending with an empty line; empty where nothing was measured."""
    told = _measured()
    found = told.get("detectors", {}).get(slug)
    if found is None:
        return ""
    precision, recall = (_interval(found, name) for name in ("precision", "recall"))
    if found["precision"] is None:
        precision = "not known, since it found none"
    arms = ", ".join(
        f"{what} {found[f'{arm}_f1']:.2f} ({found[f'{arm}_state']})"
        for arm, what in (("hashed", "with hashed content"), ("unmeasured", "without token counts"))
    )
    first, last = _percent(found["first_step_exact"]), _percent(found["last_step_exact"])
    sure = "; ".join(
        f"{one['findings']} at {one['stated']:.2f}, of which {one['right']:.0%} were right"
        for one in found.get("confidence", ())
    )
    sentences = (
        f"Measured {told['date']} on {found['failing']} failures put into real healthy runs and {found['healthy']} runs that only look "
        f"like them (seed {told['seed']}; developed with others), with 95 % intervals: precision {precision}, recall {recall}.",
        f"First step exact in {first} of the hits, last step in {last}.",
        *([f"Findings by stated confidence: {sure}."] if sure else ()),
        f"Alarms in {found['healthy_runs_with_alarm']} of {told['healthy_runs']} healthy runs as they are.",
        f"F1 {arms}.",
        "All of it: [accuracy](../accuracy.md).",
    )
    return f"## How often it is right\n\n{' '.join(sentences)}\n\n"


@cache
def _measured() -> dict[str, Any]:
    """The numbers: inside an installed wheel, or of a checkout's `docs/`; nothing where there are none."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / _NAME, package.parent / "docs" / _NAME):
        if path.is_file():
            found: dict[str, Any] = orjson.loads(path.read_bytes())
            return found
    return {}


def _interval(found: dict[str, Any], name: str) -> str:
    low, high = found[f"{name}_interval"]
    return f"{found[name]:.3f} ({low:.3f} to {high:.3f})" if found[name] is not None else "not known"


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"
