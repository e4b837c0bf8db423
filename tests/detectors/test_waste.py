"""What was wasted is counted once, however many findings name it; and one cause is one alarm."""

import polars as pl
import pytest

from analyzer.absorbing import absorbed
from analyzer.cases import Case, agent_run, says, tool_call, turn
from analyzer.detectors import DETECTORS
from analyzer.findings import Severity
from analyzer.frames import Frames
from analyzer.run import judge
from analyzer.waste import OWN, wasted

_DONE = says("That is all there is to say.")
_LOOP = Case("loop", [agent_run([*[tool_call("search", {"q": 1}, "none")] * 4, _DONE])], [])


def test_a_part_of_a_turn_is_not_added_to_the_whole_of_it() -> None:
    frames = Frames.all_of(_LOOP.load())
    part = {"turn": 2, "tokens": 5, "cost_usd": 0.5, "seconds": 0.0, "idle_seconds": 60.0}
    patterns = pl.DataFrame(
        {
            "pattern": [0, 1, 2, 3],
            "run_key": [1, 1, 1, 1],
            "useless_turns": [[2, 3], [3], None, None],
            "own_waste": [None, None, [part], [part | {"turn": 4, "cost_usd": None}]],
        },
        schema={"pattern": pl.UInt32, "run_key": pl.Int32, "useless_turns": pl.List(pl.Int32), "own_waste": OWN},
    )
    by_pattern, together = wasted(frames, patterns)
    assert by_pattern[0].tokens == together.filter(pl.col("turn") < 4)["tokens"].sum()
    assert (by_pattern[2].tokens, by_pattern[2].cost_usd, by_pattern[2].seconds) == (5, 0.5, 60.0)
    assert (by_pattern[3].tokens, by_pattern[3].cost_usd) == (5, None)
    assert together.sort("turn")["turn"].to_list() == [2, 3, 4]
    whole = by_pattern[0].seconds
    assert whole is not None
    assert together["seconds"].sum() == pytest.approx(whole + 120.0)


def test_detectors_that_alone_know_what_was_wasted_say_so() -> None:
    gap = Case("gap", [tool_call("read"), turn(text="That is it.", pause_seconds=600)], [])
    report = judge(gap.load(), select=("silent_gap",))
    (finding,) = report.findings
    assert (finding.wasted_tokens, finding.wasted_cost_usd) == (0, 0.0)
    assert finding.wasted_seconds == report.totals.wasted_seconds == finding.evidence["gap_seconds"]
    reads = [(20, 0), (60, 20), (62, 60), (64, 0), (66, 64)]
    asks = [
        turn(tool_call("read", {"n": n}, f"{n}"), input_tokens=k * 1000, cached=(r * 1000, (k - r) * 1000))
        for n, (k, r) in enumerate(reads)
    ]
    report = judge(Case("bust", [*asks], []).load(), select=("cache_bust",))
    (finding,) = report.findings
    assert finding.wasted_cost_usd == report.totals.wasted_cost_usd == finding.evidence["extra_usd"]
    assert finding.wasted_cost_usd is not None
    assert finding.wasted_cost_usd > 0


@pytest.mark.parametrize(
    ("steps", "severity", "expected"),
    [
        ([1, 2, 3, 4], "error", ("info", "retry_storm")),
        ([1, 2, 3], "error", ("error", None)),
        ([1, 2, 3, 4], "warning", ("error", None)),
    ],
    ids=["all of it", "a part of it", "milder"],
)
def test_a_cascade_that_another_finding_explains_is_a_mention(
    steps: list[int], severity: str, expected: tuple[str, str | None]
) -> None:
    cascade = pl.DataFrame({"run_key": [1], "steps": [[1, 2, 4]], "severity": ["error"], "explained_by": [None]})
    storm = pl.DataFrame({"run_key": [1], "steps": [steps], "severity": [severity]})
    patterns = [(DETECTORS["error_cascade"], cascade), (DETECTORS["retry_storm"], storm)]
    rows = dict(zip(("cascade", "storm"), (rows for _, rows in absorbed(patterns)), strict=True))
    assert rows["cascade"].select("severity", "explained_by").row(0) == expected
    assert rows["storm"]["severity"].to_list() == [severity]


def test_in_a_run_that_keeps_knocking_the_storm_is_the_alarm() -> None:
    fetch = tool_call("fetch", {"u": 1}, "connection refused", error="ConnectError")
    con = Case("storm", [*[fetch] * 6, _DONE], []).load()
    assert {f.detector: f.severity for f in judge(con).findings} == {
        "retry_storm": Severity.ERROR,
        "error_cascade": Severity.INFO,
    }
    assert [f.severity for f in judge(con, select=("error_cascade",)).findings] == [Severity.ERROR]
