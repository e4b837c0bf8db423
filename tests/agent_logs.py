"""Logs of agents counted a second time: by a few lines over the plain JSON, so that readers can be held against something."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from analyzer.readers import read, resolve
from instrument.otlp import Issue, TracesData, plain


@dataclass
class Totals:
    """What a log holds. Counts are whole; dollars are the log's own, of single calls."""

    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Told:
    """A sink that keeps what spans say, but for the long histories in them."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.issues: list[Issue] = []
        self._decode = msgspec.json.Decoder(TracesData).decode

    def add_lines(self, data: bytes, source: str, first_line: int = 1) -> None:
        for line in data.splitlines():
            self.add(self._decode(line), source)

    def add(self, document: TracesData, source: str) -> None:
        for resource in document.resourceSpans:
            for scope in resource.scopeSpans:
                for span in scope.spans:
                    values = {a.key: plain(a.value) for a in span.attributes if a.key != "gen_ai.input.messages"}
                    self.spans.append({"source": source, "span": span, **values})

    def add_issue(self, issue: Issue) -> None:
        self.issues.append(issue)

    def totals(self, source: str) -> Totals:
        """What the spans of one file say, members of archives included."""
        kinds = Counter[str]()
        sums = Totals()
        for span in self.spans:
            if span["source"].split("!")[0] == source:
                kinds[span["gen_ai.operation.name"]] += 1
                sums.input_tokens += span.get("gen_ai.usage.input_tokens", 0)
                sums.output_tokens += span.get("gen_ai.usage.output_tokens", 0)
                sums.cost_usd += span.get("flyball.cost_usd", 0.0)
        return sums + Totals(kinds["chat"], kinds["execute_tool"])


def told(*paths: Path) -> Told:
    """What reading these files gives."""
    sink = Told()
    reading = read(resolve([str(p) for p in paths]).sources, sink)
    assert not reading.refusals
    return sink


def _sum(found: Iterable[dict[str, Any]], names: tuple[str, ...]) -> int:
    return sum(usage.get(name) or 0 for usage in found for name in names)


def tau2(path: Path) -> Totals:
    messages = [m for s in json.loads(path.read_bytes())["simulations"] for m in s["messages"]]
    usages = [m["usage"] for m in messages if m.get("usage")]
    tools = sum(m["role"] == "tool" for m in messages)
    cost = sum(m.get("cost") or 0 for m in messages)
    return Totals(len(usages), tools, _sum(usages, ("prompt_tokens",)), _sum(usages, ("completion_tokens",)), cost)


def mini_swe_agent(path: Path) -> Totals:
    document = json.loads(path.read_bytes())
    messages = document if isinstance(document, list) else document["messages"]
    answers = [m for m in messages if m["role"] == "assistant"]
    heard = {id(m) for m, after in pairwise(messages) if after["role"] == "user"}
    ran = [
        m for m in answers if len(re.findall(r"```(?:mswea_bash_command|bash)\n", m["content"])) == 1 and id(m) in heard
    ]
    extras = [m.get("extra", {}) for m in answers]
    usages = [e["response"]["usage"] for e in extras if e]
    cost = sum(e.get("cost") or e["response"]["usage"]["cost"] for e in extras if e)
    return Totals(len(answers), len(ran), _sum(usages, ("prompt_tokens",)), _sum(usages, ("completion_tokens",)), cost)


def swe_agent(path: Path) -> Totals:
    document = json.loads(path.read_bytes())
    answers = [m for m in document["history"] if m["role"] == "assistant"]
    steps = document.get("trajectory") or answers
    return Totals(len(steps), sum(bool(s["action"].strip()) for s in steps))


def pi(path: Path) -> Totals:
    text = path.read_text()
    try:
        messages = [json.loads(text)]
    except ValueError:
        messages = [e["message"] for e in map(json.loads, text.splitlines()) if e["type"] == "message"]
    usages = [m["usage"] for m in messages if m["role"] == "assistant"]
    return Totals(
        len(usages),
        sum(m["role"] == "toolResult" for m in messages),
        _sum(usages, ("input", "cacheRead", "cacheWrite")),
        _sum(usages, ("output",)),
        sum(u["cost"]["total"] for u in usages),
    )


def claude_code(path: Path) -> Totals:
    records = list(_records(path.read_text()))
    answers = {
        r["message"].get("id", number): r["message"]
        for number, r in enumerate(records)
        if "assistant" in (r.get("type"), r["message"].get("role"))
    }
    blocks = [b for r in records for b in r["message"].get("content") or () if isinstance(b, dict)]
    usages = [m["usage"] for m in answers.values() if m.get("usage")]
    every = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return Totals(
        len(answers),
        sum(b["type"] == "tool_result" for b in blocks),
        _sum(usages, every),
        _sum(usages, ("output_tokens",)),
        sum(r.get("costUSD", 0) for r in records),
    )


def _records(text: str) -> Iterator[dict[str, Any]]:
    try:
        found = json.loads(text).get("loglines", ())
    except ValueError:
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return (r for r in found if isinstance(r, dict) and isinstance(r.get("message"), dict))


COUNTS: dict[str, Callable[[Path], Totals]] = {
    "tau2": tau2,
    "mini_swe_agent": mini_swe_agent,
    "swe_agent": swe_agent,
    "pi": pi,
    "claude_code": claude_code,
}
