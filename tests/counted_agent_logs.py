"""Further logs of agents counted a second time (see `agent_logs`): Codex, Gemini CLI, Inspect, ATIF, OpenHands, OpenClaw, chat messages."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_logs import Totals

Json = dict[str, Any]


def _lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def codex(path: Path) -> Totals:
    """The last total is what the session used; an answer ends with a count, or where something else is heard."""
    records = _lines(path)
    items = [r["payload"] for r in records if r["type"] == "response_item"]
    infos = [r["payload"]["info"] for r in records if r["payload"].get("type") == "token_count"]
    of_model = [i.get("role") == "assistant" or i.get("type") == "function_call" for i in items]
    answers = sum(own and not before for before, own in zip([False, *of_model], of_model, strict=False))
    last = infos[-1]["total_token_usage"] if infos else {}
    results = sum(i.get("type") == "function_call_output" for i in items)
    return Totals(max(answers, len(infos)), results, last.get("input_tokens", 0), last.get("output_tokens", 0))


def gemini_cli(path: Path) -> Totals:
    answers = [m for m in json.loads(path.read_bytes())["messages"] if m["type"] == "gemini"]
    tokens = [m.get("tokens", {}) for m in answers]
    given, output = (
        sum(t.get(a, 0) + t.get(b, 0) for t in tokens) for a, b in (("input", "tool"), ("output", "thoughts"))
    )
    return Totals(len(answers), sum(len(m.get("toolCalls", ())) for m in answers), given, output)


def inspect(path: Path) -> Totals:
    totals = Totals()
    for document in _inspect_documents(path):
        for sample in document.get("samples") or ([document] if "events" in document or "messages" in document else []):
            totals += _inspect_sample(sample)
    return totals


def _inspect_documents(path: Path) -> Iterator[Json]:
    if path.suffix != ".eval":
        yield json.loads(path.read_bytes())
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("samples/"):
                yield json.loads(archive.read(name))


def _inspect_sample(sample: Json) -> Totals:
    events = list(_inspect_events(sample.get("events") or sample.get("transcript", {}).get("events") or []))
    if not events:
        roles = [m["role"] for m in sample["messages"]]
        return Totals(roles.count("assistant"), roles.count("tool"))
    totals = Totals(tool_calls=sum(e["event"] == "tool" for e in events))
    for event in events:
        if event["event"] == "model":
            usage = event["output"].get("usage") or {}
            # Anthropic counts what was cached beside the input.
            beside = [usage.get(f"input_tokens_cache_{kind}") or 0 for kind in ("read", "write")]
            given = usage.get("input_tokens", 0) + (sum(beside) if event["model"].startswith("anthropic/") else 0)
            totals += Totals(1, 0, given, usage.get("output_tokens", 0))
    return totals


def _inspect_events(events: list[Json]) -> Iterator[Json]:
    for event in events:
        yield event
        yield from _inspect_events(event.get("events") or [])


def atif(path: Path) -> Totals:
    steps = [
        s for s in json.loads(path.read_bytes())["steps"] if s["source"] == "agent" and not s.get("is_copied_context")
    ]
    metrics = [s.get("metrics", {}) for s in steps]
    results = [r for s in steps for r in s.get("observation", {}).get("results", ()) if r.get("source_call_id")]
    sums = [sum(m.get(name, 0) for m in metrics) for name in ("prompt_tokens", "completion_tokens", "cost_usd")]
    return Totals(len(steps), len(results), int(sums[0]), int(sums[1]), sums[2])


def openhands_output(path: Path) -> Totals:
    totals = Totals()
    for run in _lines(path):
        responses = [e["tool_call_metadata"]["model_response"] for e in run["history"] if "tool_call_metadata" in e]
        usages = {r["id"]: r["usage"] for r in responses}
        costs = [c["cost"] if isinstance(c, dict) else c for c in run["metrics"]["costs"]]
        given, output = (sum(u[name] for u in usages.values()) for name in ("prompt_tokens", "completion_tokens"))
        totals += Totals(len(costs), sum("observation" in e for e in run["history"]), given, output, sum(costs))
    return totals


def openhands_events(path: Path) -> Totals:
    """The last count is what the agent used; every count that is not the one before is a call."""
    events = _lines(path)
    stats = [
        e["value"]["usage_to_metrics"]["default"]["accumulated_token_usage"] for e in events if e.get("key") == "stats"
    ]
    counts = [(s["prompt_tokens"], s["completion_tokens"]) for s in stats]
    results = sum(e["kind"] == "ObservationEvent" for e in events)
    return Totals(len(set(counts)), results, *counts[-1])


def openclaw(path: Path) -> Totals:
    events = _lines(path)
    messages = {
        (m["role"], m["timestamp"], json.dumps(m["content"])): m for e in events for m in e.get("messages") or ()
    }
    answers = [m for m in messages.values() if m["role"] == "assistant"]
    usages = [m["usage"] for m in answers]
    results = sum(m["role"] == "toolResult" for m in messages.values())
    # Of what was called, the histories hold what was answered there; the rest is known from its own events.
    asked = [_call(b["name"], b["arguments"]) for m in answers for b in m["content"] if b["type"] == "toolCall"]
    starts = [_call(e["toolName"], e["params"]) for e in events if e["type"] == "tool.start"]
    return Totals(
        len(answers),
        results + sum(s not in asked for s in starts),
        sum(u["input"] + u["cacheRead"] + u["cacheWrite"] for u in usages),
        sum(u["output"] for u in usages),
        sum(u["cost"]["total"] or 0 for u in usages),
    )


def _call(name: str, arguments: Any) -> str:
    return f"{name} {json.dumps(arguments, sort_keys=True)}"


def chat(path: Path) -> Totals:
    """A response is a call; without one every answer is."""
    document = json.loads(path.read_bytes())
    if response := (document.get("response") if isinstance(document, dict) else None):
        usage = response["usage"]
        return Totals(1, 0, usage["prompt_tokens"], usage["completion_tokens"], document.get("cost", 0.0))
    roles = [m["role"] for m in (document["traj"] if isinstance(document, dict) else document)]
    return Totals(roles.count("assistant"), roles.count("tool"))
