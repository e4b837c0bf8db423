"""Requests to models that fail: counted once per request, after all retries, by why they failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from analyzer.alerts import metrics
from analyzer.alerts.backtest import backtest
from analyzer.alerts.checking import firing_now
from analyzer.alerts.metrics import Metric
from analyzer.alerts.model_calls import ATTEMPTS, KINDS, OTHER, kind_of, model_calls
from analyzer.alerts.timing import Timing
from analyzer.alerts.windows import SECOND
from analyzer.cases import Case, Entry, Run, load, model_error, says, tool_call, turn
from instrument.policy import Policy

OVERLOADED = model_error("overloaded_error", "Overloaded")
REFUSED = model_error("authentication_error", "invalid x-api-key")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("rate_limit_error This request would exceed your rate limit", "rate_limit"),
        ("RateLimitError Error code: 429 - {'type': 'error'}", "rate_limit"),
        ("RateLimitError Error code: 429 - insufficient_quota", "billing"),
        ("invalid_request_error Your credit balance is too low to access the API", "billing"),
        ("authentication_error invalid x-api-key", "authentication"),
        ("PermissionDeniedError Error code: 403", "authentication"),
        ("OverloadedError Error code: 529", "overloaded"),
        ("529", "overloaded"),
        ("APITimeoutError Request timed out.", "timeout"),
        ("APIConnectionError Connection error.", "connection"),
        ("api_error Internal server error", "server_error"),
        ("InternalServerError Error code: 503", "server_error"),
        ("500", "server_error"),
        ("invalid_request_error prompt is too long: 210000 tokens > 200000 maximum", "too_long"),
        ("BadRequestError Error code: 400 - messages: field required", "bad_request"),
        ("not_found_error model: claude-nine", "bad_request"),
        ("ValueError there are 429 apples", OTHER),
        ("", OTHER),
    ],
)
def test_a_failure_has_the_kind_that_its_type_and_words_say(said: str, kind: str) -> None:
    assert kind_of(said) == kind
    assert kind in (*KINDS, OTHER)


def values(con: Any, metric: Metric, *seconds_after_end: float) -> list[dict[str, float]]:
    """By the labels of a metric, at instants so long after the last span."""
    ((end,),) = con.execute("SELECT max(coalesce(end_ns, start_ns)) FROM spans WHERE kind = 'model'").fetchall()
    instants = np.array([end + int(s * SECOND) for s in seconds_after_end])
    rows = model_calls(con.sql(ATTEMPTS, params=[0, int(instants[-1])]).pl(), instants)[metric]
    key = metric.labels[-1] if "kind" in metric.labels else metric.labels[1]
    return [dict(rows.filter(at_ns=int(at)).select(key, "value").iter_rows()) for at in instants]


def count(con: Any, metric: Metric) -> float:
    (found,) = values(con, metric, 1)
    return sum(found.values())


@pytest.mark.parametrize(
    ("script", "requests", "failures", "retries"),
    [
        ([says("Done.")], 1, 0, 0),
        ([OVERLOADED, OVERLOADED, says("Done.")], 1, 0, 2),
        ([OVERLOADED, OVERLOADED, OVERLOADED], 1, 1, 2),
        ([turn(text="Done.", retries=3)], 1, 0, 3),
        ([model_error("overloaded_error", "Overloaded", retries=2)], 1, 1, 2),
        ([turn(tool_call("a", {}, "x")), turn(tool_call("a", {"n": 1}, "y")), says("Done.")], 3, 0, 0),
        ([turn(tool_call("a", {}, "x")), OVERLOADED, says("Done.")], 2, 0, 1),
        ([OVERLOADED, model_error("overloaded_error", "Overloaded", pause_seconds=300.0)], 2, 2, 0),
        ([model_error("CancelledError", "")], 0, 0, 0),
    ],
)
def test_a_request_counts_once_however_often_it_was_sent(
    script: Sequence[Entry], requests: float, failures: float, retries: float
) -> None:
    con = Case("one", script, []).load()
    found = [count(con, m) for m in (metrics.MODEL_REQUESTS, metrics.MODEL_FAILURES, metrics.MODEL_RETRIES)]
    assert found == [requests, failures, retries]


def test_a_failure_is_forgotten_ten_minutes_later_and_its_kind_with_it() -> None:
    con = Case("one", [REFUSED], []).load()
    assert values(con, metrics.MODEL_FAILURE_KINDS, 0, 599, 600) == [{"authentication": 1}, {"authentication": 1}, {}]
    assert values(con, metrics.MODEL_REFUSALS, 599, 600) == [{"authentication": 1}, {}]
    assert values(Case("one", [OVERLOADED], []).load(), metrics.MODEL_REFUSALS, 1) == [{}]


def fleet(*scripts: Sequence[Entry]) -> Any:
    """A run of each, all at the same time."""
    return load([Case(f"run {n}", [Run(script)], []) for n, script in enumerate(scripts)])


def fired(con: Any) -> dict[str, str]:
    ((end,),) = con.execute("SELECT max(coalesce(end_ns, start_ns)) FROM spans").fetchall()
    alerts, _ = firing_now(con, Policy(), int(end) + 120 * SECOND, Timing())
    return {a.alert: a.severity for a in alerts if a.alert.startswith("FlyballModel")}


FINE = [says("Done.")]
BROKEN = [OVERLOADED, OVERLOADED, OVERLOADED]
SAVED = [OVERLOADED, says("Done.")]


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        ([FINE] * 5, {}),
        ([FINE] * 9 + [[OVERLOADED]], {}),
        ([FINE] * 8 + [[OVERLOADED]] * 2, {"FlyballModelFailing": "warning"}),
        ([FINE] * 5 + [[OVERLOADED]] * 5, {"FlyballModelFailing": "critical"}),
        ([[OVERLOADED]] * 4, {}),  # too few to say
        ([FINE] * 6 + [SAVED] * 4, {}),
        ([FINE] * 5 + [SAVED] * 5, {"FlyballModelRetries": "warning"}),
        ([BROKEN] * 5, {"FlyballModelFailing": "critical", "FlyballModelRetries": "warning"}),
        ([[REFUSED]] * 2, {}),
        ([[REFUSED]] * 3, {"FlyballModelRefused": "critical"}),
        ([[REFUSED]] * 5, {"FlyballModelRefused": "critical", "FlyballModelFailing": "critical"}),
    ],
)
def test_somebody_is_told_when_requests_fail_and_nobody_when_retries_save_them(
    scripts: Sequence[Sequence[Entry]], expected: dict[str, str]
) -> None:
    assert fired(fleet(*scripts)) == expected


def test_a_backtest_finds_the_findings_behind_a_model_that_fails() -> None:
    con = fleet(*[BROKEN] * 6)
    result = backtest(con, Policy())
    told = {(t.rule.alert, t.rule.severity): (len(t.firings), t.with_finding) for t in result.tested if t.firings}
    assert told["FlyballModelFailing", "critical"] == (1, 1)
