"""Everything that `flyball alerts generate` writes."""

from __future__ import annotations

from analyzer.alerts import alertmanager, grafana, prometheus
from analyzer.alerts.prometheus import RUNBOOKS, Timing
from analyzer.alerts.runbook import runbooks as pages
from instrument.policy import Policy


def package(policy: Policy, timing: Timing | None = None, runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Path (with `/`) -> text: rules and their tests, a route, a dashboard, Grafana's rules, and a runbook page per alert."""
    when = timing or Timing()
    return {
        **prometheus.generate(policy, when, runbooks=runbooks),
        alertmanager.FILE: alertmanager.example(),
        grafana.DASHBOARD_FILE: grafana.dashboard(policy),
        grafana.RULES_FILE: grafana.alert_rules(policy, when, runbooks),
        **{f"{RUNBOOKS}/{name}": page for name, page in pages(policy).items()},
    }
