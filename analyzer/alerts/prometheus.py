"""Prometheus files from a policy: recording and alerting rules, and their unit tests for `promtool test rules`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from analyzer.alerts import rule_tests
from analyzer.alerts.baselines import Baseline
from analyzer.alerts.conditions import number
from analyzer.alerts.metrics import (
    HOUR_COST,
    HOUR_COST_USUAL,
    HOUR_LOOPS,
    HOUR_RUNS,
    METRICS,
    MODEL_FAILURES,
    MODEL_REQUESTS,
    TOOL_CALLS,
    TOOL_FAILURES,
)
from analyzer.alerts.rule import Rule
from analyzer.alerts.rules import rules
from analyzer.alerts.timing import Timing
from analyzer.alerts.wording import labels, origin_of, templates
from analyzer.alerts.yaml import Value, emit
from instrument.policy import Policy

__all__ = ["RECORDED", "RULES_FILE", "RUNBOOKS", "TESTS_FILE", "Timing", "generate", "groups"]

RULES_FILE: Final = "flyball.rules.yml"
TESTS_FILE: Final = "flyball.rules.test.yml"
RUNBOOKS: Final = "runbooks"
"""Folder of the runbook pages, beside the rules."""


RECORDED: Final = {
    "flyball:hour_loop:ratio": (HOUR_LOOPS, HOUR_RUNS),
    "flyball:recent_tool_failure:ratio": (TOOL_FAILURES, TOOL_CALLS),
    "flyball:recent_model_failure:ratio": (MODEL_FAILURES, MODEL_REQUESTS),
    "flyball:hour_cost_usd:ratio_to_usual": (HOUR_COST, HOUR_COST_USUAL),
}
"""Ratios that dashboards show, by the name they are recorded under."""


def generate(
    policy: Policy, timing: Timing | None = None, *, runbooks: str = RUNBOOKS, baselines: Sequence[Baseline] = ()
) -> dict[str, str]:
    """File name -> text: the rules, and the tests that prove each of them fires when it must and only then.

    For any valid policy and any names in the baselines `promtool check rules` accepts the first and `promtool test rules` passes the
    second (Prometheus 2.42 or later). `runbooks` is the address, or the folder, under which the runbook pages stand.
    """
    found, when = rules(policy, baselines), timing or Timing()
    return {
        RULES_FILE: _head(policy) + emit(groups(found, baselines, when, runbooks)) + _METRICS_TABLE,
        TESTS_FILE: _TESTS_HEAD + emit(rule_tests.document(RULES_FILE, found, baselines, when, runbooks)),
    }


def _head(policy: Policy) -> str:
    origin = "the default policy" if policy == Policy() else "your policy"
    return f"# Alert rules of flyball, made from {origin}; make them anew when it changes.\n"


_METRICS_TABLE: Final = "\n# The gauges they rest on, with their labels:\n" + "".join(
    f"#   {m.name}{{{', '.join(m.labels)}}}\n#       {m.meaning}\n" for m in METRICS
)
_TESTS_HEAD: Final = f"""# For every line of every rule a case that just reaches it and one that just does not.
# Run: promtool test rules {TESTS_FILE}
"""


def groups(found: Sequence[Rule], baselines: Sequence[Baseline], timing: Timing, runbooks: str) -> Value:
    """The rules file as values."""
    interval = f"{timing.interval_seconds}s"
    recorded: list[Value] = [{"record": name, "expr": f"{part} / {whole}"} for name, (part, whole) in RECORDED.items()]
    # Before the rules that read them: those of one group are evaluated in their order.
    alerting: list[Value] = [*_lines(baselines), *(_rule(rule, timing, runbooks) for rule in found)]
    return {
        "groups": [
            {"name": "flyball", "interval": interval, "rules": alerting},
            {"name": "flyball_ratios", "interval": interval, "rules": recorded},
        ]
    }


def _lines(baselines: Sequence[Baseline]) -> Iterator[Value]:
    """Each line of a baseline as a constant series, and beside it where it comes from."""
    for baseline in baselines:
        for line in baseline.known:
            assert line.value is not None
            named: dict[str, Value] = dict(zip(baseline.metric.labels, line.labels, strict=True))
            yield {"record": baseline.metric.name, "expr": f"vector({number(line.value)})", "labels": named}
            yield {
                "record": origin_of(baseline.metric),
                "expr": f"vector({line.seen})",
                "labels": {**named, "origin": line.origin},
            }


def _rule(rule: Rule, timing: Timing, runbooks: str) -> Value:
    return {
        "alert": rule.alert,
        "expr": rule.expr,
        "for": f"{timing.for_seconds}s",
        "keep_firing_for": f"{timing.keep_firing_seconds}s",
        "labels": labels(rule),
        "annotations": templates(rule, runbooks),
    }
