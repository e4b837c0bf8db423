"""Traces for `no_final_answer`, from both sides."""

from __future__ import annotations

from typing import Final

from analyzer.cases import DIALECTS, Case, Entry, Found, agent_run, model_error, says, tool_call, turn
from instrument import semconv as sc

_DONE: Final = says("That is all there is to say.")
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
_THINKING: Final = frozenset({"gen_ai", "anthropic_sdk", "openllmetry", "messages_only", "hashed"})
"""Dialects that record thinking, or say that there were no words."""


def _reads(count: int) -> list[Entry]:
    return [tool_call("read", {"n": n}, f"text {n}") for n in range(count)]


CASES: Final = (
    Case(
        "ended after a call",
        _reads(4),
        [Found("no_final_answer", turns=(4, 4), severity="info")],
        only=_SPANS,
    ),
    Case(
        "ended after a call that nobody ran",
        [*_reads(3), tool_call("ask_db", {"q": 1}, ran=False)],
        ["no_final_answer"],
    ),
    Case(
        "with a word of what it is about to do",
        [*_reads(2), turn(tool_call("read", {"n": 9}, "text 9"), text="Let me look at the last one, too.")],
        [Found("no_final_answer", turns=(3, 3))],
    ),
    Case(
        "ended after several calls at once",
        [*_reads(2), turn(*[tool_call("read", {"n": n}, f"{n}") for n in (7, 8)])],
        ["no_final_answer"],
    ),
    Case(
        "ended with an empty answer",
        [*_reads(2), turn(output_tokens=3)],
        [Found("no_final_answer", turns=(3, 3), severity="warning")],
    ),
    Case(
        "ended with thoughts alone",
        [*_reads(2), turn(thinking="All done, I think.")],
        [Found("no_final_answer", turns=(3, 3))],
        only=_THINKING,
    ),
    Case("quiet: one request whose call nobody ran", [tool_call("ask_db", {"q": 1}, ran=False)], []),
    Case("quiet: an answer", [*_reads(4), _DONE], []),
    Case("quiet: handed in by a tool", [*_reads(3), tool_call("submit", {"answer": "42"}, "thank you")], []),
    Case(
        "quiet: task_complete",
        [*_reads(3), tool_call("task_complete", {"status": "completed", "answer": "42"}, "ok")],
        [],
    ),
    Case(
        "quiet: handed over",
        [*_reads(3), tool_call("transfer_to_human_agents", {"summary": "angry"}, "Transfer successful")],
        [],
    ),
    Case(
        "quiet: submitted by shell",
        [*_reads(2), tool_call("bash", {"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}, "COMPLETE_TASK")],
        [],
        only=frozenset(DIALECTS) - {"hashed"},
    ),
    Case("quiet: the model failed", [*_reads(2), model_error("overloaded_error", "Overloaded")], []),
    Case("quiet: it goes on", [agent_run(_reads(3), ended=False)], []),
    Case("quiet: a guard stopped it", [agent_run(_reads(3), facts={sc.STOP_REASON: "turn_limit"})], []),
    Case("quiet: refused", [*_reads(2), turn(finish="refusal", output_tokens=3)], []),
    Case(
        "quiet: the answer came with a call",
        [*_reads(2), turn(tool_call("note", {"text": "done"}, "kept"), text="The report says three things. " * 10)],
        [],
    ),
)
