"""One recorded run told to the guards of a policy, step by step: what they would have done, and how far the run went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from instrument.effects import Effect
from instrument.guards.facts import Action, Answer, Call, Intervention, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Policy

_LEAST_TURN_NS: Final = 1_000_000
"""No model answers faster: shorter times were put there by a reader, because the file had none."""
_CHECKPOINT: Final = "loops.checkpoint_calls"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One run under the policy."""

    run_id: str
    trace_id: str
    agent_name: str | None
    stop: Intervention | None
    """What would have stopped it; None: nothing."""
    step: int | None
    """Step of the span at which it would have, as in the store."""
    nudges: int
    blocks: int
    cost_usd: float | None
    """What it cost as recorded; None where nothing was priced."""
    saved_usd: float | None
    """Cost of the model calls after the turn that stopped it; None where one of them has no price. 0 without a stop."""
    saved_tokens: int | None
    saved_seconds: float | None
    succeeded: bool | None
    """How the run had ended as recorded; None where nobody says."""

    @property
    def wrongly_stopped(self) -> bool:
        """It would have been stopped, and had gone on to succeed."""
        return self.stop is not None and self.succeeded is True


@dataclass(frozen=True, slots=True)
class Reached:
    """How far one run went: by the policy's setting, the largest value that was measured against it."""

    run_id: str
    agent_name: str | None
    values: Mapping[str, float]
    """Dollars and seconds only where they are known. Where prices are, those of `cost.run_limit_usd` are what a live run would have
    had to have left before each request, and not only what was spent."""
    succeeded: bool | None
    cost_usd: float | None = None
    """As recorded, with its sub-agents; None where nothing was priced."""
    holds_known: bool = False
    """Whether the value of `cost.run_limit_usd` is what a live run needs, and not only what was spent."""


class Play:
    """One run, played to a panel of guards."""

    def __init__(self, policy: Policy, run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        self._policy, self._run, self._rows = policy, run, rows
        self._panel = Panel(policy)
        self._spent = 0.0
        self._tool_calls = self._turns = self._nudges = self._blocks = 0
        self._at = (0, 0)
        self._acts: list[Intervention] = []

    def result(self, succeeded: bool | None) -> Replayed:
        """Plays it down to the first stop."""
        stop = self._stopped()
        turn, step = self._at
        later = [r for r in self._rows if r["kind"] == "model" and r["turn"] > turn] if stop is not None else []
        ends = [
            r["end_ns"] for r in self._rows if r["kind"] != "user" and r["turn"] <= turn and r["end_ns"] is not None
        ]
        end = self._run["end_ns"]
        seconds = (end - max(ends)) * 1e-9 if stop is not None and ends and end is not None else None
        run = self._run
        return Replayed(
            run["run_id"],
            run["trace_id"],
            run["agent_name"],
            stop,
            step if stop is not None else None,
            self._nudges,
            self._blocks,
            run["cost_usd"],
            _sum(r["cost_usd"] for r in later if r["billed"] or r["cost_usd"] is not None),
            _sum(r["tokens"] for r in later if r["billed"] or r["tokens"] is not None),
            max(0.0, seconds) if seconds is not None else (0.0 if stop is None else None),
            succeeded,
        )

    @property
    def models(self) -> list[Mapping[str, Any]]:
        """Its model calls, in order."""
        return [r for r in self._rows if r["kind"] == "model"]

    def reached(self, succeeded: bool | None, needed_usd: float | None, below_usd: float) -> Reached:
        """Plays all of it, and keeps the largest value that each setting saw. `needed_usd`: the limit it would have needed by itself, if
        known; `below_usd`: what its sub-agents cost.
        """
        values: dict[str, float] = {}
        for turn in _turns(self._rows):
            if any(r["kind"] == "user" for r in turn):
                self._panel.heard()
            self._turn(next((r for r in turn if r["kind"] == "model"), None), [r for r in turn if r["kind"] == "tool"])
        for act in self._acts:
            if act.setting and act.value is not None and act.setting != _CHECKPOINT:
                values[act.setting] = max(values.get(act.setting, 0.0), act.value)
        values[_CHECKPOINT] = float(
            _longest(act.action is Action.STOP for act in self._acts if act.setting == _CHECKPOINT)
        )
        began, end = self._run["start_ns"], self._run["end_ns"]
        values["loops.turns"] = float(len(self.models))
        values["loops.tool_calls"] = float(self._tool_calls)
        if began is not None and end is not None and end - began >= _LEAST_TURN_NS * len(self.models):
            values["loops.run_seconds"] = (end - began) * 1e-9
        cost = self._run["cost_usd"]
        if cost is not None or needed_usd is not None or below_usd:
            values["cost.run_limit_usd"] = max(cost or 0.0, needed_usd or 0.0) + below_usd
        spent = None if cost is None and not below_usd else (cost or 0.0) + below_usd
        return Reached(self._run["run_id"], self._run["agent_name"], values, succeeded, spent, needed_usd is not None)

    def spoken(self) -> Iterator[tuple[int, Intervention]]:
        """What the guards say of all of it, each with when, in nanoseconds since 1970; steps whose time nobody knows are left out."""
        for turn in _turns(self._rows):
            if any(r["kind"] == "user" for r in turn):
                self._panel.heard()
            said = len(self._acts)
            self._turn(next((r for r in turn if r["kind"] == "model"), None), [r for r in turn if r["kind"] == "tool"])
            ends = [r["end_ns"] or r["start_ns"] for r in turn if r["kind"] != "user"]
            at_ns = max((end for end in ends if end is not None), default=None)
            if at_ns is not None:
                yield from ((at_ns, act) for act in self._acts[said:])

    def _stopped(self) -> Intervention | None:
        for turn in _turns(self._rows):
            model = next((r for r in turn if r["kind"] == "model"), None)
            if any(r["kind"] == "user" for r in turn):
                self._panel.heard()
            if model is not None:
                limit = self._limit(model)
                if limit is not None:
                    return limit
                self._turns += 1
                self._spent += model["cost_usd"] or 0.0
            stop = self._turn(model, [r for r in turn if r["kind"] == "tool"])
            if turn:
                self._at = (turn[-1]["turn"], turn[-1]["step"])
            if stop is not None:
                return stop
        return None

    def _turn(self, model: Mapping[str, Any] | None, tools: Sequence[Mapping[str, Any]]) -> Intervention | None:
        acts: list[Intervention] = []
        # An answer of which neither words nor calls are known may have been anything.
        if model is not None and model["billed"] and (model["output_chars"] is not None or tools):
            acts += self._panel.answered(
                Answer(
                    model["turn"],
                    model["output_key"],
                    model["loose_output_key"],
                    model["output_chars"] or 0,
                    model["requested_calls"] or len(tools),
                )
            )
        calls = [_call(row) for row in tools]
        verdicts = [self._panel.asked(call) for call in calls]
        for call, verdict, row in zip(calls, verdicts, tools, strict=True):
            refused = verdict is not None and not verdict.observed
            rejected = (row["rejected"] or _reason(verdict)) if refused else row["rejected"]
            self._tool_calls += rejected is None
            if verdict is not None:
                acts.append(verdict)
            acts += self._panel.ran(
                call,
                Outcome(rejected=rejected)
                if rejected is not None
                else Outcome(
                    row["result_key"],
                    row["failed"],
                    row["failure_kind"],
                    at_seconds=_seconds(row["end_ns"]),
                    words_key=row["words_key"],
                ),
            )
        self._acts += acts
        self._nudges += sum(a.action is Action.NUDGE and not a.observed for a in acts)
        self._blocks += sum(a.action is Action.BLOCK and not a.observed for a in acts)
        return next((a for a in acts if a.action is Action.STOP and not a.observed), None)

    def _limit(self, model: Mapping[str, Any]) -> Intervention | None:
        """The hard limit or the budget that would have stood before this request."""
        loops, cost = self._policy.loops, self._policy.cost
        began = self._run["start_ns"]
        seconds = (model["start_ns"] - began) * 1e-9 if began is not None and model["start_ns"] is not None else 0.0
        spent = self._spent + (model["cost_usd"] or 0.0)
        for guard, value, limit, reached, setting in (
            ("turn_limit", self._turns, loops.turns, self._turns >= loops.turns - 1, "loops.turns"),
            (
                "tool_call_limit",
                self._tool_calls,
                loops.tool_calls,
                self._tool_calls >= loops.tool_calls,
                "loops.tool_calls",
            ),
            ("time_limit", seconds, loops.run_seconds, seconds >= loops.run_seconds, "loops.run_seconds"),
            (
                "run_budget",
                spent,
                cost.run_limit_usd or 0.0,
                spent > (cost.run_limit_usd or float("inf")),
                "cost.run_limit_usd",
            ),
        ):
            # A model call that ends the run anyway is not stopped: it is the final answer.
            if reached and not self._is_last(model):
                return Intervention(
                    guard, Action.STOP, f"{setting} was reached.", setting, limit, value, turn=model["turn"]
                )
        return None

    def _is_last(self, model: Mapping[str, Any]) -> bool:
        return bool(model["turn"] == max(r["turn"] for r in self._rows[-1:]) and not model["requested_calls"])


def _turns(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The rows of a run turn by turn; each begins with its model call, what the user said before it included."""
    turn: list[Mapping[str, Any]] = []
    for row in rows:
        called = any(r["kind"] == "model" for r in turn)
        # Without model calls each tool call is a turn of its own.
        ends = called if row["kind"] != "tool" else bool(turn) and turn[-1]["turn"] != row["turn"] and not called
        if turn and ends:
            yield turn
            turn = []
        turn.append(row)
    if turn:
        yield turn


def _longest(told: Iterable[bool]) -> int:
    """Length of the longest stretch of True."""
    most = now = 0
    for true in told:
        now = now + 1 if true else 0
        most = max(most, now)
    return most


def _call(row: Mapping[str, Any]) -> Call:
    return Call(
        row["turn"],
        row["tool_call_id"] or "",
        row["tool_name"] or "",
        row["call_key"],
        row["loose_call_key"],
        Effect(row["effect"]),
        unknown=bool(row["unknown"]),
        invalid=row["problem"],
        null_input=bool(row["null_input"]),
        at_seconds=_seconds(row["start_ns"]),
        writes=row["words_key"] is not None,
    )


def _reason(verdict: Intervention | None) -> str:
    guard = verdict.guard if verdict is not None else ""
    return guard if guard in ("unknown_tool", "invalid_arguments") else "blocked"


def _seconds(ns: int | None) -> float:
    return 0.0 if ns is None else ns * 1e-9


def _sum(values: Iterable[Any]) -> Any:
    known = list(values)
    return None if any(v is None for v in known) else sum(known)
