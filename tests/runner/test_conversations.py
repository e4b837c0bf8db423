"""Laws of every run, over random conversations: what the model says, what tools do, what the API refuses, and the policy are all drawn.

`FLYBALL_EXAMPLES=10000 pytest tests/runner/test_conversations.py` runs as many as one likes.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instrument.guards.facts import Action
from instrument.messages import problems
from instrument.policy import Policy
from instrument.runner.loop import Loop
from instrument.runner.result import RunResult
from instrument.runner.setup import COMPLETE
from instrument.runner.stop import StopReason
from instrument.runner.toolbox import Toolbox, toolbox
from instrument.runner.wants import Arrived, Failed
from tests.runner.in_memory import World, made

EXAMPLES = int(os.environ.get("FLYBALL_EXAMPLES", "300"))
CENT = 1e-9
"""Rounding of a sum of a few hundred prices, in US dollars."""


def look(q: str = "", deep: Any = None) -> str:
    """Looks something up."""
    return f"what is known of {q}" if deep is None else "nothing"


def fail(q: str = "") -> str:
    """Fails."""
    raise ConnectionError(f"no connection for {q}")


def huge(q: str = "") -> str:
    """Says a lot."""
    return f"{q} " + "lorem ipsum " * 600


def nothing(q: str = "") -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def box() -> Toolbox:
    return toolbox([look, fail, huge, nothing])


# --- what the model and the API do ------------------------------------------------------------------------------------


class RefusedError(Exception):
    """An answer of the API that is no message."""

    def __init__(self, status_code: int | None, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


@dataclass(frozen=True)
class Said:
    """One answer of the model, or a failure."""

    blocks: tuple[Mapping[str, Any], ...] = ()
    stop_reason: str | None = None
    usage: Any = "told"
    failure: tuple[int | None, str, bool, bool, float | None] | None = None

    def answer(self, ids: Iterator[int]) -> Arrived | Failed:
        if self.failure is not None:
            status, words, temporary, billed, retry_after = self.failure
            return Failed(RefusedError(status, words), temporary, billed, retry_after)
        content = []
        for block in self.blocks:
            fresh = {"id": f"toolu_{next(ids)}"} if block["type"].endswith("tool_use") and "id" not in block else {}
            content.append({**msgspec.to_builtins(block), **fresh})
        calls = any(block["type"] == "tool_use" for block in content)
        message: dict[str, Any] = {
            "content": content,
            "role": "assistant",
            "stop_reason": self.stop_reason or ("tool_use" if calls else "end_turn"),
        }
        if self.usage != "told":
            message["usage"] = self.usage
        return Arrived(message)


def seldom(usual: Any, *others: Any, times: int = 6) -> st.SearchStrategy[Any]:
    """`usual` so many times as often as each of the others, so that runs get far enough for those to meet something."""
    return st.sampled_from([usual] * times * len(others) + list(others))


words = st.sampled_from(
    ["Done.", " \n", "", "The answer is 42, as far as anybody knows.", "Let me look that up.", "at the end ", "\ud800"]
)
texts = words.map(lambda said: {"type": "text", "text": said})
thoughts = seldom("c2ln", "").map(lambda seal: {"type": "thinking", "thinking": "hm", "signature": seal})
inputs = st.one_of(
    st.integers(0, 30).map(lambda n: {"q": f"question {n}"}),
    st.sampled_from([{}, {"q": "x"}, {"q": "y"}, {"q": "x"}, {"q": "x", "deep": [1]}]),
    st.sampled_from([{"q": None}, {"q": ""}, {"z": 1}, [1], None, "q"]),
)
uses = st.builds(
    lambda name, given, twin: {"type": "tool_use", "name": name, "input": given, **twin},
    st.sampled_from(["look", "look", "look", "huge", "huge", "fail", "nothing", "lok", "fetch_result", COMPLETE]),
    inputs,
    seldom({}, {"id": "toolu_twin"}),
)
closing = st.just({"type": "tool_use", "name": COMPLETE, "input": {"status": "partial", "answer": "as far as I got"}})
served = st.just({"type": "server_tool_use", "name": "web_search", "input": {"query": "x"}})
odd = st.one_of(texts, thoughts, closing, served)
calling = st.tuples(st.lists(st.one_of(texts, thoughts), max_size=1), st.lists(uses, min_size=1, max_size=3))
contents = st.one_of(calling.map(lambda c: [*c[0], *c[1]]), calling.map(lambda c: [*c[1]]), st.lists(odd, max_size=3))
reasons = seldom(
    None, "max_tokens", "end_turn", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded", "of_tomorrow"
)
answers = st.builds(Said, contents.map(tuple), reasons, seldom("told", None, {}, {"output_tokens": 3}))
failures = st.sampled_from(
    [
        (429, "slow down", True, False, 2.0),
        (529, "Overloaded", True, False, None),
        (None, "the connection broke", True, True, None),
        (400, "no good", False, False, None),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", False, False, None),
        (429, "come back in an hour", True, False, 3600.0),
    ]
).map(lambda f: Said(failure=f))
stretches = st.builds(
    lambda said, times: [said] * times, st.one_of(*[answers] * 14, failures), seldom(1, 2, 3, 6, times=2)
)
scripts = st.lists(stretches, min_size=4, max_size=12).map(lambda parts: list(itertools.chain.from_iterable(parts)))
small = st.integers(1, 4)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies with some thresholds that are small enough to be reached, and the others as they come."""
    nudge, gap = draw(seldom(4, 1, 2, 3, times=2)), draw(small)
    tables = {
        "guards": {"mode": draw(seldom("enforce", "observe", "off", times=2))},
        "tool_errors": {"same_failure_calls": nudge, "failed_calls": draw(small), "error_calls": nudge + gap},
        "loops": {
            "same_call_repeats": nudge,
            "same_call_error_repeats": nudge + gap,
            "near_repeats": nudge + 1,
            "near_error_repeats": nudge + gap + 1,
            "checkpoint_calls": draw(seldom(25, 2, 5, times=2)),
            "turns": draw(seldom(30, 1, 2, 3, 6)),
            "tool_calls": draw(seldom(50, 1, 2, 5)),
            "run_seconds": draw(seldom(1800.0, 3.0, 20.0)),
            "final_answer_tokens": draw(seldom(1024, 1, 100)),
        },
        "context": {
            "windows": draw(seldom({}, {"claude": 2_000}, {"claude": 6_000}, times=1)),
            "compaction": draw(st.sampled_from(["auto", "edit", "summary", "off"])),
            "summary_tokens": draw(seldom(2048, 64, times=1)),
            "keep_turns": draw(small),
            "result_chars": draw(seldom(50_000, 200, 3_000, times=1)),
            "count_tokens": draw(st.sampled_from(["never", "near"])),
        },
        "stuck": {
            "same_output_repeats": nudge,
            "same_output_error_repeats": nudge + gap,
            "output_chars": draw(st.sampled_from([1, 20])),
            "empty_answers": draw(small),
            "idle_answers": draw(small),
            "continuations": draw(small),
        },
        "cost": {
            "run_limit_usd": draw(seldom(10.0, None, 0.005, 0.02, 0.1, times=1)),
            "user_day_limit_usd": draw(seldom(None, 0.01, 0.05, 5.0, times=2)),
            "unknown_price": draw(st.sampled_from(["refuse", "warn"])),
            "min_output_tokens": draw(st.sampled_from([1, 256])),
        },
        "review": {
            "over_usd": draw(seldom(None, 0.01, 0.05)),
            "on_timeout": draw(st.sampled_from(["deny", "approve", "pause"])),
        },
        "model_calls": {"retries": draw(st.integers(0, 2))},
    }
    return msgspec.convert(tables, Policy)


@dataclass(frozen=True)
class Case:
    """A policy, a setup, and a world."""

    policy: Policy
    script: tuple[Said, ...]
    setup: Mapping[str, Any]
    decisions: tuple[str | None, ...]
    counts: float | None
    edits: bool
    messages: tuple[Mapping[str, Any], ...]

    def world(self) -> World:
        said, ids, decided = iter(self.script), itertools.count(1), itertools.cycle(self.decisions)

        def model(body: Mapping[str, Any]) -> Arrived | Failed:
            if "memory of an agent" in str(body.get("system")):
                return Arrived(
                    {"content": [{"type": "text", "text": "What happened so far."}], "stop_reason": "end_turn"}
                )
            return next(said, Said(({"type": "text", "text": "That is all there is."},))).answer(ids)

        return World(model, lambda _: next(decided), self.counts, self.edits)

    def play(self, box: Toolbox, policy: Policy | None = None) -> tuple[World, Loop, RunResult]:
        world = self.world()
        loop = made(policy or self.policy, box, world, messages=self.messages, **self.setup)
        return world, loop, world.play(loop)


cases = st.builds(
    Case,
    policies(),
    scripts.map(tuple),
    st.fixed_dictionaries(
        {
            "max_tokens": st.sampled_from([50, 1000, 4096]),
            "task_complete": st.booleans(),
            "model": st.sampled_from(["claude-sonnet-5-5"] * 7 + ["claude-of-nobody"]),
            "request": st.sampled_from([{}, {}, {"tool_choice": {"type": "auto"}}]),
        }
    ),
    st.lists(st.sampled_from(["approved", "denied", None]), min_size=1, max_size=3).map(tuple),
    st.sampled_from([1.0, 1.5, None]),
    st.booleans(),
    st.sampled_from(
        [
            ({"role": "user", "content": "What is x?"},),
            (
                {"role": "user", "content": "What is x? " * 400},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "toolu_old", "name": "look", "input": {}}],
                },
                {"role": "user", "content": "Never mind."},
            ),
        ]
    ),
)
often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
seen: Counter[str] = Counter()
"""Stop reasons of all examples, to know that the laws were not empty."""


@often
@given(cases)
def test_every_run_ends_for_one_reason_inside_its_limits(box: Toolbox, case: Case) -> None:
    world, loop, result = case.play(box)
    policy, run = case.policy, loop.run
    seen[str(result.stop_reason)] += 1
    seen.update({str(a.action) for a in result.actions})

    assert run.stop is result.stop_reason
    stops = {a.guard for a in result.actions if a.action is Action.STOP and not a.observed}
    own = {StopReason.COMPLETED, StopReason.MAX_TOKENS, StopReason.REFUSED}
    assert result.stop_reason in stops | own
    assert result.stop_reason not in {StopReason.INTERNAL_ERROR, StopReason.CANCELLED}
    # What was sent.
    assert world.refused == []
    assert json.dumps(world.bodies, ensure_ascii=False).encode()
    assert result.turns == len(world.bodies) <= policy.loops.turns + policy.model_calls.retries
    assert all(body["max_tokens"] >= 1 for body in world.bodies)
    # What was run.
    assert result.tool_calls == len(world.ran) <= policy.loops.tool_calls
    # What was spent.
    if not world.unpriced:
        assert world.billed_usd <= result.cost_at_most_usd + CENT
        if result.cost_usd is not None:
            assert result.cost_usd == pytest.approx(world.billed_usd, abs=1e-6)
        for limit in (policy.cost.run_limit_usd, policy.cost.user_day_limit_usd):
            assert limit is None or result.cost_at_most_usd <= limit + CENT
    assert (run.budget.held_nano, world.reserved) == (0, {})
    # Where it can go on.
    assert problems([*result.messages, {"role": "user", "content": "And y?"}]) == []


@often
@given(cases)
def test_observing_sends_what_no_guards_would_send(box: Toolbox, case: Case) -> None:
    def play(mode: str) -> tuple[World, Loop, RunResult]:
        guards = msgspec.structs.replace(case.policy.guards, mode=mode)
        return case.play(box, msgspec.structs.replace(case.policy, guards=guards))

    (observed, _, one), (free, _, other) = play("observe"), play("off")
    assert without_ids(observed.bodies) == without_ids(free.bodies)
    assert (one.stop_reason, one.answer) == (other.stop_reason, other.answer)
    assert without_ids(one.messages) == without_ids(other.messages)


def without_ids(value: Any) -> str:
    """As text, without the ids of results that were cut, which are drawn by lot."""
    return re.sub(r"[0-9a-f]{16,32}", "id", json.dumps(value))


def test_the_laws_were_not_empty() -> None:
    """Runs last in this file."""
    if not seen or EXAMPLES < 300:
        pytest.skip("the laws did not run in this session, or too few examples of them")
    assert {"completed", "run_budget", "model_error", "turn_limit"} <= set(seen)
    assert {"nudge", "block", "stop", "retry", "lower"} <= set(seen)
    if EXAMPLES >= 3_000:
        assert {"tool_call_limit", "time_limit", "user_budget", "context_overflow", "refused", "max_tokens"} <= set(
            seen
        )
        assert {"error_cascade", "unknown_tool", "empty_response", "review_denied", "review_pending"} <= set(seen)
        assert {"warn", "cut", "compact", "ask"} <= set(seen)
