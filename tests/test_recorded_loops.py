"""What a naive agent on the real SDK records, judged: the way from a loop to its finding with nothing between that a test made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace import TracerProvider

import instrument
from analyzer.run import judge
from instrument.policy import Policy
from instrument.store.checkpoint import adopt
from instrument.store.connect import reading
from instrument.testing import ModelServer, text, tool_use

TOOLS: list[Any] = [
    {
        "name": "search",
        "description": "Looks things up.",
        "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
    }
]


@pytest.mark.parametrize("as_blocks", [False, True], ids=["text", "blocks"])
@pytest.mark.parametrize("watched", [False, True], ids=["plain", "watched"])
def test_a_loop_is_found_however_results_are_written(tmp_path: Path, as_blocks: bool, watched: bool) -> None:
    path = tmp_path / "t.duckdb"
    recorder = instrument.record(path, tracer_provider=TracerProvider(), checkpoint_seconds=None)
    try:
        with ModelServer([*[tool_use("search", {"q": "x"})] * 6, text("Nothing.")]) as server:
            _naive(server.url, as_blocks=as_blocks, watched=watched)
    finally:
        instrument.tracing.forget(recorder)
        recorder.journal.close()
    adopt(path)
    with reading(path) as con:
        findings = judge(con, Policy()).findings
    assert [(f.detector, f.evidence["repeats"]) for f in findings] == [("repeated_call", 6)]


def _naive(url: str, *, as_blocks: bool, watched: bool) -> None:
    provider = instrument.tracing.provider_in_use()
    client = anthropic.Anthropic(
        api_key="test",
        base_url=url,
        open_telemetry={"tracer_provider": provider, "traces": {"content_mode": "content"}},
    )
    if watched:
        client = instrument.watch(client)
    messages: list[Any] = [{"role": "user", "content": "Find x."}]

    @instrument.agent
    def agent() -> None:
        while True:
            reply = client.messages.create(model="claude-opus-5-5", max_tokens=100, messages=messages, tools=TOOLS)
            messages.append({"role": "assistant", "content": reply.content})
            uses = [b for b in reply.content if b.type == "tool_use"]
            if not uses:
                return
            said = [{"type": "text", "text": "no results"}] if as_blocks else "no results"
            results = [{"type": "tool_result", "tool_use_id": b.id, "content": said} for b in uses]
            messages.append({"role": "user", "content": results})

    with client:
        agent()
