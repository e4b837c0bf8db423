"""What was measured, as `docs/accuracy.md` and as the numbers that each detector's page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.accuracy import beside, confidence
from benchmarks.accuracy.baselines import BASELINES
from benchmarks.accuracy.cells import error_of, interval, percent, rounded, share, share_of, short, table
from benchmarks.accuracy.measure import DEVELOPMENT_SEED, Alarm, Measured
from benchmarks.accuracy.score import WASTED, Score
from benchmarks.calibration import table as promises_table

AUDITED: Final[Mapping[tuple[str, str], str]] = {
    (
        "swe_agent-03",
        "repeated_call",
    ): "right: the run handed in the same wrong flag four times before it quoted it and was done",
    (
        "swe_agent/demonstrations/ctf/crypto/eps.traj",
        "repeated_call",
    ): "right: the same run as in the extract, the same wrong flag four times",
    (
        "mini_swe_agent/django__django-16263.traj.json",
        "cost_outlier",
    ): "right: 87 turns, $1.54 where half of them cost $0.41",
    **{
        (
            f"pi/{name}",
            slug,
        ): "right: a session of hours and many tasks, with a context nearly full and dozens of dollars spent"
        for name in ("before-compaction.jsonl", "large-session.jsonl")
        for slug in ("over_budget", "cost_outlier", "context_growth", "cache_bust")
    },
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
                "## How sure it says it is\n\n" + confidence.section(told),
                "## False alarms in healthy runs\n\n" + _alarms(told),
                "## Calibration and replay on real runs\n\n" + _real(told),
                "## Simple checks on the same runs\n\n" + _baselines(told),
                "## Other tools on the same runs\n\n" + beside.section(told),
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
        "precision": rounded(s.precision),
        "precision_interval": interval(s.hits, s.hits + s.false_alarms),
        "recall": rounded(s.recall),
        "recall_interval": interval(s.hits, s.failing),
        "first_step_exact": rounded(share_of(s.first)),
        "first_step_interval": interval(*s.first),
        "last_step_exact": rounded(share_of(s.last)),
        "last_step_interval": interval(*s.last),
        "waste_right": {name: rounded(share_of(s.waste[name])) for name in WASTED},
        "confidence": confidence.numbers(s.stated),
        "healthy_runs_with_alarm": sum(a.detector == s.detector for a in told.healthy_alarms),
        "hashed_f1": rounded(told.hashed[s.detector].f1),
        "hashed_state": told.hashed[s.detector].state,
        "unmeasured_f1": rounded(told.unmeasured[s.detector].f1),
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
            percent(s.precision, s.hits, s.hits + s.false_alarms),
            percent(s.recall, s.hits, s.failing),
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
    return table(("detector", "precision", "recall", "F1", "samples", "mentions", "left out"), rows) + f"\n\n{note}"


def _places(told: Measured) -> str:
    rows = [
        (
            f"`{s.detector}`",
            share(s.first),
            share(s.last),
            share(s.severity, interval=False),
            *(share(s.waste[name], interval=False) for name in WASTED),
            error_of(max(s.waste_error.values(), default=None)),
        )
        for s in told.scores.values()
    ]
    every = [(sum(p[0] for p in parts), sum(p[1] for p in parts)) for parts in _all_places(told)]
    rows.append(("all", share(every[0]), share(every[1]), *(share(e, interval=False) for e in every[2:]), ""))
    note = (
        "Of the hits. Waste, where the pattern claims any and all of it was counted: tokens, dollars (by the price list) and seconds (wall "
        "time) from the first useless turn to the end of the pattern, or of the useless turns alone where good ones lie between them."
    )
    columns = (
        "detector",
        "first step exact",
        "last step exact",
        "severity right",
        *(f"{name} wasted within 5 %" for name in WASTED),
        "largest median error of waste",
    )
    return f"{note}\n\n" + table(columns, rows)


def _all_places(told: Measured) -> list[list[tuple[int, int]]]:
    scores = told.scores.values()
    wasted = [[s.waste[name] for s in scores] for name in WASTED]
    return [[s.first for s in scores], [s.last for s in scores], [s.severity for s in scores], *wasted]


def _alarms(told: Measured) -> str:
    lines = [f"The runs of the extract as they are, whole: {_rate(told.healthy_alarms, told.healthy_runs)}"]
    lines += [_audited(told.healthy_alarms)] if told.healthy_alarms else []
    if told.real is not None:
        lines.append(
            "The good runs of the trace collection, whole files through our readers, with their real costs and times (the extract has "
            "their words, in pieces where a session goes on for hours): " + _rate(told.real.alarms, told.real.good_runs)
        )
        lines += [_audited(told.real.alarms)] if told.real.alarms else []
    if told.traces_runs is not None:
        folders = [
            (folder, ", ".join(f"`{slug}` {n}" for slug, n in found.items()))
            for folder, found in told.traces_alarms.items()
        ]
        lines.append(
            f"The whole collection of public traces ({told.traces_runs:,} runs of all formats we read, failing ones among them, so these "
            "are not all false):"
        )
        lines.append(table(("folder", "alarms"), folders))
    return "\n\n".join(lines)


def _rate(found: Sequence[Alarm], of: int) -> str:
    alarmed = {a.run for a in found}
    wrong = {a.run for a in found if not AUDITED.get((a.run, a.detector), "").startswith("right")}
    return (
        f"in {100 * len(alarmed) / of:.1f} of 100 ({len(alarmed)} of {of}) some detector raised an alarm; "
        f"read by a person, {len(wrong)} of these were false."
    )


def _audited(found: Sequence[Alarm]) -> str:
    rows = [
        (a.run, f"`{a.detector}`", a.severity, a.message, AUDITED.get((a.run, a.detector), "not read yet"))
        for a in found
    ]
    return table(("run", "detector", "severity", "finding", "read"), rows)


def _real(told: Measured) -> str:
    if told.real is None:
        return "Not measured: the trace collection was not there."
    note = (
        "200 times the good runs are split by chance, stop lines are calibrated on seven tenths of them, and counted is how many of the "
        "others they would stop; with the 95 % interval of the mean (`python -m benchmarks.calibration`). “Refused”: `flyball calibrate` "
        "says how many runs it takes, and proposes nothing."
    )
    return f"{note}\n\n{promises_table(told.real.promises)}\n\n{told.real.savings} (`python -m benchmarks.savings`.)"


def _baselines(told: Measured) -> str:
    rows = []
    for slug, s in told.scores.items():
        cells: list[Any] = [f"`{slug}`", short(s.precision), short(s.recall)]
        for name in BASELINES:
            hits, failing, false, _ = told.baselines[slug][name]
            cells += [
                short(hits / (hits + false) if hits + false else None),
                short(hits / failing if failing else None),
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
    return f"{note}\n\n" + table(columns, [*rows, tuple(alarms)])


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
    return f"{note}\n\n" + table(("detector", "F1", "hashed", "says", "no counts", "says"), rows)


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
    return f"{note}\n\n" + table(("class", "also", "samples", "because"), rows)


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
    return table(("class", "what was told", "wrong", "samples", "for example"), rows) if rows else "Nothing."
