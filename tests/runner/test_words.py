"""A prompt put together anew is no word of the user, for live guards as for detectors."""

from __future__ import annotations

from typing import Any

import pytest

import instrument
from analyzer.cases import Case
from analyzer.detectors.repeated_call.cases import CASES
from analyzer.frames import Frames
from instrument.policy import Policy
from instrument.runner.words import Words

PROMPTED = [case for case in CASES if any(getattr(entry, "prompt", None) for entry in case.script)]
USER = {"role": "user", "content": "Find it."}
ANSWER = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "look", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "nothing"}]}


def heard_live(case: Case) -> list[int]:
    """Turns of a script whose request holds a new word of the user."""
    words, found = Words(), []
    turns = [entry for entry in case.script if getattr(entry, "prompt", None)]
    for number, entry in enumerate(turns, 1):
        if words.new({"prompt": entry.prompt}):  # type: ignore[union-attr]
            found.append(number)
        if entry.calls:  # type: ignore[union-attr]
            words.acted()
    return found


@pytest.mark.parametrize("case", PROMPTED, ids=[case.name for case in PROMPTED])
def test_guards_and_detectors_hear_the_same(case: Case) -> None:
    only = [entry for entry in case.script if getattr(entry, "prompt", None)]
    con = Case(case.name, only, []).load()
    frames = Frames.all_of(con)
    runs = frames.rows("true", [])["run_key"]
    turns = frames.rows("kind = 'model'", [])
    heard = turns.join(frames.questions(runs), on=["run_key", "step"], how="semi")["turn"].to_list()
    assert heard_live(case) == heard
    assert bool(heard) is case.name.startswith("quiet")


def test_new_words_in_a_conversation_are_heard_and_results_are_none() -> None:
    words = Words()
    asked: list[Any] = [USER]
    assert not words.new({"messages": asked})
    words.acted()
    asked = [*asked, ANSWER, RESULT]
    assert not words.new({"messages": asked})
    words.acted()
    assert words.new({"messages": [*asked, {"role": "user", "content": "Find it, and the other one."}]})


@pytest.mark.parametrize(("told", "stops"), [("step {n}", True), ("look at {name}", False)])
def test_a_decorated_loop_is_stopped_whatever_its_prompt_says_of_the_steps_and_a_batch_is_not(
    told: str, stops: bool
) -> None:
    ran: list[int] = []

    @instrument.model
    def ask(prompt: str) -> str:
        return "I shall look."

    @instrument.tool
    def look(q: str) -> str:
        return "nothing"

    @instrument.agent(policy=Policy())
    def agent() -> None:
        for n, name in enumerate(("Ann", "Ben", "Cem", "Dov", "Eva", "Fay", "Gus", "Hal", "Ivo", "Jan")):
            ask(f"Find out what applies: {told.format(n=n, name=name)}")
            ran.append(n)
            try:
                look("x")
            except instrument.CallRefused:
                ran.append(-1)

    if stops:
        with pytest.raises(instrument.RunStopped) as stopped:
            agent()
        assert stopped.value.stop_reason == "repeated_call"
    else:
        agent()
        assert ran == list(range(10))


def test_a_prompt_that_says_all_and_more_is_the_same_task_and_one_that_drops_a_word_is_not() -> None:
    from instrument.sameness import retells

    assert retells("Step 4: find it. So far: nothing", "Step 3: find it.")
    assert retells('{"n": 1}', '{"n": 0}')
    assert not retells("Capital of Spain?", "Capital of France?")
    assert not retells("Anything at all", "7")
