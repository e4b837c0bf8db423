"""Trajectories of SWE-agent (`.traj`): the messages of one run, the steps it took, and what was known of it at the end.

Actions stand in the answers: as tool calls, or as text, which is then told as a call of the tool `bash`. There are no times but how long
an action took, and no token counts but those of the whole run. Format: swe-agent.com, "trajectories".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import (
    Message,
    Run,
    Spans,
    answered,
    asked,
    odd_record,
    outcome,
    report,
    said,
    written,
)
from analyzer.readers.format import Format
from analyzer.readers.lines import decode, values
from analyzer.readers.loose import amount, count, dumps, listing, mapping, text
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_MARK: Final = re.compile(
    rb'"trajectory"\s*:\s*\[\s*\{\s*"(?:action|observation|response|state|thought|execution_time|query|messages|extra_info)"'
    rb'|"history"\s*:\s*\[\s*\{\s*"(?:role|agent|message_type|is_demo)"'
)
_TOOL: Final = "bash"
_ENDED: Final = re.compile(r"exit_\w+")
"""Action of the step that SWE-agent writes in place of an answer which crossed a limit (of cost, of context, of errors)."""


def _sniff(head: bytes) -> bool:
    return _MARK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    spans = Spans(sink, stream.source, "swe-agent")
    for value in values(stream, sink):
        found = mapping(value)
        if listing(found.get("history")) or listing(found.get("trajectory")):
            _state(stream.source, sink, _Trajectory(spans, found).tell())
        else:
            sink.add_issue(odd_record(stream.source, "a document has neither history nor steps and was left out", 1))


def _state(source: str, sink: Sink, made: Counter[str]) -> None:
    report(sink, source, _INFERRED, made)
    if made["odd"]:
        sink.add_issue(odd_record(source, "messages without a known role were left out", made["odd"]))


_INFERRED: Final = {
    "no_times": "calls have no time: they were put one right after the other, from 1970 on, so that their order is kept",
    "no_usage": "model calls have neither token counts nor a price: the file has them for the whole run at best",
    "inferred_calls": "actions stand in the text of answers: each was taken as a call of the tool `bash`, the next message as its result",
}


class _Trajectory:
    """One run, message by message."""

    def __init__(self, spans: Spans, found: dict[str, Any]) -> None:
        self._info = mapping(found.get("info"))
        self._steps = [mapping(s) for s in listing(found.get("trajectory"))]
        self._messages = listing(found.get("history")) or list(_from_steps(self._steps))
        config = mapping(_config(found.get("replay_config")).get("agent"))
        self._model = text(mapping(config.get("model")).get("name"))
        self._task = text(mapping(_config(found.get("replay_config")).get("problem_statement")).get("id")) or None
        self._run = Run(spans, ("swe-agent", dumps(found)), agent="swe-agent")
        self._made: Counter[str] = Counter()
        self._asked: dict[str, tuple[str, Any]] = {}
        """Tool and arguments by the ids of calls that have no result yet; the last answer's, in order."""
        self._step: dict[str, Any] = {}
        """The last answer's step."""
        self._answers = 0

    def tell(self) -> Counter[str]:
        """Tells the run all that happened. Returns what had to be inferred or left out."""
        for found in map(mapping, self._messages):
            if found.get("role") == "assistant" and not found.get("is_demo"):
                self._answer(found)
            elif isinstance(found.get("role"), str):
                self._heard(found)
            else:
                self._made["odd"] += 1
        self._leave(len(self._steps))
        stats, status = mapping(self._info.get("model_stats")), text(self._info.get("exit_status"))
        # That something was handed in does not make it right; that nothing was is a failure.
        success = False if status is not None and not status.lower().startswith("submitted") else None
        self._run.end(
            {
                semconv.TASK_ID: self._task,
                # 0 is what replays and people at the keyboard leave here.
                semconv.REPORTED_COST_USD: amount(stats.get("instance_cost")) or None,
                semconv.REPORTED_INPUT_TOKENS: count(stats.get("tokens_sent")) or None,
                semconv.REPORTED_OUTPUT_TOKENS: count(stats.get("tokens_received")) or None,
                **outcome(success, reason=status),
            }
        )
        return self._made

    def _answer(self, found: dict[str, Any]) -> None:
        place = self._place(found)
        if place is not None:
            self._leave(place)
        self._settle()
        self._step = self._steps.pop(0) if place is not None else {}
        answer = openai_messages.message(found)
        self._told(answer, text(found.get("action")), answer)

    def _told(self, answer: Message, action: str | None, heard: Message) -> None:
        """A model call, of which the next request holds what is `heard`."""
        self._answers += 1
        self._made["no_usage"] += 1
        self._made["no_times"] += 1
        if action and _ENDED.fullmatch(action.strip()) and _words(answer).startswith("Exit"):
            self._asked = {}
            self._run.answer(
                answer, {semconv.REQUEST_MODEL: self._model, semconv.OUTPUT_MESSAGES: None}, said=said("assistant")
            )
            return
        calls = [p for p in answer["parts"] if p["type"] == "tool_call"]
        if not calls and action and action.strip():
            calls = [asked(f"action-{self._answers}", _TOOL, {"command": action.strip()})]
            answer["parts"] += calls
            self._made["inferred_calls"] += 1
        self._asked = {str(c["id"]): (str(c["name"] or "unknown"), c["arguments"]) for c in calls}
        self._run.answer(answer, {semconv.REQUEST_MODEL: self._model}, said=heard)

    def _place(self, found: dict[str, Any]) -> int | None:
        """Which of the steps left is this answer's: the next that says the same, else the next one if it did the same."""
        same = next((n for n, s in enumerate(self._steps) if s.get("response") == found.get("content")), None)
        if same is None and self._steps:
            step = self._steps[0]
            same = 0 if any(step.get(k) == found.get(k) is not None for k in ("action", "thought")) else None
        return same

    def _leave(self, steps: int) -> None:
        """Tells steps that the history does not hold: answers that were refused and asked for again, and the last one."""
        for _ in range(steps):
            self._settle()
            step = self._step = self._steps.pop(0)
            answer = said("assistant", *openai_messages.content(step.get("response")))
            self._told(answer, text(step.get("action")), said("assistant"))
        self._settle()

    def _settle(self) -> None:
        """The result of an action of which the model was never told: the step has it."""
        observation, self._step = self._step.get("observation"), {**self._step, "observation": None}
        if self._asked and observation is not None:
            self._result(next(iter(self._asked)), observation)
        self._asked = {}

    def _heard(self, found: dict[str, Any]) -> None:
        """What was said to the model: prompts, demonstrations, and what its actions gave."""
        if not self._asked or found.get("role") == "system":
            self._run.say(openai_messages.message(found))
            return
        named = next((i for i in listing(found.get("tool_call_ids")) if isinstance(i, str)), None)
        call_id = named if named in self._asked else next(iter(self._asked))
        self._result(call_id, found.get("content"))
        self._run.say(said("tool", answered(call_id, found.get("content"))))

    def _result(self, call_id: str, result: Any) -> None:
        tool, arguments = self._asked.pop(call_id)
        facts = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: written(result),
        }
        took = amount(self._step.get("execution_time"))
        self._run.call(tool, facts, end_ns=None if took is None else self._run.next_ns + int(took * 1e9))
        self._made["no_times"] += took is None


def _words(answer: Message) -> str:
    return "".join(str(p.get("content") or "") for p in answer["parts"] if p["type"] == "text")


def _from_steps(steps: list[dict[str, Any]]) -> Iterator[Message]:
    """A history, where the file has only steps: the first request, then each answer and what its action gave."""
    for number, step in enumerate(steps):
        if number == 0:
            yield from (m for m in listing(step.get("query")) or listing(step.get("messages")) if isinstance(m, dict))
        yield {**step, "role": "assistant", "content": step.get("response"), "tool_calls": step.get("tool_calls")}
        if step.get("observation") is not None:
            yield {"role": "user", "content": step["observation"]}


def _config(value: Any) -> dict[str, Any]:
    """The configuration, which some versions write as JSON within the JSON."""
    if isinstance(value, str):
        try:
            value = decode(value.encode())
        except ValueError:
            return {}
    return mapping(value)


SWE_AGENT: Final = Format(
    "SWE-agent trajectory",
    _sniff,
    _read,
    about=(
        "Trajectories (`.traj`) of [SWE-agent](https://swe-agent.com). Recognised by a `trajectory` of steps with actions and "
        "observations, or by a `history`."
    ),
    sees=(
        "Messages, actions as tool calls with their results, how long an action took, usage and cost of the whole run, how it "
        "ended."
    ),
    cannot_see="Points in time, and usage or cost of a single model call. Where actions stand in the text of answers, their ids.",
)
