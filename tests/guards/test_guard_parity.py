"""Guard and detector name the same spans: what a detector finds afterwards, the panel acted on at the span that made it a finding.

Four differences are meant, for a guard cannot know what comes:
- polling whose answer changes in the end is no finding (`arrived`), but until then nobody knows that it will;
- while all calls go round with one period a repeated call is the cycle's; where the period ends later, the detector sees a
  repeated call from the start and the guard from then on; where it becomes a cycle only later, it is the other way round;
- failures of several kinds in a row are noticed when the second kind comes, if that is later than the threshold's turn.
- of two cascades that overlap the detector reports the wider one; the guard speaks about each as it comes.
- a question of which most askings are one call to the letter is a repeated call to the detector; the guard says both.
And one where the same is said under another name: a check with a pause after each (check, `sleep`, check ...) is a repeated call to the
guard, for which pauses are no calls, and a cycle of two to the detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from analyzer.cases import Case, Entry, Turn, User, agent_run, rejected_call, says, tool_call, user
from analyzer.findings import Finding
from analyzer.run import judge
from instrument.guards.facts import Action, Intervention
from instrument.policy import Loops, Policy
from tests.guards.driving import OBSERVE, Played, play
from tests.guards.scripts import scripts

_SLOW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
_SLUGS = ("repeated_call", "call_cycle", "near_repeat", "error_cascade", "unknown_tool", "repeated_output")
_POLICY = OBSERVE
_EARLY_CYCLES = Policy(guards=OBSERVE.guards, loops=Loops(cycle_repeats=2))


@dataclass(frozen=True)
class Place:
    """One span of a finding."""

    turn: int
    call_id: str | None
    kind: tuple[str | None, str | None]
    call_key: int | None


def _judged(script: list[Entry]) -> tuple[duckdb.DuckDBPyConnection, list[Finding]]:
    con = Case("parity", [agent_run(script)], []).load()
    return con, list(judge(con, _POLICY, select=_SLUGS).findings)


def _places(con: duckdb.DuckDBPyConnection, finding: Finding) -> list[Place]:
    """Its spans, in order."""
    rows = con.execute(
        "SELECT turn, tool_call_id, tool_name, failure_kind, call_key FROM spans "
        "WHERE list_contains(?::VARCHAR[], span_id) ORDER BY step",
        [list(finding.span_ids)],
    ).fetchall()
    return [Place(turn, call_id, (tool, kind), key) for turn, call_id, tool, kind, key in rows]


def _reaches(places: list[Place], turns: int) -> Place:
    """The span that begins the turn of that number."""
    seen: list[int] = []
    for place in places:
        if place.turn not in seen:
            seen.append(place.turn)
        if len(seen) == turns:
            return place
    raise AssertionError("a finding below its threshold")


def _first(acts: list[Intervention], guard: str, settings_: set[str], places: list[Place]) -> Place | None:
    """Where the guard first spoke about one of these spans."""
    ids, turns = {p.call_id for p in places}, {p.turn for p in places}
    for act in acts:
        # A refusal says what a call would have done, and in a script it may do otherwise.
        if act.guard != guard or act.setting not in settings_ or "was refused" in act.reason:
            continue
        if act.call_id in ids if act.call_id is not None else act.turn in turns:
            return next(p for p in places if p.turn == act.turn and act.call_id in (None, p.call_id))
    return None


def _goes_round(script: list[Entry], first: Place, last: Place) -> bool:
    """Whether all calls from `first` to `last` repeat with one period of two to eight calls, more than twice."""
    calls = [
        (turn, f"call_{place}_{at}", call)
        for turn, (place, entry) in enumerate(((p, e) for p, e in enumerate(script) if not isinstance(e, User)), 1)
        for at, call in enumerate(entry.calls if isinstance(entry, Turn) else (entry,))
        if call.name != "sleep"
    ]
    ids = [call_id for _, call_id, _ in calls]
    within = calls[ids.index(str(first.call_id)) : ids.index(str(last.call_id)) + 1]
    tokens = [t for _, t in dict.fromkeys((turn, f"{c.name} {c.arguments} {c.result}") for turn, _, c in within)]
    return len(set(tokens)) > 1 and any(
        len(tokens) > 2 * period and tokens[period:] == tokens[:-period] for period in range(2, 9)
    )


def _check(con: duckdb.DuckDBPyConnection, script: list[Entry], finding: Finding, played: Played) -> str:
    places, acts = _places(con, finding), played.acts
    errors, stuck = _POLICY.tool_errors, _POLICY.stuck
    match finding.detector:
        case "repeated_call":
            due = _reaches(places, _POLICY.loops.same_call_repeats)
            acted = _first(acts, "repeated_call", {"loops.same_call_repeats", "loops.same_call_error_repeats"}, places)
            assert acted is not None, finding.message
            if acted != due:
                assert acted.turn > due.turn
                assert _goes_round(script, places[0], due)
                return "repeated_call, after what looked like a cycle"
        case "call_cycle":
            due = places[finding.evidence["calls_per_round"] * _POLICY.loops.cycle_repeats - 1]
            acted = _first(acts, "call_cycle", {"loops.cycle_repeats", "loops.cycle_error_repeats"}, places)
            assert acted == due, finding.message
        case "near_repeat":
            varied = next(place for place in places if place.call_key != places[0].call_key)
            due = max(_reaches(places, _POLICY.loops.near_repeats), varied, key=places.index)
            acted = _first(acts, "near_repeat", {"loops.near_repeats", "loops.near_error_repeats"}, places)
            assert acted == due, finding.message
        case "error_cascade" if finding.evidence["kinds"] == 1:
            due = _reaches(places, errors.same_failure_calls)
            assert _first(acts, "error_cascade", {"tool_errors.same_failure_calls"}, places) == due
        case "error_cascade":
            second = next(place for place in places if place.kind != places[0].kind)
            due = max(_reaches(places, errors.failed_calls), second, key=places.index)
            mixed = [act for act in acts if "in different ways" in act.reason]
            assert (
                _first(mixed, "error_cascade", {"tool_errors.failed_calls", "tool_errors.error_calls"}, places) == due
            )
            return "error_cascade of several kinds"
        case "unknown_tool":
            assert _first(acts, "unknown_tool", {"unknown_tools.calls"}, places) == places[0]
        case "repeated_output":
            due = _reaches(places, stuck.same_output_repeats)
            acted = _first(acts, "repeated_output", {"stuck.same_output_repeats"}, places)
            assert acted is not None
            assert acted.turn == due.turn
    return finding.detector


@_SLOW
@given(scripts(), st.booleans())
def test_what_a_detector_finds_the_guard_had_begun_to_act_on_at_the_span_that_reached_the_threshold(
    script: list[Entry], one_by_one: bool
) -> None:
    con, findings = _judged(script)
    played = play(script, _POLICY, one_by_one=one_by_one)
    for finding in findings:
        event(_check(con, script, finding, played))


@_SLOW
@given(scripts(steady=True))
def test_where_a_guard_begins_the_detector_finds(script: list[Entry]) -> None:
    """Of scripts in which no call ever brings another result, and nothing goes round even twice: what only hindsight excuses."""
    played = play(script, _EARLY_CYCLES)
    assume(not any(act.guard == "call_cycle" for act in played.acts))
    con, findings = _judged(script)
    found = {f.detector: set[str | int | None]() for f in findings}
    for finding in findings:
        for place in _places(con, finding):
            found[finding.detector] |= {place.call_id, place.turn if place.call_id is None else None}
    for act in play(script, _POLICY).acts:
        if "in different ways" in act.reason:
            continue
        if act.guard == "unknown_tool" or (act.guard in _SLUGS and act.action is Action.NUDGE):
            event(f"{act.guard} {act.action}")
            assert (act.call_id or act.turn) in found.get(act.guard, ()), act.reason


def test_polling_whose_answer_comes_is_a_loop_only_until_it_comes() -> None:
    waiting: list[Entry] = [tool_call("job", {}, "busy")] * 5
    arrives: list[Entry] = [*waiting, tool_call("job", {}, "done"), says("It is done.")]
    assert _judged(arrives)[1] == []
    assert play(arrives, _POLICY).said()[0] == ("repeated_call", "nudge", 4)


def test_what_looked_like_a_cycle_and_then_did_not_is_a_repeated_call_from_then_on() -> None:
    a, b, c = (tool_call(name, {}, f"what {name} says") for name in "abc")
    script: list[Entry] = [*[a, b] * 5, c, a, a, says("I give up on this.")]
    con, findings = _judged(script)
    cycle, finding = sorted(findings, key=lambda f: f.detector)
    assert (cycle.detector, cycle.first_turn, cycle.last_turn) == ("call_cycle", 1, 10)
    places = _places(con, finding)
    assert (finding.detector, _reaches(places, 4).turn) == ("repeated_call", 7)
    acted = _first(play(script, _POLICY).acts, "repeated_call", {"loops.same_call_repeats"}, places)
    assert acted is not None
    assert acted.turn == 12


@pytest.mark.parametrize(
    "names", ["ab" * 6, "xyz" + "abc" * 5, "aab" * 4, "abcdefgh" * 3, "abab" + "cdcdcd", "abcab" * 3]
)
def test_a_cycle_is_noticed_at_the_call_that_ends_its_third_round(names: str) -> None:
    script: list[Entry] = [*[tool_call(name, {}, f"what {name} says") for name in names], says("I give up on this.")]
    con, (finding,) = _judged(script)
    assert _check(con, script, finding, play(script, _POLICY)) == "call_cycle"
    assert finding.last_turn == len(names)


@_SLOW
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_arguments_that_do_not_fit_end_a_run_where_the_finding_is_an_error(fits: list[bool]) -> None:
    said = [says("That is all.")]
    script = [tool_call("book", {"n": n}, f"booked {n}") for n in range(len(fits))]
    invalid = [number for number, fit in enumerate(fits, 1) if not fit]
    played = play([*script, *said], _POLICY, invalid=invalid)
    recorded = [
        c if fit else rejected_call(c.name, c.arguments, why="invalid_arguments")
        for c, fit in zip(script, fits, strict=True)
    ]
    found = judge(Case("parity", [*recorded, *said], []).load(), _POLICY, select=["invalid_arguments"]).findings
    acts = [act for act in played.acts if act.guard == "invalid_arguments"]
    refused = [act.turn for act in acts if act.action is Action.BLOCK]
    assert [f.evidence["repeats"] for f in found] == ([len(refused)] if len(refused) >= 2 else [])
    assert any(act.action is Action.STOP for act in acts) == any(f.severity == "error" for f in found)
    assert [(f.first_turn, f.last_turn) for f in found] == [(refused[0], refused[-1]) for _ in found]


def test_the_user_asking_again_starts_afresh_on_both_sides() -> None:
    search = tool_call("search", {"q": "refunds"}, "no results")
    script = [e for n in range(6) for e in (search, search, user(f"And now, try {n}?"))] + [says("Nothing at all.")]
    assert _judged(script)[1] == []
    assert play(script, _POLICY).acts == []
