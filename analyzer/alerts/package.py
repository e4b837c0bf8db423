"""Everything that `flyball alerts generate` writes."""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.alerts import alertmanager, baselines, grafana, prometheus
from analyzer.alerts.baselines import Baseline
from analyzer.alerts.prometheus import RUNBOOKS
from analyzer.alerts.runbook import runbooks as pages
from analyzer.alerts.timing import Timing
from instrument.policy import Policy


def package(
    policy: Policy, timing: Timing | None = None, runbooks: str = RUNBOOKS, found: Sequence[Baseline] = ()
) -> dict[str, str]:
    """Path (with `/`) -> text: rules and their tests, a route, a dashboard, Grafana's rules, and a runbook page per alert.

    With the baselines that were `found` their file as well, for `flyball alerts check` and `backtest`.
    """
    when = timing or Timing()
    return {
        **prometheus.generate(policy, when, runbooks=runbooks, baselines=found),
        **({baselines.FILE: baselines.as_json(found)} if found else {}),
        alertmanager.FILE: alertmanager.example(),
        grafana.DASHBOARD_FILE: grafana.dashboard(policy),
        grafana.RULES_FILE: grafana.alert_rules(policy, when, runbooks, found),
        **{f"{RUNBOOKS}/{name}": page for name, page in pages(policy, found).items()},
    }
