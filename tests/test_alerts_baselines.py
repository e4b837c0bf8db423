"""Lines from recorded history: what they are, where they come from, and that they are not known where too little was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_alerts_prometheus import EVERY_NAME, needs_promtool, run

from analyzer.alerts import metrics
from analyzer.alerts.backtest import active_instants, held_over
from analyzer.alerts.baselines import SETTINGS, Baseline, Line, as_json, measured, moved_share, read, unlikely_share
from analyzer.alerts.metrics import Metric
from analyzer.alerts.prometheus import RULES_FILE, TESTS_FILE
from analyzer.alerts.rules import rules
from analyzer.alerts.runbook import runbooks
from analyzer.cases import Case, Run, load, says, tool_call
from analyzer.cli import main
from instrument.errors import StoreError
from instrument.policy import Alerts, Cost, Policy
from instrument.store.connect import writing
from instrument.store.load import Loader

POLICY = Policy(alerts=Alerts(baseline_runs=6, baseline_quantile=0.8), cost=Cost(outlier_usd=0.000001))


def runs(count: int, agent: str = "support") -> list[Run]:
    """Healthy ones, each a little longer than the one before; of their calls of `look` every third fails."""
    found = []
    for n in range(count):
        calls = [tool_call("look", {"n": k}, f"no entry {k}" if k % 3 == 2 else f"entry {k}", error="NotFound" if k % 3 == 2 else None)
                 for k in range(n + 1)]  # fmt: skip
        found.append(Run([*calls, says("Here is what I found, in full.")], agent=agent))
    return found


@pytest.fixture(scope="module")
def con() -> Any:
    return load([Case("many", runs(9), []), Case("few", runs(3, "rare"), [])])


@pytest.fixture(scope="module")
def found(con: Any) -> dict[Metric, Baseline]:
    return {baseline.metric: baseline for baseline in measured(con, POLICY)}


def test_the_cost_of_a_run_is_a_multiple_of_what_healthy_runs_stay_within(
    con: Any, found: dict[Metric, Baseline]
) -> None:
    few, many = found[metrics.RUN_COST_LINE].lines
    costs = con.execute(
        "SELECT sum(cost_usd) AS usd FROM spans WHERE kind = 'model' GROUP BY run_key HAVING any_value(agent_name) = 'support' ORDER BY usd"
    ).fetchall()
    assert len(costs) == 9
    assert many.labels == ("support", "claude-sonnet-4-5")
    assert many.value == pytest.approx(2 * costs[7][0], rel=0.01)  # the 8th of 9: 0.8 of 10
    assert "8 of 9 healthy runs from 2026-09-21 to 2026-09-21 cost at most $" in many.origin
    assert (few.value, few.seen) == (None, 3)
    assert (
        few.origin == "Not known: 3 healthy runs from 2026-09-21 to 2026-09-21, and it takes 6 (alerts.baseline_runs)."
    )


def test_silence_is_never_shorter_than_a_tool_may_take(found: dict[Metric, Baseline]) -> None:
    lines = {line.labels[0]: line.value for line in found[metrics.SILENT_LINE].lines}
    assert lines == {"support": POLICY.tool_errors.tool_timeout_seconds, "rare": None}


def test_a_share_is_one_that_chance_hardly_brings_about(found: dict[Metric, Baseline]) -> None:
    (look,) = found[metrics.TOOL_FAILURE_LINE].lines
    assert look.origin.startswith(f"{100 * (look.value or 0):.4g} %: 13 of 51 calls from ")
    assert look.value == moved_share(0.5, 13, 51, 10, 0.001)
    few, many = found[metrics.LOOP_LINE].lines
    assert (few.labels, few.value, many.labels, many.seen) == (("rare",), None, ("support",), 9)


@pytest.mark.parametrize(
    ("share", "least", "line"),
    [
        (0.0, 10, 0.2),  # one alone is an accident
        (0.02, 10, 0.3),  # P(X >= 3) = 0.0009 for Binomial(10, 0.02), P(X >= 2) = 0.016
        (0.05, 10, 0.5),  # P(X >= 4) = 0.0010285
        (0.5, 10, 1.0),  # P(X = 10) = 0.00098
        (0.6, 10, 1.0),  # no share of ten is unlikely enough
        (0.02, 1, 1.0),
    ],
)
def test_an_unlikely_share_is_of_the_binomial_distribution(share: float, least: int, line: float) -> None:
    assert unlikely_share(share, least, 0.001) == pytest.approx(line)


@pytest.mark.parametrize(
    ("failed", "seen", "line"),
    [
        (0, 20, 0.5),  # too little to say that it should be lower, and nothing that it should be higher
        (5, 20, 0.6),  # one in nine fails for sure
        (0, 1_000_000, 0.2),
        (20_000, 1_000_000, 0.3),
        (600_000, 1_000_000, 1.0),
        (20, 20, 1.0),
    ],
)
def test_the_record_moves_the_policys_line_as_far_as_it_knows_better(failed: int, seen: int, line: float) -> None:
    assert moved_share(0.5, failed, seen, 10, 0.001) == pytest.approx(line)


def test_what_the_policy_file_says_is_not_taken_from_the_record(con: Any) -> None:
    given = {"cost.run_usd", "alerts.loop_share"}
    assert {b.metric for b in measured(con, POLICY, given)} == {metrics.SILENT_LINE, metrics.TOOL_FAILURE_LINE}


@pytest.mark.parametrize(
    ("field", "value"),
    [("baseline_runs", 10), ("baseline_quantile", 0.1), ("baseline_ratio", 3.0), ("baseline_chance", 0.1)],
)
def test_every_setting_of_baselines_moves_a_line(
    con: Any, found: dict[Metric, Baseline], field: str, value: Any
) -> None:
    moved = msgspec.structs.replace(POLICY, alerts=msgspec.structs.replace(POLICY.alerts, **{field: value}))
    assert [b.lines for b in measured(con, moved)] != [b.lines for b in found.values()]


def test_a_rule_takes_the_line_of_its_labels_and_the_policys_elsewhere(con: Any) -> None:
    agent = ("support", "claude-sonnet-4-5")
    low = Baseline(metrics.RUN_COST_LINE, (Line(agent, 1e-9, 9, ""), Line(("rare", agent[1]), None, 3, "")))
    (rule,) = [r for r in rules(Policy(), [low]) if r.alert == "FlyballCostHigh"]
    held = held_over(con, Policy(), [rule], active_instants(con, 30), [low])
    assert set(held[0][1]["agent_name"]) == {"support"}
    (plain,) = [r for r in rules(Policy()) if r.alert == "FlyballCostHigh"]
    assert held_over(con, Policy(), [plain], active_instants(con, 30))[0][1].is_empty()


def test_baselines_survive_their_file(tmp_path: Path, found: dict[Metric, Baseline]) -> None:
    for lines in (tuple(found.values()), EVERY_NAME):
        (tmp_path / "b.json").write_text(as_json(lines), "utf-8")
        assert read(tmp_path / "b.json") == lines


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"line": "x", "lines": []}]', "\x00"])
def test_a_file_without_baselines_is_named_and_so_is_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text, "utf-8")
    with pytest.raises(StoreError, match=r"b\.json: .*write it anew"):
        read(tmp_path / "b.json")
    with pytest.raises(StoreError, match=r"none\.json: cannot be read"):
        read(tmp_path / "none.json")


def test_a_runbook_says_where_each_line_comes_from_and_names_stay_text() -> None:
    page = runbooks(Policy(), EVERY_NAME)["FlyballToolFailing.md"]
    assert "Wherever it has no line: the policy: alerts.tool_failure_share = 0.5." in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(EVERY_NAME[0].lines)
    assert r"| \<\/script\>" in page or r"| \</script\> | \</script\> |" in page
    assert r"| \| |" not in page.replace(r"| \| | \| |", "")


@needs_promtool
def test_the_command_writes_lines_that_prometheus_takes_and_check_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db, policy, out = tmp_path / "t.duckdb", tmp_path / "flyball.toml", tmp_path / "out"
    with writing(db) as con:
        loader = Loader(con)
        loader.add(Case("many", runs(7), []).traces(), "case")
        loader.finish()
    policy.write_text("[alerts]\nbaseline_runs = 6\nsilent_seconds = 77.0\n", "utf-8")
    assert main(["alerts", "generate", "--out", str(out), "--db", str(db), "--policy", str(policy)]) == 0
    assert "flyball:run_cost_usd:line: 1 lines from recorded history, 0 not known" in capsys.readouterr().err
    text = (out / RULES_FILE).read_text()
    assert 'record: "flyball:run_cost_usd:line"' in text
    assert "flyball:run_silent_seconds:line" not in text
    assert run(out, "check", RULES_FILE).returncode == 0
    tested = run(out, "test", TESTS_FILE)
    assert tested.returncode == 0, tested.stderr
    lines = [
        "--baselines",
        str(out / "flyball.baselines.json"),
        "--db",
        str(db),
        "--policy",
        str(policy),
        "--format",
        "json",
    ]
    assert main(["alerts", "check", *lines]) == 0
    assert main(["alerts", "backtest", *lines]) == 0
    assert json.loads(capsys.readouterr().out.split("\n}\n", 1)[1])["rules"]
    assert {SETTINGS[m] for m in SETTINGS} == {
        "cost.run_usd",
        "alerts.silent_seconds",
        "alerts.loop_share",
        "alerts.tool_failure_share",
    }
