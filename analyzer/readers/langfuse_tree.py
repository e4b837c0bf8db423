"""What each observation of a Langfuse trace is: a model call, a tool call, an agent, or something that only goes around or beside one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from analyzer.readers.langfuse_usage import usage
from analyzer.readers.loose import mapping, text
from analyzer.readers.openai_messages import decoded
from instrument.store.dialects import OPERATIONS

_TYPES: Final = {"GENERATION": "model", "AGENT": "agent", "TOOL": "tool", "EMBEDDING": "other", "RETRIEVER": "other"}
_OPERATIONS: Final = ("gen_ai.operation.name", "openinference.span.kind", "traceloop.span.kind")
EVENT: Final = re.compile(r"\.(\w+)-\d+$")
"""How the names of BeeAI's events end."""
_HIGHEST: Final = 50
"""Levels above a generation at which another may lie around it."""
_STANDS: Final = {"model": "start", "tool": "success", "agent": ""}
"""BeeAI records an observation for each event of a call: which of them stands for the call."""


@dataclass(frozen=True, eq=False)
class Observation:
    """One observation with the trace it is of, as far as the export has that."""

    name: str
    """Its id."""
    trace_id: str
    found: dict[str, Any]
    trace: dict[str, Any]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the integration put beside input and output."""
        return mapping(decoded(self.found.get("metadata")))

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the span the observation was made from, where it came over OpenTelemetry."""
        return mapping(decoded(self.metadata.get("attributes")))

    @property
    def of_beeai(self) -> bool:
        """Whether it is an event of BeeAI's instrumentation."""
        return "beeai" in (text(mapping(self.metadata.get("scope")).get("name")) or "")

    @property
    def failed(self) -> bool:
        """Whether it is marked as an error."""
        return self.found.get("level") == "ERROR"


@dataclass(frozen=True)
class Part:
    """What one observation is in its trace."""

    kind: str
    """model, agent, tool or other."""
    also: Observation | None = None
    """Another report of the same model call."""
    shares_id: bool = False
    """Whether other calls of the trace give the same response id, which is then the id of something else."""


def parts(trace: Sequence[Observation], made: Counter[str]) -> list[Part]:
    """What each observation is, in the order given. What was set aside is counted in `made`."""
    kinds = {o.name: _kind(o, made) for o in trace}
    known = {o.name: o for o in trace}
    inside = _nested(known, kinds)
    used = {name: bool(usage(known[name].found)) for name, kind in kinds.items() if kind == "model"}
    standing = set(used)
    for outer, inner in inside.items():
        # Integrations reported the same calls. The innermost reports that know what was used stand for them.
        standing -= set(inner) if used[outer] and not any(used[i] for i in inner) else {outer}
    made["roll_up"] += len(used) - len(standing)
    also = _other_reports(inside, standing)
    ids = Counter(_response_id(known[name]) for name in standing)
    return [
        Part(
            "other" if kinds[o.name] == "model" and o.name not in standing else kinds[o.name],
            known.get(also.get(o.name, "")),
            _response_id(o) is not None and ids[_response_id(o)] > 1,
        )
        for o in trace
    ]


def _nested(known: Mapping[str, Observation], kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """By generation those inside it, with no tool or agent between. Parents may go in a circle."""
    inside: dict[str, list[str]] = {}
    for name in (n for n, kind in kinds.items() if kind == "model"):
        above = text(known[name].found.get("parentObservationId"))
        for _ in range(_HIGHEST):
            if above is None or above == name or kinds.get(above) not in ("other", "model"):
                break
            if kinds[above] == "model":
                inside.setdefault(above, []).append(name)
            above = text(known[above].found.get("parentObservationId"))
    return inside


def _other_reports(inside: Mapping[str, list[str]], standing: set[str]) -> dict[str, str]:
    """For generations that stand for a call one that reported the same. What goes around several calls tells of none of them."""
    also: dict[str, str] = {}
    for outer, inner in inside.items():
        calls = [i for i in inner if i in standing]
        if outer not in standing and len(calls) == 1:
            also.setdefault(calls[0], outer)
        elif outer in standing and len(inner) == 1:
            also.setdefault(outer, inner[0])
    return also


def _response_id(one: Observation) -> str | None:
    return text(one.attributes.get("gen_ai.response.id"))


def _kind(one: Observation, made: Counter[str]) -> str:
    kind = _TYPES.get((text(one.found.get("type")) or "").upper())
    operation = next((o for o in (text(one.attributes.get(n)) for n in _OPERATIONS) if o), "").lower()
    if operation in ("embeddings", "embedding"):
        return "other"
    if kind is None:
        kind = OPERATIONS.get(operation) or _kind_by_content(one)
    event = EVENT.search(text(one.found.get("name")) or "")
    if one.of_beeai and event and kind in _STANDS and event.group(1) != _STANDS[kind] and not one.failed:
        made["event_spans"] += 1
        return "other"
    return kind


def _kind_by_content(one: Observation) -> str:
    """For spans of integrations that give no type."""
    if "pydantic_ai.all_messages" in one.attributes:
        return "agent"
    if "gen_ai.tool.name" in one.attributes or "tool.name" in one.attributes:
        return "tool"
    answer = mapping(decoded(one.found.get("output")))  # LangChain's message of a tool
    return "tool" if answer.get("type") == "tool" and "tool_call_id" in answer else "other"
