"""For Grafana: a dashboard of the gauges, and the same rules as Grafana-managed alerts.

Shapes: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/ and
https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from analyzer.alerts import metrics
from analyzer.alerts.baselines import Baseline
from analyzer.alerts.metrics import Metric
from analyzer.alerts.rule import VALUE, Rule
from analyzer.alerts.rules import rules
from analyzer.alerts.timing import Timing
from analyzer.alerts.yaml import Value, emit
from instrument.policy import Policy

DASHBOARD_FILE: Final = "grafana/flyball.dashboard.json"
RULES_FILE: Final = "grafana/flyball.alerts.yml"
_SOURCE_UID: Final = "prometheus"
"""Uid of the data source in the rules; Grafana's file has no way to ask for it, as the dashboard does."""

_UNITS: Final = {"_usd": "currencyUSD", "_seconds": "s", "_share": "percentunit"}
_ROWS: Final[tuple[tuple[str, tuple[Metric, ...]], ...]] = (
    ("Runs", (metrics.ACTIVE_RUNS, metrics.HOUR_RUNS, metrics.HOUR_LOOPS, metrics.HOUR_STOPS)),
    ("Loops", (metrics.REPEATED_CALLS, metrics.CYCLE_ROUNDS, metrics.NEAR_REPEATS)),
    ("Tools", (metrics.SAME_FAILURES, metrics.FAILED_CALLS, metrics.TOOL_CALLS, metrics.TOOL_FAILURES)),
    (
        "Model",
        (metrics.MODEL_REQUESTS, metrics.MODEL_FAILURES, metrics.MODEL_FAILURE_KINDS, metrics.MODEL_REFUSALS, metrics.MODEL_RETRIES),
    ),
    ("Hallucinated calls", (metrics.UNKNOWN_TOOL_CALLS, metrics.INVALID_CALLS)),
    ("Context", (metrics.CONTEXT_SHARE, metrics.CONTEXT_TURNS_LEFT)),
    ("Stuck", (metrics.REPEATED_OUTPUTS, metrics.SILENT_SECONDS, metrics.RUN_SECONDS)),
    (
        "Cost",
        (metrics.RUN_COST, metrics.GROUP_COST, metrics.HOUR_COST, metrics.HOUR_COST_USUAL, metrics.SPEND_1H, metrics.USER_DAY_COST),
    ),
    ("People and recording", (metrics.REVIEWS_WAITING, metrics.REVIEW_WAIT_SECONDS, metrics.LOST_SPANS, metrics.UNPRICED_CALLS)),
)  # fmt: skip
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 24


def dashboard(policy: Policy) -> str:
    """The dashboard as JSON, to be imported; lines of the policy are drawn where a rule has one."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, shown in _ROWS:
        panels.append(
            {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _place(0, top, _COLUMNS, 1)}
        )
        top += 1
        for n, metric in enumerate(shown):
            place = _place(n * _WIDTH % _COLUMNS, top + n * _WIDTH // _COLUMNS * _HEIGHT, _WIDTH, _HEIGHT)
            panels.append(_panel(metric, place, _lines(metric, policy)))
        top += -(-len(shown) * _WIDTH // _COLUMNS) * _HEIGHT
    for n, panel in enumerate(panels, 1):
        panel["id"] = n
    whole = {
        "uid": "flyball",
        "title": "Flyball: agent runs",
        "tags": ["flyball"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "panels": panels,
    }
    return json.dumps(whole, indent=1) + "\n"


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(metric: Metric, place: dict[str, int], lines: list[tuple[float, str]]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": "red" if severity == "critical" else "orange", "value": line} for line, severity in lines]
    unit = next((u for part, u in _UNITS.items() if part in metric.name), "short")
    return {
        "type": "timeseries",
        "title": metric.name.removeprefix("flyball_").replace("_", " "),
        "description": metric.meaning,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0,
                "custom": {"thresholdsStyle": {"mode": "line" if lines else "off"}, "fillOpacity": 10},
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "targets": [{"refId": "A", "expr": metric.name, "legendFormat": _legend(metric)}],
    }


def _legend(metric: Metric) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in metric.labels) or "all agents"


def _lines(metric: Metric, policy: Policy) -> list[tuple[float, str]]:
    """Where the rules that rest on this metric alone begin to fire, ascending."""
    alone = [r for r in rules(policy) if set(r.when.metrics()) == {metric}]
    return sorted({(float(r.fires.samples[metric]), r.severity) for r in alone})


def alert_rules(policy: Policy, timing: Timing, runbooks: str, baselines: Sequence[Baseline] = ()) -> str:
    """A provisioning file of Grafana-managed rules, which ask the data source with the uid `prometheus`.

    Lines of baselines are series that Prometheus records, so that they need its rules file as well.
    """
    groups: list[Value] = [
        {
            "orgId": 1,
            "name": "flyball",
            "folder": "flyball",
            # Grafana's scheduler ticks every ten seconds.
            "interval": f"{-(-timing.interval_seconds // 10) * 10}s",
            "rules": [_rule(rule, timing, runbooks) for rule in rules(policy, baselines)],
        }
    ]
    return f"# Grafana-managed rules of flyball; the data source must have the uid {_SOURCE_UID}.\n" + emit(
        {"apiVersion": 1, "groups": groups}
    )


def _rule(rule: Rule, timing: Timing, runbooks: str) -> Value:
    name = f"{rule.alert} ({rule.severity})"
    queried: dict[str, Value] = {
        "refId": "A",
        "datasourceUid": _SOURCE_UID,
        "relativeTimeRange": {"from": 600, "to": 0},
        "model": {"refId": "A", "expr": rule.expr, "instant": True},
    }
    # A PromQL comparison gives the series that meet it and nothing else, whatever their values: any sample is a hit.
    counted: dict[str, Value] = {
        "refId": "B",
        "datasourceUid": "__expr__",
        "model": {"refId": "B", "type": "math", "expression": "is_number($A)"},
    }
    return {
        "uid": blake2b(name.encode(), digest_size=12).hexdigest(),
        "title": name,
        "condition": "B",
        "data": [queried, counted],
        "for": f"{timing.for_seconds}s",
        "keepFiringFor": f"{timing.keep_firing_seconds}s",
        # No series means that nothing of the kind is active.
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": _summary(rule),
            "description": rule.description,
            "runbook_url": f"{runbooks.rstrip('/')}/{rule.alert}.md",
        },
    }


def _summary(rule: Rule) -> str:
    where = ", ".join(f"{{{{ $labels.{label} }}}}" for label in rule.labels)
    return rule.summary.replace(VALUE, "{{ $values.A }}") + (f" ({where})." if where else ".")
