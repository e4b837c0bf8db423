"""What a person at a terminal reads."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from analyzer.findings import LOST, Finding, Outcome, Report, Severity, State, Totals
from analyzer.report.amounts import duration, money, share, tokens
from analyzer.report.clean import one_line
from analyzer.report.text import Look, as_text
from instrument.otlp import Issue

FINDING = Finding(
    detector="repeated_call",
    severity=Severity.ERROR,
    confidence=0.97,
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    run_id="00f067aa0ba902b7",
    agent_name="researcher",
    span_ids=("aaaaaaaaaaaaaaaa",),
    first_step=12,
    last_step=41,
    first_turn=3,
    last_turn=16,
    start_ns=0,
    message="`search` was called 14 times and gave the same result each time.",
    evidence={"tool_name": "search", "repeats": 14, "arguments": '{"q": "weather"}', "nothing": None},
    wasted_tokens=412_345,
    wasted_cost_usd=3.10,
    wasted_seconds=363.2,
    advice="Let the guard stop it.",
    fingerprint="0" * 16,
)
TOTALS = Totals(
    runs=214,
    spans=12_345,
    model_calls=1_842,
    tool_calls=913,
    input_tokens=4_123_456,
    output_tokens=211_000,
    cost_usd=38.2,
)


def text(*findings: Finding, look: Look | None = None, **parts: Any) -> str:
    return as_text(Report(findings=findings, totals=parts.pop("totals", TOTALS), **parts), look or Look())


def flat(*findings: Finding, **parts: Any) -> str:
    """The text with its line breaks undone."""
    return " ".join(text(*findings, **parts).split())


def test_a_finding_says_what_where_why_how_much_and_what_to_do() -> None:
    shown = flat(FINDING)
    assert "1 finding in 214 runs: 1 error" in shown
    assert "error repeated_call cost $3.10, 412k tokens, 6 min 3 s" in shown
    assert "`search` was called 14 times and gave the same result each time." in shown
    assert "where researcher, steps 12 to 41, run 00f067aa0ba902b7 (trace 4bf92f35…)" in shown
    assert 'proof tool_name: search; repeats: 14; arguments: {"q": "weather"}' in shown
    assert "do Let the guard stop it." in shown
    assert "nothing" not in shown


def test_the_sums_stand_first() -> None:
    totals = replace(
        TOTALS,
        unfinished_runs=2,
        unpriced_calls=12,
        duplicate_model_calls=1_203,
        duplicate_tokens=2_100_000,
        duplicate_cost_usd=13.2,
        wasted_cost_usd=7.64,
        wasted_tokens=812_000,
    )
    shown = flat(FINDING, totals=totals)
    assert "214 runs, 2 of them unfinished: 12,345 spans, 1,842 model calls, 913 tool calls" in shown
    assert "tokens 4.1M in, 211k out" in shown
    assert "cost $38.20; the price of 12 model calls is unknown" in shown
    assert "waste $7.64 (20 % of the cost), 812k tokens" in shown
    assert "removed 1,203 duplicate model calls, 2.1M tokens, $13.20 not counted twice" in shown


def test_an_unknown_cost_is_unknown_and_never_nought() -> None:
    shown = text(replace(FINDING, wasted_cost_usd=None), totals=replace(TOTALS, cost_usd=None, unpriced_calls=1_842))
    assert "$" not in shown
    assert shown.count("unknown") == 3


def test_a_finding_about_cost_without_waste_shows_the_cost() -> None:
    finding = replace(
        FINDING, wasted_cost_usd=None, wasted_tokens=None, wasted_seconds=None, evidence={"cost_usd": 7.5}
    )
    assert "run cost $7.50" in text(finding)


def test_the_same_finding_in_many_runs_is_told_once() -> None:
    others = [replace(FINDING, run_id=f"run{n}", wasted_cost_usd=0.5 if n else None) for n in range(5)]
    shown = flat(FINDING, *others)
    assert shown.count("`search` was called 14 times") == 1
    assert "5 times more, together at least $5.10: run run0, steps 12 to 41, unknown; run run1" in shown
    assert "and 2 more" in shown
    assert "run run4, steps 12 to 41, $0.50" in flat(FINDING, *others, look=Look(everything=True))


def test_what_differs_in_agent_or_tool_is_not_told_as_one() -> None:
    other_tool = replace(FINDING, evidence={"tool_name": "fetch"})
    other_agent = replace(FINDING, agent_name="writer")
    assert text(FINDING, other_tool, other_agent).count("where") == 3


def test_groups_come_worst_and_most_expensive_first() -> None:
    cheap = replace(FINDING, detector="cheap_error", wasted_cost_usd=0.1)
    mild = replace(FINDING, detector="mild", severity=Severity.WARNING, wasted_cost_usd=50.0)
    shown = text(mild, cheap, FINDING)
    assert shown.index("repeated_call") < shown.index("cheap_error") < shown.index("mild")


def test_many_findings_are_folded_and_all_unfolds_them() -> None:
    many = [replace(FINDING, detector=f"detector_{n:02}", wasted_cost_usd=40.0 - n) for n in range(13)]
    shown = text(*many)
    assert "detector_09" in shown
    assert "and 3 more (detector_10 1, detector_11 1, detector_12 1); --all shows them" in shown
    assert text(*many, look=Look(everything=True)).count("where") == 13


@pytest.mark.parametrize(
    ("outcomes", "says"),
    [
        ((Outcome(detector="x", state=State.COMPLETE, known=1.0),), "No findings in 214 runs "),
        (
            (Outcome(detector="x", state=State.BLIND, known=0.0, reason="no content"),),
            "but 1 detector could not see everything",
        ),
        ((Outcome(detector="x", state=State.BLIND, known=0.0, reason="no content"),), "x saw nothing: no content"),
        ((Outcome(detector="x", state=State.PARTIAL, known=0.999),), "x saw 99 %"),
        ((Outcome(detector="x", state=State.NOTHING_TO_CHECK, known=None),), "nothing to check for x"),
    ],
)
def test_found_nothing_is_not_could_not_look(outcomes: tuple[Outcome, ...], says: str) -> None:
    assert says in flat(outcomes=outcomes)


def test_nothing_read_is_not_nothing_found() -> None:
    assert "no spans were read" in text(totals=Totals())


def test_issues_are_told_by_kind_with_places_and_remedy() -> None:
    broken = [Issue("broken_line", "a.jsonl", "is no JSON", "repair it", line=n) for n in range(1, 32)]
    shown = flat(issues=(Issue("not_a_trace", "LICENSE", "holds no trace", "name it", error=False), *broken))
    assert "broken_line a.jsonl, line 1: is no JSON; a.jsonl, line 2: is no JSON;" in shown
    assert "and 28 more. To do: repair it" in shown
    assert shown.index("broken_line") < shown.index("not_a_trace")


def test_notes_without_a_remedy_do_not_bury_the_others() -> None:
    def note(kind: str, message: str = "not said", remedy: str = "none; it does not say more", count: int = 1) -> Issue:
        return Issue(kind, "a.jsonl", message, remedy, count=count, error=False)

    idle = [note(f"kind_{n}", count=n) for n in range(1, 6)]
    shown = flat(issues=(*idle, note("clipped"), note("clipped", "was cut", "raise the limit")))
    assert "clipped a.jsonl: was cut; and 1 more. To do: raise the limit no remedy kind_5 5, kind_4 4," in shown
    assert "not said" not in shown
    assert flat(issues=idle[:3]).count("not said") == 3
    assert flat(issues=idle, look=Look(everything=True)).count("not said") == 5


def test_what_no_detector_could_see_is_said_once() -> None:
    short = [
        Outcome(detector=f"d{n}", state=State.PARTIAL, known=0.9, reason=reason)
        for n, reason in enumerate((LOST, f"no times; {LOST}"))
    ]
    assert "could not be seen every detector spans were lost or could not be read d1 saw 90 %: no times" in flat(
        outcomes=short
    )
    assert f"d0 saw 90 %: {LOST}" in flat(outcomes=short[:1])


def test_large_numbers_in_a_proof_are_written_out() -> None:
    shown = flat(replace(FINDING, evidence={"median_input_tokens": 552_000.4, "ratio": 3.77234}))
    assert "median_input_tokens: 552,000; ratio: 3.772" in shown


HOSTILE = (
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m [bold red]markup[/] :smile: \u202egnp\u2066 \x9b2J \ud83d a\nb\r\tc\0\u2028d"
)


@pytest.mark.parametrize("colour", [False, True])
def test_hostile_content_does_nothing_to_the_terminal(colour: bool) -> None:
    hostile = replace(
        FINDING,
        detector=HOSTILE,
        run_id=HOSTILE,
        trace_id=HOSTILE,
        agent_name=HOSTILE,
        message=HOSTILE,
        advice=HOSTILE,
        evidence={HOSTILE: HOSTILE, "l": [HOSTILE]},
    )
    shown = as_text(
        Report(
            findings=(hostile, replace(hostile, run_id=HOSTILE + "2")),
            outcomes=(Outcome(detector=HOSTILE, state=State.BLIND, known=0.0, reason=HOSTILE),),
            issues=(Issue(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
        ),
        Look(colour=colour),
        [(HOSTILE, "x")],
    )
    without_colours = re.sub(r"\x1b\[[0-9;]*m", "", shown) if colour else shown
    assert "\x1b[31mred" not in shown
    assert not set(without_colours) & set("\x1b\x07\x9b\r\t\0\u202e\u2066\u2028\ud83d")
    assert "[bold red]markup[/] :smile:" in " ".join(without_colours.split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = replace(
        FINDING, message="word " * 300, evidence={"x" * 50: "y" * 5000}, advice="z" * 900, agent_name="漢字" * 40
    )
    issue = Issue("broken_line", "/very" * 60, "m" * 300, "r")
    shown = as_text(
        Report(findings=(long,), issues=(issue,), totals=TOTALS), Look(width=width), [("flyball app traces/", "look")]
    )
    assert max(map(cell_len, shown.split("\n"))) <= min(width, 110)


def test_colour_only_where_asked_for() -> None:
    assert "\x1b" not in text(FINDING)
    assert "\x1b[1;31merror" in text(FINDING, look=Look(colour=True))


@pytest.mark.parametrize(
    ("shown", "reads"),
    [
        (money(None), "unknown"),
        (money(0.0), "$0.00"),
        (money(0.00001), "under $0.0001"),
        (money(0.0042), "$0.0042"),
        (money(0.0203), "$0.020"),
        (money(38.204), "$38.20"),
        (money(1204.4), "$1,204"),
        (tokens(None), "unknown"),
        (tokens(999), "999"),
        (tokens(12_345), "12.3k"),
        (tokens(999_950), "1.0M"),
        (tokens(4_123_456), "4.1M"),
        (duration(None), "unknown"),
        (duration(0.42), "0.4 s"),
        (duration(59.7), "1 min 0 s"),
        (duration(7_530), "2 h 5 min"),
        (share(0.0), "0 %"),
        (share(0.0001), "under 1 %"),
        (share(0.999), "99 %"),
        (share(1.0), "100 %"),
        (share(4.753), "475 %"),
    ],
)
def test_amounts_read_as_people_write_them(shown: str, reads: str) -> None:
    assert shown == reads


def test_long_text_is_cut_and_says_so() -> None:
    assert one_line("a" * 50, 10) == "aaaaaaaaa…"
    assert len(one_line("\x1b" * 100_000_000, 100)) <= 100
    assert one_line("a  b\n\nc", 10) == "a b c"
    assert one_line("\u0645\u06cc\u200c\u062e", 20) == "\u0645\u06cc\u200c\u062e"
