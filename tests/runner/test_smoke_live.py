"""The sixteen small traces on which trace analysers commonly fail, played live: a real client, a real server, real tools, real records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import pytest

import instrument
from analyzer.cases import Call, Case, Turn
from instrument import semconv
from instrument.guards.facts import Action
from instrument.policy import Policy
from instrument.runner.guarded import GuardedRunner
from instrument.runner.result import RunResult
from instrument.runner.tools import Tool
from instrument.testing import ModelServer, Reply, text, together, tool_use
from tests.detectors import test_smoke as smoke
from tests.recorded_lines import spans_in

POLICY = Policy()
LOOPS, ERRORS = POLICY.loops, POLICY.tool_errors
FAILING = {c.name.split(":")[0]: c for c in [*smoke.FAILING, *getattr(smoke, "LATER", [])]}
ENDS = {
    # Class, and turns after which it must be over: what the policy says, and the final answer.
    "L1": ("repeated_call", LOOPS.same_call_error_repeats + 1),
    "L2": ("error_cascade", ERRORS.error_calls + 1),
    "L3": ("call_cycle", 2 + 2 * LOOPS.cycle_error_repeats + 1),
    "L4": ("call_cycle", 3 * LOOPS.cycle_error_repeats + 1),
    "L5": ("repeated_call", 2 * LOOPS.same_call_error_repeats + 1),
    "L6": ("error_cascade", ERRORS.error_calls + 1),
    "L7": ("repeated_call", LOOPS.same_call_error_repeats + 1),
    "L8": ("near_repeat", LOOPS.near_error_repeats + 1),
    "L9": ("unknown_tool", 1 + POLICY.unknown_tools.error_calls + 1),
}
FINAL = "This is what I have found out until now."


class ToolBrokeError(Exception):
    """What tools of these cases raise."""


@dataclass
class Stage:
    """A case as a model and its tools. The model goes on with a failure for ever, until it may call no more tools."""

    case: Case
    endless: bool
    ran: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        script = self.case.runs()[0].script
        self.turns = [e if isinstance(e, Turn) else Turn((e,)) for e in script if isinstance(e, (Turn, Call))]
        self.asked = 0
        self._results: dict[str, Iterator[Any]] = {}

    def script(self, body: Mapping[str, Any]) -> Reply:
        if body.get("tool_choice", {}).get("type") == "none":
            return text(FINAL)
        turn = self.turn(self.asked)
        self.asked += 1
        if not turn.calls:
            return text(turn.text or FINAL)
        return together(*([text(turn.text)] if turn.text else []), *(tool_use(c.name, c.arguments) for c in turn.calls))

    def turn(self, number: int) -> Turn:
        """What the model does in a turn, counted from 0."""
        calling = [t for t in self.turns if t.calls]
        if number < (len(calling) if self.endless else len(self.turns)):
            return self.turns[number]
        if not self.endless:
            return Turn((), text=FINAL)
        start, period, vary = CONTINUED[self.case.name.split(":")[0]]
        base = calling[start + (number - start) % period]
        calls = tuple(_varied(c, number) if c.name in vary else c for c in base.calls)
        return Turn(calls, text=f"{base.text} Try {number}." if base.text else "")

    def tools(self) -> list[Tool]:
        declared = {c.name for t in self.turns for c in t.calls if c.declared}
        return [self._tool(name) for name in sorted(declared)]

    def _tool(self, name: str) -> Tool:
        results = iter([c for t in self.turns for c in t.calls if c.name == name])
        last: list[Call] = []

        def run(**_: Any) -> Any:
            self.ran[name] += 1
            last[:] = [next(results, *last)]
            if last[0].error:
                raise ToolBrokeError(last[0].result)
            return last[0].result

        return Tool(name, f"Does {name}.", {"type": "object"}, run)


def _varied(call: Call, number: int) -> Call:
    """The call with other arguments than in any turn before, of the same kind."""
    given = {
        k: f"/tmp/{number}" if k == "path" else number if k in ("nonce", "q") and v != "refunds" else v
        for k, v in dict(call.arguments).items()
    }
    return Call(**{**{f: getattr(call, f) for f in call.__slots__}, "arguments": given})


CONTINUED: dict[str, tuple[int, int, Sequence[str]]] = {
    # From which calling turn on, and how many of them, the failure goes on with; whose arguments are new each time.
    "L1": (0, 1, ()),
    "L2": (0, 1, ()),
    "L3": (2, 2, ()),
    "L4": (0, 3, ()),
    "L5": (0, 2, ("read_file",)),
    "L6": (0, 1, ("read_file",)),
    "L7": (0, 5, ()),
    "L8": (0, 1, ("search",)),
    "L9": (1, 1, ("serch",)),
}


def live(stage: Stage) -> RunResult:
    with ModelServer(stage.script) as server, anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        return GuardedRunner(client, model="claude-sonnet-5-5", tools=stage.tools(), policy=POLICY).run("Look into it.")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("smoke") / "traces.duckdb"
    with instrument.record(path, checkpoint_seconds=None):
        yield path


@pytest.mark.parametrize("case", smoke.HEALTHY, ids=lambda c: c.name)
def test_a_healthy_run_is_left_alone(case: Case) -> None:
    stage = Stage(case, endless=False)
    result = live(stage)
    calls = Counter(c.name for t in stage.turns for c in t.calls)
    assert result.actions == ()
    assert (result.ok, stage.ran) == (True, calls)


@pytest.mark.parametrize("name", ENDS)
def test_a_failing_run_is_stopped_within_the_policys_numbers(name: str, database: Path) -> None:
    stop_reason, most_turns = ENDS[name]
    stage = Stage(FAILING[name], endless=True)
    result = live(stage)
    assert (str(result.stop_reason), result.answer, result.ok) == (stop_reason, FINAL, False)
    assert result.turns <= most_turns
    # The ladder: told, then refused, then ended, and by nobody else.
    steps = [a.action for a in result.actions if a.guard == stop_reason]
    assert {a.guard for a in result.actions} == {stop_reason}
    assert (steps[0], steps[-1]) == (Action.BLOCK if name == "L9" else Action.NUDGE, Action.STOP)
    # And it is on record.
    spans = [s for s in spans_in(database) if s["traceId"] == result.trace_id]
    (run,) = [s for s in spans if s["attributes"][semconv.OPERATION] == semconv.INVOKE_AGENT]
    assert run["attributes"][semconv.STOP_REASON] == stop_reason
    events = [e for s in spans for e in s.get("events", ()) if e["name"] == semconv.GUARD_EVENT]
    assert len(events) == len(result.actions)


def test_a_loop_that_ends_is_told_and_refused_and_the_good_calls_after_it_run() -> None:
    stage = Stage(FAILING["L10"], endless=False)
    result = live(stage)
    assert (result.ok, {a.guard for a in result.actions}) == (True, {"repeated_call"})
    assert [a.action for a in result.actions] == [Action.NUDGE, Action.BLOCK]
    assert stage.ran == {"search": LOOPS.same_call_repeats, "read_file": 12}


def test_there_are_sixteen() -> None:
    assert len(smoke.HEALTHY) + len(ENDS) + 1 == 16
    assert set(FAILING) == {*ENDS, "L10"}
