"""Real logs of agents: what readers make of each file equals a second count of it, and what the database then holds equals both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import agent_logs
import counted_agent_logs as counted
import pytest
from agent_logs import Told, Totals, told

from analyzer.readers import load, resolve
from analyzer.readers.reading import read
from instrument.store.connect import reading

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "traces"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared traces are not on this machine")

COUNTS = {
    **agent_logs.COUNTS,
    "codex": counted.codex,
    "gemini_cli": counted.gemini_cli,
    "inspect": counted.inspect,
    "atif": counted.atif,
    "openhands_output": counted.openhands_output,
    "openhands_events": counted.openhands_events,
    "openclaw": counted.openclaw,
    "chat": counted.chat,
}
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
    "codex": ("coding_agents/codex/*.jsonl", "claude_code/usage/codex/**/*.jsonl"),
    "gemini_cli": ("coding_agents/gemini/*.json",),
    "inspect": (
        "inspect/**/*.json",
        "inspect/**/*.eval",
        "inspect/**/*.txt",
        "docent_samples/**/ctf.json",
        "docent_samples/*.eval",
        "inspect_scout/recorder/**/*.eval",
        "inspect_scout/transcript/**/*.json",
    ),
    "atif": ("inspect_scout/sources/atif_source/**/*.json",),
    "openhands_output": ("openhands/**/output.jsonl",),
    "openhands_events": ("openhands/**/events.jsonl",),
    "openclaw": ("inspect_scout/*.jsonl",),
    "chat": ("openhands/sdk/llm_data/**/*.json", "openhands/**/*_completion.json", "docent_samples/tb_*.json"),
}
OF_OTHERS = {"session-alpha.jsonl"}
"""Lies among Claude Code's sessions and is one of Codex."""
REFUSED = {
    "LICENSE": "holds no trace",
    "log_invalid.txt": "is JSON, but holds no spans",
    "empty_transcript.json": "is JSON, but holds no spans",
    "base_state.json": "is the state of an OpenHands conversation",
    "expected_transcript.txt": "holds no trace",
    "MockAirlineDomainEnv-few_shot.jsonl": "holds talks as text for display",
    "MockRetailDomainEnv-few_shot.jsonl": "holds talks as text for display",
}
"""By name, what is said of files that hold no trace."""

# Files, model calls, tool calls, input tokens, output tokens, dollars by the logs' own account.
TABLE = {
    "tau2": (3, 1588, 662, 6_141_705, 84_828, 6.7344075),
    "mini_swe_agent": (36, 1408, 1360, 22_667_446, 405_551, 15.734137925),
    "swe_agent": (22, 232, 232, 0, 0, 0.0),
    "pi": (3, 938, 821, 103_999_828, 272_262, 73.00512645),
    "claude_code": (22, 64, 23, 9_899, 2_580, 1.09),
    "codex": (6, 7, 0, 3_500, 425, 0.0),
    "gemini_cli": (4, 4, 1, 0, 0, 0.0),
    "inspect": (88, 712, 198, 556_720, 101_580, 0.0),
    "atif": (4, 11, 1, 6_942, 850, 0.025855),
    "openhands_output": (2, 46, 43, 542_078, 14_908, 1.8045155),
    "openhands_events": (1, 4, 3, 107_458, 1_347, 0.0),
    "openclaw": (2, 14, 21, 380_599, 2_914, 0.34304875),
    "chat": (15, 42, 22, 79_305, 2_415, 0.12136726),
}
OF_EXCERPTS = {
    "tau2": (1, 11, 2, 44_913, 580, 0.0702425),
    "mini_swe_agent": (1, 3, 3, 15_429, 598, 0.026892),
    "swe_agent": (1, 5, 5, 0, 0, 0.0),
    "pi": (1, 19, 11, 1_302_649, 2_424, 1.10077625),
    "claude_code": (4, 8, 3, 1_280, 270, 0.0),
    "codex": (3, 4, 0, 3_500, 425, 0.0),
    "gemini_cli": (2, 1, 1, 0, 0, 0.0),
    "inspect": (8, 20, 19, 1_102, 534, 0.0),
    "atif": (2, 7, 0, 6_502, 690, 0.023155),
    "openhands_output": (1, 4, 3, 0, 0, 0.070713),
    "openhands_events": (1, 4, 3, 107_458, 1_347, 0.0),
    "openclaw": (1, 8, 7, 124_618, 1_657, 0.34304875),
    "chat": (1, 1, 0, 4_965, 491, 0.0),
}
COPIED = Totals(1, 0, 168, 85) + Totals(2, 0, 287, 202) + Totals(2, 0, 274, 189)
"""What is in the folders twice: an answer in `edge_cases.jsonl`, all of `custom.eval` and of `ignore.json`. In the database it is once."""


def files(folder: Path, name: str) -> list[Path]:
    found = {p for pattern in FILES[name] for p in sorted(folder.glob(pattern)) if p.name not in REFUSED}
    return sorted(p for p in found if p.name not in OF_OTHERS or name == "codex")


def same(counted: Totals, read: Totals) -> bool:
    return vars(counted) | {"cost_usd": pytest.approx(counted.cost_usd, abs=1e-9)} == vars(read)


def checked(folder: Path, name: str) -> tuple[list[Told], tuple[float, ...]]:
    """What was read, and the row of the table, after each file was held against its second count."""
    both = [(p, COUNTS[name](p), told(p)) for p in files(folder, name)]
    assert {str(p): (c, sink.totals(str(p))) for p, c, sink in both if not same(c, sink.totals(str(p)))} == {}
    total = sum((c for _, c, _ in both), Totals())
    return [sink for _, _, sink in both], (len(both), *vars(total).values())


@needs_shared
@pytest.mark.parametrize("name", TABLE)
def test_every_shared_log_is_read_as_it_counts(name: str) -> None:
    sinks, row = checked(SHARED, name)
    assert row == pytest.approx(TABLE[name], abs=1e-9)
    # One file of Claude Code's has broken lines on purpose.
    assert {Path(i.source).name for sink in sinks for i in sink.issues if i.error} <= {"edge_cases.jsonl"}


def of_agents() -> Iterator[Path]:
    folders = ("claude_code", "coding_agents", "docent_samples", "inspect", "inspect_scout", "openhands", "tau")
    return (p for folder in folders for p in sorted((SHARED / folder).rglob("*")) if p.is_file())


@needs_shared
def test_every_shared_file_of_agents_is_in_the_table_or_refused_with_a_sentence() -> None:
    counted_files = {p for name in TABLE for p in files(SHARED, name)}
    left = [p for p in of_agents() if p not in counted_files]
    problems = read(resolve([str(p) for p in left]).sources, Told()).refusals
    assert [REFUSED[p.name] in str(problem) for p, problem in zip(left, problems, strict=True)] == [True] * len(left)


@pytest.mark.parametrize("name", OF_EXCERPTS)
def test_every_excerpt_is_read_as_it_counts(name: str) -> None:
    sinks, row = checked(DATA, name)
    assert row == pytest.approx(OF_EXCERPTS[name], abs=1e-9)
    issues = [i for sink in sinks for i in sink.issues]
    assert not [i for i in issues if i.error]
    assert all(i.message and i.remedy and i.count for i in issues)


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
def test_the_database_holds_all_files_of_agents_and_of_copies_the_first(tmp_path: Path) -> None:
    expected = Totals()
    for name in (n for n in TABLE if n not in ("tau2", "mini_swe_agent", "swe_agent", "pi")):
        expected += Totals(*(int(n) for n in TABLE[name][1:5]))
    load(resolve([str(p) for p in of_agents()]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        (row,) = con.execute(IN_STORE).fetchall()
    assert Totals(*row) + COPIED == expected


@needs_shared
@pytest.mark.parametrize("name", ["tau2", "mini_swe_agent", "pi", "openhands_output"])
def test_what_a_log_says_was_billed_stands_over_the_price_list(name: str, tmp_path: Path) -> None:
    load(resolve([str(p) for p in files(SHARED, name)]), tmp_path / "t.duckdb")
    with reading(tmp_path / "t.duckdb") as con:
        ((cost, sources),) = con.execute(
            "SELECT sum(cost_usd), list(DISTINCT price_source) FROM spans WHERE cost_usd IS NOT NULL"
        ).fetchall()
    assert cost == pytest.approx(TABLE[name][-1], abs=1e-9)
    assert sources == ["reported"]
