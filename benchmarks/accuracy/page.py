"""What was measured, as `docs/accuracy.md` and as the numbers that each detector's page shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from benchmarks.accuracy.baselines import BASELINES
from benchmarks.accuracy.measure import DEVELOPMENT_SEED, Measured
from benchmarks.accuracy.score import Score, Share, wilson

AUDITED: Final[Mapping[tuple[str, str], str]] = {
    (
        "swe_agent-03",
        "repeated_call",
    ): "right: the run handed in the same wrong flag four times before it quoted it and was done",
}
"""Alarms in healthy runs that a person has read, by run and detector, and what they were."""
EXPECTED_TOGETHER: Final[Mapping[str, Mapping[str, str]]] = {
    "retry_storm": {
        "error_cascade": "the same attempts failed: one speaks of the pace, the other of the model that goes on"
    },
    "context_growth": {"cost_outlier": "a run with a nearly full context costs dollars", "over_budget": "as before"},
    "over_budget": {"cost_outlier": "a run over ten dollars is over five"},
    "cost_outlier": {"context_growth": "dear requests are long ones"},
    "cache_bust": {"silent_gap": "the cache ran out because nothing happened"},
    "invalid_arguments": {"error_cascade": "three failures of one kind are a cascade, whatever the reason"},
    "null_input": {"error_cascade": "as before", "repeated_call": "the same empty call with the same result is a loop"},
    "unknown_tool": {"error_cascade": "where nothing but the failure was recorded"},
}
"""Other detectors that may speak of the same stretch, and why that is no mistake."""


def page(told: Measured, date: str) -> str:
    """`docs/accuracy.md`."""
    return (
        "\n\n".join(
            (
                _head(told, date),
                "## Precision and recall\n\n" + _main(told),
                "## Place, severity and waste\n\n" + _places(told),
                "## False alarms in healthy runs\n\n" + _alarms(told),
                "## Simple checks on the same runs\n\n" + _baselines(told),
                "## With less recorded\n\n" + _arms(told),
                "## Who else speaks of it\n\n" + _together(told),
                "## What went wrong\n\n" + _misses(told),
            )
        )
        + "\n"
    )


def numbers(told: Measured, date: str) -> dict[str, Any]:
    """`docs/accuracy.json`: what the detectors' pages read."""
    return {
        "date": date,
        "seed": told.seed,
        "development_seed": DEVELOPMENT_SEED,
        "healthy_runs": told.healthy_runs,
        "detectors": {slug: _numbers(told, s) for slug, s in told.scores.items()},
    }


def _numbers(told: Measured, s: Score) -> dict[str, Any]:
    return {
        "failing": s.failing,
        "healthy": s.healthy,
        "precision": _rounded(s.precision),
        "precision_interval": _interval(s.hits, s.hits + s.false_alarms),
        "recall": _rounded(s.recall),
        "recall_interval": _interval(s.hits, s.failing),
        "first_step_exact": _rounded(_of(s.first)),
        "last_step_exact": _rounded(_of(s.last)),
        "healthy_runs_with_alarm": sum(a.detector == s.detector for a in told.healthy_alarms),
        "hashed_f1": _rounded(told.hashed[s.detector].f1),
        "hashed_state": told.hashed[s.detector].state,
        "unmeasured_f1": _rounded(told.unmeasured[s.detector].f1),
        "unmeasured_state": told.unmeasured[s.detector].state,
    }


# --- sections -----------------------------------------------------------------------------------------------------------


def _head(told: Measured, date: str) -> str:
    drawn = f"{told.each} failing and {told.each} healthy samples of each class, seed {told.seed}"
    return f"""<!-- Written by `make accuracy`. -->

# Accuracy

How often each detector is right, measured {date}: {drawn}. Injectors and detectors are developed with other seeds
(such as {DEVELOPMENT_SEED}); the numbers below come from a seed that is looked at for nothing else.

A failing sample is a real healthy run (`benchmarks/accuracy/healthy.md` says whose) into which one failure was put, so that its
first and last step are known; a healthy one has something that only looks like it. Names, languages, arguments, sizes, thoughts,
the number of repeats (from the threshold to 60), the place and the dialect vary by chance. A hit is a finding of that class which
overlaps the failure and is at least as severe as the failure is, or as a warning. A false alarm is a finding of severity warning or
higher where there is nothing. What is injected is what we thought of: real failures are more varied, so take these numbers for an
upper bound. Intervals are Wilson's, 95 %."""


def _main(told: Measured) -> str:
    rows = [
        (
            f"[`{s.detector}`](detectors/{s.detector}.md)",
            _percent(s.precision, s.hits, s.hits + s.false_alarms),
            _percent(s.recall, s.hits, s.failing),
            f"{s.f1:.3f}",
            f"{s.failing} + {s.healthy}",
            s.mentions,
            s.left_out,
        )
        for s in told.scores.values()
    ]
    note = (
        "“Mentions” are healthy samples in which it found something of severity info, which is no alarm; “left out” are samples whose "
        "healthy run had a finding of that class before anything was put into it."
    )
    return _table(("detector", "precision", "recall", "F1", "samples", "mentions", "left out"), rows) + f"\n\n{note}"


def _places(told: Measured) -> str:
    rows = [
        (f"`{s.detector}`", _share(s.first), _share(s.last), _share(s.severity), _share(s.waste), _error(s.waste_error))
        for s in told.scores.values()
    ]
    note = (
        "Of the hits. Waste in tokens, where the pattern claims any and all of it was counted: from the first useless turn to the end "
        "of the pattern, or the useless turns alone where good ones lie between them."
    )
    columns = (
        "detector",
        "first step exact",
        "last step exact",
        "severity right",
        "waste within 5 %",
        "median error of waste",
    )
    return f"{note}\n\n" + _table(columns, rows)


def _alarms(told: Measured) -> str:
    runs = len({a.run for a in told.healthy_alarms})
    wrong = {a.run for a in told.healthy_alarms if not AUDITED.get((a.run, a.detector), "").startswith("right")}
    rate = f"{100 * runs / told.healthy_runs:.1f} of 100 ({runs} of {told.healthy_runs})"
    lines = [
        f"The runs of the extract as they are, whole: in {rate} some detector raised an alarm; "
        f"read by a person, {len(wrong)} of these were false."
    ]
    if told.healthy_alarms:
        rows = [
            (a.run, f"`{a.detector}`", a.severity, a.message, AUDITED.get((a.run, a.detector), "not read yet"))
            for a in told.healthy_alarms
        ]
        lines.append(_table(("run", "detector", "severity", "finding", "read"), rows))
    if told.traces_runs is not None:
        folders = [
            (folder, ", ".join(f"`{slug}` {n}" for slug, n in found.items()))
            for folder, found in told.traces_alarms.items()
        ]
        lines.append(
            f"A larger collection of public traces ({told.traces_runs:,} runs of all formats we read, failing ones among them, so these "
            "are not all false):"
        )
        lines.append(_table(("folder", "alarms"), folders))
    return "\n\n".join(lines)


def _baselines(told: Measured) -> str:
    rows = []
    for slug, s in told.scores.items():
        cells: list[Any] = [f"`{slug}`", _short(s.precision), _short(s.recall)]
        for name in BASELINES:
            hits, failing, false, _ = told.baselines[slug][name]
            cells += [
                _short(hits / (hits + false) if hits + false else None),
                _short(hits / failing if failing else None),
            ]
        rows.append(tuple(cells))
    alarms = ["healthy runs with an alarm", "", f"{len({a.run for a in told.healthy_alarms})}"]
    for name in BASELINES:
        alarms += ["", f"{told.healthy_baselines[name]}"]
    columns = [
        "class",
        "precision",
        "recall",
        *(f"{name}: {what}" for name in BASELINES for what in ("precision", "recall")),
    ]
    note = (
        "A check hits where it fires anywhere in a failing run, which is kind to it. The last row counts untouched runs of the extract, of "
        f"{told.healthy_runs}."
    )
    return f"{note}\n\n" + _table(columns, [*rows, tuple(alarms)])


def _arms(told: Measured) -> str:
    rows = [
        (
            f"`{slug}`",
            f"{s.f1:.3f}",
            f"{told.hashed[slug].f1:.3f}",
            told.hashed[slug].state,
            f"{told.unmeasured[slug].f1:.3f}",
            told.unmeasured[slug].state,
        )
        for slug, s in told.scores.items()
    ]
    note = "F1 with hashed content (keys instead of words) and without token counts, and what the detector itself says it could see then."
    return f"{note}\n\n" + _table(("detector", "F1", "hashed", "says", "no counts", "says"), rows)


def _together(told: Measured) -> str:
    rows = [
        (
            f"`{slug}`",
            f"`{other}`",
            f"{count} of {s.failing}",
            EXPECTED_TOGETHER.get(slug, {}).get(other, "not expected"),
        )
        for slug, s in told.scores.items()
        for other, count in s.others.items()
    ]
    note = (
        "Failing samples of a class in which another detector raised an alarm at the same place, and was silent before."
    )
    return f"{note}\n\n" + _table(("class", "also", "samples", "because"), rows)


def _misses(told: Measured) -> str:
    """By class and kind, how often, with one example."""
    rows = []
    for s in told.scores.values():
        kinds: dict[tuple[str, str], list[str]] = {}
        for miss in s.misses:
            kinds.setdefault((miss.kind, miss.what.split(":")[0].split(" (")[0]), []).append(
                f"`{miss.name}` as {miss.dialect}"
            )
        rows += [(f"`{s.detector}`", kind, what, len(names), names[0]) for (kind, what), names in kinds.items()]
    return _table(("class", "what was told", "wrong", "samples", "for example"), rows) if rows else "Nothing."


# --- cells --------------------------------------------------------------------------------------------------------------


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _percent(value: float | None, hits: int, of: int) -> str:
    if value is None:
        return "none found"
    low, high = wilson(hits, of)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(share: Share) -> str:
    return f"{share[0]} of {share[1]}" if share[1] else "-"


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:.1%}"


def _of(share: Share) -> float | None:
    return share[0] / share[1] if share[1] else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _interval(hits: int, of: int) -> list[float]:
    return [round(edge, 4) for edge in wilson(hits, of)]
