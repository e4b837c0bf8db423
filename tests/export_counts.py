"""Exports counted a second time: by a few lines over the plain JSON, so that readers can be held against something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_logs import Totals

# Langfuse knew no type for tools when these were exported; which spans are tools is what a person sees.
TOOLS = {
    "duckduckgo_search",
    "Web-Search",
    "tool.ByeTool",
    "tool.HelloTool",
    "tool.search.wikipedia.success-12",
}
EVENTS = (".success-16", ".finish-16")
"""Ends of the names of generations that only say that another one has ended."""


def langfuse(path: Path) -> Totals:
    observations = json.loads(path.read_bytes())["observations"]
    generations = [o for o in observations if o["type"] == "GENERATION" and not o["name"].endswith(EVENTS)]
    # Agno's generation goes around that of OpenAI's: the inner one has what OpenAI counted.
    around = {o["parentObservationId"] for o in generations}
    calls = [o for o in generations if o["id"] not in around]
    tools = [o for o in observations if o["type"] == "TOOL" or o["name"] in TOOLS]
    return Totals(
        len(calls),
        len(tools),
        sum(o["inputUsage"] for o in calls),
        sum(o["outputUsage"] for o in calls),
        sum(o["totalCost"] for o in calls),
    )


def attribute_maps(path: Path) -> Totals:
    """Spans of which each attribute stands under its own name, wherever in the document: those that say they asked a model."""
    total = Totals()
    for found in _maps(json.loads(path.read_bytes())):
        kind = found.get("openinference.span.kind") or found.get("gen_ai.operation.name") or found.get("ai.operationId")
        if kind in ("LLM", "chat", "llm_call") or str(kind).endswith((".doGenerate", ".doStream")):
            read = found.get("gen_ai.usage.input_tokens", found.get("llm.token_count.prompt"))
            wrote = found.get("gen_ai.usage.output_tokens", found.get("llm.token_count.completion"))
            # An embedding is no model call, and has no counts of its own.
            total += Totals(read is not None, 0, read or 0, wrote or 0)
        elif kind in ("execute_tool", "TOOL"):
            total += Totals(tool_calls=1)
    return total


def _maps(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _maps(item)
    elif isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _maps(item)


COUNTS = {"langfuse": langfuse, "openinference": attribute_maps, "otel_dialects": attribute_maps}
