"""One page per alert for whoever is woken, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analyzer.alerts.metrics import Metric
from analyzer.alerts.rule import VALUE, Rule
from analyzer.alerts.rules import rules
from instrument.policy import Policy


def runbooks(policy: Policy) -> dict[str, str]:
    """Page by file name (`FlyballX.md`)."""
    by_alert: dict[str, list[Rule]] = {}
    for rule in rules(policy):
        by_alert.setdefault(rule.alert, []).append(rule)
    return {f"{alert}.md": "\n".join(_page(alert, group)) + "\n" for alert, group in by_alert.items()}


def _page(alert: str, group: Sequence[Rule]) -> Iterable[str]:
    first = group[0]
    yield f"# {alert}"
    yield ""
    yield f"{first.summary.replace(VALUE, 'N')}. {first.description}"
    for title, text in (("Meaning", (first.runbook.meaning,)), ("Impact", (first.runbook.impact,))):
        yield from ("", f"## {title}", "", *text)
    for title, steps in (("Diagnosis", first.runbook.diagnosis), ("Mitigation", first.runbook.mitigation)):
        yield from ("", f"## {title}", "", *(f"{n}. {step}" for n, step in enumerate(steps, 1)))
    yield from ("", "## Rule", "")
    for rule in group:
        yield from (f"Severity `{rule.severity}`:", "", "```promql", rule.expr, "```", "")
    metrics: dict[Metric, None] = dict.fromkeys(m for rule in group for m in rule.when.metrics())
    yield from (f"- `{metric.name}`: {metric.meaning}" for metric in metrics)
    if first.detectors:
        names = ", ".join(f"`flyball explain {slug}`" for slug in first.detectors)
        yield from ("", f"Afterwards in the report: {names}.")
