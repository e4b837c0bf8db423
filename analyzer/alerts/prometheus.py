"""Prometheus files from a policy: recording and alerting rules, and their unit tests for `promtool test rules`."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import Final

from analyzer.alerts.conditions import number
from analyzer.alerts.metrics import (
    HOUR_COST,
    HOUR_COST_USUAL,
    HOUR_LOOPS,
    HOUR_RUNS,
    METRICS,
    TOOL_CALLS,
    TOOL_FAILURES,
    Metric,
)
from analyzer.alerts.rule import VALUE, Rule, Samples
from analyzer.alerts.rules import rules
from analyzer.alerts.yaml import Value, emit
from instrument.policy import Policy

RULES_FILE: Final = "flyball.rules.yml"
TESTS_FILE: Final = "flyball.rules.test.yml"
RUNBOOKS: Final = "runbooks"
"""Folder of the runbook pages, beside the rules."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When rules are evaluated and how long a condition must hold, in whole seconds."""

    interval_seconds: int = 30
    for_seconds: int = 60
    """Two evaluations: a condition that one scrape saw half written wakes nobody."""
    keep_firing_seconds: int = 300
    """Bridges a missed scrape, or a run that ends and starts again and would page twice (Prometheus 2.42 and later)."""


NO_DATA: Final = (
    "No series means that nothing of the kind is active, or that nothing is scraped. "
    "The alert stays silent then; silence is not health: watch up and absent() of the scrape job."
)
RECORDED: Final = {
    "flyball:hour_loop:ratio": (HOUR_LOOPS, HOUR_RUNS),
    "flyball:recent_tool_failure:ratio": (TOOL_FAILURES, TOOL_CALLS),
    "flyball:hour_cost_usd:ratio_to_usual": (HOUR_COST, HOUR_COST_USUAL),
}
"""Ratios that dashboards show, by the name they are recorded under."""
_TEST_LABELS: Final = {"agent_name": "support", "model": "claude-test", "tool_name": "search"}
_WHERE: Final[dict[tuple[str, ...], str]] = {
    ("agent_name", "model"): " ({agent_name} on {model})",
    ("agent_name",): " ({agent_name})",
    ("tool_name",): " ({tool_name})",
    (): "",
}


def generate(policy: Policy, timing: Timing | None = None, *, runbooks: str = RUNBOOKS) -> dict[str, str]:
    """File name -> text: the rules, and the tests that prove each of them fires when it must and only then.

    For any valid policy `promtool check rules` accepts the first and `promtool test rules` passes the second
    (Prometheus 2.42 or later). `runbooks` is the address, or the folder, under which the runbook pages stand.
    """
    found, when = rules(policy), timing or Timing()
    return {
        RULES_FILE: _head(policy) + emit(_groups(found, when, runbooks)) + _METRICS_TABLE,
        TESTS_FILE: _TESTS_HEAD + emit(_tests(found, when, runbooks)),
    }


def _head(policy: Policy) -> str:
    origin = "the default policy" if policy == Policy() else "your policy"
    return f"# Alert rules of flyball, made from {origin}; make them anew when it changes.\n"


_METRICS_TABLE: Final = "\n# The gauges they rest on, with their labels:\n" + "".join(
    f"#   {m.name}{{{', '.join(m.labels)}}}\n#       {m.meaning}\n" for m in METRICS
)
_TESTS_HEAD: Final = (
    f"# One case that fires and one that does not for each rule. Run: promtool test rules {TESTS_FILE}\n"
)


def _groups(found: tuple[Rule, ...], timing: Timing, runbooks: str) -> Value:
    interval = f"{timing.interval_seconds}s"
    recorded: list[Value] = [{"record": name, "expr": f"{part} / {whole}"} for name, (part, whole) in RECORDED.items()]
    alerting: list[Value] = [_rule(rule, timing, runbooks) for rule in found]
    return {
        "groups": [
            {"name": "flyball", "interval": interval, "rules": alerting},
            {"name": "flyball_ratios", "interval": interval, "rules": recorded},
        ]
    }


def _rule(rule: Rule, timing: Timing, runbooks: str) -> Value:
    return {
        "alert": rule.alert,
        "expr": rule.expr,
        "for": f"{timing.for_seconds}s",
        "keep_firing_for": f"{timing.keep_firing_seconds}s",
        "labels": _labels(rule),
        "annotations": _annotations(rule, _templated(rule), rule.unit.template, runbooks),
    }


def _labels(rule: Rule) -> dict[str, Value]:
    labels: dict[str, Value] = {"severity": rule.severity}
    if rule.detectors:
        labels["detector"] = rule.detectors[0]
    return labels


def _templated(rule: Rule) -> str:
    return _WHERE[rule.labels].format(**{label: f"{{{{ $labels.{label} }}}}" for label in rule.labels})


def _annotations(rule: Rule, where: str, value: str, runbooks: str) -> dict[str, Value]:
    return {
        "summary": f"{rule.summary.replace(VALUE, value)}{where}.",
        "description": rule.description,
        "no_data": NO_DATA,
        "runbook_url": f"{runbooks.rstrip('/')}/{rule.alert}.md",
    }


def _tests(found: tuple[Rule, ...], timing: Timing, runbooks: str) -> Value:
    cases: list[Value] = [
        _case(rule, samples, timing, runbooks, fires=fires)
        for rule in found
        for samples, fires in ((rule.fires, True), (rule.quiet, False))
    ]
    return {"rule_files": [RULES_FILE], "evaluation_interval": f"{timing.interval_seconds}s", "tests": cases}


def _case(rule: Rule, samples: Samples, timing: Timing, runbooks: str, *, fires: bool) -> Value:
    count = timing.for_seconds // timing.interval_seconds + 8
    case: dict[str, Value] = {
        "name": f"{rule.alert} ({rule.severity}) {'fires' if fires else 'is quiet'}",
        "interval": f"{timing.interval_seconds}s",
        "input_series": [
            {"series": _series(metric), "values": _constant(value, count)} for metric, value in samples.items()
        ],
    }
    eval_time = f"{timing.interval_seconds * count}s"
    if fires:
        alerts: list[Value] = [_alert(rule, runbooks)]
        case["alert_rule_test"] = [{"eval_time": eval_time, "alertname": rule.alert, "exp_alerts": alerts}]
    else:
        # Not by alert name: just below the critical line the warning of the same name is right to fire.
        expr = f'ALERTS{{alertname="{rule.alert}", severity="{rule.severity}"}}'
        case["promql_expr_test"] = [{"eval_time": eval_time, "expr": expr, "exp_samples": []}]
    return case


def _alert(rule: Rule, runbooks: str) -> Value:
    labels: dict[str, Value] = {**_labels(rule), **{label: _TEST_LABELS[label] for label in rule.labels}}
    where = _WHERE[rule.labels].format(**_TEST_LABELS)
    return {"exp_labels": labels, "exp_annotations": _annotations(rule, where, rule.unit.shown(rule.value), runbooks)}


def _series(metric: Metric) -> str:
    labels = ", ".join(f'{label}="{_TEST_LABELS[label]}"' for label in metric.labels)
    return f"{metric}{{{labels}}}"


def _constant(value: float, samples: int) -> str:
    # promtool reads "3x20" but not "Infx20".
    return " ".join(["Inf"] * (samples + 1)) if isinf(value) else f"{number(value)}x{samples}"
