"""Logs of agents that are broken, or made to break us: issues and what is left, never a crash; and the database takes it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from kept_sink import Kept, reading_of
from small_agent_logs import ANTHROPIC, CLAUDE, MINI, PI, SMALL, SWE, TAU2
from small_agent_logs_more import MORE, more_as_text

from analyzer.readers import load, resolve
from analyzer.readers.formats import FORMATS
from analyzer.readers.outline import outline
from analyzer.readers.streams import Stream
from instrument.store.connect import reading

BY_NAME = {f.name: f for f in FORMATS}
VALUES: dict[str, Any] = {
    "tau2-bench results": TAU2,
    "mini-swe-agent trajectory": MINI,
    "SWE-agent trajectory": SWE,
    "pi session": PI,
    "Claude Code session": CLAUDE,
    "list of chat messages": ANTHROPIC,
    **MORE,
}
TEXTS = SMALL | {name: more_as_text(name) for name in MORE}
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e300,
    10**30,
    "",
    "x\ud83d",
    "<b>'\";{{",
    [],
    [[1]],
    [None, "a", {}],
    {},
    {"type": []},
    {"a": {"b": None}},
)


OF_LINES = ("pi session", "Claude Code session", *(name for name in MORE if isinstance(MORE[name], list)))


def as_text(name: str, value: Any) -> str:
    one_a_line = name in OF_LINES and isinstance(value, list) and value
    return "".join(json.dumps(v) + "\n" for v in value) if one_a_line else json.dumps(value)


def given(name: str, text: str | bytes) -> Kept:
    """What the reader of the format makes of `text`, whatever the other readers would say of it."""
    data, kept = text.encode() if isinstance(text, str) else text, Kept()
    BY_NAME[name.split(":", maxsplit=1)[0]].read(Stream("log", data[: 64 << 10], iter([data])), kept)
    return kept


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """`value` with each part of it, however deep, replaced by each of `ODD`."""
    for odd in ODD:
        yield f"{odd!r:.20}", odd
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        for place, other in changed(part):
            whole = {**value, key: other} if isinstance(value, dict) else [*value[:key], other, *value[key + 1 :]]
            yield f"{key}.{place}", whole


@pytest.mark.parametrize("name", VALUES)
def test_any_value_in_any_place_is_read_or_told(name: str) -> None:
    count = 0
    for place, value in changed(VALUES[name]):
        try:
            kept = given(name, as_text(name, value))
        except Exception as problem:  # noqa: BLE001 - which change did it is what one wants to know
            pytest.fail(f"{place}: {problem!r}")
        ids = [(s["traceId"], s["spanId"]) for s in kept.spans]
        assert all(len(t) == 32 and len(s) == 16 for t, s in ids), place
        count += 1
    assert count > 500


@pytest.mark.parametrize("name", VALUES)
def test_a_log_cut_anywhere_is_read_up_to_there_or_told(name: str) -> None:
    text = TEXTS[name].encode()
    for end in range(1, len(text), 11):
        kept = given(name, text[:end])
        assert kept.spans or kept.issues or not text[:end].strip(), end


def test_the_database_takes_whatever_readers_make_of_it(tmp_path: Path) -> None:
    for label, (name, whole) in enumerate(VALUES.items()):
        (tmp_path / f"{label}").mkdir()
        for number, (_, value) in enumerate(changed(whole)):
            if number % 61 == 0:
                (tmp_path / f"{label}" / f"{number}").write_text(as_text(name, value))
    load(resolve([str(tmp_path)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        found = con.execute(SOURCES_OF_SPANS).fetchall()
        # What detectors and pages read of every call.
        assert isinstance(con.execute("SELECT count(*) FROM tool_texts('spans')").fetchall(), list)
    assert {Path(source).parent.name for (source,) in found} == {str(label) for label in range(len(VALUES))}


SOURCES_OF_SPANS = "SELECT DISTINCT sources.name FROM spans JOIN sources USING (source_key)"
PLACES = {
    "tau2-bench results": '"Error: no such order"',
    "pi session": '"gone"',
    "Claude Code session": '"found"',
    "list of chat messages": '"no"',
    "Codex session": '"It is gone."',
    "Gemini CLI session": '"It is gone."',
    "Inspect log": '"took too long"',
    "Inspect log: sample": '"took too long"',
    "ATIF trajectory": '"a.py"',
    "OpenHands log": '"out"',
    "OpenHands log: events": '"Gone."',
    "OpenClaw telemetry": '"a"',
    "Codex output": '"It is gone."',
}
"""What is replaced in a log: a result or a message, as raw JSON; `"Fix it."` elsewhere."""


def replaced(name: str, text: str) -> str:
    """The log with `text` in the place of a result or message, as raw JSON."""
    old = PLACES.get(name, '"Fix it."')
    assert old in TEXTS[name]
    return TEXTS[name].replace(old, text, 1)


@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_values_nested_without_end_are_told_or_kept(depth: int, tmp_path: Path) -> None:
    for number, name in enumerate(VALUES):
        (tmp_path / f"{number}").write_text(replaced(name, "[" * depth + "]" * depth))
    load(resolve([str(tmp_path)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        found = con.execute(f"{SOURCES_OF_SPANS} UNION SELECT source FROM issues WHERE error").fetchall()
    assert {Path(source).name for (source,) in found} == {str(n) for n in range(len(VALUES))}


@pytest.mark.parametrize("name", VALUES)
def test_half_characters_and_long_texts_are_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / "half").write_text(replaced(name, '"a\\ud83dz"'))
    (tmp_path / "long").write_text(replaced(name, json.dumps("long " * 1_000_000)))
    for file, text in (("half", "a?z"), ("long", "long long")):
        kept, reading_ = reading_of(tmp_path / file)
        assert reading_.refusals == []
        assert text in json.dumps(kept.spans)
        assert not [i for i in kept.issues if i.error]


def of_sample(**more: Any) -> Kept:
    return given("Inspect log", json.dumps({**MORE["Inspect log: sample"], **more}))


def test_a_text_that_is_named_again_and_again_fills_no_memory() -> None:
    model = {**MORE["Inspect log: sample"]["events"][1], "input": [{"role": "user", "content": "attachment://t"}] * 500}
    kept = of_sample(events=[model], attachments={"t": "x" * (4 << 20)})
    assert len(json.dumps(kept.spans)) < 80 << 20
    assert [(i.kind, i.count > 480) for i in kept.issues] == [("unresolved", True)]
    pooled = {**model, "input": [], "input_refs": [[0, 1], [0, 10**9]] * 1_000}
    kept = of_sample(events=[pooled], message_pool=[{"role": "user", "content": "x" * (4 << 20)}])
    assert len(json.dumps(kept.spans)) < 20 << 20


def test_spans_that_go_in_a_circle_and_agents_without_end_are_told() -> None:
    _, model, tool, *_ = MORE["Inspect log: sample"]["events"]
    circle = [{"event": "span_begin", "id": a, "parent_id": b, "type": "agent", "name": a} for a, b in ("xy", "yx")]
    assert len(of_sample(events=[*circle, {**model, "span_id": "x"}]).spans) == 4
    nested = model
    for depth in range(300):
        nested = {**tool, "uuid": f"t{depth}", "id": f"c{depth}", "agent": f"a{depth}", "events": [nested]}
    assert len([s for s in of_sample(events=[nested]).spans if "execute_tool" in json.dumps(s)]) == 300


@pytest.mark.parametrize("name", OF_LINES)
def test_broken_lines_are_named_and_the_others_read(name: str) -> None:
    first, *rest = TEXTS[name].splitlines()
    kept = given(
        name, "\n".join([first, "{broken", '"text"', "\ud83d".encode("utf-8", "replace").decode(), *rest, "[1]", ""])
    )
    whole = given(name, TEXTS[name])
    assert len(kept.spans) == len(whole.spans)
    assert [i.line for i in kept.issues if i.kind == "broken_line"] == [2, 3, 4, len(rest) + 5]


def test_the_store_survives_a_log_that_repeats_its_ids(tmp_path: Path) -> None:
    (tmp_path / "twice").write_text(SMALL["pi session"] * 2)
    load(resolve([str(tmp_path / "twice")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        assert isinstance(con, duckdb.DuckDBPyConnection)
        found = con.execute("SELECT count(*), count(DISTINCT span_id) FROM spans WHERE NOT inferred").fetchall()
    assert found == [(6, 6)]


def test_telling_a_format_from_deep_nesting_takes_no_time() -> None:
    began = time.process_time()
    assert outline(b'{"a": ' + b"[" * 60_000) == {"a"}
    assert time.process_time() - began < 2  # names that grew with the depth would take ten
