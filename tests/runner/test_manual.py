"""Loops that are not ours, under the same guards: `instrument.run` and `instrument.guard`."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

import instrument
from instrument.context import guarding, in_tool
from instrument.messages import blocks, problems
from instrument.policy import Policy
from instrument.runner.run import active
from instrument.runner.stop import StopReason
from instrument.store.connect import reading
from instrument.testing import ModelServer, cut, error, text, together, tool_use
from tests.runner.ways_in import (
    FAILURES,
    MODEL,
    PROMPT,
    TOOLS,
    WAYS,
    Failure,
    client_of,
    closing,
    naive,
    plainly,
    played,
    policy,
    streaming,
)


@pytest.mark.filterwarnings("ignore:Tool .serch. not found in tool runner")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("failure", FAILURES)
def test_every_way_in_ends_each_failure_for_the_same_reason(way: str, failure: str) -> None:
    case = FAILURES[failure]
    result, server = played(WAYS[way], case)
    assert result.stop_reason is case.stop
    assert result.cost_at_most_usd <= (case.policy.cost.run_limit_usd or 0)
    assert [problems(r.body["messages"]) for r in server.requests if problems(r.body["messages"])] == []
    if failure in ("tool errors", "loop", "hallucinated tool", "cost"):
        assert result.answer == "I could not find it."
        assert server.requests[-1].body["tool_choice"] == {"type": "none"}


# --- instrument.run ---------------------------------------------------------------------------------------------------


@pytest.fixture
def spans(tmp_path: Path) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """What was recorded, by SQL; every span must have ended."""
    recorder = instrument.record(tmp_path / "runs.duckdb", checkpoint_seconds=None)

    def rows(sql: str) -> list[dict[str, Any]]:
        recorder.close()
        with reading(tmp_path / "runs.duckdb") as con:
            assert con.sql("SELECT name FROM spans WHERE end_ns IS NULL").fetchall() == []
            found = con.sql(sql)
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    yield rows
    recorder.close()


def test_an_own_loop_is_one_run_with_its_calls_its_refusals_and_its_end(spans: Any) -> None:
    played(WAYS["own loop"], FAILURES["loop"])
    (run,) = spans("SELECT s.kind, g.stop_reason FROM guarded_runs g JOIN spans s USING (span_key)")
    assert run == {"kind": "agent", "stop_reason": "repeated_call"}
    assert spans("SELECT count(*) AS n FROM spans WHERE kind = 'tool' AND NOT inferred") == [{"n": 8}]
    actions = spans("SELECT action FROM guard_actions ORDER BY turn, action")
    assert [a["action"] for a in actions] == ["nudge", "block", "block", "block", "stop"]


def test_a_request_after_the_end_goes_on_unless_a_guard_ended_the_run() -> None:
    with ModelServer([text("One."), text("Two.")]) as server, client_of(server.url) as client:
        with instrument.run(Policy()) as run:
            for words in ("First?", "Second?"):
                message = {"role": "user", "content": words}
                run.answered(client.messages.create(**run.request(model=MODEL, max_tokens=100, messages=[message])))
                assert run.stop_reason is StopReason.COMPLETED
        assert (run.result.turns, run.result.answer) == (2, "Two.")


def test_nothing_more_is_sent_when_a_guard_has_ended_the_run_and_the_answer_is_there() -> None:
    with ModelServer(FAILURES["loop"].script) as server, client_of(server.url) as client, instrument.run() as run:
        naive_until_stopped(instrument.guard(client))
        sent = len(server.requests)
        with pytest.raises(instrument.RunStopped, match="repeated_call"):
            plainly(instrument.guard(client))([PROMPT])
        assert len(server.requests) == sent
        assert run.stop_reason is StopReason.REPEATED_CALL


def naive_until_stopped(client: anthropic.Anthropic) -> None:
    naive(plainly(client), lambda q: "nothing")


def test_a_host_that_tries_for_ever_is_told_that_the_run_is_over() -> None:
    with ModelServer(lambda body: error(500)) as server, client_of(server.url) as client:
        with instrument.run(policy(loops={"turns": 5})) as run, pytest.raises(instrument.RunStopped):
            try_for_ever(client, run)
        assert run.stop_reason is StopReason.TURN_LIMIT
        assert len(server.requests) == 4 + 3
        assert run.result.cost_usd == 0


def try_for_ever(client: anthropic.Anthropic, run: instrument.GuardedRun) -> None:
    while not run.over:
        try:
            client.messages.create(**run.request(model=MODEL, max_tokens=100, messages=[PROMPT]))
        except anthropic.APIError as e:
            run.failed(e)


def test_the_exception_of_the_host_passes_through_and_everything_is_put_back(spans: Any) -> None:
    with pytest.raises(ZeroDivisionError), instrument.run(Policy()) as run:  # noqa: PT012 - in this order it is the test
        run.request(model=MODEL, max_tokens=100, messages=[PROMPT])
        raise ZeroDivisionError
    assert run.stop_reason is StopReason.CANCELLED
    assert run.run.budget.held_nano == 0
    assert (guarding.get(), active.get(), in_tool.get()) == (None, None, None)
    assert spans("SELECT stop_reason FROM guarded_runs") == [{"stop_reason": "cancelled"}]


def test_a_request_of_which_nobody_heard_again_counts_as_spent() -> None:
    with instrument.run(Policy()) as run:
        run.request(model=MODEL, max_tokens=1000, messages=[PROMPT])
        held = run.run.budget.held_nano
        run.request(model=MODEL, max_tokens=1000, messages=[PROMPT])
        assert run.run.budget.spent_nano == held == run.run.budget.held_nano
        run.failed(anthropic.APIConnectionError(request=httpx2.Request("POST", "http://x"), message="refused"))
    assert run.result.cost_usd is None


def test_a_nested_run_spends_the_money_of_the_one_around() -> None:
    costly = FAILURES["cost"]
    with instrument.run(policy(cost={"run_limit_usd": 0.03})) as outer:
        inner, _ = played(
            WAYS["own loop"], Failure(costly.script, costly.stop, policy=policy(cost={"run_limit_usd": 5}))
        )
        assert inner.stop_reason is StopReason.RUN_BUDGET
    assert 0 < inner.cost_at_most_usd == outer.result.cost_at_most_usd <= 0.03


def test_what_tools_do_inside_is_theirs_but_their_money_is_the_runs(spans: Any) -> None:
    @instrument.tool
    def inner(n: int) -> str:
        return "same"

    def script(body: Any) -> Any:
        said = str(body["messages"])
        return text("fine") if "tool_result" in said or "Sub" in said else tool_use("search", {"q": "x"})

    with ModelServer(script) as server, client_of(server.url) as client:
        guarded = instrument.guard(client)

        @instrument.tool
        def search(q: str) -> str:
            for _ in range(20):
                inner(1)
            reply = guarded.messages.create(model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "Sub"}])
            return str(reply.content[0].text)  # type: ignore[union-attr]

        with instrument.run(Policy()) as run:
            reply = client.messages.create(**run.request(model=MODEL, max_tokens=100, messages=[PROMPT], tools=TOOLS))
            messages = [PROMPT, run.answered(reply)]
            (block,) = run.tool_uses
            before = run.run.budget.spent_nano
            with run.tool(block) as call:
                call.result = search(**block["input"])
            assert not run.over
            assert run.run.budget.spent_nano > before
            messages += run.results()
            assert problems(messages) == []
            run.answered(client.messages.create(**run.request(model=MODEL, max_tokens=100, messages=messages)))
    assert (call.text, run.result.tool_calls, run.result.turns, run.actions) == ("fine", 1, 3, ())
    assert spans(
        "SELECT tool_name, count(*) AS n FROM spans WHERE kind = 'tool' AND NOT inferred GROUP BY 1 ORDER BY 1"
    ) == [
        {"tool_name": "inner", "n": 20},
        {"tool_name": "search", "n": 1},
    ]


def test_a_long_result_is_cut_and_the_model_can_fetch_the_rest() -> None:
    seen: list[Any] = []

    def script(body: Any) -> Any:
        results = [b for m in body["messages"] for b in blocks(m) if b["type"] == "tool_result"]
        seen.append([t["name"] for t in body["tools"]])
        if not results:
            return tool_use("search", {"q": "x"})
        if len(results) == 1:
            found = re.search(r"res\w+|id[ :=\"']+([\w-]+)", results[0]["content"])
            assert found is not None
            return tool_use("fetch_result", {"id": ids(results[0]["content"])})
        return text(results[1]["content"][:10])

    result, server = played(
        WAYS["own loop"],
        Failure(script, StopReason.COMPLETED, lambda q: "0123456789" * 100, policy(context={"result_chars": 300})),
    )
    assert seen == [["search"], ["search", "fetch_result"], ["search", "fetch_result"]]
    assert len(blocks(server.requests[1].body["messages"][-1])[0]["content"]) < 500
    assert result.tool_calls == 1
    assert result.stop_reason is StopReason.COMPLETED


def ids(text: str) -> str:
    return next(w for w in re.findall(r"[\w-]{6,}", text) if any(c.isdigit() for c in w) and not w.isdigit())


def test_tools_of_one_answer_may_run_in_threads() -> None:
    calls = together(*(tool_use("search", {"q": f"x{n}"}) for n in range(40)))
    with ModelServer([calls]) as server, client_of(server.url) as client, instrument.run(Policy()) as run:
        run.answered(client.messages.create(**run.request(model=MODEL, max_tokens=900, messages=[PROMPT], tools=TOOLS)))

        def work(block: Any) -> None:
            with run.tool(block) as call:
                call.result = f"found {block['input']['q']}"

        with instrument.ContextThreadPool(8) as pool:
            list(pool.map(work, run.tool_uses))
        (message,) = run.results()
        assert [b["content"] for b in message["content"][:40]] == [f"found x{n}" for n in range(40)]
        assert run.result.tool_calls == 40


def test_no_more_tools_run_in_one_answer_than_a_run_may_have() -> None:
    calls = together(*(tool_use("search", {"q": f"x{n}"}) for n in range(5)))
    case = Failure(
        lambda body: text("Enough.") if closing(body) else calls,
        StopReason.TOOL_CALL_LIMIT,
        policy=policy(loops={"tool_calls": 3}),
    )
    result, _ = played(WAYS["own loop"], case)
    assert (result.stop_reason, result.tool_calls, result.answer) == (StopReason.TOOL_CALL_LIMIT, 3, "Enough.")


def test_a_cut_answer_is_continued_and_put_together() -> None:
    script = [text("One, ", stop_reason="max_tokens"), text("two.")]
    result, _ = played(WAYS["own loop"], Failure(script, StopReason.COMPLETED))  # type: ignore[arg-type]
    assert (result.answer, result.stop_reason) == ("One, two.", StopReason.COMPLETED)
    cut, _ = played(WAYS["own loop"], Failure(lambda _: text("And ", stop_reason="max_tokens"), StopReason.MAX_TOKENS))
    assert (cut.answer, cut.stop_reason, cut.turns) == ("And And And ", StopReason.MAX_TOKENS, 3)


def test_blocks_of_the_sdk_are_measured_too() -> None:
    reply = anthropic.types.TextBlock(type="text", text="word " * 5000)
    with instrument.run(policy(cost={"run_limit_usd": 0.01})) as run, pytest.raises(instrument.RunStopped) as stopped:
        run.request(model=MODEL, max_tokens=600, messages=[PROMPT, {"role": "assistant", "content": [reply]}, PROMPT])
    assert stopped.value.stop_reason == "run_budget"


# --- instrument.guard -------------------------------------------------------------------------------------------------


def test_a_guarded_client_does_nothing_outside_of_a_run() -> None:
    body = {"model": MODEL, "max_tokens": 7, "messages": [PROMPT]}
    with ModelServer([text("a"), text("b")]) as server, client_of(server.url) as client:
        client.messages.create(**body)
        instrument.guard(instrument.guard(client)).messages.create(**body)
        assert server.requests[0].body == server.requests[1].body


def test_the_sdks_own_retries_are_paid_one_by_one_and_lose_no_words() -> None:
    script = [text(""), error(529, retry_after_seconds=0.01), text("Fine.")]
    with ModelServer(script) as server, instrument.run(Policy()) as run:
        client = instrument.guard(anthropic.Anthropic(api_key="t", base_url=server.url, max_retries=2))
        naive(plainly(client), str)
        said = [str(r.body["messages"][-1]) for r in server.requests]
        client.close()
    assert ["Your answer was empty" in words for words in said] == [False, True, True]
    assert (run.stop_reason, run.result.turns, run.run.budget.held_nano) == (StopReason.COMPLETED, 3, 0)


def test_a_context_that_was_too_long_is_made_shorter_and_sent_again() -> None:
    turns = itertools.count()

    def script(body: Any) -> Any:
        if len(str(body["messages"])) > 30_000:
            return error(400, message="prompt is too long: 210000 tokens > 200000 maximum")
        turn = next(turns)
        return text("Done.") if turn > 7 else tool_use("search", {"q": str(turn)})

    with ModelServer(script) as server, client_of(server.url) as client, instrument.run(Policy()) as run:
        naive(plainly(instrument.guard(client)), lambda q: f"{q} " + "lorem ipsum " * 400)
        assert [problems(r.body["messages"]) for r in server.requests if problems(r.body["messages"])] == []
    assert run.stop_reason is StopReason.COMPLETED
    assert [a.action for a in run.actions] == ["compact"]


def test_a_stream_that_breaks_off_is_paid_in_full_and_one_left_early_too() -> None:
    with ModelServer([cut(text("word " * 50)), text("word " * 50)]) as server, client_of(server.url) as client:
        with instrument.run(Policy()) as run:
            guarded = instrument.guard(client)
            with pytest.raises(httpx2.HTTPError):
                streaming(guarded)([PROMPT])
            with guarded.messages.stream(model=MODEL, max_tokens=600, messages=[PROMPT]) as stream:
                next(iter(stream))
        assert run.run.budget.held_nano == 0
        assert run.result.cost_usd is None
        assert run.result.cost_at_most_usd > 2 * 600 * 10e-6


def test_requests_at_the_same_time_are_each_paid_for() -> None:
    async def main() -> Any:
        async with anthropic.AsyncAnthropic(api_key="t", base_url=server.url) as plain:
            client = instrument.guard(plain)
            with instrument.run(Policy()) as run:
                asked = (client.messages.create(model=MODEL, max_tokens=50, messages=[PROMPT]) for _ in range(8))
                await asyncio.gather(*asked)
            return run

    with ModelServer(lambda body: text("Hello.")) as server:
        run = asyncio.run(main())
    assert (run.result.turns, run.run.budget.held_nano, run.result.cost_usd) == (
        8,
        0,
        pytest.approx(run.result.cost_at_most_usd),
    )
    assert run.result.usage.output_tokens == 8 * run.result.usage.output_tokens // 8 > 0


def test_another_conversation_of_the_same_run_is_not_taken_for_the_compacted_one() -> None:
    small = policy(context={"windows": {"claude": 6000}, "compaction": "edit"})
    long = [PROMPT, *(m for n in range(12) for m in exchange(n))]
    other = [
        {"role": "user", "content": f"Other {n}"} if n % 2 == 0 else {"role": "assistant", "content": "ok"}
        for n in range(31)
    ]
    with ModelServer(lambda body: text("ok")) as server, client_of(server.url) as client, instrument.run(small) as run:
        guarded = instrument.guard(client)
        for messages in (long, other, long):
            guarded.messages.create(model=MODEL, max_tokens=50, messages=messages, tools=TOOLS)  # type: ignore[arg-type]
        sent = [r.body["messages"] for r in server.requests]
    assert [a.action for a in run.actions if a.action == "compact"] == ["compact"]
    assert sent[1] == other
    assert sent[2] == sent[0]
    assert len(str(sent[0])) < len(str(long))


def exchange(number: int) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": f"toolu_{number}", "name": "search", "input": {"q": str(number)}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": f"{number} " + "lorem ipsum " * 150}
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


def test_a_runner_with_a_guarded_client_inside_of_a_run_is_paid_for_once() -> None:
    with ModelServer([text("Fine.")]) as server, client_of(server.url) as client, instrument.run(Policy()) as run:
        inner = instrument.GuardedRunner(instrument.guard(client), model=MODEL).run("What is x?")
    assert inner.cost_usd is not None
    assert run.result.cost_usd == inner.cost_usd > 0
    assert run.result.turns == 0
