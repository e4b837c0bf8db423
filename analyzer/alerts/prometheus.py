"""Prometheus files from a policy: alerting rules, and their unit tests for `promtool test rules`."""

from __future__ import annotations

from math import isinf
from typing import Final

from analyzer.alerts.metrics import LABELS, METRICS
from analyzer.alerts.rules import VALUE, Rule, Samples, number, rules
from analyzer.alerts.yaml import Value, emit
from instrument.policy import Policy

RULES_FILE: Final = "flyball.rules.yml"
TESTS_FILE: Final = "flyball.rules.test.yml"

INTERVAL: Final = "30s"
FOR: Final = "1m"
"""Two evaluations: a condition that one scrape saw half written wakes nobody."""
KEEP_FIRING_FOR: Final = "5m"
"""Bridges a missed scrape, or a run that ends and starts again and would page twice (Prometheus 2.42 and later)."""
NO_DATA: Final = (
    "No series means that no run of this agent is active, or that nothing is scraped. "
    "The alert stays silent then; silence is not health: watch up and absent() of the scrape job."
)
_TEST_LABELS: Final = {"agent_name": "support", "model": "claude-test"}
_TEST_MINUTES: Final = 10


def generate(policy: Policy) -> dict[str, str]:
    """File name -> text: the rules, and the tests that prove each of them fires when it must and only then.

    For any valid policy `promtool check rules` accepts the first and `promtool test rules` passes the second
    (Prometheus 2.42 or later).
    """
    found = rules(policy)
    return {
        RULES_FILE: _head(policy) + emit(_rule_groups(found)) + _METRICS_TABLE,
        TESTS_FILE: _TESTS_HEAD + emit(_tests(found)),
    }


def _head(policy: Policy) -> str:
    origin = "the default policy" if policy == Policy() else "your policy"
    return f"# Alert rules of flyball, made from {origin}; make them anew when it changes.\n"


_METRICS_TABLE: Final = f"\n# The gauges they rest on, labelled {' and '.join(LABELS)}:\n" + "".join(
    f"#   {m.name}\n#       {m.meaning}\n" for m in METRICS
)


_TESTS_HEAD: Final = (
    f"# One case that fires and one that does not for each rule. Run: promtool test rules {TESTS_FILE}\n"
)


def _rule_groups(found: tuple[Rule, ...]) -> Value:
    written: list[Value] = [_rule(rule) for rule in found]
    return {"groups": [{"name": "flyball", "interval": INTERVAL, "rules": written}]}


def _rule(rule: Rule) -> Value:
    return {
        "alert": rule.alert,
        "expr": rule.expr,
        "for": FOR,
        "keep_firing_for": KEEP_FIRING_FOR,
        "labels": _labels(rule),
        "annotations": _annotations(rule, _WHERE_TEMPLATE, rule.unit.template),
    }


def _labels(rule: Rule) -> dict[str, Value]:
    return {"severity": rule.severity, "detector": rule.detector}


_WHERE_TEMPLATE: Final = "{{ $labels.agent_name }} on {{ $labels.model }}"


def _annotations(rule: Rule, where: str, value: str) -> dict[str, Value]:
    return {
        "summary": f"{rule.summary.replace(VALUE, value)} ({where}).",
        "description": rule.description,
        "no_data": NO_DATA,
    }


def _tests(found: tuple[Rule, ...]) -> Value:
    cases: list[Value] = [
        case for rule in found for case in (_case(rule, rule.fires, True), _case(rule, rule.quiet, False))
    ]
    return {"rule_files": [RULES_FILE], "evaluation_interval": INTERVAL, "tests": cases}


def _case(rule: Rule, samples: Samples, fires: bool) -> Value:
    case: dict[str, Value] = {
        "name": f"{rule.alert} ({rule.severity}) {'fires' if fires else 'is quiet'}",
        "interval": INTERVAL,
        "input_series": [
            {"series": _series(metric.name), "values": _constant(value)} for metric, value in samples.items()
        ],
    }
    eval_time = f"{_TEST_MINUTES}m"
    if fires:
        case["alert_rule_test"] = [{"eval_time": eval_time, "alertname": rule.alert, "exp_alerts": [_alert(rule)]}]
    else:
        # Not by alert name: just below the critical line the warning of the same name is right to fire.
        expr = f'ALERTS{{alertname="{rule.alert}", severity="{rule.severity}"}}'
        case["promql_expr_test"] = [{"eval_time": eval_time, "expr": expr, "exp_samples": []}]
    return case


def _alert(rule: Rule) -> Value:
    labels: dict[str, Value] = {**_labels(rule), **_TEST_LABELS}
    where = f"{_TEST_LABELS['agent_name']} on {_TEST_LABELS['model']}"
    return {"exp_labels": labels, "exp_annotations": _annotations(rule, where, rule.unit.shown(rule.value))}


def _series(name: str) -> str:
    labels = ", ".join(f'{label}="{value}"' for label, value in _TEST_LABELS.items())
    return f"{name}{{{labels}}}"


def _constant(value: float) -> str:
    samples = _TEST_MINUTES * 2
    # promtool reads "3x20" but not "Infx20".
    return " ".join(["Inf"] * samples) if isinf(value) else f"{number(value)}x{samples}"
