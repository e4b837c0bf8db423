"""What a guarded run does with all that a model may say, in each of the four ways to run it."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import anthropic
import pytest

from instrument.errors import RunStopped
from instrument.runner.events import Ended, TextDelta, ThinkingDelta, ToolEnded, ToolStarted, TurnStarted
from instrument.runner.guarded import GuardedRunner
from instrument.runner.stop import StopReason
from instrument.runner.tools import Tool
from instrument.testing import ModelServer, Usage, error, text, thinking, together, tool_use
from tests.runner.playing import WAYS, call, forces_words, play, policy, sync_and_async

MODEL = "claude-sonnet-5-5"
every_way = pytest.mark.parametrize("way", WAYS)


def search(q: str) -> str:
    """Searches."""
    return f"found {q}"


# --- answers ----------------------------------------------------------------------------------------------------------


@every_way
def test_an_answer(way: str) -> None:
    played = play(
        way, [text("42.", usage=Usage(100, 10))], system="Be brief.", max_tokens=300, metadata={"user_id": "u"}
    )
    result = played.result
    assert (result.answer, result.stop_reason, result.ok, result.turns) == ("42.", StopReason.COMPLETED, True, 1)
    assert (result.usage.input_tokens, result.usage.output_tokens) == (100, 10)
    assert result.cost_usd == result.cost_at_most_usd == pytest.approx((100 * 2 + 10 * 10) / 1e6)
    assert result.messages == [
        {"role": "user", "content": "What is x?"},
        {"role": "assistant", "content": [{"type": "text", "text": "42."}]},
    ]
    (body,) = played.bodies
    assert (body["system"], body["max_tokens"], body["metadata"]) == ("Be brief.", 300, {"user_id": "u"})
    assert "tools" not in body
    assert result.raise_for_stop() is result


@every_way
def test_a_tool_is_run_and_its_result_sent_back(way: str) -> None:
    played = play(way, [call("search", q="x"), text("Found.")], tools=[search])
    assert (played.result.answer, played.result.tool_calls, played.result.turns) == ("Found.", 1, 2)
    assert played.bodies[1]["messages"][-1] == {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_test_0001", "content": "found x"}],
    }
    assert [t["name"] for t in played.bodies[1]["tools"]] == ["search"]


@every_way
@pytest.mark.parametrize("colour", ["plain", "coroutine"])
@pytest.mark.parametrize("kind", ["function", "sdk", "schema"])
def test_tools_of_every_kind(way: str, colour: str, kind: str) -> None:
    fn = sync_and_async(search)[colour]
    make: dict[str, Any] = {
        "function": lambda: fn,
        "sdk": lambda: (anthropic.beta_async_tool if colour == "coroutine" else anthropic.beta_tool)(fn),
        "schema": lambda: Tool("search", "Searches.", {"type": "object", "properties": {"q": {"type": "string"}}}, fn),
    }
    played = play(way, [call("search", q="x"), text("Found.")], tools=[make[kind]()])
    assert [r["content"] for r in played.results] == ["found x"]
    assert played.result.ok


@every_way
def test_parallel_calls_run_at_the_same_time_and_are_answered_in_order(way: str) -> None:
    together_now = threading.Barrier(3)

    def meet(n: int) -> str:
        """Waits for the others."""
        together_now.wait(5)
        return f"met {n}"

    played = play(way, [together(*(call("meet", n=n) for n in range(3))), text("Done.")], tools=[meet])
    assert [r["content"] for r in played.results] == ["met 0", "met 1", "met 2"]


@every_way
def test_a_failing_tool_is_an_error_for_the_model_and_no_exception(way: str) -> None:
    def broken() -> str:
        """Breaks."""
        raise OSError("the disk is full")

    played = play(way, [call("broken"), text("It is broken.")], tools=[broken])
    (result,) = played.results
    assert (result["is_error"], result["content"]) == (True, "OSError: the disk is full")
    assert played.result.ok


@every_way
def test_a_conversation_goes_on(way: str) -> None:
    first = play(way, [text("Hello Ann.")], prompt="I am Ann.").result
    second = play(way, [text("Ann.")], prompt="Who am I?", conversation=first)
    assert [m["role"] for m in second.bodies[0]["messages"]] == ["user", "assistant", "user"]
    assert second.bodies[0]["messages"][:2] == first.messages
    assert second.result.conversation_id == first.conversation_id


@every_way
def test_a_prompt_may_be_blocks_or_messages(way: str) -> None:
    blocks = [{"type": "text", "text": "Look."}]
    assert play(way, [text("Yes.")], prompt=blocks).bodies[0]["messages"] == [{"role": "user", "content": blocks}]
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert play(way, [text("Yes.")], prompt=messages).bodies[0]["messages"] == messages


def test_messages_of_the_sdk_may_be_continued() -> None:
    with (
        ModelServer([call("search", q="x")]) as server,
        anthropic.Anthropic(api_key="test", base_url=server.url) as client,
    ):
        asked: Any = [{"role": "user", "content": "What is x?"}]
        message = client.messages.create(model=MODEL, max_tokens=100, messages=asked)
    results = [{"type": "tool_result", "tool_use_id": "toolu_test_0001", "content": "found x"}]
    earlier = [*asked, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    played = play("run", [text("Found.")], prompt=earlier, tools=[search])
    sent = played.bodies[0]["messages"]
    assert [b["type"] for b in sent[1]["content"]] == ["tool_use"]
    assert sent[2]["content"] == results


@every_way
def test_thinking_goes_back_as_it_came_and_what_cannot_go_back_does_not(way: str) -> None:
    turn = together(thinking("Hm.", signature="c2ln"), text(" "), call("search", q="x"))
    played = play(way, [turn, thinking("Only that."), text("Done.")], tools=[search])
    sent = played.bodies[1]["messages"][1]["content"]
    assert [b["type"] for b in sent] == ["thinking", "tool_use"]
    assert (sent[0]["thinking"], sent[0]["signature"]) == ("Hm.", "c2ln")
    # An answer of nothing but thinking says nothing: it is asked again, and the thought has nowhere to go.
    assert played.did == [("empty_response", "nudge")]
    assert (played.result.answer, played.result.ok) == ("Done.", True)


@every_way
def test_calls_with_one_id_are_answered_each_by_itself(way: str) -> None:
    twins = together(tool_use("search", {"q": "a"}, id="toolu_twin"), tool_use("search", {"q": "b"}, id="toolu_twin"))
    played = play(way, [twins, text("Done.")], tools=[search])
    uses = [b["id"] for b in played.bodies[1]["messages"][1]["content"]]
    assert len(set(uses)) == 2
    assert [(r["tool_use_id"], r["content"]) for r in played.results] == list(
        zip(uses, ["found a", "found b"], strict=True)
    )


def test_an_input_that_is_no_object_is_refused_and_sent_back_as_one() -> None:
    played = play("run", [tool_use("search", ["x"]), text("Done.")], tools=[search])
    assert played.bodies[1]["messages"][1]["content"][0]["input"] == {"input": ["x"]}
    assert (played.results[0]["is_error"], played.did) == (True, [("invalid_arguments", "block")])


def test_text_that_utf_8_has_no_bytes_for_is_replaced() -> None:
    def odd(q: str) -> str:
        """Gives half a character."""
        return "half \ud83d"

    played = play(
        "run", [together(text("half \ud83d"), call("odd", q="\ud83d")), text("Done.")], prompt="\ud83d?", tools=[odd]
    )
    assert played.result.ok
    assert played.bodies[1]["messages"][0]["content"] == "??"


def test_what_a_tool_does_to_its_arguments_stays_with_the_tool() -> None:
    def spoil(items: list[Any]) -> str:
        items.append("spoilt")
        return "ok"

    schema = {"type": "object", "properties": {"items": {"type": "array"}}}
    played = play("run", [call("spoil", items=["a"]), text("Done.")], tools=[Tool("spoil", "", schema, spoil)])
    assert played.bodies[1]["messages"][1]["content"][0]["input"] == {"items": ["a"]}


# --- stop reasons of the model ----------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("status", ["completed", "failed", "partial"])
def test_task_complete_ends_the_run_with_a_status(way: str, status: str) -> None:
    script = [call("task_complete", status=status, answer="So it is.")]
    played = play(way, script, tools=[search], task_complete=True)
    result = played.result
    assert (result.answer, result.status, result.stop_reason) == ("So it is.", status, StopReason.COMPLETED)
    assert (result.ok, result.tool_calls) == (status == "completed", 0)
    assert played.results[-1]["tool_use_id"] == "toolu_test_0001"


def test_who_ends_without_task_complete_is_told_and_then_believed() -> None:
    played = play("run", [text("I think I am done.")] * 5, task_complete=True)
    assert [d for d in played.did if d[0] == "no_final_answer"] == [("no_final_answer", "nudge")] * 2
    assert (played.result.answer, played.result.status, played.result.ok) == ("I think I am done.", None, True)


@every_way
def test_a_paused_turn_is_sent_back_as_it_is(way: str) -> None:
    played = play(way, [text("Looking ", stop_reason="pause_turn"), text("Found it.")])
    assert played.bodies[1]["messages"][1:] == [{"role": "assistant", "content": [{"type": "text", "text": "Looking"}]}]
    assert (played.result.answer, played.result.turns) == ("Found it.", 2)


@every_way
def test_a_refusal_ends_the_run(way: str) -> None:
    result = play(way, [text("I will not.", stop_reason="refusal")]).result
    assert (result.stop_reason, result.answer, result.ok) == (StopReason.REFUSED, "I will not.", False)
    with pytest.raises(RunStopped, match="refused"):
        result.raise_for_stop()


@every_way
def test_text_cut_at_the_token_limit_is_continued_and_joined(way: str) -> None:
    played = play(way, [text("One, two, ", stop_reason="max_tokens"), text("three.")])
    assert (played.result.answer, played.did) == ("One, two, three.", [("truncated_response", "nudge")])
    assert "cut off" in played.bodies[1]["messages"][-1]["content"][0]["text"]


def test_text_that_never_ends_is_given_as_far_as_it_came() -> None:
    result = play("run", (text(f"{n} ", stop_reason="max_tokens") for n in itertools.count())).result
    assert (result.answer, result.stop_reason, result.ok) == ("0 1 2 ", StopReason.MAX_TOKENS, False)


@every_way
def test_a_tool_call_cut_at_the_token_limit_does_not_run_and_gets_more_room(way: str) -> None:
    cut = together(text("Now."), call("search", q="x"), stop_reason="max_tokens")
    played = play(way, [cut, call("search", q="xyz"), text("Done.")], tools=[search], max_tokens=500)
    assert [r["content"] for r in played.results] == ["found xyz"]
    assert [b["max_tokens"] for b in played.bodies] == [500, 1000, 1000]


def long_results() -> tuple[Any, Any]:
    turns = [call("page", n=n) for n in range(6)]

    def page(n: int) -> str:
        """Reads a page."""
        return f"page {n}: " + "lorem ipsum " * 500

    return turns, page


@every_way
def test_a_prompt_that_is_too_long_is_compacted_and_sent_once_more(way: str) -> None:
    turns, page = long_results()
    too_long = error(400, message="prompt is too long: 210000 tokens > 200000 maximum")
    script = [*turns, too_long, text("A summary."), text("Done.")]
    played = play(way, script, {"context.compaction": "summary"}, tools=[page])
    assert (played.result.answer, played.did) == ("Done.", [("context", "compact")])
    assert len(str(played.bodies[-1])) < len(str(played.bodies[6])) / 1.5
    again = play(way, [*turns, too_long, text("A summary."), too_long], {"context.compaction": "summary"}, tools=[page])
    assert again.result.stop_reason is StopReason.CONTEXT_OVERFLOW
    assert again.result.error is not None


def test_an_answer_that_fills_the_window_is_continued_in_a_shorter_conversation() -> None:
    turns, page = long_results()
    script = [*turns, text("One, ", stop_reason="model_context_window_exceeded"), text("A summary."), text("two.")]
    played = play("run", script, {"context.compaction": "summary"}, tools=[page])
    assert (played.result.answer, played.result.ok) == ("One, two.", True)


# --- requests that fail -----------------------------------------------------------------------------------------------


@every_way
def test_a_failing_request_is_sent_again_when_the_server_says_so_and_never_behind_our_back(way: str) -> None:
    played = play(way, [error(529), error(429, retry_after_seconds=0.05), text("Done.")])
    assert (played.result.answer, played.result.turns, len(played.bodies)) == ("Done.", 3, 3)
    assert played.did == [("model_calls", "retry")] * 2
    assert "0.1 s" in played.result.actions[1].reason or "0.05" in played.result.actions[1].reason


@every_way
def test_a_request_that_goes_on_failing_ends_the_run_and_raises_nothing(way: str) -> None:
    played = play(way, itertools.repeat(error(529)))
    result = played.result
    assert (result.stop_reason, len(played.bodies), result.cost_usd) == (StopReason.MODEL_ERROR, 3, 0.0)
    assert isinstance(result.error, anthropic.APIStatusError)
    with pytest.raises(RunStopped, match="model_error") as raised:
        result.raise_for_stop()
    assert raised.value.__cause__ is result.error


def test_a_wait_of_an_hour_is_not_waited_for() -> None:
    played = play("run", itertools.repeat(error(429, retry_after_seconds=3600)))
    assert (played.result.stop_reason, len(played.bodies)) == (StopReason.MODEL_ERROR, 1)


def test_a_parameter_that_the_sdk_does_not_take_ends_the_run_before_anything_is_sent() -> None:
    played = play("run", [text("Done.")], no_such_parameter=1)
    assert (played.result.stop_reason, played.bodies, played.result.cost_usd) == (StopReason.MODEL_ERROR, [], 0.0)
    assert isinstance(played.result.error, TypeError)


# --- money ------------------------------------------------------------------------------------------------------------


def test_a_model_without_a_price_is_warned_of_or_refused() -> None:
    warned = play("run", [text("Done.")], model="claude-of-nobody")
    assert (warned.did, warned.result.ok, warned.result.cost_usd) == ([("unknown_price", "warn")], True, None)
    refused = play("run", [text("Done.")], {"cost.unknown_price": "refuse"}, model="claude-of-nobody")
    assert (refused.result.stop_reason, refused.bodies) == (StopReason.UNKNOWN_PRICE, [])


@every_way
def test_the_budget_lowers_max_tokens_and_leaves_room_for_a_final_answer(way: str) -> None:
    wordy = forces_words(
        lambda b: tool_use("search", {"q": str(len(b["messages"]))}, text="w " * 500), text("At last.")
    )
    played = play(way, wordy, {"cost.run_limit_usd": 0.05}, tools=[search], max_tokens=1500)
    result = played.result
    assert (result.stop_reason, result.answer) == (StopReason.RUN_BUDGET, "At last.")
    assert 0.02 < result.cost_at_most_usd <= 0.05
    assert ("run_budget", "lower") in played.did
    assert min(b["max_tokens"] for b in played.bodies) < 1500


def test_the_day_of_a_user_is_shared_by_runs_and_never_crossed(tmp_path: Any) -> None:
    fields = {"cost.user_day_limit_usd": 0.02}
    wordy = forces_words(lambda b: tool_use("search", {"q": str(len(b["messages"]))}, text="w " * 300), text("So far."))
    ledger = tmp_path / "flyball.ledger"
    first = play("run", wordy, fields, tools=[search], max_tokens=600, ledger=ledger, user_id="ann").result
    assert (first.stop_reason, first.answer) == (StopReason.USER_BUDGET, "So far.")
    second = play("arun", wordy, fields, tools=[search], max_tokens=600, ledger=ledger, user_id="ann").result
    assert second.stop_reason is StopReason.USER_BUDGET
    assert first.cost_at_most_usd + second.cost_at_most_usd <= 0.02
    other = play("run", [text("Hello.")], fields, ledger=ledger, user_id="ben").result
    assert other.ok
    from instrument.ledger import open_ledger

    kept = open_ledger(ledger)
    spent = kept.spent(kept.account("ann"))
    kept.close()
    assert spent.reserved_usd == 0
    assert spent.settled_usd == pytest.approx(first.cost_at_most_usd + second.cost_at_most_usd)


def test_a_ledger_that_cannot_be_opened_ends_the_run_and_raises_nothing(tmp_path: Any) -> None:
    (tmp_path / "no.ledger").write_bytes(b"this is no database" * 100)
    played = play(
        "run", [text("Done.")], {"cost.user_day_limit_usd": 1.0}, ledger=tmp_path / "no.ledger", user_id="ann"
    )
    assert (played.result.stop_reason, played.bodies) == (StopReason.USER_BUDGET, [])
    assert "ledger" in played.result.actions[0].reason


@pytest.mark.parametrize("kind", ["threads", "async"])
def test_a_sub_agent_in_a_tool_spends_the_budget_of_the_run_around_it(kind: str) -> None:
    inner: list[Any] = []
    # A reply as long as the request allows: a token is four characters here.
    with ModelServer(lambda body: text("w " * (2 * body["max_tokens"] - 40))) as server:

        def ask(n: int) -> str:
            """Asks another agent."""
            with anthropic.Anthropic(api_key="test", base_url=server.url) as client:
                runner = GuardedRunner(client, model=MODEL, policy=policy({"cost.run_limit_usd": 0.5}), max_tokens=900)
                inner.append(runner.run("Go on."))
            return "asked"

        async def ask_async(n: int) -> str:
            """Asks another agent."""
            async with anthropic.AsyncAnthropic(api_key="test", base_url=server.url) as client:
                runner = GuardedRunner(client, model=MODEL, policy=policy({"cost.run_limit_usd": 0.5}), max_tokens=900)
                inner.append(await runner.arun("Go on."))
            return "asked"

        ask_async.__name__ = "ask"
        asking = forces_words(lambda b: together(*(call("ask", n=n) for n in range(6))), text("Enough."))
        way, tool = ("run", ask) if kind == "threads" else ("arun", ask_async)
        played = play(way, asking, {"cost.run_limit_usd": 0.04}, tools=[tool], max_tokens=500)
    result = played.result
    own = (result.usage.input_tokens * 2 + result.usage.output_tokens * 10) / 1e6
    spent = sum(r.cost_at_most_usd for r in inner)
    assert {r.stop_reason for r in inner} >= {StopReason.COMPLETED, StopReason.RUN_BUDGET}
    assert result.stop_reason is StopReason.RUN_BUDGET
    assert result.cost_at_most_usd == pytest.approx(own + spent)
    assert 0 < spent <= 0.04 - own


def test_what_a_sub_agent_cost_without_anybody_knowing_is_not_known_of_the_run_around_it_either() -> None:
    with (
        ModelServer([text("Done.", usage=None)]) as server,
        anthropic.Anthropic(api_key="test", base_url=server.url) as client,
    ):
        sub = GuardedRunner(client, model=MODEL, policy=policy())

        def ask() -> str:
            """Asks another agent."""
            return sub.run("Go on.").answer

        result = play("run", [call("ask"), text("Done.")], tools=[ask]).result
    assert result.cost_usd is None
    assert result.cost_at_most_usd > 0.01


# --- results, modes ---------------------------------------------------------------------------------------------------


@every_way
def test_a_long_result_is_cut_and_the_rest_can_be_fetched(way: str) -> None:
    def page() -> str:
        """Reads a page."""
        return "".join(f"{n:06d}\n" for n in range(2_000))

    def script(body: dict[str, Any]) -> Any:
        results = [
            b
            for m in body["messages"]
            if isinstance(m["content"], list)
            for b in m["content"]
            if b["type"] == "tool_result"
        ]
        if not results:
            return call("page")
        if len(results) == 1:
            assert [t["name"] for t in body["tools"]] == ["page", "fetch_result"]
            spill_id = results[0]["content"].split('id "')[1].split('"')[0]
            return call("fetch_result", id=spill_id, start_char=7_000, max_chars=14)
        return text("Done.")

    played = play(way, script, {"context.result_chars": 1_000}, tools=[page])
    first, second = (r["content"] for r in played.results)
    assert len(first) < 1_300
    assert "001000\n001001\n" in second
    assert (played.did, played.result.tool_calls, played.result.ok) == ([("context", "cut")], 1, True)


def test_observing_says_what_it_would_have_done_and_off_does_not() -> None:
    def ran(mode: str) -> tuple[int, set[tuple[str, str, bool]]]:
        again = forces_words(lambda _: call("search", q="x"), text("Enough."))
        played = play("run", again, {"guards.mode": mode, "loops.turns": 12}, tools=[search])
        assert played.result.stop_reason is (StopReason.REPEATED_CALL if mode == "enforce" else StopReason.TURN_LIMIT)
        found = {(a.guard, str(a.action), a.observed) for a in played.result.actions}
        return played.result.tool_calls, found - {("turn_limit", "stop", False)}

    stops = {("repeated_call", action) for action in ("nudge", "block", "stop")}
    assert ran("enforce") == (4, {(*s, False) for s in stops})
    assert ran("observe") == (11, {(*s, True) for s in stops})
    assert ran("off") == (11, set())


# --- streams, threads, wrong arguments --------------------------------------------------------------------------------


def test_a_stream_tells_everything_in_order() -> None:
    script = [together(thinking("Hm."), text("Let me see."), call("search", q="x")), text("Found.")]
    with ModelServer(script) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        events: list[Any] = list(
            GuardedRunner(client, model=MODEL, tools=[search], policy=policy()).stream("What is x?")
        )
    kinds = [type(e) for e in events]
    assert kinds == [TurnStarted, ThinkingDelta, TextDelta, ToolStarted, ToolEnded, TurnStarted, TextDelta, Ended]
    assert (events[3].input, events[4].text, events[4].is_error) == ({"q": "x"}, "found x", False)
    assert (events[2].text, events[6].text, events[7].result.answer) == ("Let me see.", "Found.", "Found.")


def test_one_runner_may_run_in_eight_threads_at_once() -> None:
    def script(body: dict[str, Any]) -> Any:
        asked = body["messages"][0]["content"]
        return call("search", q=asked) if len(body["messages"]) == 1 else text(f"Answer to {asked}.")

    with ModelServer(script) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        runner = GuardedRunner(client, model=MODEL, tools=[search], policy=policy())
        results: dict[str, Any] = {}
        threads = [
            threading.Thread(target=lambda q=f"question {n}": results.__setitem__(q, runner.run(q))) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {q: r.answer for q, r in results.items()} == {q: f"Answer to {q}." for q in results}
    assert len(results) == 8
    assert all(r.messages[2]["content"][0]["content"] == f"found {q}" for q, r in results.items())


async def test_a_client_of_the_wrong_colour_is_a_wrong_argument() -> None:
    with (
        anthropic.Anthropic(api_key="test", base_url="http://127.0.0.1:9") as client,
        pytest.raises(TypeError, match="AsyncAnthropic"),
    ):
        await GuardedRunner(client, model=MODEL, policy=policy()).arun("Hello?")
    async with anthropic.AsyncAnthropic(api_key="test", base_url="http://127.0.0.1:9") as other:
        with pytest.raises(TypeError, match="use arun"):
            GuardedRunner(other, model=MODEL, policy=policy()).run("Hello?")
