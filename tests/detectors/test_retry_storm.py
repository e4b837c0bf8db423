"""Which failures are of the way to a service, and how dense they must lie."""

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.detectors.retry_storm.storms import dense, waves
from analyzer.detectors.retry_storm.transport import TRANSPORT

_NS = 1_000_000_000


@pytest.mark.parametrize(
    ("error_type", "message", "transport"),
    [
        ("overloaded_error", "Overloaded", True),
        ("429", None, True),
        ("529", "", True),
        ("RateLimitError", "Error code: 429 - slow down", True),
        ("APITimeoutError", "Request timed out.", True),
        ("ConnectError", "[Errno 111] Connection refused", True),
        (None, "HTTP 503 Service Unavailable", True),
        (None, "ECONNRESET", True),
        ("FileNotFoundError", "no such file: '/tmp/500'", False),
        ("ValueError", "line 429: bad token", False),
        ("400", "invalid_request_error", False),
        ("Refused", "refused", False),
        (None, None, False),
    ],
)
def test_failures_of_the_way_are_told_from_others(error_type: str | None, message: str | None, transport: bool) -> None:
    con = duckdb.connect()
    row = "SELECT true AS failed, ?::VARCHAR AS error_type, ?::VARCHAR AS error_message, ?::VARCHAR AS failure_kind"
    ((found,),) = con.execute(f"SELECT {TRANSPORT} FROM ({row})", [error_type, message, message]).fetchall()
    assert bool(found) is transport


def _attempts(starts: list[int], worked: list[bool]) -> pl.DataFrame:
    order = sorted(zip(starts, worked, strict=True))
    frame = pl.DataFrame(
        {
            "run_key": 1,
            "kind": "model",
            "who": "m",
            "step": range(len(order)),
            "turn": range(1, len(order) + 1),
            "start_ns": [s * _NS for s, _ in order],
            "end_ns": [s * _NS for s, _ in order],
            "resent": 0,
            "failed": [not w for _, w in order],
            "transport": [not w for _, w in order],
            "failure_kind": "overloaded",
            "failure_inferred": False,
            "inferred": False,
        }
    )
    return waves(frame, 30.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 60).map(lambda n: 5 * n), st.booleans() | st.just(False)),
        min_size=1,
        max_size=30,
        unique_by=lambda a: a[0],
    )
)
def test_what_is_reported_lies_in_a_time_with_enough_failures_and_nothing_else_does(
    made: list[tuple[int, bool]],
) -> None:
    starts, worked = [s for s, _ in made], [w for _, w in made]
    order = sorted(made)
    in_storm = set()
    for place, (start, _) in enumerate(order):
        window = [p for p in range(place, len(order)) if order[p][0] - start <= 30]
        stop = next((p for p in window if order[p][1]), None)
        window = [p for p in window if stop is None or p < stop]
        if len(window) >= 5:
            in_storm |= set(window)
    storms = dense(_attempts(starts, worked), 5, 30.0)
    assert sorted(step for steps in storms["steps"] for step in steps) == sorted(in_storm)


@pytest.mark.parametrize(("last_seconds", "storms"), [(30, 1), (31, 0)])
def test_the_time_includes_its_ends(last_seconds: int, storms: int) -> None:
    assert len(dense(_attempts([0, 7, 15, 22, last_seconds], [False] * 5), 5, 30.0)) == storms


def test_two_storms_with_a_long_pause_between_are_two() -> None:
    found = dense(_attempts([*range(5), *range(100, 106)], [False] * 11), 5, 30.0)
    assert found.select("attempts", "seconds").rows() == [(5, 4.0), (6, 5.0)]
