"""The agent loop without I/O: it yields what it wants done (`wants`) and is sent what came of it. Drivers do the rest.

model call -> guards -> tools -> guards -> model call -> ... -> exactly one stop reason, and the best answer that could be had
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from instrument.guards.facts import Action, Intervention
from instrument.messages import repaired
from instrument.runner.answers import said, sendable, taken
from instrument.runner.asking import Asking, stopped_by
from instrument.runner.events import Acted
from instrument.runner.money import Money
from instrument.runner.result import RunResult, Status
from instrument.runner.room import Room, full
from instrument.runner.run import Run
from instrument.runner.setup import Setup
from instrument.runner.sizing import Sizing
from instrument.runner.state import saved
from instrument.runner.stop import StopReason
from instrument.runner.tooluse import ToolUse, Turned
from instrument.runner.wants import Failed, Pause, Tell, Want

_MOST_OUTPUT: Final = 64_000
"""`max_tokens` is not raised above this for a tool call that was cut."""
_GO_ON: Final = "Your answer was cut off at the token limit. Go on exactly where it stopped."
_CALL_CUT: Final = "Your tool call was cut off at the token limit and did not run. Make it again, shorter if you can."
_CLOSE: Final = "Call `task_complete` when you are done or sure that you cannot go on; until then use the other tools."
FINAL: Final = "Do not call any more tools. Give your best final answer now, from what you know, and say what is missing or uncertain."
_NO_ANSWER: Final = frozenset(
    {StopReason.MODEL_ERROR, StopReason.CONTEXT_OVERFLOW, StopReason.UNKNOWN_PRICE, StopReason.REVIEW_PENDING}
)
"""Stops after which the model is not asked again."""
Steps = Generator[Want, Any, None]


class Loop:
    """One run. `steps()` is the generator; `result()` is what it came to, at any time."""

    def __init__(self, run: Run, setup: Setup, messages: list[dict[str, Any]], prompt: str) -> None:
        self.run, self._setup, self.prompt = run, setup, prompt
        self.messages = repaired(sendable(messages))
        self._sizing = Sizing(setup.marks)
        self._money = Money(run, setup, self._sizing, prompt)
        self.asking = Asking(run, setup, self._money, self._sizing)
        self._tools = ToolUse(run, setup)
        self._room = Room(run, setup, self.asking, self._sizing, self._body)
        self._max_tokens = setup.max_tokens
        self._told = 0
        self._continued = self._closings = 0
        self._parts: list[str] = []
        """Pieces of an answer that is being continued."""
        self._serving = False
        """A tool on the server was called and has not answered: if it never does, its call must go."""
        self._last_words = ""
        self.answer = ""
        self.status: Status | None = None
        self.error: Exception | None = None
        self.review_id: str | None = None

    def steps(self) -> Steps:
        """Ends with `run.stop` set."""
        run = self.run
        while run.stop is None:
            limit = run.at_limit()
            if limit is not None:
                yield from self._end(limit)
                break
            self.messages = yield from self._room.watch(self.messages)
            limit = run.at_limit()  # a summary is a request too
            reply = limit or (yield from self.asking.ask(self._body(self.messages)))
            if isinstance(reply, Intervention):
                yield from self._end(reply)
            elif isinstance(reply, Failed):
                yield from self._failed(reply)
            else:
                yield from self._take(reply)
            yield from self._tell()

    def result(self) -> RunResult:
        """The run as it stands."""
        run = self.run
        return RunResult(
            answer=self.answer or self._last_words,
            stop_reason=run.stop or StopReason.CANCELLED,
            status=self.status,
            turns=run.turns,
            tool_calls=run.tool_calls,
            usage=run.usage,
            cost_usd=run.budget.spent_usd if run.cost_known else None,
            cost_at_most_usd=run.budget.spent_usd,
            messages=self._lasting(),
            actions=tuple(run.actions),
            error=self.error,
            review_id=self.review_id,
            run_id=run.run_id,
            trace_id=run.trace_id,
            conversation_id=run.conversation_id,
        )

    def _lasting(self) -> list[dict[str, Any]]:
        """The conversation as it can be continued: by then a tool on the server has lost its chance to answer."""
        kept = repaired(self.messages)
        return repaired([*kept, {"role": "user", "content": _GO_ON}])[:-1] if self._serving else kept

    def broke(self, error: Exception) -> None:
        """A defect of ours has ended the run."""
        self.error, self.run.stop = error, self.run.stop or StopReason.INTERNAL_ERROR

    # --- what the model answered --------------------------------------------------------------------------------------

    def _take(self, reply: dict[str, Any]) -> Steps:
        run, reason, found = self.run, reply.get("stop_reason"), taken(reply)
        text, calls = found.text, found.calls
        self._last_words = text or self._last_words
        self._serving |= found.serving
        if found.content:
            self.messages.append({"role": "assistant", "content": found.content})
        if reason == "refusal":
            run.stop, self.answer = StopReason.REFUSED, text
            return
        if calls:
            yield from self._use(calls, text)
        elif found.call_cut:
            self._max_tokens = min(self._max_tokens * 2, max(_MOST_OUTPUT, self._max_tokens))
            yield from self._continue(_CALL_CUT, text)
        elif reason == "pause_turn":
            return  # the API goes on with its own tools when the same messages come back
        elif reason == "model_context_window_exceeded":
            yield from self._continue_shorter(text)
        elif reason == "max_tokens":
            self._parts.append(text)
            yield from self._continue(_GO_ON, text)
        else:
            yield from self._answered(text)

    def _answered(self, text: str) -> Steps:
        """The model has ended its turn without asking for tools."""
        run = self.run
        fact = run.answer(text, 0)
        acts = [run.act(act) for act in run.panel.answered(fact)]
        stop = next((a for a in acts if a.action is Action.STOP and not a.observed), None)
        if stop is not None:
            yield from self._end(stop)
            return
        nudges = [a.advice for a in acts if a.action is Action.NUDGE and a.advice and not a.observed]
        if nudges and (fact.idle or not text.strip()):
            self._say(*nudges)
        elif self._setup.task_complete and self._closings < run.policy.stuck.idle_answers:
            self._closings += 1
            run.measure(
                Action.NUDGE,
                "no_final_answer",
                "The model ended its turn without calling `task_complete`.",
                advice=_CLOSE,
            )
            self._say(_CLOSE)
        else:
            self.answer = "".join([*self._parts, text])
            run.stop = StopReason.COMPLETED

    def _use(self, calls: Sequence[Mapping[str, Any]], text: str) -> Steps:
        run = self.run
        self._parts.clear()
        acts = [run.act(act) for act in run.panel.answered(run.answer(text, len(calls)))]
        fetching = self._tools.fetching
        turned: Turned = yield from self._tools.use(calls)
        self.messages.append({"role": "user", "content": turned.content})
        if self._tools.fetching and not fetching:  # a tool more is declared from now on
            self.messages = self._room.rethought(self.messages)
        stop = next((a for a in acts if a.action is Action.STOP and not a.observed), turned.stop)
        if turned.completed is not None:
            self.status = turned.completed.get("status")
            self.answer = str(turned.completed.get("answer"))
            run.stop = StopReason.COMPLETED
        elif stop is not None:
            yield from self._end(stop)

    def _continue(self, advice: str, text: str) -> Steps:
        run = self.run
        if self._continued >= run.policy.stuck.continuations:
            self.answer = "".join(self._parts) or text
            run.stop = StopReason.MAX_TOKENS
            return
        self._continued += 1
        run.measure(
            Action.NUDGE,
            "truncated_response",
            "The answer was cut at its token limit and continued.",
            setting="stuck.continuations",
            threshold=run.policy.stuck.continuations,
            value=self._continued,
            advice=advice,
        )
        self._say(advice)
        yield from ()

    def _continue_shorter(self, text: str) -> Steps:
        shorter = yield from self._room.overflowed(self.messages)
        if shorter is None:
            yield from self._end(full(self.run, "The answer did not fit the model's context window."))
            return
        self.messages = shorter
        self._parts.append(text)
        self._say(_GO_ON)

    def _failed(self, failed: Failed) -> Steps:
        stop = stopped_by(failed)
        if stop is StopReason.CONTEXT_OVERFLOW:
            shorter = yield from self._room.overflowed(self.messages)
            if shorter is not None:
                self.messages = shorter
                return
        self.error = failed.error
        reason = f"The request failed: {type(failed.error).__name__}."
        yield from self._end(Intervention(stop, Action.STOP, reason, turn=self.run.turns))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, stop: Intervention) -> Steps:
        """Stops the run for the reason given, with a final answer if one can be had."""
        run = self.run
        if not any(act is stop for act in run.actions):
            run.act(stop)
        yield from self._tell()
        run.stop = StopReason(stop.guard)
        if run.stop is StopReason.REVIEW_PENDING:
            self.review_id = stop.call_id
            yield Pause(str(stop.call_id), saved(self))
            return
        if run.stop in _NO_ANSWER:
            return
        self._say(f"{stop.advice} {FINAL}".strip())
        reply = yield from self.asking.ask(self._last_body(), final=True)
        if isinstance(reply, dict):
            text = said(reply.get("content") or ())
            if text.strip():
                self.messages.append({"role": "assistant", "content": [{"type": "text", "text": text}]})
                self.answer = "".join([*self._parts, text])
        elif isinstance(reply, Failed):
            self.error = reply.error

    def _last_body(self) -> dict[str, Any]:
        """A request that can only be answered in words."""
        tokens = self._setup.thinking_tokens + self.run.policy.loops.final_answer_tokens
        body = {**self._body(self.messages), "max_tokens": min(self._max_tokens, tokens)}
        if body.get("tools"):
            body["tool_choice"] = {"type": "none"}
        return body

    # --- requests -----------------------------------------------------------------------------------------------------

    def _body(self, messages: list[Any]) -> dict[str, Any]:
        setup = self._setup
        body = {
            **setup.request,
            "model": setup.model,
            "max_tokens": self._max_tokens,
            # A copy: the next request is compared with this one.
            "messages": repaired(messages) if self._serving else list(messages),
            **self._room.edits,
        }
        if setup.system is not None:
            body["system"] = setup.system
        if tools := self._tools.definitions:
            body["tools"] = tools
        else:
            body.pop("tool_choice", None)
        return body

    def _say(self, *words: str) -> None:
        """Adds words of the runner to the conversation, in the user's place."""
        block = {"type": "text", "text": "\n".join(dict.fromkeys(w for w in words if w))}
        last = self.messages[-1] if self.messages else None
        if last is not None and last["role"] == "user":
            content = last["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
            self.messages[-1] = {**last, "content": [*blocks, block]}
        else:
            self.messages.append({"role": "user", "content": [block]})

    def _tell(self) -> Steps:
        """Shows what was done about the run to whoever follows it."""
        actions = self.run.actions
        while self._told < len(actions):
            self._told += 1
            yield Tell(Acted(actions[self._told - 1]))
