"""All alert rules as values: every threshold in them is a field of the policy.

Each rule brings the two cases that test it: samples at its threshold, which must fire, and samples just below, which
must not.
"""

from __future__ import annotations

from analyzer.alerts import fleet_rules, run_rules
from analyzer.alerts.rule import Rule
from instrument.policy import Policy


def rules(policy: Policy) -> tuple[Rule, ...]:
    """All rules of `policy`: those about a run in the order of the six failure modes, then those about many runs."""
    return (
        *run_rules.error_cascade(policy),
        *run_rules.loops(policy),
        *run_rules.context(policy),
        *run_rules.hallucinated(policy),
        *run_rules.stuck(policy),
        *run_rules.run_cost(policy),
        *fleet_rules.loop_rate(policy),
        *fleet_rules.tool_failures(policy),
        *fleet_rules.guard_stops(policy),
        *fleet_rules.cost_spike(policy),
        *fleet_rules.budget_burn(policy),
        *fleet_rules.user_spend(policy),
        *fleet_rules.unknown_prices(),
        *fleet_rules.reviews(policy),
        *fleet_rules.recording(),
    )
