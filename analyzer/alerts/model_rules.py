"""Alert rules about the model itself: requests to its provider that fail, are refused, or have to be sent again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from analyzer.alerts.metrics import MODEL_FAILURES, MODEL_REFUSALS, MODEL_REQUESTS, MODEL_RETRIES
from analyzer.alerts.rule import COUNT, RATIO, SHARE, VALUE, About, Rule, Runbook
from analyzer.alerts.share_rules import Share
from instrument.policy import Policy

_KINDS: Final = (
    "In Prometheus or Grafana: `sort_desc(flyball_recent_model_failures_by_kind)` says why they fail. Without: "
    "`flyball metrics --db traces.duckdb --once | grep failures_by_kind`."
)
_STATUS: Final = (
    "Open the provider's status page. Do requests to its other models fail as well? Then it is the provider, not you."
)


def failing(policy: Policy) -> Iterator[Rule]:
    """How many requests fail for whoever asked, after all retries."""
    alerts = policy.alerts
    about = About(
        alert="FlyballModelFailing",
        detectors=("error_cascade", "retry_storm", "no_final_answer"),
        summary=f"{VALUE} of the requests to a model fail, after all retries",
        description=(
            "Of the last ten minutes, whichever agents asked: rate limits, overload, time-outs, errors of the server, lost connections. "
            "A request that a retry saved is not counted."
        ),
        runbook=_FAILING,
        unit=SHARE,
    )
    requests = Share(MODEL_FAILURES, MODEL_REQUESTS, alerts.model_failure_calls)
    critical = max(alerts.model_failure_share, alerts.model_failure_error_share)
    if alerts.model_failure_share < critical:
        yield requests.rule(about, alerts.model_failure_share, ceiling=critical)
    yield requests.rule(about, critical, severity="critical")


_FAILING: Final = Runbook(
    meaning="Requests to one model failed for good: their retries were used up, or there were none.",
    impact="Runs end without an answer. Users see errors now.",
    diagnosis=(
        _KINDS,
        "`rate_limit`: you send more than your limit allows. `overloaded`, `server_error`: the provider has trouble. `timeout`, "
        "`connection`: the way there, or a time-out that is too short. `too_long`, `bad_request`: your own requests are wrong, since a "
        "deploy perhaps.",
        _STATUS,
        "Read the provider's own words, and which agents are hit: `flyball check traces.duckdb --select error_cascade,retry_storm`.",
    ),
    mitigation=(
        "Provider's trouble: switch the agents to another model or provider, or tell users and wait.",
        "Rate limit: start fewer runs at a time and stop those that loop (FlyballLoopRate?); then ask for a higher limit.",
        "Time-outs: raise `model_calls.timeout_seconds`. Errors that pass: `model_calls.retries` and `model_calls.retry_seconds`.",
        "Your own requests: roll back the last deploy of the agent.",
    ),
)


def refused(policy: Policy) -> Iterator[Rule]:
    """Requests that no retry can help."""
    yield About(
        alert="FlyballModelRefused",
        detectors=("error_cascade", "no_final_answer"),
        summary=f"A provider refused {VALUE} requests of the last ten minutes for the key or the account",
        description="`authentication`: the key is wrong, expired, or lacks a right. `billing`: the account is empty. It does not pass.",
        runbook=Runbook(
            meaning="The provider does not accept the key, its rights, or the account's balance.",
            impact="Every run that needs this model fails at its first request, until somebody acts.",
            diagnosis=(
                _KINDS,
                "`billing`: look at the balance and the spend limit in the provider's console. Was it spent by a loop (FlyballCostSpike)?",
                "`authentication`: was the key rotated, or a deploy made with another environment? Compare the key's last characters "
                "with those in the provider's console; never paste it anywhere.",
            ),
            mitigation=(
                "Billing: add credit or raise the spend limit. It works again within minutes.",
                "Authentication: put the right key into the agents' environment and restart them.",
            ),
        ),
        unit=COUNT,
    ).above(MODEL_REFUSALS, policy.alerts.model_refusals, "critical")


def retried(policy: Policy) -> Iterator[Rule]:
    """Requests that get through only after they were sent again."""
    requests = Share(MODEL_RETRIES, MODEL_REQUESTS, policy.alerts.model_failure_calls)
    about = About(
        alert="FlyballModelRetries",
        detectors=("retry_storm",),
        summary=f"Requests to a model were sent again {VALUE} times each on average in the last ten minutes",
        description=(
            "They may still get through, later and at the cost of waiting. It is the sign that comes before requests fail for good."
        ),
        runbook=Runbook(
            meaning="Clients have to send requests to one model again, because of limits, overload or lost connections.",
            impact="Answers come later. If it gets worse, retries run out and requests fail (FlyballModelFailing).",
            diagnosis=(
                "Attempts that failed and were sent again by flyball's runner: page Failures, `retry_storm`, or "
                "`flyball check traces.duckdb --select retry_storm`. Retries within a client are counted, their errors are not recorded.",
                _STATUS,
                "Did the number of requests rise as well (`flyball_recent_model_requests`)? Then it is your own rate limit.",
            ),
            mitigation=(
                "Start fewer runs at a time, or wait longer between attempts (`model_calls.retry_seconds`).",
                "Retry in one place only: a client that retries inside a loop that retries makes nine requests of one.",
            ),
        ),
        unit=RATIO,
    )
    yield requests.rule(about, policy.alerts.model_retry_ratio)
