"""Other tools from the package index on the same samples, where somebody has installed them; they are no dependencies of ours.

    python -m venv build/neighbours
    build/neighbours/bin/pip install loopguard-runtime==0.2.1 agentbelt-loop==0.1.1 dunetrace==0.5.7

They see the script itself, whatever was recorded of it: each gets what it reads, as if its own recorder had been there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from analyzer.cases import Turn, User
from benchmarks.accuracy import neighbours_run

VERSIONS: Final = ("loopguard-runtime==0.2.1", "agentbelt-loop==0.1.1", "dunetrace==0.5.7")
INSTALLED: Final = (
    "To run them: `python -m venv build/neighbours`, then "
    f"`build/neighbours/bin/pip install {' '.join(VERSIONS)}`, and `make accuracy` again."
)
PYTHON: Final = Path(__file__).parents[2] / "build" / "neighbours" / "bin" / "python"
_LOOPS: Final = frozenset({"looping", "repeat", "cycle", "stagnation", "known_pattern", "TOOL_LOOP"})
SPEAKS_OF: Final[Mapping[str, frozenset[str]]] = {
    "error_cascade": _LOOPS | {"RETRY_STORM", "CASCADING_TOOL_FAILURE"},
    "retry_storm": _LOOPS | {"RETRY_STORM", "CASCADING_TOOL_FAILURE"},
    "tool_timeout": frozenset({"SLOW_STEP", "SESSION_LATENCY"}),
    "ignored_error": frozenset({"UNREAD_TOOL_ERROR"}),
    "repeated_call": _LOOPS,
    "call_cycle": _LOOPS | {"TOOL_THRASHING"},
    "near_repeat": _LOOPS,
    "context_growth": frozenset({"CONTEXT_BLOAT"}),
    "repeated_output": frozenset({"REASONING_STALL", "RUNAWAY_ITERATION"}),
    "empty_response": frozenset({"EMPTY_LLM_RESPONSE"}),
    "null_input": _LOOPS,
    "silent_gap": frozenset({"SESSION_LATENCY"}),
    "no_final_answer": frozenset({"PREMATURE_TERMINATION", "GOAL_ABANDONMENT"}),
    "truncated_response": frozenset({"LLM_TRUNCATION_LOOP", "SILENT_TRUNCATION"}),
    "cost_outlier": frozenset({"COST_SPIKE"}),
    "over_budget": frozenset({"COST_SPIKE"}),
}
"""By our class, what they say that means it. Anything else that they say is not counted, for or against them."""
KNOWS: Final[Mapping[str, frozenset[str]]] = {
    "loopguard-runtime": frozenset({"looping"}),
    "agentbelt-loop": frozenset({"repeat", "cycle", "stagnation", "known_pattern"}),
    "dunetrace": frozenset(word for words in SPEAKS_OF.values() for word in words if word.isupper()),
}
"""By tool, what it can say of our classes. `stalled`, a warning that does not fail loopguard's check, is not counted."""
NOT_RUN: Final[Mapping[str, str]] = {
    "agentloop-profiler 0.1.0": "installs; a profiler whose report names repeated work, and no class of failure to compare",
    "agent-vitals 1.19.0": "installs; wants numbers per step that no trace holds, such as findings and coverage",
    "agent-patrol 0.1.0": "installs; takes longer for these samples than all else here together",
    "LoopBrake 0.6.0": "on the index, not run: its one score is the number of steps, as in the check of more than 30 steps",
    "Pisama 0.7.0, DeepEval 4.3.1": "on the index, not tried",
    "openhands-sdk": "not on the index for this version of Python",
}
"""Others that were looked at, and why they are not in the table."""


def verdicts(scripts: Sequence[Sequence[object]], python: Path = PYTHON) -> dict[str, list[frozenset[str]]]:
    """By tool, what it said of each script; empty where there is no such interpreter or nothing is installed in it."""
    if not python.is_file():
        return {}
    lines = "".join(json.dumps(_told(number, script)) + "\n" for number, script in enumerate(scripts))
    program = neighbours_run.__file__
    done = subprocess.run([python, program], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: [frozenset(one[name]) for one in said] for name in (said[0] if said else ())}


def _told(number: int, script: Iterable[object]) -> dict[str, Any]:
    return {"name": f"run {number}", "entries": [_entry(e) for e in script if isinstance(e, Turn | User)]}


def _entry(entry: Turn | User) -> dict[str, Any]:
    if isinstance(entry, User):
        return {"user": entry.text}
    return {
        "model": entry.model,
        "text": entry.text,
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "finish": entry.finish or ("tool_calls" if entry.calls else "stop"),
        "failed": entry.error is not None,
        "pause_seconds": entry.pause_seconds,
        "seconds": entry.seconds,
        "calls": [
            {
                "name": call.name,
                "arguments": call.arguments,
                "result": call.result if isinstance(call.result, str) else json.dumps(call.result),
                "error": call.error,
                "seconds": call.seconds or 0.0,
            }
            for call in entry.calls
        ],
    }
