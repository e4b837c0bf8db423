"""Traces for `near_repeat`, from both sides."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from analyzer.cases import DIALECTS, Call, Case, Found, rejected_call, says, tool_call, turn, user

_DONE: Final = says("That is all I could find out.")
_FULL: Final = frozenset(DIALECTS) - {"hashed"}
"""Dialects that record arguments: of keys alone a list of UUIDs cannot be told from nonces."""
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
"""Dialects with tool spans: only these say that a call was blocked."""


def _ask(number: int, result: Any = "no results", tool: str = "search") -> Call:
    return tool_call(tool, {"q": "refunds", "nonce": number}, result)


def _uuid(number: int) -> str:
    return str(UUID(int=number * 7_919_000_000_000_000_000_000_000_001, version=4))


CASES: Final = (
    Case("a nonce", [*[_ask(n) for n in range(6)], _DONE], [Found("near_repeat", turns=(1, 6), severity="warning")]),
    Case("for ever", [*[_ask(n) for n in range(40)], _DONE], [Found("near_repeat", turns=(1, 40), severity="error")]),
    Case(
        "a time stamp in the words",
        [*[tool_call("search", {"q": f"refunds as of 2026-11-22 10:0{n}:00"}, "none") for n in range(6)], _DONE],
        [Found("near_repeat", turns=(1, 6))],
    ),
    Case(
        "words in another order",
        [
            *[
                tool_call("search", {"q": q}, "no results")
                for q in (
                    "refund policy EU",
                    "EU refund policy",
                    "policy refund, EU",
                    "EU policy: refund",
                    "refund EU policy",
                )
            ],
            _DONE,
        ],
        [Found("near_repeat", turns=(1, 5))],
    ),
    Case(
        "pages that all say the same",
        [*[tool_call("list_orders", {"user": "ann", "page": n}, "no more orders") for n in range(8)], _DONE],
        [Found("near_repeat", turns=(1, 8))],
    ),
    Case(
        "a UUID as nonce",
        [*[tool_call("search", {"q": "refunds", "request_id": _uuid(n)}, "none") for n in range(1, 7)], _DONE],
        [Found("near_repeat", turns=(1, 6))],
    ),
    Case(
        "other calls in between",
        [
            *[
                e
                for n in range(6)
                for e in (_ask(n), tool_call("read_file", {"path": f"notes/{n}.md"}, f"notes of day {n}"))
            ],
            _DONE,
        ],
        [Found("near_repeat", turns=(1, 11))],
    ),
    Case(
        "a guard refused it from the sixth time on",
        [
            *[_ask(n) for n in range(5)],
            *[rejected_call("search", {"q": "refunds", "nonce": n}, f"refused, {n} turns") for n in (5, 6, 7)],
            _DONE,
        ],
        [Found("near_repeat", turns=(1, 8))],
        only=_SPANS,
    ),
    Case("quiet: four times", [*[_ask(n) for n in range(4)], _DONE], []),
    Case("quiet: in parallel", [turn(*[_ask(n) for n in range(9)]), _DONE], []),
    Case("quiet: results that differ", [*[_ask(n, f"result {n}") for n in range(9)], _DONE], []),
    Case(
        "quiet: the next page has more",
        [*[tool_call("list_orders", {"user": "ann", "page": n}, f"order {n}") for n in range(9)], _DONE],
        [],
    ),
    Case(
        "quiet: polling until it changes",
        [*[_ask(n, "busy", "job_status") for n in range(8)], _ask(9, "done", "job_status"), _DONE],
        [],
    ),
    Case(
        "quiet: a batch of files",
        [*[tool_call("is_safe", {"file": f"report-{n}.pdf"}, True) for n in range(12)], _DONE],
        [],
    ),
    Case(
        "quiet: a batch of orders",
        [*[tool_call("is_paid", {"order_id": f"#W{n}50{n}"}, True) for n in range(9)], _DONE],
        [],
    ),
    Case(
        "quiet: a batch of UUIDs",
        [*[tool_call("is_paid", {"order": _uuid(n)}, True) for n in range(1, 10)], _DONE],
        [],
        only=_FULL,
    ),
    Case(
        "quiet: a batch of long numbers",
        [*[tool_call("in_stock", {"item_id": 4_896_585_270 + n}, "yes") for n in range(9)], _DONE],
        [],
        only=_FULL,
    ),
    Case(
        "quiet: a batch of days",
        [*[tool_call("free_rooms", {"date": f"2026-04-0{n}"}, "none") for n in range(1, 9)], _DONE],
        [],
        only=_FULL,
    ),
    Case(
        "a time stamp of its own",
        [*[tool_call("free_rooms", {"in": "Bern", "at": f"2026-04-01T10:00:0{n}Z"}, "none") for n in range(6)], _DONE],
        [Found("near_repeat", turns=(1, 6))],
    ),
    Case("quiet: sending is work", [*[_ask(n, "sent", "send_mail") for n in range(9)], _DONE], []),
    Case("quiet: waiting", [*[_ask(n, "waited", "wait") for n in range(9)], _DONE], []),
    Case(
        "quiet: asked again after each change",
        [
            *[e for n in range(7) for e in (_ask(n), tool_call("edit", {"file": "a.py", "n": n}, f"edited {n}"))],
            _DONE,
        ],
        [],
    ),
    Case(
        "quiet: the user asks again",
        [*[e for n in range(7) for e in (_ask(n), says(f"Nothing on try {n}."), user(f"And now, {n}?"))], _DONE],
        [],
        only=frozenset({"gen_ai", "openinference", "messages_only", "anthropic_sdk"}),
    ),
    Case(
        "one call to the letter is a repeated call",
        [*[_ask(0)] * 4, _ask(1), _DONE],
        [Found("repeated_call", turns=(1, 4))],
    ),
)
