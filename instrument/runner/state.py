"""A run that waits for a person, as JSON, so that another process can go on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from instrument import sameness
from instrument.billing import Usage

if TYPE_CHECKING:
    from instrument.runner.loop import Loop
    from instrument.runner.run import Run


class State(msgspec.Struct, frozen=True):
    """What a paused run needs to go on. Its guards are not in it: they are told the conversation again."""

    prompt: str
    messages: list[dict[str, Any]]
    conversation_id: str | None
    user_id: str | None
    turns: int
    tool_calls: int
    seconds: float
    spent_nano: int
    cost_known: bool
    usage: tuple[int, int, int, int]


def saved(loop: Loop) -> bytes:
    """The state of a run that has stopped."""
    run = loop.run
    usage = run.usage
    state = State(
        loop.prompt,
        loop.messages,
        run.conversation_id,
        run.user_id,
        run.turns,
        run.tool_calls,
        run.clock() - run.started_at,
        run.budget.spent_nano,
        run.cost_known,
        (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens),
    )
    return orjson.dumps(msgspec.to_builtins(state))


def loaded(data: bytes) -> State:
    """The state that `saved` wrote. Raises `msgspec.DecodeError` for anything else."""
    return msgspec.json.decode(data, type=State)


def restore(run: Run, state: State) -> None:
    """Brings a new run to where the paused one was."""
    run.turns, run.tool_calls = state.turns, state.tool_calls
    run.started_at -= state.seconds
    run.budget.spent_nano = state.spent_nano
    run.budget.known = state.cost_known
    run.usage = Usage(*state.usage)
    _retell(run, state.messages)


def _retell(run: Run, messages: list[dict[str, Any]]) -> None:
    """Tells the guards what had happened. What they would have done about it was done then."""
    turn, run.turns = run.turns, 0
    asked: dict[str, Any] = {}
    for message in messages:
        content = message.get("content")
        blocks = [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
        if message.get("role") == "assistant":
            run.turns += 1
            calls = [b for b in blocks if b.get("type") == "tool_use"]
            text = "\n".join(str(b.get("text")) for b in blocks if b.get("type") == "text")
            run.panel.answered(run.answer(text, len(calls)))
            for block in calls:
                call = run.call(str(block.get("name")), block.get("input"), str(block.get("id")))
                run.panel.asked(call)
                asked[call.call_id] = call
        for block in blocks:
            answered = asked.pop(str(block.get("tool_use_id")), None) if block.get("type") == "tool_result" else None
            if answered is not None:
                text = sameness.result_text(block.get("content")) or ""
                failed = "tool_error" if block.get("is_error") else None
                run.panel.ran(answered, run.outcome(answered, text, error_type=failed))
    run.turns = turn
