"""Runs of OpenHands as its evaluations and its issue resolver write them (`output.jsonl`): a history of actions and observations.

Every action of the agent came from a model call; several from one where they name the same response.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import Message, Run, Spans, answered, asked, outcome, said, words, written
from analyzer.readers.loose import amount, dumps, earlier_ns, listing, mapping, moment_ns, text
from analyzer.readers.openhands_bills import Bills, facts, paid_ns, seconds
from instrument import semconv

_NO_CALL: Final = frozenset(("system", "recall", "change_agent_state", "null", "condensation", "condensation_request"))
"""Actions that no model chose."""
_SPOKEN: Final = frozenset(("message", "finish", "think", "reject"))
"""Actions that are said and not done, where no tool call stands behind them."""
_ASIDE: Final = frozenset(
    ("thought", "action", "is_confirmed", "confirmation_state", "action_risk", "keep_prompt", "kernel_init_code")
)
"""Fields of an action that are no arguments."""


class History:
    """One run on its way from its history."""

    def __init__(self, spans: Spans, found: dict[str, Any]) -> None:
        self._found, self._made = found, Counter[str]()
        self._metrics = mapping(found.get("metrics"))
        self._model = text(mapping(mapping(found.get("metadata")).get("llm_config")).get("model"))
        self._events = [mapping(e) for e in _flat(listing(found.get("history")))]
        self._run = Run(spans, ("openhands", dumps(found)), agent=_agent(found))
        self._answers = self._grouped()
        self._bills = Bills(self._metrics, (_response_id(group[0]) for group in self._answers))
        self._asked: dict[Any, tuple[str | None, str, Any]] = {}
        """Call id, tool and arguments by the ids of actions that have no observation yet."""
        self._last: Any = None
        self._tools: str | None = None

    def tell(self) -> Counter[str]:
        """Tells the run all that happened. Returns what had to be inferred or left out."""
        place = {id(group[0]): number for number, group in enumerate(self._answers)}
        followers = {id(event) for group in self._answers for event in group[1:]}
        for event in self._events:
            if id(event) in place:
                self._answer(place[id(event)])
            elif "observation" in event:
                self._observe(event)
            elif id(event) not in followers:
                self._heard(event)
        for response, bill in self._bills.left:
            self._made["no_answer"] += 1
            values = {semconv.REQUEST_MODEL: self._model, semconv.RESPONSE_ID: response, **facts(bill)}
            ended = paid_ns(bill)
            self._run.answer(said("assistant"), values, start_ns=earlier_ns(ended, seconds(bill)), end_ns=ended)
        self._made["unassigned_costs"] += self._bills.unassigned
        self._run.end(self._ended())
        return self._made

    def _grouped(self) -> list[list[dict[str, Any]]]:
        """The actions of the agent, by the answer they came from."""
        groups: list[list[dict[str, Any]]] = []
        for number, event in enumerate(self._events):
            if not _of_model(event, number):
                continue
            response = _response_id(event)
            if groups and response and response == _response_id(groups[-1][0]):
                groups[-1].append(event)
            else:
                groups.append([event])
        return groups

    def _answer(self, place: int) -> None:
        group = self._answers[place]
        response = mapping(mapping(group[0].get("tool_call_metadata")).get("model_response"))
        bill = self._bills.of(place, _response_id(group[0]))
        choice = mapping(next(iter(listing(response.get("choices"))), None))
        parts = openai_messages.message({**mapping(choice.get("message")), "role": "assistant"})["parts"]
        requests = [self._ask(event) for event in group]
        if not parts:
            parts = [part for event, request in zip(group, requests, strict=True) for part in _said(event, request)]
        values = {
            semconv.REQUEST_MODEL: self._model,
            **facts(bill),
            **openai_messages.completion(response),
            semconv.TOOL_DEFINITIONS: self._tools,
        }
        self._made["no_usage"] += semconv.INPUT_TOKENS not in values
        self._made["inferred_calls"] += not response
        ended, took = moment_ns(group[0].get("timestamp")), seconds(bill)
        self._made["no_times" if ended is None else "no_time_zone"] += 1
        started = earlier_ns(ended, took)
        self._made["inferred_times"] += ended is not None and took is None
        self._run.answer(said("assistant", *parts), values, start_ns=started, end_ns=ended)

    def _ask(self, event: dict[str, Any]) -> Message | None:
        """The tool call an action is; None where it is only said."""
        metadata = mapping(event.get("tool_call_metadata"))
        name = text(metadata.get("function_name"))
        if name is None and event.get("action") in _SPOKEN:
            return None
        fields = mapping(event.get("args")) or event
        arguments = {k: v for k, v in fields.items() if k not in _ASIDE}
        call_id = text(metadata.get("tool_call_id"))
        for call in _calls(metadata):
            arguments = call["arguments"] if call["id"] == call_id else arguments
        tool = name or text(event.get("action")) or "unknown"
        self._last = event.get("id") if isinstance(event.get("id"), int | str) else f"#{len(self._asked)}"
        self._asked[self._last] = (call_id, tool, arguments)
        return asked(call_id, tool, arguments)

    def _observe(self, event: dict[str, Any]) -> None:
        cause = event.get("cause")
        action = (
            cause if isinstance(cause, int | str) and cause in self._asked else self._last if cause is None else None
        )
        known = self._asked.pop(action, None)
        result, at = event.get("content"), moment_ns(event.get("timestamp"))
        if known is None:
            # What the environment says by itself: a state that changed, something remembered.
            self._made["other_records"] += 1
            return
        call_id, tool, arguments = known
        error = _error(event)
        values = {
            semconv.TOOL_CALL_ID: call_id,
            semconv.TOOL_ARGUMENTS: written(arguments),
            semconv.TOOL_RESULT: written(result),
        }
        self._made["no_times" if at is None else "inferred_times"] += 1
        self._run.call(tool, values, end_ns=at, error=error)
        self._run.say(said("tool", answered(call_id, result, failed=error is not None)))

    def _heard(self, event: dict[str, Any]) -> None:
        """What no model said: the task, the system prompt, a condensed history."""
        kind, fields, at = event.get("action"), mapping(event.get("args")) or event, moment_ns(event.get("timestamp"))
        if kind == "message":
            self._run.say(said("user", *openai_messages.content(fields.get("content"))), at_ns=at)
        elif kind == "system":
            tools = listing(fields.get("tools"))
            self._tools = dumps(tools) if tools else None
            self._run.say(said("system", *openai_messages.content(fields.get("content"))), at_ns=at)
        elif kind == "condensation":
            summary = text(fields.get("summary"))
            self._run.forget(*([said("user", words(summary))] if summary else []))
            self._run.note("compaction", {}, at)
        elif isinstance(kind, str):
            self._made["other_records"] += 1
        else:
            self._made["odd"] += 1

    def _ended(self) -> dict[str, Any]:
        """How the run ended: the resolver says whether it succeeded, an evaluation whether the tests passed."""
        report = mapping(mapping(self._found.get("test_result")).get("report")) or mapping(self._found.get("report"))
        issue, error = mapping(self._found.get("issue")), text(self._found.get("error"))
        success = self._found.get("success", report.get("resolved"))
        names = [text(issue.get("owner")), text(issue.get("repo")), written(issue.get("number"))]
        task = text(self._found.get("instance_id")) or ("/".join(filter(None, names)) or None)
        return {
            semconv.TASK_ID: task,
            semconv.REPORTED_COST_USD: amount(self._metrics.get("accumulated_cost")),
            **outcome(success if isinstance(success, bool) else False if error else None, reason=error),
        }


def _flat(history: list[Any]) -> list[Any]:
    """Early versions write pairs of an action and its observation."""
    return [e for entry in history for e in (entry if isinstance(entry, list) else [entry])]


def _agent(found: dict[str, Any]) -> str:
    return text(mapping(found.get("metadata")).get("agent_class")) or "openhands"


def _of_model(event: dict[str, Any], number: int) -> bool:
    """Whether a model chose the action. Where no source is named, messages that wait for an answer are the agent's."""
    kind, source = text(event.get("action")), event.get("source")
    if kind is None or kind in _NO_CALL:
        return False
    if source is not None:
        return bool(source == "agent")
    return number > 0 and (kind != "message" or event.get("wait_for_response") is True)


def _response_id(event: dict[str, Any]) -> str | None:
    return text(mapping(mapping(event.get("tool_call_metadata")).get("model_response")).get("id"))


def _calls(metadata: dict[str, Any]) -> list[Message]:
    choices = listing(mapping(metadata.get("model_response")).get("choices"))
    return openai_messages.calls(mapping(mapping(next(iter(choices), None)).get("message")))


def _said(event: dict[str, Any], request: Message | None) -> list[Message]:
    fields = mapping(event.get("args")) or event
    spoken = text(fields.get("thought")) or (text(fields.get("content")) if event.get("action") == "message" else None)
    return [*([words(spoken)] if spoken else []), *([request] if request else [])]


def _error(event: dict[str, Any]) -> str | None:
    """What went wrong. A command that is still running has the exit code -1."""
    extras = mapping(event.get("extras"))
    beside = mapping(extras.get("metadata"))
    codes = (d.get("exit_code") for d in (beside, extras, event))
    code = next((c for c in codes if isinstance(c, int) and not isinstance(c, bool)), 0)
    if code > 0:
        return f"exit code {code}"
    failed = event.get("observation") == "error" or event.get("success") is False
    return (written(event.get("content")) or "") if failed else None
