"""Surface details of injected calls: names in several languages and styles, arguments and results of all sizes, thoughts, numbers."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any, Final

from analyzer.cases import Call, Turn
from benchmarks.accuracy.healthy import runs

LOOKING: Final = (
    "search", "get_order", "fetchCustomer", "list_files", "lookup_account", "grep", "read_file", "mcp__docs__query", "web_search",
    "inspectElement", "describe_table", "findUser", "weather.current", "get-invoice", "consulter_stock", "buscar_pedido", "kunde_suchen",
    "leer_archivo", "查询订单", "検索する",
)  # fmt: skip
CHANGING: Final = (
    "edit_file", "update_record", "writeFile", "send_email", "create_ticket", "delete_row", "apply_patch", "save_draft",
    "str_replace_editor", "set_status", "postMessage", "add_item", "guardar_archivo", "datei_schreiben", "修改文件",
)  # fmt: skip
ACTING: Final = CHANGING[:-3]
"""Those with English names: which effect a tool has is told by English words."""
TOPICS: Final = (
    "refund policy",
    "order 4711",
    "invoice total",
    "Lieferstatus",
    "estado del pedido",
    "退款政策",
    "index out of range",
    "alpha",
)
_THOUGHTS: Final = (
    "Let me look.",
    "Odd. Once more.",
    "Perhaps this time?",
    "I should check that again.",
    "Hm.",
    "",
    "Noch einmal.",
    "Voyons.",
)
_WORDS: Final = (
    "lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed",
    "do", "eiusmod", "tempor", "incididunt", "ut", "labore", "et", "dolore", "magna",
)  # fmt: skip


def thought(rng: Random) -> str:
    """What a model says beside a call, or nothing."""
    return rng.choice(_THOUGHTS)


def times(rng: Random, least: int, most: int = 60) -> int:
    """How often: mostly at the threshold or a little above it, now and then many times."""
    return min(
        most,
        rng.choices(
            (least, least + rng.randint(1, 3), least + rng.randint(4, 10), rng.randint(20, 60)), (35, 35, 22, 8)
        )[0],
    )


def text(rng: Random, chars: int | None = None) -> str:
    """A text unlike any other, of about so many characters (else 5 to 600)."""
    length = chars if chars is not None else rng.choice((5, 20, 80, 200, 600))
    words = f"{rng.getrandbits(48):x}"
    while len(words) < length:
        words += " " + " ".join(rng.choices(_WORDS, k=12))
    return words[: max(length, 12)]


def result(rng: Random) -> Any:
    """A result of a call: words, JSON, nothing found."""
    return rng.choice(
        (
            text(rng),
            {"items": [], "total": 0, "ref": text(rng, 12)},
            [{"type": "text", "text": text(rng)}],
            {"status": "ok", "rows": [[rng.randrange(9), text(rng, 30)] for _ in range(rng.randint(1, 4))]},
            f"no results ({text(rng, 12)})",
        )
    )


def arguments(rng: Random) -> dict[str, Any]:
    """Arguments of one of several shapes."""
    topic = rng.choice(TOPICS)
    return rng.choice(
        (
            {"q": topic},
            {"query": topic, "limit": rng.choice((5, 10, 20)), "filters": {"lang": "de", "open": True}},
            {"path": f"/srv/{text(rng, 12)}/main.py"},
            {"id": rng.randrange(10_000)},
            {"sql": f"SELECT * FROM t WHERE name = '{topic}'", "params": []},
            {"a": {"b": {"c": [1, 2, topic]}}},
        )
    )


def look(rng: Random, *, real: float = 0.35) -> Call:
    """A call that looks at something: invented, or with a probability of `real` one of a real run."""
    if rng.random() < real:
        return rng.choice(_real_looks())
    return Call(rng.choice(LOOKING), arguments(rng), result(rng))


def said(rng: Random, *calls: Call) -> Turn:
    """A turn that asks for `calls`, with or without words."""
    return Turn(calls, thought(rng), output_tokens=rng.randint(20, 400))


def shuffled(rng: Random, value: dict[str, Any]) -> dict[str, Any]:
    """The same arguments in another order."""
    keys = list(value)
    rng.shuffle(keys)
    return {k: value[k] for k in keys}


@cache
def _real_looks() -> list[Call]:
    calls = [c for run in runs() for e in run.script if isinstance(e, Turn) for c in e.calls if c.error is None]
    return [c for c in calls if _looks(c) and 0 < len(str(c.result)) <= 500 and len(str(c.arguments)) <= 300]


def _looks(call: Call) -> bool:
    if call.name == "bash" and isinstance(call.arguments, dict):
        command = str(call.arguments.get("command", ""))
        return command.startswith(("cat ", "ls", "grep ", "head ", "find ")) and not set(">;&|") & set(command)
    return call.name.startswith(("get_", "read", "find_", "search_"))
