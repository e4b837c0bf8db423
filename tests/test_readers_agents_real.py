"""Real logs of agents: what readers make of each file equals a second count of it, and what the database then holds equals both."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_logs import COUNTS, Told, Totals, told

from analyzer.readers import load, resolve
from instrument.store.connect import reading

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "traces"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared traces are not on this machine")

FILES = {
    "tau2": ("tau2/*.json",),
    "mini_swe_agent": ("mini_swe_agent/**/*.json",),
    "swe_agent": ("swe_agent/**/*.traj",),
    "pi": ("pi/*.json*",),
    "claude_code": (
        "claude_code/**/*.json*",
        "coding_agents/claude/*.jsonl",
        "inspect_scout/sources/claude_code_source/fixtures/*.jsonl",
    ),
}
OF_OTHERS = {"session-alpha.jsonl"}
"""Lies among Claude Code's sessions and is one of Codex."""

# Files, model calls, tool calls, input tokens, output tokens, dollars by the logs' own account.
TABLE = {
    "tau2": (3, 1588, 662, 6_141_705, 84_828, 6.7344075),
    "mini_swe_agent": (36, 1408, 1360, 22_667_446, 405_551, 15.734137925),
    "swe_agent": (22, 232, 232, 0, 0, 0.0),
    "pi": (3, 938, 821, 103_999_828, 272_262, 73.00512645),
    "claude_code": (22, 64, 23, 9_899, 2_580, 1.09),
}
OF_EXCERPTS = {
    "tau2": (1, 11, 2, 44_913, 580, 0.0702425),
    "mini_swe_agent": (1, 3, 3, 15_429, 598, 0.026892),
    "swe_agent": (1, 5, 5, 0, 0, 0.0),
    "pi": (1, 19, 11, 1_302_649, 2_424, 1.10077625),
    "claude_code": (4, 8, 3, 1_280, 270, 0.0),
}


def files(folder: Path, name: str) -> list[Path]:
    found = [p for pattern in FILES[name] for p in sorted(folder.glob(pattern))]
    return [p for p in found if p.name not in OF_OTHERS]


def same(counted: Totals, read: Totals) -> bool:
    return vars(counted) | {"cost_usd": pytest.approx(counted.cost_usd, abs=1e-9)} == vars(read)


def differing(name: str, paths: list[Path], sink: Told) -> dict[str, tuple[Totals, Totals]]:
    both = {str(p): (COUNTS[name](p), sink.totals(str(p))) for p in paths}
    return {path: pair for path, pair in both.items() if not same(*pair)}


def checked(folder: Path, name: str) -> tuple[Told, tuple[float, ...]]:
    """What was read, and the row of the table, after each file was held against its second count."""
    paths = files(folder, name)
    sink = told(*paths)
    assert differing(name, paths, sink) == {}
    counted = sum((COUNTS[name](p) for p in paths), Totals())
    return sink, (len(paths), *vars(counted).values())


@needs_shared
@pytest.mark.parametrize("name", TABLE)
def test_every_shared_log_is_read_as_it_counts(name: str) -> None:
    sink, row = checked(SHARED, name)
    assert row == pytest.approx(TABLE[name], abs=1e-9)
    # One file of Claude Code's has broken lines on purpose.
    assert {Path(i.source).name for i in sink.issues if i.error} <= {"edge_cases.jsonl"}


@pytest.mark.parametrize("name", OF_EXCERPTS)
def test_every_excerpt_is_read_as_it_counts(name: str) -> None:
    sink, row = checked(DATA, name)
    assert row == pytest.approx(OF_EXCERPTS[name], abs=1e-9)
    assert not [i for i in sink.issues if i.error]
    assert all(i.message and i.remedy and i.count for i in sink.issues)


IN_STORE = """
    SELECT count(*) FILTER (kind = 'model' AND duplicate_of IS NULL), count(*) FILTER (kind = 'tool' AND NOT inferred),
        coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
    FROM spans
"""


@pytest.mark.parametrize("name", OF_EXCERPTS)
def test_the_database_holds_what_was_read_and_reading_again_adds_nothing(name: str, tmp_path: Path) -> None:
    db, paths = tmp_path / "t.duckdb", resolve([str(p) for p in files(DATA, name)])
    first, refused = load(paths, db)
    again, _ = load(paths, db)
    with reading(db) as con:
        (row,) = con.execute(IN_STORE).fetchall()
        unfinished = con.execute("SELECT count(*) FROM spans WHERE end_ns IS NULL").fetchall()
        orphans = con.execute(
            "SELECT count(*) FROM spans s WHERE kind <> 'agent' AND NOT EXISTS (FROM spans a WHERE a.span_id = s.run_id)"
        ).fetchall()
    assert refused == []
    assert row == OF_EXCERPTS[name][1:5]
    assert (first.spans > 0, again.spans) == (True, 0)
    assert (unfinished, orphans) == ([(0,)], [(0,)])


@needs_shared
@pytest.mark.parametrize("name", ["tau2", "mini_swe_agent", "pi"])
def test_what_a_log_says_was_billed_stands_over_the_price_list(name: str, tmp_path: Path) -> None:
    load(resolve([str(p) for p in files(SHARED, name)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        ((cost, sources),) = con.execute(
            "SELECT sum(cost_usd), list(DISTINCT price_source) FROM spans WHERE cost_usd IS NOT NULL"
        ).fetchall()
    assert cost == pytest.approx(TABLE[name][-1], abs=1e-9)
    assert sources == ["reported"]
