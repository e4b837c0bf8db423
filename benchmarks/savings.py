"""What a replay says a policy saves, against the trace files themselves. Usage: python -m benchmarks.savings [TRACES]

The costs of the answers are read from the original files with `json` alone, past our readers and our store; after the turn at which the
replay stops a run, they are added up and compared with what the replay says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec

from analyzer.replay import Replayed, replay
from benchmarks.calibration import TRACES, stored
from instrument.policy import Policy

STRICT: Final = msgspec.convert(
    {
        "tool_errors": {"same_failure_calls": 1, "failed_calls": 1, "error_calls": 2},
        "loops": {
            "turns": 12,
            "tool_calls": 15,
            "same_call_repeats": 2,
            "same_call_error_repeats": 2,
            "run_seconds": 200,
        },
        "cost": {"run_limit_usd": 0.12},
    },
    Policy,
)
"""Stops most of the runs, each of several guards some."""
_WHERE: Final = """
SELECT s.run_id, any_value(sources.name), any_value(s.conversation_id), any_value(s.agent_name)
FROM spans s JOIN sources USING (source_key) WHERE s.kind = 'agent' GROUP BY s.run_id
"""
_SIDES: Final = {"llm_agent": "assistant", "user_simulator": "user"}


@dataclass(frozen=True, slots=True)
class Saving:
    """One stopped run: what the replay says it saves, and what its file says."""

    run_id: str
    file: str
    guard: str
    told_usd: float | None
    real_usd: float | None
    """None where the file gives no cost of an answer after the stop."""

    @property
    def right(self) -> bool | None:
        """Equal to a millionth of a dollar; None where the file has no costs: what the replay says comes from a price list then."""
        if self.real_usd is None:
            return None
        return self.told_usd is not None and abs(self.told_usd - self.real_usd) < 1e-6


def savings(con: duckdb.DuckDBPyConnection, policy: Policy = STRICT) -> list[Saving]:
    """Every run that `policy` stops; the files are still where they were read from."""
    places = {run_id: told for run_id, *told in con.execute(_WHERE).fetchall()}
    return [_saving(run, *places[run.run_id]) for run in replay(con, policy) if run.stop is not None]


def _saving(run: Replayed, file: str, conversation: str | None, agent: str | None) -> Saving:
    assert run.stop is not None
    # A request that is refused is the first that is saved; any other guard lets the turn that it speaks in be paid for.
    refused = run.stop.setting in ("loops.turns", "loops.tool_calls", "loops.run_seconds", "cost.run_limit_usd")
    costs = spent(Path(file), conversation, agent)
    later = costs[run.stop.turn - refused :]
    real = None if not costs or any(cost is None for cost in later) else sum(cost for cost in later if cost is not None)
    return Saving(run.run_id, file, run.stop.guard, run.saved_usd, real)


def spent(file: Path, conversation: str | None, agent: str | None) -> list[float | None]:
    """What each answer of a run cost, in order, by its file; None where it does not say."""
    if file.suffix == ".jsonl":
        return list(_pi(json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()))
    data = json.loads(file.read_text("utf-8"))
    if "simulations" in data:
        return list(_tau2(data["simulations"], conversation, _SIDES[agent or ""]))
    # A trajectory of SWE-agent has no messages, and no costs.
    return list(_mini(data.get("messages", ())))


def _pi(entries: Iterable[dict[str, Any]]) -> Iterator[float | None]:
    for entry in entries:
        message = entry.get("message") or {}
        if message.get("role") == "assistant":
            yield message["usage"]["cost"]["total"]


def _tau2(simulations: Iterable[dict[str, Any]], conversation: str | None, side: str) -> Iterator[float | None]:
    (own,) = (s for s in simulations if s["id"] == conversation)
    for message in own["messages"]:
        # The greeting is no model's: it has no usage.
        if message["role"] == side and message.get("usage"):
            yield message["cost"]


def _mini(messages: Iterable[dict[str, Any]]) -> Iterator[float | None]:
    for message in messages:
        if message.get("role") == "assistant":
            yield message["extra"]["response"]["usage"].get("cost")


def summary(told: Sequence[Saving]) -> str:
    """In one paragraph."""
    priced = [s for s in told if s.right is not None]
    dollars = sum(s.real_usd for s in priced if s.real_usd is not None)
    guards = ", ".join(f"`{guard}`" for guard in sorted({s.guard for s in told}))
    right = sum(s.right is True for s in priced)
    return (
        f"A strict policy stops {len(told)} runs (by {guards}). The files of {len(priced)} of them say what each answer cost, "
        f"${dollars:.2f} after the stops; for {right} the replay names the same saving, to a millionth of a dollar."
    )


def main() -> int:
    """Prints the summary; 1 where a saving is wrong."""
    traces = Path(sys.argv[1]) if len(sys.argv) > 1 else TRACES
    if not traces.is_dir():
        print(f"There are no traces in {traces}; name the folder.")
        return 0
    with stored(traces) as con:
        told = savings(con)
    print(summary(told))
    wrong = [s for s in told if s.right is False]
    for one in wrong[:20]:
        print(f"{Path(one.file).name} {one.run_id} {one.guard}: said {one.told_usd}, is {one.real_usd}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
