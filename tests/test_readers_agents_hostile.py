"""Logs of agents that are broken, or made to break us: issues and what is left, never a crash; and the database takes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from kept_sink import Kept, reading_of
from small_agent_logs import ANTHROPIC, CLAUDE, MINI, PI, SMALL, SWE, TAU2

from analyzer.readers import load, resolve
from analyzer.readers.formats import FORMATS
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
}
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


OF_LINES = ("pi session", "Claude Code session")


def as_text(name: str, value: Any) -> str:
    one_a_line = name in OF_LINES and isinstance(value, list) and value
    return "".join(json.dumps(v) + "\n" for v in value) if one_a_line else json.dumps(value)


def given(name: str, text: str | bytes) -> Kept:
    """What the reader of the format makes of `text`, whatever the other readers would say of it."""
    data, kept = text.encode() if isinstance(text, str) else text, Kept()
    BY_NAME[name].read(Stream("log", data[: 64 << 10], iter([data])), kept)
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
    text = SMALL[name].encode()
    for end in range(1, len(text), 7):
        kept = given(name, text[:end])
        assert kept.spans or kept.issues or not text[:end].strip(), end


@pytest.mark.parametrize("name", VALUES)
def test_the_database_takes_whatever_readers_make_of_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for number, (_, value) in enumerate(changed(VALUES[name])):
        if number % 5 == 0:
            (tmp_path / "logs" / f"{number}").write_text(as_text(name, value))
    load(resolve([str(tmp_path / "logs")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        assert con.execute("SELECT count(*) > 0 FROM spans").fetchall() == [(True,)]
        # What detectors and pages read of every call.
        assert isinstance(con.execute("SELECT count(*) FROM tool_texts('spans')").fetchall(), list)


def replaced(name: str, text: str) -> str:
    """The log with `text` in the place of a result or message, as raw JSON."""
    place = {"tau2-bench results": '"Error: no such order"', "pi session": '"gone"', "Claude Code session": '"found"'}
    old = place.get(name, '"no"' if name == "list of chat messages" else '"Fix it."')
    assert old in SMALL[name]
    return SMALL[name].replace(old, text, 1)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_values_nested_without_end_are_told_or_kept(name: str, depth: int, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(replaced(name, "[" * depth + "]" * depth))
    load(resolve([str(tmp_path / "log")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        ((spans, issues),) = con.execute(
            "SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM issues WHERE error)"
        ).fetchall()
    assert spans or issues


@pytest.mark.parametrize("name", VALUES)
def test_half_characters_and_long_texts_are_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / "half").write_text(replaced(name, '"a\\ud83dz"'))
    (tmp_path / "long").write_text(replaced(name, json.dumps("long " * 1_000_000)))
    kept, reading_ = reading_of(tmp_path / "half", tmp_path / "long")
    assert reading_.refusals == []
    said = json.dumps(kept.spans)
    assert "a?z" in said
    assert "long long" in said
    assert not [i for i in kept.issues if i.error]


@pytest.mark.parametrize("name", OF_LINES)
def test_broken_lines_are_named_and_the_others_read(name: str) -> None:
    first, *rest = SMALL[name].splitlines()
    kept = given(
        name, "\n".join([first, "{broken", '"text"', "\ud83d".encode("utf-8", "replace").decode(), *rest, "[1]", ""])
    )
    whole = given(name, SMALL[name])
    assert len(kept.spans) == len(whole.spans)
    assert [i.line for i in kept.issues if i.kind == "broken_line"] == [2, 3, 4, len(rest) + 5]


def test_the_store_survives_a_log_that_repeats_its_ids(tmp_path: Path) -> None:
    (tmp_path / "twice").write_text(SMALL["pi session"] * 2)
    load(resolve([str(tmp_path / "twice")]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        assert isinstance(con, duckdb.DuckDBPyConnection)
        found = con.execute("SELECT count(*), count(DISTINCT span_id) FROM spans WHERE NOT inferred").fetchall()
    assert found == [(6, 6)]
