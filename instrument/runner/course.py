"""The course of a run whose loop is not ours: what came back, what guards want done about it, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from instrument import compaction, sameness
from instrument.errors import RunStopped
from instrument.guards.facts import Action, Intervention
from instrument.messages import blocks
from instrument.runner.answers import Taken
from instrument.runner.sending import Body, words
from instrument.runner.stop import StopReason
from instrument.runner.toolcall import ToolCall

if TYPE_CHECKING:
    from instrument.runner.manual import GuardedRun

_GO_ON: Final = "Your answer was cut off. Go on exactly where it stopped."
_CALL_CUT: Final = "Your tool call was cut off at the token limit and did not run. Make it again, shorter if you can."
_MOST_CALLS: Final = 256
"""Calls whose results the host never sends back are forgotten from here on, the oldest first."""


class Course:
    """Of one run."""

    def __init__(self, owner: GuardedRun) -> None:
        self._owner, self._run = owner, owner.run
        self.stop: Intervention | None = None
        """Why the run is to end, once a guard or a limit says so."""
        self.calls: dict[str, ToolCall] = {}
        """Those whose results have not been sent back."""
        self.advice: list[str] = []
        """What the model is to be told with the next request."""
        self.answer = ""
        """The last words of the model."""
        self._alone = 0
        """Tool calls of a run of whose model calls nobody tells us."""
        self._continued = 0
        self._parts: list[str] = []
        """Pieces of an answer that is being continued."""
        self._left_as = StopReason.COMPLETED
        """What the run came to if the host leaves it now."""
        self._said: set[int | None] = set()
        """Keys of what the user has said."""

    def heed(self, act: Intervention) -> None:
        """What a guard wants done takes effect with the next request."""
        if act.observed:
            return
        if act.action is Action.STOP:
            self.stop = self.stop or act
        elif act.action is Action.NUDGE and act.advice:
            self.advice.append(act.advice)

    def listen(self, messages: Sequence[Any]) -> None:
        """What came since the last answer: results of calls that ran without `tool`, and words of the user that were not said before."""
        heard = False
        for message in _since_answer(messages):
            for block in blocks(message):
                call = self.calls.pop(str(block.get("tool_use_id")), None)
                if call is not None and not call.ended:
                    call.heard_of(sameness.result_text(block.get("content")) or "", bool(block.get("is_error")))
                if block.get("type") == "text":
                    key = sameness.output_key(str(block.get("text") or ""))
                    heard |= key not in self._said
                    self._said.add(key)
        if heard and self._run.stop is not None:  # it had come to an end, and somebody goes on
            self._run.panel.heard()

    def judge(self, reply: Mapping[str, Any], found: Taken) -> None:
        """An answer after which the run may go on."""
        run, reason = self._run, reply.get("stop_reason")
        text, calls = found.text, found.calls
        with self._owner.lock:
            fact = run.answer(text, len(calls))
            acts = [run.act(act) for act in run.panel.answered(fact)]
            for act in acts:
                self.heed(act)
            self.calls.update((c.fact.call_id, c) for c in (ToolCall(self._owner, b) for b in calls))
            while len(self.calls) > max(_MOST_CALLS, len(calls)):
                del self.calls[next(iter(self.calls))]
        self.answer = "".join([*self._parts, text]) or self.answer
        self._left_as = StopReason.COMPLETED
        if reason == "refusal":
            self.over(StopReason.REFUSED)
        elif calls:
            self._parts.clear()
        elif self.stop is not None or reason == "pause_turn":
            pass  # the next request is the last one, or goes on with this very answer
        elif found.call_cut:
            self._continue(_CALL_CUT)
        elif reason in ("max_tokens", "model_context_window_exceeded"):
            self._parts.append(text)
            if reason != "max_tokens":
                self._owner.overflow()
            self._continue(_GO_ON)
        elif self.advice and (fact.idle or not text.strip()):
            self._left_as = StopReason.COMPLETED if text.strip() else StopReason.EMPTY_RESPONSE
        else:
            self._parts.clear()
            self.over(StopReason.COMPLETED)

    def conclude(self, found: Taken) -> None:
        """The answer to the request that was the last one."""
        assert self.stop is not None
        self.answer = "".join([*self._parts, found.text]) or self.answer
        self.calls = {}
        self.over(StopReason(self.stop.guard))

    def over(self, stop: StopReason) -> None:
        """The run has come to its end, for now."""
        self._run.stop = stop
        # Here too: a run without a span of its own has only that of this request to say it on.
        self._run.declare()
        self._run.describe()

    def _continue(self, advice: str) -> None:
        run, most = self._run, self._run.policy.stuck.continuations
        self._left_as = StopReason.MAX_TOKENS
        if self._continued >= most:
            self.over(StopReason.MAX_TOKENS)
            return
        self._continued += 1
        said = "The answer was cut at its token limit."
        facts: dict[str, Any] = {"setting": "stuck.continuations", "threshold": most, "value": self._continued}
        self.heed(run.measure(Action.NUDGE, "truncated_response", said, advice=advice, **facts))

    def ended_by(self, raised: BaseException | None, failed: BaseException | None) -> StopReason:
        """Why a run ended that the host leaves, with an exception or without. `failed`: what the last request ended in."""
        if self.stop is not None:
            return StopReason(self.stop.guard)
        if raised is None:
            return self._left_as
        if isinstance(raised, RunStopped):  # of a run inside, and nobody minded
            return StopReason(raised.stop_reason)
        if failed is None or not isinstance(raised, Exception):
            return StopReason.CANCELLED
        return StopReason.CONTEXT_OVERFLOW if compaction.overflow(failed) else StopReason.MODEL_ERROR

    # --- what is to be said and answered ------------------------------------------------------------------------------

    def results(self) -> list[Body]:
        """The message that answers the calls of the last answer, with what the guards have to say; empty where there is nothing."""
        calls, self.calls = list(self.calls.values()), {}
        content: list[Body] = [call.block_of_result() for call in calls]
        if self.advice:
            content.append(words(self.advice))
            self.advice = []
        return [{"role": "user", "content": content}] if content else []

    def spoken(self) -> Body | None:
        """What guards have to say to a model that has asked for no tool, as a message; None where nothing is to be said."""
        if self._run.stop is not None or self.calls or not self.advice:
            return None
        advice, self.advice = self.advice, []
        return {"role": "user", "content": [words(advice)]}

    def waiting(self, name: str, arguments: Mapping[str, Any]) -> ToolCall | None:
        """The call of the model's that this is: with these arguments, or at least of this tool (defaults may have been filled in)."""
        waiting = [c for c in self.calls.values() if not c.begun and c.fact.tool == name]
        key = sameness.call_key(name, dict(arguments))
        return next((c for c in waiting if c.fact.call_key == key), waiting[0] if waiting else None)

    def unasked(self, name: str, arguments: Mapping[str, Any]) -> ToolCall:
        """A call of which only the tool tells us. Where nobody tells of the model either, each is a turn of its own."""
        self._alone += 1
        block = {"type": "tool_use", "id": f"call_{self._alone}", "name": name, "input": dict(arguments)}
        return ToolCall(self._owner, block, declared=True, turn=None if self._run.turns else self._alone)


def _since_answer(messages: Sequence[Any]) -> list[Any]:
    """The messages after the last one of the model's."""
    at = len(messages)
    while at and messages[at - 1].get("role") != "assistant":
        at -= 1
    return list(messages[at:])
