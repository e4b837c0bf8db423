"""The accuracy suite: what is injected is really there, the scorer counts right, and no detector falls below what was measured."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzer.cases import DIALECTS, Call, Case, Turn
from analyzer.findings import Finding, Severity
from benchmarks.accuracy.confidence import numbers as confidence_numbers
from benchmarks.accuracy.confidence import overconfident
from benchmarks.accuracy.healthy import pieces, runs
from benchmarks.accuracy.inject import FAILING, HEALTHY, samples
from benchmarks.accuracy.judging import Judged, judged
from benchmarks.accuracy.measure import classes, found_before
from benchmarks.accuracy.neighbours import KNOWS, PYTHON, SPEAKS_OF, verdicts
from benchmarks.accuracy.score import Score, Stated, hit_of, score, wilson
from benchmarks.accuracy.script import RECORDED, SPANS, Sample, Truth

SEED = 2
"""Not one that numbers are published of."""
EACH = 8
FLOOR = 0.97
"""Of precision and recall, for every class."""


@pytest.fixture(scope="module")
def scores() -> dict[str, Score]:
    before = found_before()
    told = list(judged(s for slug in classes() for s in samples(slug, SEED, EACH)))
    return {slug: score(slug, [j for j in told if j.sample.detector == slug], before) for slug in classes()}


# --- the suite ------------------------------------------------------------------------------------------------------------


def test_every_detector_has_failing_and_healthy_samples() -> None:
    assert set(classes()) == set(FAILING)
    assert set(FAILING) == set(HEALTHY)
    assert all(len(HEALTHY[slug]) >= 3 for slug in FAILING)


def test_the_healthy_runs_are_many_and_varied() -> None:
    assert len(runs()) >= 60
    assert {run.name.rsplit("-", 1)[0] for run in runs()} == {"tau2", "mini_swe_agent", "pi", "swe_agent"}
    assert max(run.turns for run in runs()) > 30
    assert all(piece.turns <= 14 for piece in pieces())


def test_the_same_seed_gives_the_same_samples_and_another_one_others() -> None:
    first, again, other = (list(samples("repeated_call", seed, 3)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize("slug", FAILING)
def test_what_is_injected_is_in_the_store_where_the_truth_says(slug: str) -> None:
    """First and last step are spans of the truth's first and last turn, and the tools of these turns those of the script."""
    told = [s for s in samples(slug, SEED, 6) if s.truth is not None]
    for sample in told:
        truth = sample.truth
        assert truth is not None
        rows = _spans(sample)
        assert (rows[truth.first_step][0], rows[truth.last_step][0]) == (truth.first_turn, truth.last_turn), (
            sample.case.name
        )
        assert rows[truth.last_step][1] in ("model", "tool")
        turns = [e for e in sample.case.runs()[-1].script if isinstance(e, Turn)]
        for turn in {truth.first_turn, truth.last_turn} - {0}:
            called = [tool for number, kind, tool in rows if number == turn and kind == "tool"]
            assert called == [c.name for c in turns[turn - 1].calls], sample.case.name


def test_wasted_tokens_of_the_truth_are_those_of_the_store() -> None:
    failing = next(iter(samples("repeated_call", SEED, 1)))
    assert failing.truth is not None
    con = failing.case.load(failing.dialect)
    ((tokens,),) = con.execute(
        "SELECT sum(input_tokens + output_tokens) FROM spans WHERE kind = 'model' AND turn > ? AND turn <= ?",
        [failing.truth.first_turn, failing.truth.last_turn],
    ).fetchall()
    assert failing.truth.waste_tokens == tokens


def test_dollars_and_seconds_of_the_truth_are_those_of_the_store() -> None:
    failing = next(s for s in samples("repeated_call", SEED, 9) if s.truth and s.dialect in SPANS)
    assert failing.truth is not None
    useless = (
        "FROM spans WHERE kind IN ('model', 'tool') AND turn > ? AND turn <= ? AND tool_name IS NOT DISTINCT FROM "
        "if(kind = 'tool', (SELECT tool_name FROM spans WHERE kind = 'tool' AND turn = ?), NULL)"
    )
    place = [failing.truth.first_turn, failing.truth.last_turn, failing.truth.first_turn]
    con = failing.case.load(failing.dialect)
    ((usd,),) = con.execute(f"SELECT sum(cost_usd) {useless}", place).fetchall()
    turns = con.execute(f"SELECT (max(end_ns) - min(start_ns)) / 1e9 {useless} GROUP BY turn", place).fetchall()
    assert failing.truth.waste_usd == pytest.approx(usd, rel=1e-9)
    assert failing.truth.waste_seconds == pytest.approx(sum(seconds for (seconds,) in turns), rel=1e-9)


# --- other tools ----------------------------------------------------------------------------------------------------------


def test_without_an_interpreter_of_their_own_no_neighbour_is_run(tmp_path: Path) -> None:
    assert verdicts([runs()[0].script], tmp_path / "python") == {}


def test_a_neighbour_that_is_not_installed_is_left_out() -> None:
    """Ours has none of them: they are no dependencies."""
    assert verdicts([runs()[0].script], Path(sys.executable)) == {}


@pytest.mark.skipif(not PYTHON.is_file(), reason="no neighbours are installed in build/neighbours")
def test_neighbours_see_a_plain_loop() -> None:
    loop = [Turn((Call("search", {"q": "x"}, "nothing"),))] * 8
    said = verdicts([loop])
    assert set(said) == set(KNOWS)
    assert all(words[0] & SPEAKS_OF["repeated_call"] for words in said.values())


def test_samples_speak_many_dialects() -> None:
    spoken = {s.dialect for s in samples("repeated_call", SEED, 60)}
    assert spoken == RECORDED < set(DIALECTS)


def _spans(sample: Sample) -> list[tuple[int, str, str | None]]:
    con: duckdb.DuckDBPyConnection = sample.case.load(sample.dialect)
    return con.execute(
        "SELECT turn, kind::VARCHAR, tool_name FROM spans WHERE trace_id = ? AND duplicate_of IS NULL ORDER BY step",
        [sample.trace_id],
    ).fetchall()


# --- the scorer -----------------------------------------------------------------------------------------------------------

_TRUTH = Truth(first_turn=3, last_turn=6, first_step=5, last_step=11, severity="warning", waste_tokens=100)


def _finding(
    first: int = 3, last: int = 6, severity: Severity = Severity.WARNING, detector: str = "d", **facts: Any
) -> Finding:
    return Finding(
        detector=detector, severity=severity, confidence=1.0, trace_id="t", run_id="r", span_ids=("s",), first_step=2 * first - 1,
        last_step=2 * last - 1, first_turn=first, last_turn=last, start_ns=0, message="", evidence={}, advice="", fingerprint="f", **facts,
    )  # fmt: skip


def _judged(truth: Truth | None, *found: Finding, base: str = "") -> Judged:
    return Judged(Sample("d", "k", base, "gen_ai", Case("c", [], []), truth), found, {})


def _scored(told: Iterable[Judged]) -> Score:
    return score("d", list(told), {"noisy": {"d"}})


def test_a_detector_that_never_fires_has_recall_0_and_no_precision() -> None:
    told = _scored([_judged(_TRUTH)] * 4 + [_judged(None)] * 6)
    assert (told.recall, told.precision, told.f1) == (0, None, 0)


def test_a_detector_that_always_fires_has_recall_1_and_the_precision_of_the_base_rate() -> None:
    told = _scored([_judged(_TRUTH, _finding())] * 3 + [_judged(None, _finding())] * 9)
    assert (told.recall, told.precision) == (1, 0.25)
    assert told.f1 == pytest.approx(0.4)


def test_an_alarm_elsewhere_is_a_miss_and_a_false_alarm() -> None:
    told = _scored([_judged(_TRUTH, _finding(7, 9)), _judged(None)])
    assert (told.hits, told.false_alarms, told.recall) == (0, 1, 0)


def test_a_mention_is_no_hit_for_a_warning_and_no_false_alarm() -> None:
    told = _scored([_judged(_TRUTH, _finding(severity=Severity.INFO)), _judged(None, _finding(severity=Severity.INFO))])
    assert (told.hits, told.false_alarms, told.mentions) == (0, 0, 1)
    mention = replace(_TRUTH, severity="info")
    assert hit_of(mention, [_finding(severity=Severity.INFO)]) is not None


def test_another_detectors_finding_is_confusion_and_no_hit() -> None:
    told = _scored([_judged(_TRUTH, _finding(detector="e")), _judged(None, _finding(detector="e"))])
    assert (told.hits, told.false_alarms, dict(told.others)) == (0, 0, {"e": 1})


def test_place_and_waste_are_judged_on_hits_alone() -> None:
    told = _scored(
        [
            _judged(_TRUTH, _finding(3, 5, wasted_tokens=103)),
            _judged(_TRUTH, _finding(wasted_tokens=50)),
            _judged(_TRUTH),
        ]
    )
    assert (told.first, told.last, told.waste["tokens"]) == ((2, 2), (1, 2), (1, 2))
    assert told.waste_error["tokens"] == pytest.approx(0.265)


def test_dollars_and_seconds_of_waste_are_judged_beside_tokens() -> None:
    truth = replace(_TRUTH, waste_usd=2.0, waste_seconds=10.0)
    right, wrong = _finding(wasted_tokens=100), _finding(wasted_tokens=100)
    told = _scored(
        [
            _judged(truth, replace(right, wasted_cost_usd=2.05, wasted_seconds=10.4)),
            _judged(truth, replace(wrong, wasted_cost_usd=2.2, wasted_seconds=None)),
        ]
    )
    assert told.waste == {"tokens": (2, 2), "dollars": (1, 2), "seconds": (1, 2)}
    assert told.waste_error["seconds"] == pytest.approx((0.04 + 1) / 2)
    assert [m.what.split(":")[0] for m in told.misses] == ["waste in dollars and seconds"]


def test_the_confidence_of_every_finding_is_kept_with_whether_it_was_right() -> None:
    mention = replace(_finding(severity=Severity.INFO), confidence=0.5)
    told = _scored([_judged(_TRUTH, _finding(), _finding(8, 9)), _judged(None, mention)])
    assert told.stated == (Stated(1.0, True, True), Stated(1.0, False, True), Stated(0.5, False, False))


def test_a_stated_confidence_above_the_interval_of_what_was_right_promises_too_much() -> None:
    right, wrong = Stated(0.9, True, True), Stated(0.9, False, True)
    assert overconfident([right] * 90 + [wrong] * 10) == []
    assert overconfident([right] * 60 + [wrong] * 40) == [pytest.approx(0.9)]
    (row,) = confidence_numbers([right] * 3 + [wrong])
    assert (row["stated"], row["findings"], row["right"]) == (0.9, 4, 0.75)


def test_runs_in_which_it_had_spoken_before_are_left_out() -> None:
    told = _scored(
        [
            _judged(_TRUTH, base="noisy"),
            _judged(None, _finding(), base="noisy"),
            _judged(_TRUTH, _finding(), base="calm"),
        ]
    )
    assert (told.failing, told.healthy, told.left_out, told.false_alarms) == (1, 0, 2, 0)


def test_intervals_are_wilsons() -> None:
    assert wilson(97, 100) == pytest.approx((0.91548, 0.98974), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == pytest.approx(1)


# --- the detectors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", classes())
def test_no_detector_falls_below_what_was_promised(scores: dict[str, Score], slug: str) -> None:
    told = scores[slug]
    wrong = [m for m in told.misses if "missed" in m.what or "false alarm" in m.what]
    assert told.precision is not None, wrong
    assert told.precision >= FLOOR, wrong
    assert told.recall is not None, wrong
    assert told.recall >= FLOOR, wrong


def test_findings_begin_and_end_where_the_failures_do(scores: dict[str, Score]) -> None:
    first = [s.first for s in scores.values()]
    last = [s.last for s in scores.values()]
    for shares in (first, last):
        assert sum(right for right, _ in shares) >= 0.97 * sum(of for _, of in shares)
