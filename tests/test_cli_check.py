"""`flyball check`: what it reads, what it prints where, and how it exits."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyzer.cli import main
from instrument.otlp import attributes

FLYBALL = Path(sys.executable).with_name("flyball")


def span(number: int, name: str, parent: int | None, **facts: Any) -> dict[str, Any]:
    import msgspec

    return {
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "startTimeUnixNano": str(1_700_000_000_000_000_000 + number * 1_000_000_000),
        "endTimeUnixNano": str(1_700_000_000_500_000_000 + number * 1_000_000_000),
        "attributes": msgspec.to_builtins(attributes(facts)),
    }


def looping(turns: int = 6) -> list[dict[str, Any]]:
    """An agent run that asks a tool the same, turn after turn, and gets the same."""
    spans = [span(1, "agent", None, **{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "researcher"})]
    for turn in range(turns):
        usage = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 50}
        model = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.provider.name": "anthropic",
        }
        tool = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "search",
            "gen_ai.tool.call.arguments": '{"q": "x"}',
        }
        spans.append(span(2 + turn * 2, "chat", 1, **model, **usage))
        spans.append(span(3 + turn * 2, "search", 1, **tool, **{"gen_ai.tool.call.result": "nothing found"}))
    return spans


def otlp(spans: list[dict[str, Any]]) -> bytes:
    lines = [{"resourceSpans": [{"scopeSpans": [{"scope": {"name": "test"}, "spans": [s]}]}]} for s in spans]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


LOOP, FINE = otlp(looping()), otlp(looping(1))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a folder of its own, so that no policy file above applies and temporary databases can be looked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "flyball.toml").write_text("")
    (tmp_path / "loop.jsonl").write_bytes(LOOP)
    (tmp_path / "fine.jsonl").write_bytes(FINE)
    yield
    assert list((tmp_path / "tmp").iterdir()) == []


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_loop_is_found_and_said_with_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "loop.jsonl"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "1 finding in 1 run: 1 warning" in out
    assert "repeated_call" in out
    assert "`search` was called with the same arguments 6 times" in out
    assert "flyball app loop.jsonl" in out
    assert "flyball explain repeated_call" in out
    assert "\x1b" not in out


def test_json_is_one_document_with_the_same_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "loop.jsonl", "--format", "json"]) == 1
    report = document(capsys)
    [finding] = report["findings"]
    assert (finding["detector"], finding["severity"], finding["agent_name"]) == (
        "repeated_call",
        "warning",
        "researcher",
    )
    assert finding["evidence"]["repeats"] == 6
    assert finding["wasted_cost_usd"] > 0
    assert (report["totals"]["runs"], report["totals"]["spans"], report["totals"]["model_calls"]) == (1, 13, 6)
    assert {o["detector"] for o in report["outcomes"]} >= {"repeated_call", "cost_outlier"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["fine.jsonl"], 0),
        (["loop.jsonl"], 1),
        (["loop.jsonl", "--fail-on", "error"], 0),
        (["loop.jsonl", "--fail-on", "info"], 1),
        (["loop.jsonl", "--fail-on", "never"], 0),
        (["loop.jsonl", "--ignore", "repeated_call"], 0),
        (["loop.jsonl", "--select", "cost_outlier,unknown_tool"], 0),
        (["loop.jsonl", "--select", "repeated_call"], 1),
        (["loop.jsonl", "--select", "no_such_thing"], 2),
        (["missing.jsonl"], 2),
        (["missing.jsonl", "--fail-on", "never"], 2),
        (["flyball.toml"], 2),
        (["tmp"], 2),
        (["loop.jsonl", "--policy", "missing.toml"], 2),
        (["--db", "missing.duckdb"], 2),
    ],
)
def test_the_exit_status_says_how_it_went(arguments: list[str], status: int) -> None:
    assert main(["check", *arguments]) == status


@pytest.mark.parametrize("arguments", [[], ["check"], ["check", "x", "--format", "pdf"], ["nonsense"], ["load", "x"]])
def test_bad_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: flyball" in capsys.readouterr().err


def test_one_unreadable_input_does_not_hide_what_the_others_say(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.jsonl.gz").write_bytes(gzip.compress(LOOP)[:40])
    Path("torn.jsonl.gz").write_bytes(gzip.compress(LOOP)[:-9])
    assert main(["check", "broken.jsonl.gz", "torn.jsonl.gz", "missing", "loop.jsonl", "--format", "json"]) == 2
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert [f["detector"] for f in report["findings"]] == ["repeated_call"]
    assert {(i["kind"], i["source"]) for i in report["issues"] if i["error"]} >= {
        ("refused", "missing"),
        ("refused", "broken.jsonl.gz"),
        ("cut_off", "torn.jsonl.gz"),
    }
    assert "broken.jsonl.gz: is damaged from its beginning" in err
    assert "flyball: missing: no such file" in err


def test_a_file_of_which_nothing_could_be_read_is_not_fine(capsys: pytest.CaptureFixture[str]) -> None:
    Path("torn.jsonl").write_bytes(LOOP[:300])
    assert main(["check", "torn.jsonl"]) == 2
    assert "no spans were read" in capsys.readouterr().out


def test_a_broken_line_is_named_and_the_rest_judged(capsys: pytest.CaptureFixture[str]) -> None:
    lines = LOOP.split(b"\n")
    lines[4:4] = [b'{"resourceSpans": [{]}']
    Path("b.jsonl").write_bytes(b"\n".join(lines))
    assert main(["check", "b.jsonl", "--format", "json"]) == 1
    report = document(capsys)
    assert [(i["kind"], i["source"], i["line"], i["error"]) for i in report["issues"]] == [
        ("broken_line", "b.jsonl", 5, True)
    ]
    assert report["totals"]["spans"] == 13


def test_the_same_spans_in_two_files_count_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        Path("folder", name).write_bytes(LOOP)
    assert main(["check", "folder", "--format", "json"]) == 1
    report = document(capsys)
    assert (report["totals"]["spans"], len(report["findings"])) == (13, 1)


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(LOOP))))
    assert main(["check", "-", "--format", "json"]) == 1
    assert document(capsys)["totals"]["spans"] == 13


def test_a_policy_and_its_prices_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    Path("strict.toml").write_text(
        '[loops]\nsame_call_repeats = 7\n[prices."claude-sonnet-4-5"]\ninput = 500\noutput = 0\n'
    )
    assert main(["check", "loop.jsonl", "--policy", "strict.toml", "--format", "json"]) == 0
    assert document(capsys)["totals"]["cost_usd"] == pytest.approx(3.0)


def test_a_misspelt_policy_names_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.toml").write_text("[loops]\nsame_call_repeat = 7\n")
    assert main(["check", "loop.jsonl", "--policy", "bad.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "bad.toml" in err
    assert "same_call_repeat" in err


def test_a_database_given_alone_is_judged_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "loop.jsonl", "--db", "t.duckdb"]) == 0
    assert "t.duckdb: read 13 spans; 0 issues" in capsys.readouterr().out
    for arguments in (["t.duckdb"], ["--db", "t.duckdb"]):
        assert main(["check", *arguments, "--format", "json"]) == 1
        assert document(capsys)["totals"]["spans"] == 13
    assert main(["check", "t.duckdb", "fine.jsonl"]) == 2
    assert "is a database" in capsys.readouterr().err


def test_what_the_journal_still_holds_is_brought_in_first(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.duckdb.journal").mkdir()
    Path("t.duckdb.journal", "1-1-a.jsonl").write_bytes(LOOP)
    assert main(["check", "t.duckdb", "--format", "json"]) == 1
    assert document(capsys)["totals"]["spans"] == 13
    assert Path("t.duckdb").exists()


def test_db_keeps_what_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "loop.jsonl", "--db", "kept.duckdb"]) == 1
    assert "flyball app --db kept.duckdb" in capsys.readouterr().out
    assert main(["check", "kept.duckdb"]) == 1


def test_a_foreign_database_is_refused_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    import duckdb

    duckdb.connect("foreign.duckdb").execute("CREATE TABLE t (x INT)").close()
    assert main(["check", "foreign.duckdb"]) == 2
    assert "foreign.duckdb" in capsys.readouterr().err


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([FLYBALL, *arguments], capture_output=True, timeout=60, check=False, **options)


def test_the_installed_command_writes_ascii_where_that_is_all_there_is() -> None:
    done = run("check", "loop.jsonl", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert done.stderr == b""
    assert b"repeated_call" in done.stdout


def test_a_reader_that_stops_reading_is_no_error() -> None:
    with subprocess.Popen([FLYBALL, "check", "loop.jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_interrupting_says_nothing_and_exits_with_130(tmp_path: Path) -> None:
    import signal

    with subprocess.Popen(
        [FLYBALL, "check", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        deadline = 200
        while not list((tmp_path / "tmp").iterdir()) and deadline:
            deadline -= 1
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 130


def test_the_version() -> None:
    assert run("--version").stdout.decode().startswith("flyball 0.")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\xff"}]}]}]}', id="no utf-8"),
        pytest.param(b'{"resourceSpans": [{"resource": "\xff"}]}', id="no utf-8 in the resource"),
        pytest.param(b'{"resourceSpans": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="nested without end"),
        pytest.param(b'{"resourceSpans": 7}', id="another type"),
    ],
)
def test_a_hostile_line_costs_no_other_line(line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("h.jsonl").write_bytes(LOOP + line + b"\n" + otlp([span(100, "last", None)]))
    assert main(["check", "h.jsonl", "--format", "json", "--fail-on", "never"]) == 0
    report = document(capsys)
    assert report["totals"]["spans"] >= 14
    assert [f["detector"] for f in report["findings"]] == ["repeated_call"]
