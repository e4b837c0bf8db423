"""`instrument.tool_runner`: the SDK's own loop under guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool

import instrument
from instrument.context import guarding, in_tool
from instrument.policy import Policy
from instrument.runner.run import active
from instrument.runner.stop import StopReason
from instrument.store.connect import reading
from instrument.testing import ModelServer, error, text, tool_use
from tests.runner.ways_in import FAILURES, MODEL, PROMPT, WAYS, client_of, played, policy


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


@beta_tool
def search(q: str) -> str:
    """Searches.

    Args:
        q: What for.
    """
    if q == "slow":
        time.sleep(5)
    if q == "broken":
        raise ValueError("no index")
    return "0123456789" * 100 if q == "long" else f"found {q}"


def run(script: Any, given: Policy | None = None, tools: Any = (search,)) -> tuple[Any, list[Any], Any]:
    with ModelServer(script) as server, client_of(server.url) as client:
        loop = instrument.tool_runner(
            client, given or Policy(), tools=tools, model=MODEL, max_tokens=300, messages=[PROMPT]
        )
        last = loop.until_done()
        return loop.result, [r.body["messages"][-1]["content"] for r in server.requests], last


@pytest.mark.parametrize("way", ["tool_runner", "tool_runner, async"])
def test_what_guards_did_and_how_the_run_ended_is_recorded(way: str, spans: Any) -> None:
    played(WAYS[way], FAILURES["loop"])
    found = spans("SELECT action FROM guard_actions ORDER BY turn, action")
    assert [a for (a,) in found] == ["nudge", "block", "block", "block", "stop"]
    assert spans("SELECT DISTINCT stop_reason FROM guarded_runs WHERE stop_reason IS NOT NULL") == [("repeated_call",)]
    assert spans("SELECT run_limit_usd FROM guarded_runs WHERE stop_reason IS NOT NULL") == [(10.0,)]
    assert spans("SELECT count(*) FROM spans WHERE kind = 'tool' AND NOT inferred") == [(8,)]


def test_errors_time_outs_and_long_results_are_results() -> None:
    limits = policy(tool_errors={"tool_timeout_seconds": 0.2}, context={"result_chars": 300})
    script = [*(tool_use("search", {"q": q}) for q in ("broken", "slow", "long")), text("Fine.")]
    result, sent, last = run(script, limits)
    said = [content[0] for content in sent[1:]]
    assert [bool(block.get("is_error")) for block in said] == [True, True, False]
    assert "no index" in str(said[0]["content"])
    assert len(str(said[2]["content"])) < 600
    assert (result.stop_reason, result.tool_calls, last.content[0].text) == (StopReason.COMPLETED, 3, "Fine.")


def test_an_empty_answer_is_asked_again() -> None:
    result, sent, last = run([text(""), text("Here it is.")])
    assert "Your answer was empty" in str(sent[1])
    assert (result.stop_reason, result.answer, last.content[0].text) == (
        StopReason.COMPLETED,
        "Here it is.",
        "Here it is.",
    )


def test_an_error_of_the_api_passes_through_and_is_the_reason() -> None:
    with ModelServer(lambda _: error(400)) as server, client_of(server.url) as client:
        loop = instrument.tool_runner(client, Policy(), model=MODEL, max_tokens=300, messages=[PROMPT])
        with pytest.raises(anthropic.BadRequestError):
            loop.until_done()
    assert (loop.result.stop_reason, loop.result.cost_usd) == (StopReason.MODEL_ERROR, 0)


def test_a_loop_that_is_left_early_is_cancelled_and_leaves_nothing_set() -> None:
    with ModelServer(FAILURES["loop"].script) as server, client_of(server.url) as client:
        loop = instrument.tool_runner(client, Policy(), tools=[search], model=MODEL, max_tokens=300, messages=[PROMPT])
        steps = iter(loop)
        next(steps)
        assert (guarding.get(), active.get(), in_tool.get()) == (None, None, None)
        steps.close()  # type: ignore[attr-defined]
    assert loop.result.stop_reason is StopReason.CANCELLED
    assert loop.run.run.budget.held_nano == 0


def test_a_decorated_function_inside_is_the_call_itself(spans: Any) -> None:
    @instrument.tool(name="search")
    def looked_up(q: str) -> str:
        return f"found {q}"

    @beta_tool(name="search")
    def tool(q: str) -> str:
        """Searches.

        Args:
            q: What for.
        """
        return looked_up(q)

    result, _, _ = run([tool_use("search", {"q": "x"}), text("Fine.")], tools=[tool])
    assert result.tool_calls == 1
    assert spans("SELECT count(*) FROM spans WHERE kind = 'tool' AND NOT inferred") == [(1,)]


def test_sub_agents_in_tools_share_the_budget() -> None:
    costly = FAILURES["cost"]

    @beta_async_tool
    async def research(q: str) -> str:
        """Asks another agent.

        Args:
            q: What.
        """
        result, _ = await asyncio.to_thread(played, WAYS["runner"], costly)
        return result.answer

    async def main(url: str) -> Any:
        async with anthropic.AsyncAnthropic(api_key="t", base_url=url) as client:
            loop = instrument.tool_runner(
                client,
                policy(cost={"run_limit_usd": 0.02}),
                tools=[research],
                model=MODEL,
                max_tokens=300,
                messages=[PROMPT],
            )
            await loop.auntil_done()
            return loop.result

    script = lambda body: text("Out of money.") if body.get("tool_choice") else tool_use("research", {"q": "x"})  # noqa: E731
    with ModelServer(script) as server:
        result = asyncio.run(main(server.url))
    assert 0.005 < result.cost_at_most_usd <= 0.02
    assert result.stop_reason is StopReason.RUN_BUDGET
