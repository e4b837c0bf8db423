"""Runs other tools that look for failures in agent runs, in an environment of their own: a program, never imported by us.

A line of standard input is one run: `{"name", "entries": [{"user"} | {"model", "text", "input_tokens", "output_tokens", "finish",
"failed", "pause_seconds", "seconds", "calls": [{"name", "arguments", "result", "error", "seconds"}]}]}`. For each, a line of standard
output is `{tool: [what it said, ...]}`; a tool that is not installed is not in it. They run as they come, with their own thresholds,
each run by itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import sys
from typing import Any

_BEGIN = 1_790_000_000.0


def loopguard(run: dict[str, Any]) -> list[str]:
    """loopguard-runtime's check of a saved trace; `looping` is what fails it."""
    ingest = importlib.import_module("loopguard.ingest")
    steps = [
        {"agent": "agent", "tool": call["name"], "args": call["arguments"], "output": call["result"]}
        for call in _calls(run)
    ]
    report = ingest.analyze_trace({"run_id": run["name"], "steps": steps})
    return [] if report.status == "clean" else [report.status]


def agentbelt(run: dict[str, Any]) -> list[str]:
    """agentbelt-loop's detector, asked after each call."""
    package = importlib.import_module("agentbelt_loop")
    detector, said = package.LoopDetector(), set()
    for call in _calls(run):
        arguments = call["arguments"] if isinstance(call["arguments"], dict) else {"value": call["arguments"]}
        detector.record("run", tool=call["name"], args=arguments, result=call["result"])
        try:
            detector.check("run")
        except package.LoopDetected as e:
            said.add(str(e.kind))
    return sorted(said)


def dunetrace(run: dict[str, Any]) -> list[str]:
    """The default detectors of dunetrace, over the events that its SDK would have sent."""
    builder, models = importlib.import_module("dunetrace.run_builder"), importlib.import_module("dunetrace.models")
    detectors = importlib.import_module("dunetrace.detectors")
    state = builder.build_run_state(_events(run))
    state.events = [
        models.AgentEvent(**{**event, "event_type": models.EventType(event["event_type"])}) for event in _events(run)
    ]
    state.current_step = len(_calls(run)) + sum("calls" in entry for entry in run["entries"])
    return sorted({str(signal.failure_type.value) for signal in detectors.run_detectors(state)})


TOOLS = {
    "loopguard-runtime": loopguard,
    "agentbelt-loop": agentbelt,
    "dunetrace": dunetrace,
}
_PACKAGES = {
    "loopguard-runtime": "loopguard",
    "agentbelt-loop": "agentbelt_loop",
    "dunetrace": "dunetrace",
}


def _calls(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [call for entry in run["entries"] for call in entry.get("calls", ())]


def _events(run: dict[str, Any]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    step, at = 0, _BEGIN

    def tell(kind: str, seconds: float = 0.0, **payload: Any) -> None:
        nonlocal at
        at += seconds
        identity = {"run_id": run["name"], "agent_id": "agent", "agent_version": "1"}
        out.append({"event_type": kind, "step_index": step, "timestamp": at, "payload": payload, **identity})

    asked = next((entry["user"] for entry in run["entries"] if "user" in entry), "Do the task.")
    tell("run.started", tools=sorted({call["name"] for call in _calls(run)}), input_text=asked)
    turns = [entry for entry in run["entries"] if "calls" in entry]
    for number, turn in enumerate(turns):
        step += 1
        tell(
            "llm.called", turn["pause_seconds"], model=turn["model"], prompt_tokens=turn["input_tokens"], call_id=number
        )
        if not turn["failed"]:
            tell(
                "llm.responded", turn["seconds"], model=turn["model"], call_id=number, finish_reason=turn["finish"],
                latency_ms=int(turn["seconds"] * 1000), completion_tokens=turn["output_tokens"], output=turn["text"],
                output_length=len(turn["text"]),
            )  # fmt: skip
        for call in turn["calls"]:
            step += 1
            tell("tool.called", tool_name=call["name"], args=call["arguments"])
            words = call["result"]
            tell(
                "tool.responded", call["seconds"], tool_name=call["name"], success=call["error"] is None,
                error=words if call["error"] else None, output=words, output_length=len(words),
                latency_ms=int(call["seconds"] * 1000),
            )  # fmt: skip
    answered = bool(turns) and not turns[-1]["calls"] and bool(turns[-1]["text"])
    tell("run.completed", exit_reason="final_answer" if answered else "completed")
    return out


def main() -> int:
    """Reads runs until the input ends."""
    logging.disable(logging.CRITICAL)
    there = {name: TOOLS[name] for name, package in _PACKAGES.items() if importlib.util.find_spec(package)}
    for line in sys.stdin:
        run = json.loads(line)
        print(json.dumps({name: look(run) for name, look in there.items()}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
