"""One page per alert for whoever is woken, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from analyzer.alerts.baselines import Baseline
from analyzer.alerts.metrics import Metric
from analyzer.alerts.rule import VALUE, Lined, Rule
from analyzer.alerts.rules import rules
from instrument.policy import Policy


def runbooks(policy: Policy, baselines: Sequence[Baseline] = ()) -> dict[str, str]:
    """Page by file name (`FlyballX.md`)."""
    by_alert: dict[str, list[Rule]] = {}
    for rule in rules(policy, baselines):
        by_alert.setdefault(rule.alert, []).append(rule)
    return {f"{alert}.md": "\n".join(_page(alert, group, baselines)) + "\n" for alert, group in by_alert.items()}


def _page(alert: str, group: Sequence[Rule], baselines: Sequence[Baseline]) -> Iterable[str]:
    first = group[0]
    yield f"# {alert}"
    yield ""
    yield f"{first.summary.replace(VALUE, 'N')}. {first.description}"
    for title, text in (("Meaning", (first.runbook.meaning,)), ("Impact", (first.runbook.impact,))):
        yield from ("", f"## {title}", "", *text)
    diagnosis = (*_first_look(first), *first.runbook.diagnosis)
    for title, steps in (("Diagnosis", diagnosis), ("Mitigation", first.runbook.mitigation)):
        yield from ("", f"## {title}", "", *(f"{n}. {step}" for n, step in enumerate(steps, 1)))
    yield from ("", "## Rule", "")
    for rule in group:
        yield from (f"Severity `{rule.severity}`:", "", "```promql", rule.expr, "```", "")
    metrics: dict[Metric, None] = dict.fromkeys(m for rule in group for m in rule.when.metrics())
    yield from (f"- `{metric.name}`: {metric.meaning}" for metric in metrics)
    for baseline in baselines:
        if first.lined is not None and baseline.metric == first.lined.metric:
            yield from _lines(baseline, first.lined)
    if first.detectors:
        names = ", ".join(f"`flyball explain {slug}`" for slug in first.detectors)
        yield from ("", f"Afterwards in the report: {names}.")


def _first_look(rule: Rule) -> Iterable[str]:
    """Whom it is about and how bad it is, with and without Prometheus; commands as they are typed."""
    metric = next(rule.when.metrics())
    whom = f", by {' and '.join(f'`{label}`' for label in rule.labels)}" if rule.labels else ""
    yield (
        f"How bad is it now{whom}? In Prometheus or Grafana: `sort_desc({metric})`. Without: "
        f"`flyball metrics --db traces.duckdb --once | grep {metric}`. Put the database that your agents record into "
        "for `traces.duckdb`, here and below."
    )
    if rule.detectors:
        yield f"Which runs, and what happened in them: `flyball check traces.duckdb --select {','.join(rule.detectors)}`."


def _lines(baseline: Baseline, lined: Lined) -> Iterable[str]:
    """A table of the lines from recorded history; names from traces stay text."""
    yield from ("", "## Where the line comes from", "")
    yield f"`{baseline.metric.name}`, from recorded history. Wherever it has no line: {lined.otherwise[0].lower()}{lined.otherwise[1:]}"
    yield from (
        "",
        f"| {' | '.join(baseline.metric.labels)} | line |",
        f"|{'---|' * (len(baseline.metric.labels) + 1)}",
    )
    yield from (f"| {' | '.join(map(_text, line.labels))} | {_text(line.origin)} |" for line in baseline.lines)


def _text(name: str) -> str:
    """In a cell of a table, as one line of plain text."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", shown)
