"""Databases for the tests of the app: a day of runs of two agents, some of which go wrong, loaded the ordinary way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrument.store.connect import writing
from instrument.store.load import Loader

MODEL = "claude-sonnet-4-5"
START_NS = 1_763_800_000_000_000_000
SECOND = 1_000_000_000
TOOLS = ("search_orders", "get_order", "refund", "send_mail")


@dataclass
class Call:
    """A tool call of a turn: what was asked, what came back."""

    tool: str
    arguments: dict[str, Any]
    result: str = "ok"
    failed: bool = False


@dataclass
class Turn:
    """A model call and the tool calls it asked for."""

    says: str = ""
    calls: Sequence[Call] = ()
    input_tokens: int = 2_000
    cached_tokens: int = 0
    output_tokens: int = 120


@dataclass
class Run:
    """An agent run; `number` makes its ids and its start."""

    number: int
    agent: str
    turns: Sequence[Turn]
    asked: str = "Where is my order?"
    failed: bool = False
    model: str = MODEL
    whole_history: bool = True
    """Each request repeats what was said before, as chat APIs want it; False: only what is new."""

    @property
    def run_id(self) -> str:
        """Span id of the agent span."""
        return f"{self.number:08x}{0:08x}"


def attributes(**values: Any) -> list[dict[str, Any]]:
    """OTLP attributes; double underscores in names stand for dots."""
    out = []
    for name, value in values.items():
        if value is None:
            continue
        kind = "intValue" if isinstance(value, int) else "stringValue"
        out.append({"key": name.replace("__", "."), "value": {kind: value}})
    return out


def spans(run: Run) -> list[dict[str, Any]]:
    """The spans of a run, agent span first."""
    trace_id, clock = f"{run.number:032x}", START_NS + run.number * 1_800 * SECOND
    made: list[dict[str, Any]] = []

    def span(name: str, seconds: float, failed: str | None = None, **values: Any) -> dict[str, Any]:
        nonlocal clock
        one = {
            "traceId": trace_id, "spanId": f"{run.number:08x}{len(made):08x}", "name": name,
            "startTimeUnixNano": str(clock), "endTimeUnixNano": str(clock + int(seconds * SECOND)),
            "attributes": attributes(gen_ai__agent__name=run.agent, **values),
        }  # fmt: skip
        if made:
            one["parentSpanId"] = run.run_id
            clock += int(seconds * SECOND)
        if failed is not None:
            one["status"] = {"code": 2, "message": failed}
        made.append(one)
        return one

    agent = span(
        f"invoke_agent {run.agent}", 0, "gave up" if run.failed else None, gen_ai__operation__name="invoke_agent"
    )
    history: list[dict[str, Any]] = [{"role": "user", "parts": [{"type": "text", "content": run.asked}]}]
    for number, turn in enumerate(run.turns):
        calls = [(f"call_{run.number}_{number}_{i}", call) for i, call in enumerate(turn.calls)]
        answer = {"role": "assistant", "parts": [
            *([{"type": "text", "content": turn.says}] if turn.says else []),
            *({"type": "tool_call", "id": i, "name": c.tool, "arguments": c.arguments} for i, c in calls),
        ]}  # fmt: skip
        span(
            f"chat {run.model}", 1.5 + 0.1 * len(turn.says) ** 0.5, gen_ai__operation__name="chat",
            gen_ai__provider__name="anthropic", gen_ai__request__model=run.model, gen_ai__response__model=run.model,
            gen_ai__response__id=f"msg_{run.number}_{number}",
            gen_ai__usage__input_tokens=turn.input_tokens + turn.cached_tokens,
            gen_ai__usage__cache_read__input_tokens=turn.cached_tokens or None,
            gen_ai__usage__output_tokens=turn.output_tokens,
            gen_ai__system_instructions=json.dumps([{"type": "text", "content": "You help customers of a book shop."}]),
            gen_ai__input__messages=json.dumps(history), gen_ai__output__messages=json.dumps([answer]),
            gen_ai__tool__definitions=json.dumps([{"type": "function", "name": name} for name in TOOLS]),
        )  # fmt: skip
        if not run.whole_history:
            history.clear()
        history.append(answer)
        for call_id, call in calls:
            span(
                f"execute_tool {call.tool}", 0.4, call.result if call.failed else None,
                gen_ai__operation__name="execute_tool", gen_ai__tool__name=call.tool, gen_ai__tool__call__id=call_id,
                gen_ai__tool__call__arguments=json.dumps(call.arguments), gen_ai__tool__call__result=call.result,
            )  # fmt: skip
            part = {"type": "tool_call_response", "id": call_id, "response": call.result}
            history.append({"role": "tool", "parts": [part]})
    agent["endTimeUnixNano"] = str(clock)
    return made


def document(run: Run) -> bytes:
    """A run as one OTLP JSON line."""
    scope = {"scope": {"name": "flyball"}, "spans": spans(run)}
    resource = {"attributes": attributes(service__name="shop")}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}).encode() + b"\n"


def write(path: Path, runs: Iterable[Run], *, broken: bool = False) -> Path:
    """A database of these runs; `broken` adds a line that cannot be read."""
    with writing(path) as con, Loader(con) as loader:
        for run in runs:
            loader.add_lines(document(run), "day.jsonl")
        if broken:
            loader.add_lines(b"{no json\n", "day.jsonl", 99)
        loader.finish()
    return path


def healthy(number: int, agent: str = "support") -> Run:
    """A run of three turns that does its work."""
    return Run(number, agent, [
        Turn("Let me look that up.", [Call("search_orders", {"customer": number}, f"orders: {number}01")]),
        Turn("Found it.", [Call("get_order", {"id": number * 100 + 1}, f'{{"status": "sent", "day": {number}}}')], 2_400, 1_800),
        Turn(f"Your order {number}01 was sent and arrives tomorrow.", (), 2_600, 2_100),
    ])  # fmt: skip


def looping(number: int, times: int = 12) -> Run:
    """The same call with the same result, again and again."""
    turns = [
        Turn(
            "I will search again.",
            [Call("search_orders", {"customer": "ann@example.org"}, "no orders found")],
            2_000 + 90 * i,
            1_700,
        )
        for i in range(times)
    ]
    return Run(number, "support", turns, failed=True)


def failing(number: int) -> Run:
    """A tool that is down."""
    turns = [
        Turn(
            f"Trying the refund, attempt {i}.",
            [Call("refund", {"order": i}, "ConnectionError: payments is down", True)],
        )
        for i in range(7)
    ]
    return Run(number, "refunds", turns, asked="Refund orders 1 to 7.", failed=True)


def inventing(number: int) -> Run:
    """Calls of a tool that nobody declared."""
    turns = [
        Turn("", [Call("delete_customer", {"try": i}, "Error: unknown tool delete_customer", True)]) for i in range(4)
    ]
    return Run(number, "refunds", [*turns, Turn("I could not do it.")])


def growing(number: int) -> Run:
    """A context that nearly fills the window."""
    turns = [
        Turn("Reading on.", [Call("get_order", {"id": i}, f"page {i} " + "lorem ipsum " * 60)], 9_000, 7_500 * i)
        for i in range(24)
    ]
    return Run(number, "support", turns, asked="Summarise all my orders since 2009.")


def stuck(number: int) -> Run:
    """The same answer in every turn."""
    says = "I am still working on your request, please hold on a moment."
    return Run(number, "refunds", [Turn(says, [Call("get_order", {"id": i}, f"pending {i}")]) for i in range(6)])


def a_day() -> list[Run]:
    """Healthy runs of two agents, and one run per failure mode."""
    good = [healthy(n, "support" if n % 3 else "refunds") for n in range(1, 40)]
    return [*good, looping(41), failing(42), inventing(43), growing(44), stuck(45)]
