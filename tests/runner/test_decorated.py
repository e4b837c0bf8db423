"""Guards through the decorators: `@agent(policy=...)`, `@tool`, `@model`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import instrument
from instrument.context import guarding, in_tool
from instrument.ledger import open_ledger
from instrument.policy import Policy
from instrument.runner.run import active
from instrument.runner.stop import StopReason
from instrument.store.connect import reading
from tests.runner.ways_in import FAILURES, MODEL, decorated_model, played, policy


@pytest.fixture
def spans(tmp_path: Path) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    recorder = instrument.record(tmp_path / "runs.duckdb", checkpoint_seconds=None)

    def rows(sql: str) -> list[tuple[Any, ...]]:
        recorder.close()
        with reading(tmp_path / "runs.duckdb") as con:
            assert con.sql("SELECT name FROM spans WHERE end_ns IS NULL").fetchall() == []
            return con.sql(sql).fetchall()

    yield rows
    recorder.close()


def reply(usd: float, text: str = "") -> dict[str, Any]:
    instrument.usage(cost_usd=usd)
    content = (
        [{"type": "text", "text": text}] if text else [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]
    )
    return {"role": "assistant", "content": content}


@instrument.model(name=MODEL)
def ask(usd: float = 0.0, text: str = "") -> dict[str, Any]:
    return reply(usd, text)


@instrument.tool
def look(q: str) -> str:
    return "nothing"


def rounds(limits: Policy, do: Callable[[int], Any], most: int = 80) -> tuple[Any, list[str]]:
    """Runs `do` as often as it may; the run, and what was refused."""
    found: list[Any] = []
    refused: list[str] = []

    @instrument.agent(policy=limits)
    def agent() -> None:
        found.append(guarding.get())
        for n in range(most):
            try:
                do(n)
            except instrument.CallRefused as e:
                refused.append(str(e))
        raise AssertionError("nobody stopped it")

    with pytest.raises(instrument.RunStopped) as stopped:
        agent()
    assert (guarding.get(), active.get(), in_tool.get()) == (None, None, None)
    assert stopped.value.stop_reason == found[0].stop_reason
    return found[0], refused


@pytest.mark.parametrize("failure", ["tool errors", "loop", "stuck", "cost"])
def test_a_decorated_model_ends_for_the_same_reason(failure: str) -> None:
    result, _ = played(decorated_model, FAILURES[failure])
    assert result.stop_reason is FAILURES[failure].stop


def test_a_loop_is_refused_and_then_stopped(spans: Any) -> None:
    def turn(n: int) -> None:
        ask()
        look("x")

    run, refused = rounds(Policy(), turn)
    assert (run.stop_reason, run.result.tool_calls, len(refused)) == (StopReason.REPEATED_CALL, 4, 4)
    assert "The earlier call returned:\nnothing" in refused[0]
    assert [a for (a,) in spans("SELECT action FROM guard_actions ORDER BY turn, action")] == [
        *("nudge", "block", "block", "block", "stop")
    ]
    assert spans("SELECT stop_reason FROM guarded_runs WHERE stop_reason IS NOT NULL") == [("repeated_call",)]


def test_tools_alone_are_enough_each_call_is_a_turn() -> None:
    run, refused = rounds(Policy(), lambda _: look("x"))
    assert (run.stop_reason, run.result.tool_calls, len(refused)) == (StopReason.REPEATED_CALL, 4, 4)
    limited, _ = rounds(policy(loops={"tool_calls": 6}), lambda n: look(str(n)))
    assert (limited.stop_reason, limited.result.tool_calls) == (StopReason.TOOL_CALL_LIMIT, 6)


def test_money_is_counted_after_each_call_and_none_is_made_without_any_left() -> None:
    run, _ = rounds(policy(cost={"run_limit_usd": 0.05}), lambda _: ask(0.02))
    assert (run.stop_reason, run.result.turns) == (StopReason.RUN_BUDGET, 3)
    assert run.result.cost_usd == pytest.approx(0.06)


def test_the_day_of_a_user_is_charged_across_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYBALL_LEDGER", str(tmp_path / "ledger"))
    limits = policy(cost={"user_day_limit_usd": 0.05})
    with instrument.user("ann"):
        first, _ = rounds(limits, lambda _: ask(0.02))
        second, _ = rounds(limits, lambda _: ask(0.02))
    assert (first.stop_reason, first.result.turns) == (StopReason.USER_BUDGET, 3)
    assert (second.stop_reason, second.result.turns) == (StopReason.USER_BUDGET, 0)
    with closing(open_ledger(tmp_path / "ledger")) as ledger:
        spent = ledger.spent(ledger.account("ann"))
    assert spent.settled_usd == pytest.approx(0.06)
    assert spent.reserved_usd == 0


def test_a_model_of_unknown_price_is_refused_where_the_policy_says_so() -> None:
    @instrument.model(name="nobody-knows")
    def unknown() -> str:
        return "An answer that is new."

    run, _ = rounds(policy(cost={"unknown_price": "refuse"}), lambda _: unknown())
    assert (run.stop_reason, run.result.turns, run.result.cost_usd) == (StopReason.UNKNOWN_PRICE, 1, None)


def test_an_agent_inside_spends_the_money_of_the_one_around() -> None:
    @instrument.agent(policy=policy(cost={"run_limit_usd": 5.0}))
    def inner() -> None:
        ask(0.04)

    run, _ = rounds(policy(cost={"run_limit_usd": 0.1}), lambda _: inner())
    assert (run.stop_reason, run.result.cost_usd) == (StopReason.RUN_BUDGET, pytest.approx(0.12))


def test_exceptions_of_tools_pass_through_and_are_counted() -> None:
    @instrument.tool
    def broken(n: int) -> str:
        raise ConnectionError("no route")

    def turn(n: int) -> None:
        with pytest.raises((ConnectionError, instrument.CallRefused)) as raised:
            broken(n)
        if isinstance(raised.value, instrument.CallRefused):
            raise raised.value

    run, refused = rounds(Policy(), turn)
    assert run.stop_reason is StopReason.ERROR_CASCADE
    assert "ConnectionError" in refused[0]


async def test_coroutines_and_generators_are_guarded_too(spans: Any) -> None:
    stops: list[Any] = []

    @instrument.tool
    async def alook(q: str) -> str:
        return "nothing"

    @instrument.tool
    def chunks(q: str) -> Iterator[str]:
        yield "nothing"

    @instrument.agent(policy=Policy())
    async def agent(kind: str) -> AsyncIterator[str]:
        run = guarding.get()
        assert run is not None
        stops.append(run)
        while True:
            try:
                yield await alook("x") if kind == "coroutine" else "".join(chunks("x"))
            except instrument.CallRefused:
                yield "refused"

    for kind in ("coroutine", "generator"):
        said = []
        with pytest.raises(instrument.RunStopped):  # noqa: PT012 - it is raised while items come
            async for item in agent(kind):
                assert guarding.get() is None
                said.append(item)
        assert said == [*["nothing"] * 4, *["refused"] * 4]
    assert [run.stop_reason for run in stops] == [StopReason.REPEATED_CALL] * 2
    assert spans("SELECT stop_reason FROM guarded_runs WHERE stop_reason IS NOT NULL") == [("repeated_call",)] * 2


def test_a_generator_that_is_left_is_a_cancelled_run_no_more_and_no_less() -> None:
    found: list[Any] = []

    @instrument.agent(policy=Policy())
    def agent() -> Iterator[str]:
        found.append(guarding.get())
        while True:
            yield look("x")

    steps = agent()
    assert next(steps) == "nothing"
    steps.close()  # type: ignore[attr-defined]
    assert guarding.get() is None
    assert found[0].over


def test_a_policy_that_is_none_is_an_error_and_its_span_ends(tmp_path: Path, spans: Any) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[loops]\nturns = 0\n")

    @instrument.agent(policy=bad)
    def agent() -> None:
        raise AssertionError("it must not run")

    with pytest.raises(instrument.FlyballError, match="turns"):
        agent()
    assert spans("SELECT error_type FROM spans") == [("instrument.errors.PolicyError",)]


def test_a_policy_file_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "flyball.toml"
    path.write_text("[loops]\nturns = 3\n")

    @instrument.agent(policy=path)
    def agent() -> Any:
        run = guarding.get()
        assert run is not None
        return run.run.policy.loops.turns

    assert agent() == 3
    path.unlink()
    assert agent() == 3


def test_without_a_policy_nothing_is_guarded() -> None:
    @instrument.agent
    def agent() -> list[str]:
        return [look("x") for _ in range(20)]

    assert agent() == ["nothing"] * 20
