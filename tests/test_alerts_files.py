"""The files beside the rules: what the tools that read them say of them, and whether a runbook's commands work as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from test_alerts_mutants import LINES
from test_alerts_mutants import POLICY as EVERY_RULE
from test_alerts_prometheus import EVERY_NAME, needs_promtool, policies, run

from analyzer.alerts.metrics import METRICS
from analyzer.alerts.package import package
from analyzer.alerts.prometheus import RULES_FILE
from analyzer.alerts.rules import rules
from analyzer.alerts.yaml import Value, emit
from analyzer.cli import main
from analyzer.readers import load, resolve
from instrument.policy import Policy

AMTOOL = shutil.which("amtool")
if AMTOOL is None and os.environ.get("CI"):
    pytest.fail("CI must have amtool (Debian package prometheus-alertmanager)", pytrace=False)
SAMPLES = Path(__file__).resolve().parents[1] / "sample_traces"
FILES = package(EVERY_RULE, found=EVERY_NAME)
RUNBOOKS = {name: text for name, text in FILES.items() if name.startswith("runbooks/")}


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


@pytest.mark.skipif(AMTOOL is None and not os.environ.get("CI"), reason="amtool is not installed")
def test_alertmanager_takes_the_route_and_critical_alerts_page(tmp_path: Path) -> None:
    assert AMTOOL
    config = str(written(tmp_path, FILES) / "alertmanager.example.yml")
    checked = subprocess.run([AMTOOL, "check-config", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    for severity, receiver in (("critical", "flyball-page"), ("warning", "flyball-morning")):
        routed = subprocess.run(
            [AMTOOL, "config", "routes", "test", f"--config.file={config}", "alertname=FlyballModelFailing", f"severity={severity}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert routed.stdout.strip() == receiver


def expressions(dashboard: dict[str, Any]) -> list[str]:
    return [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", [])]


@settings(max_examples=15, deadline=None)
@given(policies)
def test_the_dashboard_is_whole_for_any_policy(policy: Policy) -> None:
    dashboard = json.loads(package(policy)["grafana/flyball.dashboard.json"])
    panels = dashboard["panels"]
    assert [p["id"] for p in panels] == list(range(1, len(panels) + 1))
    places = [p["gridPos"] for p in panels]
    covered = [(x, y) for g in places for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])]
    assert len(covered) == len(set(covered))
    assert all(0 <= x < 24 for x, _ in covered)
    for panel in panels:
        assert panel["type"] in ("row", "timeseries")
        for step, after in zip(
            *[
                panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps", [])[k:]
                for k in (0, 1)
            ],
            strict=False,
        ):
            assert step["value"] is None or step["value"] <= after["value"]
    shown = {name for expr in expressions(dashboard) for name in re.findall(r"flyball_\w+", expr)}
    assert {m.name for m in METRICS} - shown <= {
        "flyball_group_cost_log_deviation", "flyball_group_runs", "flyball_spend_5m_usd", "flyball_spend_30m_usd", "flyball_spend_6h_usd",
    }  # fmt: skip


@needs_promtool
def test_prometheus_can_read_every_query_of_dashboard_and_runbooks(tmp_path: Path) -> None:
    asked = expressions(json.loads(FILES["grafana/flyball.dashboard.json"]))
    for page in RUNBOOKS.values():
        asked += re.findall(r"```promql\n(.*?)```", page, re.DOTALL)
        asked += [c for c in re.findall(r"`([^`\n]+)`", page) if re.match(r"(sort_desc|topk)\(|flyball[_:]", c)]
    assert len(asked) > 100
    recorded: list[Value] = [{"record": f"q{n}", "expr": expr} for n, expr in enumerate(asked)]
    (tmp_path / RULES_FILE).write_text(emit({"groups": [{"name": "q", "rules": recorded}]}), "utf-8")
    checked = run(tmp_path, "check", RULES_FILE)
    assert checked.returncode == 0, checked.stderr


def test_grafana_has_the_same_rules_and_each_has_its_page() -> None:
    found = rules(EVERY_RULE, EVERY_NAME)
    assert len(re.findall(r"(?m)^ {6}- uid: ", FILES["grafana/flyball.alerts.yml"])) == len(found)
    uids = re.findall(r'uid: "?([0-9a-f]+)"?$', FILES["grafana/flyball.alerts.yml"], re.MULTILINE)
    assert len(set(uids)) == len(found)
    assert set(RUNBOOKS) == {f"runbooks/{rule.alert}.md" for rule in found}
    for page in RUNBOOKS.values():
        assert re.findall(r"(?m)^## (.+)$", page)[:5] == ["Meaning", "Impact", "Diagnosis", "Mitigation", "Rule"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    load(resolve([str(SAMPLES)]), folder / "traces.duckdb")
    return folder


COMMANDS = sorted({c for page in RUNBOOKS.values() for c in re.findall(r"`(flyball [^`]+)`", page)})
TYPED = [c.split(" | ")[0].removeprefix("flyball ").split() for c in COMMANDS]


def test_each_command_of_a_runbook_is_one() -> None:
    assert len(COMMANDS) > 30
    known = {"app", "calibrate", "check", "diff", "explain", "metrics", "replay", "reviews"}
    assert {words[0] for words in TYPED} == known


@pytest.mark.parametrize(
    "words", [w for w in TYPED if w[0] in ("check", "explain", "replay", "calibrate")], ids=" ".join
)
def test_a_command_of_a_runbook_works_as_it_stands(
    words: list[str], samples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(samples)
    assert main(words) in (0, 1)
    assert capsys.readouterr().out


def test_the_metric_a_runbook_greps_for_is_served(
    samples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(samples)
    assert main(["metrics", "--db", "traces.duckdb", "--once"]) == 0
    served = capsys.readouterr().out
    greps = [c.split("grep ")[1] for c in COMMANDS if "grep " in c]
    missing = {grep for grep in greps if grep not in served}
    assert missing == {"flyball_review_wait_seconds_max"}  # without a ledger


def test_lines_are_in_every_file_that_needs_them() -> None:
    files = package(Policy(), found=LINES)
    for line in LINES:
        assert line.metric.name in files[RULES_FILE]
        assert line.metric.name in files["grafana/flyball.alerts.yml"]
        assert line.metric.name in files["flyball.baselines.json"]
    assert "flyball.baselines.json" not in package(Policy())
