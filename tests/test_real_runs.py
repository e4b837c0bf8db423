"""Calibration and replay over real runs: the promise is kept on runs that the lines never saw, and savings are what the files say."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import pytest

from benchmarks.calibration import TRACES, good_runs, kept, replayed_otherwise, stored
from benchmarks.savings import STRICT, savings
from instrument.policy import Policy

EXCERPTS = Path(__file__).parent / "data"
shared = pytest.mark.skipif(not TRACES.is_dir(), reason=f"no collection of traces in {TRACES}")


@pytest.fixture(scope="module")
def real() -> Iterator[duckdb.DuckDBPyConnection]:
    with stored() as con:
        yield con


@shared
@pytest.mark.parametrize(
    ("agent", "alpha"),
    [("all together", 0.05), ("all together", 0.2), ("tau2", 0.05), ("tau2", 0.2), ("mini_swe_agent", 0.1)],
)
def test_at_most_the_promised_share_of_real_good_runs_is_stopped(
    real: duckdb.DuckDBPyConnection, agent: str, alpha: float
) -> None:
    told = kept(agent, good_runs(real)[agent], alpha)
    assert not told.refused
    assert told.low <= alpha
    assert 0.3 * alpha < told.share, "lines that hardly ever stop a run would keep any promise"


@shared
def test_too_few_real_runs_are_refused(real: duckdb.DuckDBPyConnection) -> None:
    assert kept("pi", good_runs(real)["pi"], 0.05).refused


@shared
def test_what_calibrated_lines_let_through_a_replay_lets_through(real: duckdb.DuckDBPyConnection) -> None:
    assert replayed_otherwise(real, good_runs(real)["all together"], 0.1, splits=2) == 0


@shared
def test_savings_are_to_the_cent_what_the_files_say_was_spent_after_the_stop(real: duckdb.DuckDBPyConnection) -> None:
    told = savings(real)
    priced = [s for s in told if s.right is not None]
    assert [s for s in priced if not s.right] == []
    assert len(priced) >= 50
    assert {"turn_limit", "error_cascade", "run_budget"} <= {s.guard for s in priced}
    assert {".jsonl", ".json"} == {Path(s.file).suffix for s in priced}


@pytest.mark.parametrize("turns", [2, 3])
def test_savings_on_excerpts_of_real_runs_are_what_the_files_say(turns: int) -> None:
    policy = msgspec.convert({"loops": {"turns": turns}}, Policy)
    with stored(EXCERPTS) as con:
        told = savings(con, policy)
    assert [s for s in told if s.right is False] == []
    assert {Path(s.file).parent.name for s in told if s.right} >= {"tau2", "pi"}
    assert sum(s.real_usd or 0.0 for s in told) > 0.1


def test_the_strict_policy_is_one_that_loads() -> None:
    assert msgspec.convert(msgspec.to_builtins(STRICT), Policy) == STRICT
