"""What an alert says of itself in Prometheus: labels and annotations, as templates or filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from analyzer.alerts.metrics import Metric
from analyzer.alerts.rule import VALUE, Lined, Rule
from analyzer.alerts.yaml import Value

NO_DATA: Final = (
    "No series means that nothing of the kind is active, or that nothing is scraped. "
    "The alert stays silent then; silence is not health: watch up and absent() of the scrape job."
)
_WHERE: Final[dict[tuple[str, ...], str]] = {
    ("agent_name", "model"): " ({agent_name} on {model})",
    ("agent_name",): " ({agent_name})",
    ("tool_name",): " ({tool_name})",
    ("provider", "model"): " ({model} at {provider})",
    ("provider", "model", "kind"): " ({kind}; {model} at {provider})",
    (): "",
}


def labels(rule: Rule) -> dict[str, Value]:
    """Those that the rule adds to those of its series."""
    added: dict[str, Value] = {"severity": rule.severity}
    if rule.detectors:
        added["detector"] = rule.detectors[0]
    return added


def templates(rule: Rule, runbooks: str) -> dict[str, Value]:
    """Annotations as Go templates, which Prometheus fills in."""
    where = _where(rule, {name: f"{{{{ $labels.{name} }}}}" for name in rule.labels})
    line = None if rule.lined is None else _origin(rule.lined)
    return _annotations(rule, where, rule.unit.template, _literal(runbooks), line)


def filled(rule: Rule, values: Mapping[str, str], value: float, runbooks: str, origin: str | None) -> dict[str, Value]:
    """The same for an alert with such labels and such a `$value`, whose line comes from `origin` (None: from the policy)."""
    line = None if rule.lined is None else rule.lined.otherwise if origin is None else origin
    return _annotations(rule, _where(rule, values), rule.unit.shown(value), runbooks, line)


def _annotations(rule: Rule, where: str, value: str, runbooks: str, line: str | None) -> dict[str, Value]:
    found: dict[str, Value] = {
        "summary": f"{rule.summary.replace(VALUE, value)}{where}.",
        "description": rule.description,
        "no_data": NO_DATA,
        "runbook_url": f"{runbooks.rstrip('/')}/{rule.alert}.md",
    }
    return found if line is None else {**found, "line": line}


def _where(rule: Rule, values: Mapping[str, str]) -> str:
    return _WHERE[rule.labels].format(**values)


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def _origin(lined: Lined) -> str:
    """Asks Prometheus for the series beside the line that says where the line comes from. %q quotes as PromQL does."""
    names = lined.metric.labels
    series = f"{origin_of(lined.metric)}{{{','.join(f'{name}=%q' for name in names)}}}"
    asked = f"with printf `{series}` {' '.join(f'$labels.{name}' for name in names)} | query"
    return f'{{{{ {asked} }}}}{{{{ . | first | label "origin" }}}}{{{{ else }}}}{lined.otherwise}{{{{ end }}}}'


def origin_of(line: Metric) -> str:
    """Name of the series whose label `origin` says where the lines of a baseline come from; its value is how many runs or calls."""
    return f"{line.name}_origin"
