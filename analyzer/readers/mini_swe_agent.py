"""Trajectories of mini-swe-agent: the messages of one run, each answer holding one shell command, and what was known of it at the end.

In the first version the command stands in the answer's text and its output in the next message of the user; both are told as a call of
the tool `bash`. The second version asks by tool calls and gives times. Format: mini-swe-agent.com, "output files".
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import (
    Message,
    Run,
    Spans,
    answered,
    asked,
    inferred,
    odd_record,
    outcome,
    reported,
    said,
    written,
)
from analyzer.readers.format import Format
from analyzer.readers.lines import values
from analyzer.readers.loose import amount, dumps, listing, mapping, moment_ns, text
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_MARK: Final = re.compile(rb'"mini_version"\s*:|"trajectory_format"\s*:\s*"mini-swe-agent')
_END: Final = b"COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_TALK: Final = re.compile(rb'"role"\s*:\s*"(?:system|user)"|"info"\s*:')
_COMMAND: Final = re.compile(r"```(?:mswea_bash_command|bash)\s*\n(.*?)\n```", re.DOTALL)
_RETURNED: Final = re.compile(r"\s*<returncode>\s*(-?\d+)\s*</returncode>")
_TOOL: Final = "bash"


def _sniff(head: bytes) -> bool:
    marked = head.lstrip()[:1] in (b"{", b"[") and (_END in head or _MARK.search(head) is not None)
    return marked and _TALK.search(head) is not None


def _read(stream: Stream, sink: Sink) -> None:
    spans = Spans(sink, stream.source, "mini-swe-agent")
    for value in values(stream, sink):
        document = {"messages": value} if isinstance(value, list) else mapping(value)
        if isinstance(document.get("messages"), list):
            _state(stream.source, sink, _Trajectory(spans, document).tell())
        else:
            sink.add_issue(odd_record(stream.source, "a document has no messages and was left out", 1))


def _state(source: str, sink: Sink, made: Counter[str]) -> None:
    if made["odd"]:
        sink.add_issue(odd_record(source, "messages without a known role were left out", made["odd"]))
    if made["inferred"]:
        message = "commands stand in the text of answers: each was taken as a call of the tool `bash`, the next message as its result"
        sink.add_issue(inferred("inferred_calls", source, message, made["inferred"]))
    if made["timeless"]:
        message = "calls have no time of their own: they were put right after what came before, without a duration"
        sink.add_issue(inferred("no_times", source, message, made["timeless"]))
    if made["instants"]:
        message = "of model calls one time is known, to the second: their durations are not"
        sink.add_issue(inferred("inferred_times", source, message, made["instants"]))
    if made["no_usage"]:
        message = "model calls have no token counts: the file does not hold the responses"
        sink.add_issue(inferred("no_usage", source, message, made["no_usage"]))


class _Trajectory:
    """One run, message by message."""

    def __init__(self, spans: Spans, document: dict[str, Any]) -> None:
        self._document, self._info = document, mapping(document.get("info"))
        self._model = text(mapping(mapping(self._info.get("config")).get("model")).get("model_name"))
        self._task = text(document.get("instance_id"))
        self._run = Run(spans, ("mini-swe-agent", dumps(document)), agent="mini-swe-agent")
        self._made: Counter[str] = Counter()
        self._asked: dict[str | None, tuple[str, Any]] = {}
        """Tool and arguments by the ids of calls that have no result yet."""
        self._by_text: str | None = None
        """The id of the call, where the command was only in the text."""
        self._answers = 0

    def tell(self) -> Counter[str]:
        """Tells the run all that happened. Returns what had to be inferred or left out."""
        for found in map(mapping, self._document["messages"]):
            role = found.get("role")
            if role == "assistant":
                self._answer(found)
            elif role in ("user", "tool", "system"):
                self._heard(found)
            elif role != "exit":  # the second version's mark of the end repeats what `info` says
                self._made["odd"] += 1
        status = text(self._info.get("exit_status"))
        stats = mapping(self._info.get("model_stats"))
        # That something was handed in does not make it right; that nothing was is a failure.
        success = False if status is not None and not status.lower().startswith("submitted") else None
        self._run.end(
            {
                semconv.TASK_ID: self._task,
                semconv.REPORTED_COST_USD: amount(stats.get("instance_cost")),
                **outcome(success, reason=status),
            }
        )
        return self._made

    def _answer(self, found: dict[str, Any]) -> None:
        extra = mapping(found.get("extra"))
        response = mapping(extra.get("response"))
        usage = mapping(response.get("usage"))
        self._answers += 1
        answer = openai_messages.message(found)
        calls = [p for p in answer["parts"] if p["type"] == "tool_call"] or self._in_text(found)
        answer["parts"] = [p for p in answer["parts"] if p["type"] != "tool_call"] + calls
        facts = {
            semconv.REQUEST_MODEL: self._model,
            **openai_messages.completion(response),
            **reported(amount(usage.get("cost")) or amount(extra.get("cost"))),
        }
        self._made["no_usage"] += semconv.INPUT_TOKENS not in facts
        self._asked |= {c["id"]: (str(c["name"] or "unknown"), c["arguments"]) for c in calls}
        started, ended = self._times(extra, response)
        spoken = _thoughts(response) + answer["parts"]
        self._run.answer(said("assistant", *spoken), facts, said=answer, start_ns=started, end_ns=ended)

    def _times(self, extra: dict[str, Any], response: dict[str, Any]) -> tuple[int | None, int | None]:
        """Start and end of a model call, as far as they are known."""
        ended = moment_ns(extra.get("timestamp"))
        if ended is not None:
            return None, ended
        created = moment_ns(response.get("created"))
        self._made["timeless" if created is None else "instants"] += 1
        # Whole seconds: several calls may fall into one, and go on in their order.
        return None if created is None else max(created, self._run.next_ns), None

    def _in_text(self, found: dict[str, Any]) -> list[Message]:
        """The command that the text holds; an answer with none or several was refused."""
        commands = _COMMAND.findall(text(found.get("content")) or "")
        if len(commands) != 1:
            self._by_text = None
            return []
        self._by_text = f"command-{self._answers}"
        self._made["inferred"] += 1
        return [asked(self._by_text, _TOOL, {"command": commands[0].strip()})]

    def _heard(self, found: dict[str, Any]) -> None:
        """What the harness said: the task, a command's output, or what was wrong with the answer."""
        call_id, self._by_text = self._by_text or text(found.get("tool_call_id")), None
        if call_id is None or found.get("role") == "system":
            self._run.say(openai_messages.message(found))
            return
        result, extra = found.get("content"), mapping(found.get("extra"))
        code = _exit_code(result, extra)
        tool, arguments = self._asked.pop(call_id, ("unknown", None))
        ended = moment_ns(extra.get("timestamp"))
        self._made["timeless"] += ended is None
        self._run.call(
            tool,
            {
                semconv.TOOL_CALL_ID: call_id,
                semconv.TOOL_ARGUMENTS: written(arguments),
                semconv.TOOL_RESULT: written(result),
            },
            end_ns=ended,
            error=f"exit code {code}" if code else None,
        )
        self._run.say(said("tool", answered(call_id, result, failed=bool(code))))


def _exit_code(result: Any, extra: dict[str, Any]) -> int | None:
    """The exit code of the command: the second version has it beside the text, the first at its beginning."""
    code = extra.get("returncode")
    if isinstance(code, int):
        return code
    found = _RETURNED.match(result) if isinstance(result, str) else None
    return int(found.group(1)[:12]) if found else None


def _thoughts(response: dict[str, Any]) -> list[Message]:
    """What the model reasoned, where its provider tells: it is not sent back."""
    choice = mapping(next(iter(listing(response.get("choices"))), None))
    thought = text(mapping(choice.get("message")).get("reasoning"))
    return [{"type": "reasoning", "content": thought}] if thought else []


MINI_SWE_AGENT: Final = Format(
    "mini-swe-agent trajectory",
    _sniff,
    _read,
    about=(
        "Trajectories (`.traj.json`) of [mini-swe-agent](https://mini-swe-agent.com) 1 and 2. Recognised by their "
        "`mini_version`, their `trajectory_format`, or the words that end a run."
    ),
    sees=(
        "Every model call with messages, usage and cost, every shell command as a call of the tool `bash` with its output, how "
        "the run ended."
    ),
    cannot_see="Of version 1: times of most steps, and commands other than what stands in the text of answers.",
)
