"""`cache_bust` beyond its cases: why it happened, and what it cost."""

import pytest

from analyzer.cases import Case, Entry, Turn, tool_call, turn
from analyzer.findings import Finding, State
from analyzer.run import judge
from instrument.store.connect import in_memory
from instrument.store.load import Loader


def _asks(number: int, whole: int, read: int, **facts: object) -> Turn:
    call = tool_call("read", {"n": number}, f"text {number}")
    return turn(call, input_tokens=whole * 1000, cached=(read * 1000, (whole - read) * 1000), **facts)


_START = [_asks(0, 60, 0), _asks(1, 70, 60)]


def _found(script: list[Entry], dialect: str = "gen_ai") -> Finding:
    (finding,) = judge(Case("bust", script, []).load(dialect), select=("cache_bust",)).findings
    return finding


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"more_tools": ("late",)}, "tools"),
        ({"system": "It is 9:01."}, "system"),
        ({"model": "claude-opus-4-5"}, "model"),
        ({"pause_seconds": 400}, "expired"),
        ({}, "unknown"),
    ],
)
def test_says_why_where_that_was_recorded(facts: dict[str, object], reason: str) -> None:
    start = [_asks(0, 60, 0, system="It is 9:00."), _asks(1, 70, 60, system="It is 9:00.")]
    last = _asks(2, 75, 0, **{"system": "It is 9:00.", **facts})
    assert _found([*start, last]).evidence["reason"] == reason


def test_a_message_that_was_rewritten_is_seen() -> None:
    case = Case("bust", [*_START, _asks(2, 75, 0)], [])
    document = case.traces()
    last = max(
        document.resourceSpans[0].scopeSpans[0].spans, key=lambda s: (s.name.startswith("chat"), s.startTimeUnixNano)
    )
    (history,) = [a for a in last.attributes if a.key == "gen_ai.input.messages"]
    assert isinstance(history.value.stringValue, str)
    history.value.stringValue = history.value.stringValue.replace("Do the task.", "It is 9:01. Do the task.")
    con = in_memory()
    loader = Loader(con)
    loader.add(document, "bust")
    loader.finish()
    (finding,) = judge(con, select=("cache_bust",)).findings
    assert finding.evidence["reason"] == "messages"


def test_costs_the_difference_between_writing_and_reading() -> None:
    finding = _found([*_START, _asks(2, 75, 0)])
    # US dollars per million tokens of the cases' model: 3.75 written for five minutes, 0.30 read.
    assert finding.evidence["lost_tokens"] == 70_000
    assert finding.evidence["extra_usd"] == pytest.approx(70_000 * (3.75 - 0.30) / 1e6)
    assert "$0.24 more" in finding.message


def test_an_unknown_price_is_unknown() -> None:
    calls = [_asks(n, *size, model="in-house-7") for n, size in enumerate([(60, 0), (70, 60), (75, 0)])]
    assert _found(calls).evidence["extra_usd"] is None


def test_without_messages_the_requests_of_a_model_are_taken_for_one_conversation() -> None:
    finding = _found([*_START, _asks(2, 75, 0)], "hashed")
    assert finding.confidence == 0.6
    assert finding.evidence["reason"] == "unknown"


def test_without_counts_of_the_cache_it_is_blind() -> None:
    con = Case("plain", [turn(tool_call("read"), input_tokens=90_000)] * 3, []).load()
    assert judge(con, select=("cache_bust",)).outcomes[0].state is State.BLIND
