"""The tool calls of one turn: checked, run, and answered so that the model can go on."""

from __future__ import annotations

import contextvars
import copy
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from instrument import sameness, semconv
from instrument.call import Call as Recorded
from instrument.call import Spec
from instrument.guards.facts import Action, Call, Intervention, Outcome
from instrument.runner.events import ToolEnded, ToolStarted
from instrument.runner.execution import Job, Ran
from instrument.runner.run import Run, active
from instrument.runner.setup import COMPLETE, COMPLETE_TOOL, Setup
from instrument.runner.validation import check
from instrument.runner.wants import RunTools, Tell, Want
from instrument.spill import TOOL as FETCH_TOOL

FETCH: Final = str(FETCH_TOOL["name"])
_LEAST_SECONDS: Final = 0.05
"""A run whose time is up while it starts its tools gives them this much."""
_REJECTED: Final = {"unknown_tool": "unknown_tool", "invalid_arguments": "invalid_arguments"}


@dataclass(slots=True)
class Used:
    """One tool call on its way."""

    block: Mapping[str, Any]
    fact: Call
    verdict: Intervention | None = None
    recorded: Recorded | None = None
    content: Any = ""
    text: str = ""
    error_type: str | None = None
    temporary: bool = False
    cut: bool = False
    ended_at: float | None = None
    """On the run's clock."""


@dataclass(frozen=True, slots=True)
class Turned:
    """What a turn's tool calls came to."""

    content: list[dict[str, Any]]
    """Of the user message that answers them."""
    stop: Intervention | None
    completed: Mapping[str, Any] | None
    """Input of `task_complete`, if that was called."""


class ToolUse:
    """Of one run."""

    def __init__(self, run: Run, setup: Setup) -> None:
        self._run, self._setup = run, setup
        self.fetching = False
        """Whether a result was cut, so that the tool which fetches the rest is declared."""

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The tools declared in the next request."""
        return [*self._setup.definitions, *([dict(FETCH_TOOL)] if self.fetching else ())]

    def use(self, blocks: Sequence[Mapping[str, Any]]) -> Generator[Want, Any, Turned]:
        """Runs what may run of `blocks`, the `tool_use` blocks of one answer."""
        run = self._run
        used = [Used(block, self._fact(block)) for block in blocks]
        allowed = max(0, run.policy.loops.tool_calls - run.tool_calls)
        for item in used:
            item.verdict = self._asked(item, allowed)
            allowed -= item.verdict is None and not self._own(item)
        running = [item for item in used if item.verdict is None and not self._own(item)]
        for item in used:
            yield Tell(ToolStarted(item.fact.call_id, item.fact.tool, _input(item.block)))
            if item.verdict is not None:
                self._refuse(item, item.verdict)
        run.tool_calls += len(running)
        jobs = [self._job(item) for item in running]
        if jobs:
            try:
                left = max(_LEAST_SECONDS, run.deadline - run.clock())
                done = partial(self._done, running)
                yield RunTools(jobs, run.policy.loops.parallel_tools, left, done)
            finally:
                for item in running:  # those that the caller did not wait for
                    if item.recorded is not None:
                        item.recorded.answered_error("The run was cancelled.", "cancelled")
                        item.recorded = None
        advice: list[str] = []
        stop: Intervention | None = None
        for item in used:
            if item.verdict is None and self._own(item):
                self._answer_own(item)
            yield Tell(ToolEnded(item.fact.call_id, item.fact.tool, item.text, item.error_type is not None))
            for act in self._judged(item):
                stop = stop or (act if act.action is Action.STOP and not act.observed else None)
                if act.action is Action.NUDGE and act.advice and not act.observed:
                    advice.append(act.advice)
        content = [_result(item) for item in used]
        if advice:
            content.append({"type": "text", "text": "\n".join(dict.fromkeys(advice))})
        closing = next((i for i in used if i.fact.tool == COMPLETE and i.verdict is None and self._own(i)), None)
        return Turned(content, stop, _input(closing.block) if closing is not None else None)

    # --- before -------------------------------------------------------------------------------------------------------

    def _fact(self, block: Mapping[str, Any]) -> Call:
        name, arguments = str(block.get("name")), block.get("input")
        toolbox = self._setup.toolbox
        own = {COMPLETE: COMPLETE_TOOL} if self._setup.task_complete else {}
        if self.fetching:
            own[FETCH] = dict(FETCH_TOOL)
        tool = toolbox.get(name, block.get("toolset_name"))
        unknown = tool is None and name not in own
        schema: Any = own[name]["input_schema"] if name in own else (tool.schema if tool is not None else None)
        return self._run.call(
            name,
            arguments,
            str(block.get("id")),
            unknown=unknown,
            nearest=toolbox.nearest(name, block.get("toolset_name")) if unknown else (),
            invalid=check(schema, arguments) if schema is not None else None,
            null_input=sameness.is_null_input(arguments),
        )

    def _own(self, item: Used) -> bool:
        """Whether it is one of the runner's own tools, which need no running. The user's tool of that name goes first."""
        name = item.fact.tool
        if self._setup.toolbox.get(name, item.block.get("toolset_name")) is not None:
            return False
        return (name == COMPLETE and self._setup.task_complete) or (name == FETCH and self.fetching)

    def _asked(self, item: Used, allowed: int) -> Intervention | None:
        verdict = self._run.panel.asked(item.fact)
        if verdict is not None and verdict.observed:
            self._run.act(verdict)
            verdict = None
        if verdict is None and allowed <= 0 and not self._own(item):
            limit = self._run.policy.loops.tool_calls
            verdict = Intervention(
                "tool_call_limit",
                Action.BLOCK,
                f"{limit} tool calls had run, and a run may have no more.",
                "loops.tool_calls",
                limit,
                limit + 1,
                "No more tool calls are allowed in this run.",
                item.fact.tool,
                item.fact.call_id,
                item.fact.turn,
            )
        return verdict

    def _refuse(self, item: Used, verdict: Intervention) -> None:
        item.text = item.content = self._run.refused_text(item.fact, verdict)
        item.error_type = _REJECTED.get(verdict.guard, "blocked")
        recorded = self._recorded(item)
        self._run.act(verdict, recorded)
        recorded.refused(item.text, item.error_type)

    def _done(self, running: Sequence[Used], index: int, ran: Ran) -> None:
        self._ended(running[index], ran)

    # --- while it runs ------------------------------------------------------------------------------------------------

    def _recorded(self, item: Used) -> Recorded:
        spec = Spec(_tool, semconv.EXECUTE_TOOL, item.fact.tool)
        recorded = Recorded(spec, (), _input(item.block))
        recorded.set(semconv.TOOL_CALL_ID, item.fact.call_id)
        return recorded

    def _job(self, item: Used) -> Job:
        tool = self._setup.toolbox.get(item.fact.tool, item.block.get("toolset_name"))
        assert tool is not None
        item.recorded = self._recorded(item)
        context = contextvars.copy_context()
        context.run(item.recorded.enter)
        context.run(active.set, self._run)
        limit = tool.timeout_seconds or self._run.policy.tool_errors.tool_timeout_seconds
        # A copy of its own: what a tool does to its arguments must not change what the model is told that it asked for.
        block = copy.deepcopy(dict(item.block))
        return Job(tool, dict(_input(block)), limit, context, block)

    def _ended(self, item: Used, ran: Ran) -> None:
        """Called as the tool ends, in whatever thread: its span ends now, and not when the slowest of the turn does."""
        item.content, item.text, item.temporary = ran.content, ran.text, ran.temporary
        item.ended_at = self._run.clock()
        item.error_type = (ran.error_type or "tool_error") if ran.is_error else None
        limit = self._run.policy.context.result_chars
        recorded = item.recorded
        if len(item.text) > limit or isinstance(item.content, list):
            item.content, item.text, item.cut = self._cut(item, limit)
        if recorded is None:
            return
        if item.cut:
            self._run.measure_on(
                recorded,
                Action.CUT,
                "context",
                f"A result of {len(ran.text):,} characters was cut.",
                setting="context.result_chars",
                threshold=limit,
                value=len(ran.text),
                tool=item.fact.tool,
            )
        if ran.abandoned:
            recorded.set(semconv.ABANDONED, True)
        item.recorded = None
        if item.error_type is None:
            recorded.returned(item.text)
        else:
            recorded.answered_error(item.text, item.error_type)

    def _cut(self, item: Used, limit: int) -> tuple[Any, str, bool]:
        spill = self._setup.spill
        if isinstance(item.content, str):
            found = spill.cut(item.content, limit)
            return (item.content, item.text, False) if found is None else (found.text, found.text, True)
        content, cuts = spill.cut_content(item.content, limit)
        return content, (sameness.result_text(content) or "") if cuts else item.text, bool(cuts)

    # --- after --------------------------------------------------------------------------------------------------------

    def _judged(self, item: Used) -> list[Intervention]:
        run = self._run
        if item.cut:
            self.fetching = True
        if item.verdict is not None:
            outcome = Outcome(rejected=item.error_type)
            acts = [item.verdict] if item.verdict.action is Action.STOP else []
        else:
            outcome = run.outcome(item.fact, item.text, error_type=item.error_type, temporary=item.temporary)
            outcome = replace(outcome, at_seconds=item.ended_at)
            acts = []
        found = run.panel.ran(item.fact, outcome)
        return acts + [run.act(act) for act in found]

    def _answer_own(self, item: Used) -> None:
        given = _input(item.block)
        if item.fact.tool == FETCH:
            item.text = item.content = self._setup.spill.fetch(
                given.get("id"), given.get("start_char", 0), given.get("max_chars")
            )
        else:
            item.text = item.content = "The task is closed."
        self._recorded(item).returned(item.text)


def _input(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a call; what is no object is shown as one, and never runs."""
    given = block.get("input")
    return given if isinstance(given, Mapping) else {"input": given}


def _result(item: Used) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "tool_result", "tool_use_id": item.fact.call_id, "content": item.content}
    if item.error_type is not None:
        found["is_error"] = True
    if toolset := item.block.get("toolset_name"):
        found["toolset_name"] = toolset
    return found


def _tool(**arguments: Any) -> Any:
    """What the span of a tool call is the span of."""
    return arguments
