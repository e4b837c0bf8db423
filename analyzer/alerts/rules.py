"""All alert rules as values: every threshold in them is a field of the policy.

Each rule brings the cases that test it: for each of its lines samples that just reach it, and samples that just do not.
"""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.alerts import fleet_rules, model_rules, run_rules
from analyzer.alerts.baselines import Baseline
from analyzer.alerts.rule import Rule
from instrument.policy import Policy


def rules(policy: Policy, baselines: Sequence[Baseline] = ()) -> tuple[Rule, ...]:
    """All rules of `policy`: those about a run in the order of the six failure modes, then those about many runs.

    Where a baseline knows a line for the labels of an alert, it takes the place of the policy's.
    """
    lined = frozenset(baseline.metric for baseline in baselines if baseline.known)
    return (
        *run_rules.error_cascade(policy),
        *run_rules.loops(policy),
        *run_rules.context(policy),
        *run_rules.hallucinated(policy),
        *run_rules.stuck(policy, lined),
        *run_rules.run_cost(policy, lined),
        *fleet_rules.loop_rate(policy, lined),
        *fleet_rules.tool_failures(policy, lined),
        *model_rules.failing(policy),
        *model_rules.refused(policy),
        *model_rules.retried(policy),
        *fleet_rules.guard_stops(policy),
        *fleet_rules.cost_spike(policy),
        *fleet_rules.budget_burn(policy),
        *fleet_rules.user_spend(policy),
        *fleet_rules.unknown_prices(),
        *fleet_rules.reviews(policy),
        *fleet_rules.recording(),
    )
