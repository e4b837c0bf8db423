"""Plays scenarios and records them, as a user's process would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anthropic
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

import instrument
from analyzer.demo.agents import Scenario, play
from instrument import semconv
from instrument.testing import ModelServer, Reply, delayed


def record_all(
    scenarios: Iterable[Scenario], database: Path, *, reply_seconds: float = 0.02, copy: Path | None = None
) -> None:
    """Records the scenarios one after the other into `database`; each reply takes `reply_seconds`.

    `copy` receives the ended spans as OTLP JSON Lines, as the journal held them.
    """
    provider = TracerProvider(
        resource=Resource({"service.name": "flyball-demo"}), span_limits=SpanLimits(max_span_attributes=4_096)
    )
    with instrument.record(database, tracer_provider=provider, checkpoint_seconds=None):
        for scenario in scenarios:
            with (
                ModelServer(_script(scenario, reply_seconds)) as server,
                anthropic.Anthropic(
                    api_key="none-needed",
                    base_url=server.url,
                    max_retries=0,
                    open_telemetry={"tracer_provider": provider},
                ) as client,
            ):
                play(scenario, instrument.watch(client))
        if copy is not None:
            copy.write_bytes(b"".join(_ended(database)))
    provider.shutdown()


def _script(scenario: Scenario, reply_seconds: float) -> Callable[[Mapping[str, Any]], Reply]:
    """What the model says to each request."""
    replies = iter(scenario.replies)

    def answer(body: Mapping[str, Any]) -> Reply:
        final = scenario.final if body.get("tool_choice") == {"type": "none"} else None
        return delayed(final or next(replies), reply_seconds)

    return answer


def _ended(database: Path) -> Iterator[bytes]:
    """The journal's lines of spans that have ended; the marks of started ones are left out."""
    for segment in sorted(database.with_name(database.name + ".journal").iterdir()):
        yield from (
            line for line in segment.read_bytes().splitlines(keepends=True) if semconv.PENDING.encode() not in line
        )
