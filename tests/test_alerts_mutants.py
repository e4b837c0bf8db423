"""The generated tests are sharp: any threshold a tenth off, any wait an evaluation off, and promtool says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_alerts_prometheus import needs_promtool, run

from analyzer.alerts import rule_tests
from analyzer.alerts.baselines import Baseline, Line
from analyzer.alerts.conditions import Grew
from analyzer.alerts.metrics import LOOP_LINE, RUN_COST_LINE, SILENT_LINE, TOOL_FAILURE_LINE
from analyzer.alerts.prometheus import RULES_FILE, TESTS_FILE, Timing, groups
from analyzer.alerts.rules import rules
from analyzer.alerts.yaml import emit
from instrument.policy import Alerts, Cost, Policy

POLICY = Policy(alerts=Alerts(day_usd=240.0), cost=Cost(user_day_limit_usd=100.0))
"""With all rules there are."""
LINES = tuple(
    Baseline(metric, (Line(tuple(f"of {name}" for name in metric.labels), value, 40, "40 healthy runs"),))
    for metric, value in ((RUN_COST_LINE, 0.7), (SILENT_LINE, 150.0), (LOOP_LINE, 0.3), (TOOL_FAILURE_LINE, 0.4))
)
NUMBER = re.compile(r"(?<![\w.:])(\d+(?:\.\d+)?)(h?)(?![\w.])|(flyball:\w+:line)")
NAME = re.compile(r'"?(Flyball\w+?_\d+)\b')


def mutants(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was changed, and the rule with it: each number and each recorded line a tenth less and more, each wait an evaluation."""
    expr = rule["expr"]
    for found in NUMBER.finditer(expr):
        for factor in (0.9, 1.1):
            if found[3]:
                other = f"({found[3]} * {factor})"
            elif found[2]:
                yield f"{found[0]} is {factor} h", {**rule, "expr": expr.replace(found[0], f"{factor * 3600:.0f}s")}
                continue
            elif float(found[1]):
                other = repr(float(found[1]) * factor)
            else:
                other = "-0.1"  # a tenth of nothing is nothing
            if found[3] and expr[: found.start()].rstrip().endswith("unless"):
                continue  # only whether there is a line is asked there
            yield f"{found[0]} is {other}", {**rule, "expr": expr[: found.start()] + other + expr[found.end() :]}
    for wait in ("for", "keep_firing_for"):
        for seconds in (-30, 30):
            other = f"{int(rule[wait][:-1]) + seconds}s"
            yield f"{wait} is {other}", {**rule, wait: other}


def named(test: dict[str, Any], names: dict[tuple[str, str], list[str]]) -> dict[str, Any]:
    """The test, asking of each mutant what it asks of the original."""
    asked, said = [], []
    severities = dict(re.findall(r'alertname="(\w+)", severity="(\w+)"', str(test["promql_expr_test"])))
    for one in test.get("alert_rule_test", []):
        alerts = [{**alert, "exp_annotations": {}} for alert in one["exp_alerts"]]
        mine = names[one["alertname"], severities[one["alertname"]]]
        asked += [{**one, "alertname": name, "exp_alerts": alerts} for name in mine]
    for one in test["promql_expr_test"]:
        ((alert, severity),) = re.findall(r'alertname="(\w+)", severity="(\w+)"', one["expr"])
        said += [{**one, "expr": one["expr"].replace(f'"{alert}"', f'"{name}"')} for name in names[alert, severity]]
    return {**test, "alert_rule_test": asked, "promql_expr_test": said}


@needs_promtool
@pytest.mark.parametrize("lasting", [False, True], ids=["all but one", "the one that looks back an hour"])
def test_a_threshold_or_a_wait_that_is_a_little_wrong_fails_the_generated_tests(tmp_path: Path, lasting: bool) -> None:
    found = [rule for rule in rules(POLICY, LINES) if isinstance(rule.when, Grew) is lasting]
    timing = Timing()
    document: Any = groups(found, LINES, timing, "runbooks")
    tests: Any = rule_tests.document(RULES_FILE, found, LINES, timing, "runbooks")
    changed: dict[str, str] = {}
    names: dict[tuple[str, str], list[str]] = {}
    """By alert and severity: two rules share a name, and a mutant of one must not hide behind the other."""
    mutated: list[dict[str, Any]] = []
    for rule in document["groups"][0]["rules"]:
        for what, mutant in (("nothing", rule), *mutants(rule)) if "alert" in rule else ():
            name = f"{rule['alert']}_{len(changed)}"
            changed[name] = what
            names.setdefault((rule["alert"], rule["labels"]["severity"]), []).append(name)
            mutated.append({**mutant, "alert": name, "annotations": {}})
    recorded = [rule for rule in document["groups"][0]["rules"] if "record" in rule]
    document["groups"][0]["rules"] = [*recorded, *mutated]
    tests["tests"] = [named(test, names) for test in tests["tests"]]
    (tmp_path / RULES_FILE).write_text(emit(document), "utf-8")
    (tmp_path / TESTS_FILE).write_text(emit(tests), "utf-8")
    failed = set(NAME.findall(run(tmp_path, "test", TESTS_FILE).stderr))
    assert len(changed) > 6 * len(found)
    passed = {name: what for name, what in changed.items() if name not in failed}
    assert passed == {name: what for name, what in changed.items() if what == "nothing"}
