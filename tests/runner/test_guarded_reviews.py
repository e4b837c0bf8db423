"""Runs that ask a person before they go on spending: by a function, by the ledger's queue, and over a restart."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import anthropic
import pytest

from instrument.errors import ResumeError
from instrument.ledger import Review, open_ledger
from instrument.runner.guarded import GuardedRunner
from instrument.runner.state import loaded
from instrument.runner.stop import StopReason
from instrument.runner.toolbox import toolbox
from instrument.runner.wants import Arrived
from instrument.testing import ModelServer, text, tool_use
from tests.runner.in_memory import MODEL, World, made
from tests.runner.playing import WAYS, call, forces_words, play, policy
from tests.runner.resuming import FIELDS as PAUSING
from tests.runner.resuming import search

every_way = pytest.mark.parametrize("way", WAYS)
ASKING = {"review.over_usd": 0.008, "review.timeout_seconds": 20.0}
GOING_ON = forces_words(lambda b: tool_use("search", {"q": str(len(b["messages"]))}, text="w " * 100), text("So far."))


def test_what_nobody_needs_to_be_asked_for_pays_for_a_last_word() -> None:
    wordy = forces_words(lambda b: tool_use("search", {"q": str(len(b["messages"]))}, text="w " * 600), text("So far."))
    played = play("run", wordy, {"review.over_usd": 0.02}, tools=[search], max_tokens=1200, review=lambda _: False)
    assert (played.result.stop_reason, played.result.answer) == (StopReason.REVIEW_DENIED, "So far.")
    assert played.bodies[-1]["max_tokens"] < 1024
    assert played.result.cost_at_most_usd <= 0.02


def with_queue(script: Any, ledger: Path, answer: dict[str, Any], way: str = "run", fields: Any = ASKING) -> Any:
    """Plays a run while somebody answers all that is asked."""
    done = threading.Event()

    def person() -> None:
        with closing(open_ledger(ledger)) as queue:
            while not done.is_set():
                for review in queue.reviews():
                    queue.decide(review.review_id, by="ben", **answer)
                time.sleep(0.02)

    answering = threading.Thread(target=person)
    answering.start()
    try:
        return play(way, script, fields, tools=[search], max_tokens=200, ledger=ledger, user_id="ann")
    finally:
        done.set()
        answering.join()


@every_way
def test_a_function_says_yes_and_is_asked_again_after_each_further_amount(way: str) -> None:
    asked: list[Review] = []

    def reviewer(review: Review) -> bool:
        asked.append(review)
        return True

    fields = {**ASKING, "loops.turns": 12}
    played = play(way, GOING_ON, fields, tools=[search], max_tokens=200, review=reviewer, user_id="ann", prompt="Why?")
    assert played.result.stop_reason is StopReason.TURN_LIMIT
    assert 2 <= len(asked) <= played.result.cost_at_most_usd / 0.008 + 1
    assert (asked[0].prompt, asked[0].user_id, asked[0].model, asked[0].spent_usd < 0.008) == (
        "Why?",
        "ann",
        MODEL,
        True,
    )
    assert [d for d in played.did if d[0] == "review"] == [("review", "ask")] * len(asked)


@every_way
@pytest.mark.parametrize("answer", [False, None, "yes", ValueError("no reviewer at home")], ids=repr)
def test_whatever_is_not_plainly_yes_is_no_and_it_is_not_asked_again(way: str, answer: Any) -> None:
    asked: list[Review] = []

    def reviewer(review: Review) -> Any:
        asked.append(review)
        if isinstance(answer, Exception):
            raise answer
        return answer

    played = play(way, GOING_ON, ASKING, tools=[search], max_tokens=200, review=reviewer)
    assert (played.result.stop_reason, len(asked)) == (StopReason.REVIEW_DENIED, 1)
    assert played.result.answer
    assert 0 < played.result.cost_at_most_usd <= 0.008


@pytest.mark.parametrize("way", ["arun", "astream"])
def test_a_coroutine_function_may_review(way: str) -> None:
    async def reviewer(review: Review) -> bool:
        await asyncio.sleep(0.01)
        return review.spent_usd < 0.009

    played = play(way, GOING_ON, ASKING, tools=[search], max_tokens=200, review=reviewer)
    assert played.result.stop_reason is StopReason.REVIEW_DENIED
    assert 0.008 < played.result.cost_at_most_usd <= 0.016


@every_way
@pytest.mark.parametrize(("approved", "stop"), [(True, "turn_limit"), (False, "review_denied")])
def test_the_queue_of_the_ledger_is_answered_by_somebody_else(
    way: str, approved: bool, stop: str, tmp_path: Path
) -> None:
    answer = {"approved": approved, "note": "as agreed"}
    played = with_queue(GOING_ON, tmp_path / "flyball.ledger", answer, way, {**ASKING, "loops.turns": 6})
    assert str(played.result.stop_reason) == stop
    if not approved:
        assert any("ben denied it: as agreed" in act.reason for act in played.result.actions)


@every_way
@pytest.mark.parametrize(("on_timeout", "stop"), [("deny", "review_denied"), ("approve", "turn_limit")])
@pytest.mark.parametrize("by", ["queue", "function"])
def test_no_answer_means_what_the_policy_says(way: str, on_timeout: str, stop: str, by: str, tmp_path: Path) -> None:
    never = threading.Event()
    fields = {
        "review.over_usd": 0.008,
        "review.timeout_seconds": 0.05,
        "review.on_timeout": on_timeout,
        "loops.turns": 9,
    }
    reviewer = (lambda _: never.wait(20)) if by == "function" else None
    ledger = tmp_path / "flyball.ledger"
    played = play(way, GOING_ON, fields, tools=[search], max_tokens=200, ledger=ledger, review=reviewer)
    never.set()
    assert str(played.result.stop_reason) == stop


def paused(way: str, url: str, ledger: Path, **settings: Any) -> Any:
    settings = {
        "model": MODEL,
        "tools": [search],
        "policy": policy(PAUSING),
        "max_tokens": 200,
        "ledger": ledger,
        **settings,
    }
    if way == "run":
        with anthropic.Anthropic(api_key="test", base_url=url) as client:
            return GuardedRunner(client, **settings).run("Why?", user_id="ann")

    async def run() -> Any:
        async with anthropic.AsyncAnthropic(api_key="test", base_url=url) as client:
            return await GuardedRunner(client, **settings).arun("Why?", user_id="ann")

    return asyncio.run(run())


def resumed(url: str, ledger: Path, review_id: str, fields: Any = PAUSING) -> Any:
    with anthropic.Anthropic(api_key="test", base_url=url) as client:
        return GuardedRunner(client, model=MODEL, tools=[search], policy=policy(fields), ledger=ledger).resume(
            review_id
        )


def script(body: dict[str, Any]) -> Any:
    """Four searches, and an answer."""
    turns = sum(m["role"] == "assistant" for m in body["messages"])
    return tool_use("search", {"q": f"q{turns}"}, text="w " * 100) if turns < 4 else text("At last.")


@pytest.mark.parametrize(("way", "by"), [("run", "queue"), ("arun", "function")])
def test_a_paused_run_is_resumed_by_another_process_once_it_is_approved(way: str, by: str, tmp_path: Path) -> None:
    ledger = tmp_path / "flyball.ledger"
    never = threading.Event()
    reviewer = {"review": lambda _: never.wait(20)} if by == "function" else {}
    with ModelServer(script) as server, closing(open_ledger(ledger)) as queue:
        first = paused(way, server.url, ledger, **reviewer)
        never.set()
        assert (first.stop_reason, first.answer) == (StopReason.REVIEW_PENDING, "w " * 100)
        assert first.review_id is not None
        assert [r.review_id for r in queue.reviews()] == [first.review_id]
        so_far = len(server.requests)

        with pytest.raises(ResumeError, match="not answered yet"):
            resumed(server.url, ledger, first.review_id)
        queue.decide(first.review_id, approved=True, by="ben")
        resuming = [sys.executable, "-m", "tests.runner.resuming", server.url, str(ledger), first.review_id]
        later = subprocess.run(
            resuming, check=False, capture_output=True, text=True, timeout=100, cwd=Path(__file__).parents[2]
        )
        assert later.returncode == 0, later.stderr
        answer, stop_reason, turns, tool_calls, cost_usd = json.loads(later.stdout)

        assert (answer, stop_reason, turns, tool_calls) == ("At last.", "completed", 5, 4)
        assert len(server.requests) == 5 > so_far == first.turns
        assert cost_usd > first.cost_at_most_usd > 0
        # The whole of it lies before each request that came after.
        assert server.requests[so_far].body["messages"][:-1] == first.messages[:-1]
        with pytest.raises(ResumeError, match="another process"):
            resumed(server.url, ledger, first.review_id)


def test_what_cannot_be_resumed_says_why(tmp_path: Path) -> None:
    with ModelServer([text("Done.")]) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        runner = GuardedRunner(client, model=MODEL, policy=policy(PAUSING), ledger=tmp_path / "flyball.ledger")
        with pytest.raises(ResumeError, match="no such review"):
            runner.resume("rev_of_nobody")


def test_a_loop_that_had_begun_before_the_pause_is_known_after_it(tmp_path: Path) -> None:
    ledger = tmp_path / "flyball.ledger"
    looping = forces_words(lambda _: call("search", q="x"), text("Enough."))
    with ModelServer(looping) as server, closing(open_ledger(ledger)) as queue:
        first = paused("run", server.url, ledger)
        assert first.stop_reason is StopReason.REVIEW_PENDING
        queue.decide(first.review_id, approved=True)
        result = resumed(server.url, ledger, first.review_id, {**PAUSING, "review.over_usd": 1.0})
    assert (result.stop_reason, result.turns) == (StopReason.REPEATED_CALL, 9)


@pytest.mark.parametrize("decision", ["approved", None])
def test_the_time_that_a_person_takes_is_not_the_runs(decision: str | None) -> None:
    def reviewer(review: Review) -> str | None:
        world.clock.now += 7_200.0
        return decision

    answers = iter([Arrived({"content": [{"type": "text", "text": "Done."}], "stop_reason": "end_turn"})])
    world = World(lambda _: next(answers), reviewer)
    fields = {"review.over_usd": 0.0001, "loops.run_seconds": 60.0, "review.on_timeout": "pause"}
    result = world.play(made(policy(fields), toolbox([]), world))
    if decision:
        assert (result.answer, result.ok) == ("Done.", True)
    else:
        assert loaded(world.paused[0].state).seconds == 0
