"""A detector's page, for `flyball explain` and for `docs/detectors/`: always the same questions in the same order."""

from __future__ import annotations

import msgspec

from analyzer.detectors.detector import Detector
from analyzer.report.measured import accuracy_section
from analyzer.report.policy_table import policy_table
from instrument.policy import Policy


def detector_page(detector: Detector) -> str:
    """The page as Markdown, ending with a line end."""
    section = {f.name: f.type for f in msgspec.structs.fields(Policy)}[detector.params]
    evidence = "\n".join(f"- `{name}`: {meaning}" for name, meaning in detector.evidence.items())
    former = f"\n\nFormer names: {', '.join(f'`{slug}`' for slug in detector.aliases)}." if detector.aliases else ""
    return f"""# `{detector.slug}`: {detector.title}

Failure mode: {detector.failure_mode}.{former}

## What it finds

{detector.finds}

## Why it matters

{detector.matters}

## When it is wrong

{detector.wrong}

## What to do

{detector.advice}

{accuracy_section(detector.slug)}## Thresholds

In the policy (`flyball.toml`), section `[{detector.params}]`:

{policy_table(section)}

## Evidence

{evidence}

Where it cannot look, it says so: {detector.unseen}.
"""
