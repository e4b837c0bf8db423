"""Alert rules about many runs: shares of loops and failures, guards that stop, spending, reviews, and the recording itself."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final

from analyzer.alerts.conditions import AtLeast, Both, Grew, TimesAtLeast
from analyzer.alerts.metrics import (
    HOUR_COST,
    HOUR_COST_USUAL,
    HOUR_LOOPS,
    HOUR_RUNS,
    HOUR_STOPS,
    LOOP_LINE,
    LOST_SPANS,
    REVIEW_WAIT_SECONDS,
    SPEND_1H,
    SPEND_5M,
    SPEND_6H,
    SPEND_30M,
    TOOL_CALLS,
    TOOL_FAILURE_LINE,
    TOOL_FAILURES,
    UNPRICED_CALLS,
    USER_DAY_COST,
    Metric,
)
from analyzer.alerts.rule import COUNT, SECONDS, SHARE, USD, VALUE, About, Case, Rule, Runbook, Severity, below
from analyzer.alerts.share_rules import Share
from instrument.policy import Policy


def loop_rate(policy: Policy, lined: Set[Metric] = frozenset()) -> Iterator[Rule]:
    """How many of an agent's runs loop."""
    share, runs = policy.alerts.loop_share, policy.alerts.loop_runs
    about = About(
        alert="FlyballLoopRate",
        detectors=("repeated_call", "call_cycle", "near_repeat"),
        summary=f"{VALUE} of this agent's runs of the last hour looped",
        description="One looping run is an accident; a share of them is a prompt, a tool or a model that has changed.",
        runbook=Runbook(
            meaning="Many runs of one agent ask again what they asked before.",
            impact="All of them cost more and answer later; users see time-outs.",
            diagnosis=(
                "Page Failures, filtered by the agent: do the loops call the same tool?",
                "What was deployed when it began? Load runs from before and after it and compare: `flyball diff before/ after/`.",
            ),
            mitigation=("Roll back the prompt or the tool; let guards block repeated calls meanwhile (`[loops]`).",),
        ),
        unit=SHARE,
    )
    looping = Share(HOUR_LOOPS, HOUR_RUNS, runs)
    if LOOP_LINE in lined:
        yield looping.lined_rule(about, share, LOOP_LINE, "alerts.loop_share")
    else:
        yield looping.rule(about, share)


def tool_failures(policy: Policy, lined: Set[Metric] = frozenset()) -> Iterator[Rule]:
    """The error rate of each tool."""
    share, calls = policy.alerts.tool_failure_share, policy.alerts.tool_failure_calls
    about = About(
        alert="FlyballToolFailing",
        detectors=("error_cascade", "ignored_error", "tool_timeout"),
        summary=f"{VALUE} of the recent calls of a tool failed",
        description="In whatever runs: the tool or what stands behind it is broken.",
        runbook=Runbook(
            meaning="Of the calls of one tool that ended within the last ten minutes, a large share failed.",
            impact="Agents that need it give wrong answers, retry, or give up.",
            diagnosis=(
                "Page Tools: its failures by kind, and since when. Over some days: `flyball:recent_tool_failure:ratio`.",
                "Call the tool's backend by hand with the arguments of a failed call.",
            ),
            mitigation=(
                "Mend the backend, or take the tool from the agents until it is: they answer better without it.",
            ),
        ),
        unit=SHARE,
    )
    failing = Share(TOOL_FAILURES, TOOL_CALLS, calls)
    if TOOL_FAILURE_LINE in lined:
        yield failing.lined_rule(about, share, TOOL_FAILURE_LINE, "alerts.tool_failure_share")
    else:
        yield failing.rule(about, share)


def guard_stops(policy: Policy) -> Iterator[Rule]:
    """Runs that guards had to stop."""
    stops = policy.alerts.guard_stops
    yield About(
        alert="FlyballGuardStops",
        summary=f"Guards stopped {VALUE} runs of this agent within an hour",
        description="The guards work, and the users of those runs got less than they asked for.",
        runbook=Runbook(
            meaning="Several runs of one agent reached a line of the policy at which a guard ends a run.",
            impact="Those runs ended with a forced final answer, or none.",
            diagnosis=(
                "Page Failures: which guard, and was it right? `flyball replay traces.duckdb` says which stopped runs had been doing well.",
            ),
            mitigation=(
                "Right: mend what makes the runs fail.",
                "Wrong: `flyball calibrate traces.duckdb --assume-good` proposes lines from your good runs.",
            ),
        ),
        unit=COUNT,
    ).above(HOUR_STOPS, stops)


def cost_spike(policy: Policy) -> Iterator[Rule]:
    """The last hour against the same hour of other days."""
    alerts = policy.alerts
    usual = max(1.0, alerts.spike_usd)  # so that what reaches the ratio is dear enough
    by_ratio = alerts.spike_ratio * usual
    yield About(
        alert="FlyballCostSpike",
        detectors=("cost_outlier",),
        summary=f"An agent spent {VALUE} in the last hour, far more than at this hour of other days",
        description="Compared with the median of the same hour of the seven days before.",
        runbook=_SPENDING,
        unit=USD,
    ).rule(
        Both((TimesAtLeast(HOUR_COST, alerts.spike_ratio, HOUR_COST_USUAL), AtLeast(HOUR_COST, alerts.spike_usd))),
        Case({HOUR_COST: by_ratio, HOUR_COST_USUAL: usual}, by_ratio),
        Case({HOUR_COST: below(by_ratio), HOUR_COST_USUAL: usual}),
        Case({HOUR_COST: alerts.spike_usd, HOUR_COST_USUAL: 0.0}, alerts.spike_usd),
        Case({HOUR_COST: below(alerts.spike_usd), HOUR_COST_USUAL: 0.0}),
    )


def budget_burn(policy: Policy) -> Iterator[Rule]:
    """The rate at which a day's budget burns, in a fast and a slow window; no rule without a budget."""
    alerts = policy.alerts
    if alerts.day_usd is None:
        return
    hour_usd = alerts.day_usd / 24
    windows: tuple[tuple[Severity, float, tuple[Metric, float], tuple[Metric, float]], ...] = (
        ("critical", alerts.fast_burn, (SPEND_1H, 1.0), (SPEND_5M, 1 / 12)),
        ("warning", alerts.slow_burn, (SPEND_6H, 6.0), (SPEND_30M, 0.5)),
    )
    for severity, burn, (long, long_hours), (short, short_hours) in windows:
        lines = {long: burn * hour_usd * long_hours, short: burn * hour_usd * short_hours}
        yield About(
            alert="FlyballBudgetBurn",
            detectors=("over_budget",),
            summary=f"All agents together spent {VALUE}, {burn:g} times the rate that a day's budget allows",
            description=(
                f"The day's budget is ${alerts.day_usd:,.2f} (`alerts.day_usd`). The longer window says that it matters, "
                "the shorter one that it still goes on."
            ),
            runbook=_SPENDING,
            unit=USD,
        ).rule(
            Both(tuple(AtLeast(metric, line) for metric, line in lines.items())),
            Case(lines, lines[long]),
            Case({long: lines[long], short: below(lines[short])}),
            Case({long: below(lines[long]), short: lines[short]}),
            severity=severity,
        )


def user_spend(policy: Policy) -> Iterator[Rule]:
    """The dearest user of the day; no rule without a limit."""
    limit = policy.cost.user_day_limit_usd
    if limit is not None:
        line = policy.alerts.user_day_share * limit
        yield About(
            alert="FlyballUserSpend",
            detectors=("over_budget",),
            summary=f"One user's runs have cost {VALUE} today",
            description=f"The limit is ${limit:,.2f} a day (`cost.user_day_limit_usd`); further runs of this user will be refused.",
            runbook=_SPENDING,
            unit=USD,
        ).above(USER_DAY_COST, line)


def unknown_prices() -> Iterator[Rule]:
    """Spending that nobody can sum up."""
    yield About(
        alert="FlyballUnknownPrices",
        summary=f"The price of {VALUE} model calls of the last hour is not known",
        description="Every sum of money leaves them out, and no budget holds for them. `flyball check traces.duckdb` lists what they need.",
        runbook=_SPENDING,
        unit=COUNT,
    ).above(UNPRICED_CALLS, 1)


_SPENDING: Final = Runbook(
    meaning="Money is spent faster than is usual or allowed, or nobody can say how fast.",
    impact="The bill.",
    diagnosis=(
        "Page Cost: by agent, model, user and day. In Prometheus: `topk(5, flyball_hour_cost_usd)`.",
        "More runs (`flyball_hour_runs`), or dearer ones (`flyball_run_cost_usd_max`)?",
        "Dearer: did the model change, did the prompt cache stop hitting (`cache_bust`), do runs loop?",
    ),
    mitigation=(
        "Lower the budgets (`cost.run_limit_usd`, `cost.user_day_limit_usd`): guarded runs then end with a final answer.",
        "Where prices are missing, add them under `[prices]` in flyball.toml.",
    ),
)


def reviews(policy: Policy) -> Iterator[Rule]:
    """Requests that wait for a person."""
    seconds = policy.alerts.review_seconds
    yield About(
        alert="FlyballReviewWaits",
        summary=f"A request has been waiting for a person for {VALUE}",
        description="An expensive run asked before it went on, and nobody has answered.",
        runbook=Runbook(
            meaning="A run crossed `review.over_usd` and waits for an answer.",
            impact="It does nothing meanwhile, and after `review.timeout_seconds` the policy decides.",
            diagnosis=(
                "`flyball reviews list` (`--ledger` where it is not the usual one), or the page Reviews: what it has cost, "
                "and what the next request would.",
            ),
            mitigation=("`flyball reviews approve ID` or `flyball reviews deny ID`.",),
        ),
        unit=SECONDS,
    ).above(REVIEW_WAIT_SECONDS, seconds)


def recording() -> Iterator[Rule]:
    """Telemetry that was lost: the other alerts cannot see what it would have told them."""
    yield About(
        alert="FlyballTelemetryLost",
        summary=f"Spans were lost while recording ({VALUE} in all)",
        description="A full disk, a folder that cannot be written to, or more spans than could be written. What was lost is in no finding.",
        runbook=Runbook(
            meaning="An agent could not write down what it did. It was not disturbed.",
            impact="Runs have gaps; findings about them are less sure, and costs too low.",
            diagnosis=(
                "`flyball check traces.duckdb` lists the reasons. Is the disk full (`df -h .`), the folder writable (`ls -ld .`)?",
            ),
            mitigation=("Make room, or give `record()` another place.",),
        ),
        unit=COUNT,
    ).rule(
        Grew(LOST_SPANS),
        Case({LOST_SPANS: 1}, 1),
        Case({LOST_SPANS: 0}),
    )
