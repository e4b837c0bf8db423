"""Requests to models that fail: for whoever asked, after all retries, and why."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from analyzer.alerts import metrics
from analyzer.alerts.metrics import Metric
from analyzer.alerts.windows import SECOND, Instants, bounded, combined

_CODE: Final = r"(^|(status|http|code|error)\W{{0,4}}(code)?\W{{0,4}})({})\b"
KINDS: Final[dict[str, re.Pattern[str]]] = {
    kind: re.compile(f"{words}|{_CODE.format(codes)}", re.IGNORECASE)
    for kind, words, codes in (
        ("billing", r"billing|credit.?balance|insufficient.?(quota|funds|credit|balance)|payment.?required", "402"),
        ("authentication", r"authentication|unauthori[sz]ed|permission|forbidden|(invalid|incorrect).{0,20}api.?key", "401|403"),
        ("overloaded", r"overloaded|server.?busy|at.capacity", "529"),
        ("rate_limit", r"rate.?limit|too.?many.?requests|throttl|quota.?exceeded|resource.?exhausted", "429"),
        ("timeout", r"time[ds]?[ _-]?out|deadline.?exceeded", "408|504"),
        ("too_long", r"too.?long|too.?large|context.?(length|window)|maximum.?context", "413"),
        ("connection", r"connect|disconnect|econn|broken.?pipe|network|remote.?protocol|name.resolution", "000"),
        ("server_error", r"internal.?server|bad.?gateway|unavailable|\bapi_error\b|server_?error", "5[0-9][0-9]"),
        ("bad_request", r"bad.?request|invalid_request|invalid.?argument|not_?found|unprocessable", "4[0-9][0-9]"),
    )
}  # fmt: skip
"""Why a request failed, by the type and the words of its error; the first that fits. Words: https://docs.claude.com/en/api/errors,
https://platform.openai.com/docs/guides/error-codes and the names of client libraries' exceptions."""
OTHER: Final = "other"
REFUSED: Final = ("authentication", "billing")
"""What no retry can help."""
_CANCELLED: Final = re.compile(r"cancel|keyboardinterrupt|generatorexit", re.IGNORECASE)
_AGAIN_SECONDS: Final = 120.0
"""A request that follows a failed one of the same run within this time is the same one, sent again: clients wait a minute at most."""

ATTEMPTS_SECONDS: Final = 2 * metrics.RECENT_SECONDS + _AGAIN_SECONDS
ATTEMPTS: Final = """
SELECT run_key, coalesce(provider, '') AS provider, coalesce(request_model, response_model, '') AS model, start_ns,
    coalesce(end_ns, start_ns) AS at_ns, failed, coalesce(retries, 0) AS resent, coalesce(error_type, '') AS error_type,
    CASE WHEN failed THEN concat_ws(' ', error_type, coalesce(error_message, failure_kind)) END AS said
FROM spans WHERE kind = 'model' AND duplicate_of IS NULL AND failed IS NOT NULL AND coalesce(end_ns, start_ns) BETWEEN ? AND ?
"""


def kind_of(said: str) -> str:
    """Why a request failed whose error is of such a type and says so."""
    return next((kind for kind, pattern in KINDS.items() if pattern.search(said)), OTHER)


def model_calls(attempts: pl.DataFrame, instants: Instants) -> dict[Metric, pl.DataFrame]:
    """The metrics about requests to models at each of `instants`, from the `ATTEMPTS` of the time and of `ATTEMPTS_SECONDS` before."""
    rows = requests(attempts)
    failed = rows.filter("failed")
    refused = failed.filter(pl.col("kind").is_in(REFUSED))
    return {
        metrics.MODEL_REQUESTS: _sum(rows, metrics.MODEL_LABELS, pl.lit(1.0), instants),
        metrics.MODEL_FAILURES: _sum(rows, metrics.MODEL_LABELS, pl.col("failed"), instants),
        metrics.MODEL_RETRIES: _sum(rows, metrics.MODEL_LABELS, pl.col("retries"), instants),
        metrics.MODEL_FAILURE_KINDS: _sum(failed, metrics.KIND_LABELS, pl.lit(1.0), instants),
        metrics.MODEL_REFUSALS: _sum(refused, metrics.KIND_LABELS, pl.lit(1.0), instants),
    }


def requests(attempts: pl.DataFrame) -> pl.DataFrame:
    """One row is what was known of one request (`provider`, `model`, `failed`, `kind`, `retries`) from `at_ns` until `until_ns`.

    That is from the end of one attempt until the end of the next, or for as long as `metrics.RECENT_SECONDS`. What the caller took
    back is left out.
    """
    of = ("run_key", "provider", "model")
    mine = attempts.filter(~pl.col("error_type").str.contains(f"(?i){_CANCELLED.pattern}")).sort(
        *of, "start_ns", "at_ns"
    )
    pause = pl.col("start_ns") - pl.col("at_ns").shift(1).over(of)
    again = (pl.col("failed").shift(1).over(of) & pause.is_between(0, int(_AGAIN_SECONDS * SECOND))).fill_null(False)
    stands = pl.col("at_ns") + int(metrics.RECENT_SECONDS * SECOND)
    following = pl.when(pl.col("again").shift(-1).over(of)).then(pl.col("at_ns").shift(-1).over(of))
    return (
        mine.with_columns(again=again)
        .with_columns(request=(~pl.col("again")).cum_sum(), until_ns=pl.min_horizontal(stands, following) - 1)
        .with_columns(
            bounded(mine["provider"]),
            bounded(mine["model"]),
            retries=pl.col("again").cast(pl.Int64).cum_sum().over("request")
            + pl.col("resent").cum_sum().over("request"),
            kind=pl.col("said").map_elements(kind_of, return_dtype=pl.String),
        )
    )


def _sum(rows: pl.DataFrame, labels: tuple[str, ...], value: pl.Expr, instants: Instants) -> pl.DataFrame:
    valued = rows.with_columns(value=value.cast(pl.Float64), since_ns=pl.lit(None, pl.Int64))
    return combined(valued, labels, instants, "sum")
