"""Two sets of runs compared, and findings that are accepted once."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyzer.baseline import BaselineError, only_new, read_baseline, write_baseline
from analyzer.cases import Case, load, says, tool_call
from analyzer.cli import main
from analyzer.diff import MEASURES, Difference, difference
from analyzer.run import judge
from analyzer.views.runs import summaries
from instrument.policy import Policy

DONE = says("That is all I could find out about it.")
LOOP = Case("loop", [*[tool_call("search", {"q": "x"}, "nothing")] * 5, DONE], [])
FAILING = Case(
    "failing", [tool_call("read", {"path": str(n)}, "no such file", error="NotFound") for n in range(5)] + [DONE], []
)
GOOD = Case("good", [tool_call("read", {"path": str(n)}, f"text {n}") for n in range(3)] + [DONE], [])


def compared(before: list[Case], after: list[Case]) -> Difference:
    one, two = load(before), load(after)
    return difference(summaries(one), summaries(two), judge(one, Policy()).findings, judge(two, Policy()).findings)


def test_findings_are_new_gone_or_in_both() -> None:
    found = compared([LOOP, GOOD], [FAILING, GOOD])
    assert [(k.detector, k.tool_name, k.before, k.after) for k in found.new] == [("error_cascade", "read", 0, 1)]
    assert [(k.detector, k.tool_name, k.before, k.after) for k in found.gone] == [("repeated_call", "search", 1, 0)]
    both = compared([LOOP], [LOOP, GOOD])
    assert (both.new, both.gone) == ((), ())
    assert [(k.before, k.after) for k in both.kinds] == [(1, 1)]


def frame(costs: list[float | None], agent: str = "a") -> pl.DataFrame:
    columns: dict[str, Any] = {name: [1.0] * len(costs) for name in MEASURES}
    return pl.DataFrame({"agent_name": [agent] * len(costs), **columns, "cost_usd": pl.Series(costs, dtype=pl.Float64)})


def cost_change(before: list[float | None], after: list[float | None]) -> Any:
    changes = difference(frame(before), frame(after), (), ()).changes
    return next(c for c in changes if c.measure == "cost_usd")


def test_a_real_change_is_certain_and_chance_is_not() -> None:
    dice = random.Random(1)
    before: list[float | None] = [dice.lognormvariate(0, 0.5) for _ in range(100)]
    dearer: list[float | None] = [2 * dice.lognormvariate(0, 0.5) for _ in range(100)]
    change = cost_change(before, dearer)
    assert change.certain
    assert change.low < change.after - change.before < change.high
    assert not cost_change(before[:50], before[50:]).certain


def test_the_interval_covers_no_change_about_as_often_as_it_says() -> None:
    dice = random.Random(3)
    sure = sum(
        cost_change([dice.gauss(10, 2) for _ in range(40)], [dice.gauss(10, 2) for _ in range(40)]).certain
        for _ in range(200)
    )
    assert 0 < sure <= 22  # 5 % of 200, and three standard errors above


def test_unknown_costs_are_left_out_and_few_runs_have_no_interval() -> None:
    change = cost_change([1.0, None, 3.0], [None, None, None])
    assert (change.before, change.runs_before, change.after, change.runs_after, change.low) == (2.0, 2, None, 0, None)


def test_agents_of_one_side_are_named_and_not_compared() -> None:
    found = difference(frame([1.0, 1.0], "old"), frame([1.0], "new"), (), ())
    assert (found.changes, found.only_before, found.only_after) == ((), (("old", 2),), (("new", 1),))


def test_the_command_fails_on_new_findings_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = Path(__file__).parents[1] / "sample_traces"
    one = str(samples / "guarded_runs.otlp.jsonl")
    assert main(["diff", one, str(samples)]) == 1
    assert "New findings" in capsys.readouterr().out
    assert main(["diff", str(samples), one]) == 0
    assert "Findings that are gone" in capsys.readouterr().out
    assert main(["diff", one, one, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs_before"] == 3
    assert main(["diff", one, str(tmp_path / "none.duckdb")]) == 2


def test_a_known_finding_is_reported_only_once(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    report = judge(load([LOOP]), Policy())
    write_baseline(path, report.findings)
    assert only_new(judge(load([LOOP]), Policy()), read_baseline(path)).findings == ()
    both = only_new(judge(load([LOOP, FAILING]), Policy()), read_baseline(path))
    assert [f.detector for f in both.findings] == ["error_cascade"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"findings": [{}]}', '{"findings": [{"fingerprint": 3}]}'])
def test_what_is_no_baseline_is_refused_with_a_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match="--update-baseline"):
        read_baseline(path)
    with pytest.raises(BaselineError, match="cannot be read"):
        read_baseline(tmp_path / "none.json")


def test_check_accepts_a_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples, known = Path(__file__).parents[1] / "sample_traces", str(tmp_path / "known.json")
    assert main(["check", str(samples / "guarded_runs.otlp.jsonl"), "--baseline", known, "--update-baseline"]) == 0
    assert main(["check", str(samples / "guarded_runs.otlp.jsonl"), "--baseline", known]) == 0
    capsys.readouterr()
    assert main(["check", str(samples), "--baseline", known, "--format", "json"]) == 1
    said = capsys.readouterr()
    assert "findings are known" in said.err
    fingerprints = {f["fingerprint"] for f in json.loads(said.out)["findings"]}
    assert fingerprints
    assert not fingerprints & read_baseline(Path(known))
    assert main(["check", str(samples), "--baseline", str(tmp_path / "none.json")]) == 2
