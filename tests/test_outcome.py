"""`flyball outcome`: which runs did their task, as the user says, and who takes it from there."""

import json
import shutil
from pathlib import Path

import pytest

from analyzer.cases import Case, Run, load, tool_call
from analyzer.cli import main
from analyzer.outcomes import Told, keep, kept, outcomes_of_attribute, read_outcomes, succeeded
from analyzer.replay import outcomes_of_runs, reached, replay
from instrument.errors import UnreadableTrace
from instrument.policy import Policy

SAMPLES = str(Path(__file__).parents[1] / "sample_traces")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outcome") / "t.duckdb"
    assert main(["load", SAMPLES, "--db", str(path)]) == 0
    return path


@pytest.fixture
def db(loaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(loaded, tmp_path))


def _replayed(db: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    capsys.readouterr()
    assert main(["replay", str(db), "--format", "json"]) == 0
    (policy,) = json.loads(capsys.readouterr().out)["policies"]
    return {name: policy[name] for name in ("stopped", "wrongly_stopped", "known_outcomes", "succeeded")}


def test_outcomes_told_once_are_known_to_replay(db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _replayed(db, capsys)
    assert main(["replay", str(db), "--format", "json"]) == 0
    (policy,) = json.loads(capsys.readouterr().out)["policies"]
    ids = [stop["run_id"] for stop in policy["stops"]]
    assert before["wrongly_stopped"] == 0 < len(ids)
    table = tmp_path / "results.csv"
    table.write_text("task,run,passed\n" + "".join(f"t,{run_id},yes\n" for run_id in ids) + "t,nobody,no\n")
    assert main(["outcome", str(db), str(table), "--id", "run", "--column", "passed"]) == 0
    said = capsys.readouterr()
    assert f"{len(ids) + 1} outcomes: {len(ids)} of success, 1 of failure" in said.out
    assert "1 of them name no run, trace or conversation here: nobody" in said.err
    after = _replayed(db, capsys)
    assert (after["stopped"], after["wrongly_stopped"]) == (before["stopped"], len(ids))


def test_without_a_file_it_says_what_is_known(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["outcome", str(db)]) == 0
    assert "of " in (said := capsys.readouterr().out)
    assert "nobody says" in said


@pytest.mark.parametrize(
    ("name", "words", "told", "read"),
    [
        ("plain.csv", "run,outcome\na,success\nb,0\n\n", Told(), {"a": True, "b": False}),
        ("bom.csv", "\ufeffrun_id,ok\na,true\nb,\n", Told("run_id", "ok"), {"a": True}),
        ("score.csv", "id,reward\na,0.7\nb,1\n", Told("id", "reward", 1.0), {"a": False, "b": True}),
        ("lines.jsonl", '{"run_id": "a", "outcome": true}\n{"run_id": "b", "outcome": null}\n', Told(), {"a": True}),
        ("named.jsonl", '{"trace": "a", "eval": {}, "ok": "failed"}\n', Told("trace", "ok"), {"a": False}),
    ],
)
def test_files_of_users(tmp_path: Path, name: str, words: str, told: Told, read: dict[str, bool]) -> None:
    path = tmp_path / name
    path.write_text(words, "utf-8")
    assert read_outcomes(path, told) == read


@pytest.mark.parametrize(
    ("name", "words", "told", "message"),
    [
        ("a.csv", "a,success\nb,perhaps\n", Told(), "line 2 says no outcome"),
        ("a.csv", "a;success\nb;failure\n", Told(), "line 2 says no outcome"),
        ("a.csv", "id,ok\na,0.5\n", Told("id", "ok"), "--at-least"),
        ("a.csv", "id,ok\na,1\n", Told("id", "good"), "has no column 'good'; it has id, ok"),
        ("a.jsonl", "{broken\n", Told(), "line 1 is no JSON"),
        ("a.jsonl", '{"id": 1}\n', Told(), "has no 'run_id'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, words: str, told: Told, message: str) -> None:
    path = tmp_path / name
    path.write_text(words)
    with pytest.raises(UnreadableTrace, match=message):
        read_outcomes(path, told)


def test_an_attribute_of_the_spans_can_be_the_outcome() -> None:
    scored = [Run([tool_call("a")], f"agent {n}", facts={"eval.reward": n / 2}) for n in range(3)]
    con = load([Case("scored", [*scored, Run([tool_call("a")], "unscored")], [])])
    found = outcomes_of_attribute(con, "eval.reward", 1.0)
    assert sorted(found.values()) == [False, False, True]
    assert outcomes_of_attribute(con, "eval'); DROP TABLE spans; --") == {}
    keep(con, found, "eval.reward")
    assert sorted(map(str, outcomes_of_runs(con).values())) == ["False", "False", "None", "True"]


def test_a_later_word_goes_before_an_earlier_one_and_both_before_the_record() -> None:
    con = load([Case("said", [Run([tool_call("a")], facts={"flyball.outcome": "success"})], [])])
    (run,) = replay(con, Policy())
    assert run.succeeded is True
    keep(con, {run.trace_id: False}, "first.csv")
    assert [r.succeeded for r in replay(con, Policy())] == [False]
    keep(con, {run.trace_id: True}, "second.csv")
    assert kept(con) == {run.trace_id: True}
    assert [r.succeeded for r in reached(con, {run.run_id: False})] == [False]


def test_a_store_of_an_earlier_flyball_has_no_outcomes() -> None:
    con = load([Case("plain", [tool_call("a")], [])])
    con.execute("DROP TABLE outcomes")
    assert kept(con) == {}


def test_words_for_outcomes() -> None:
    assert [succeeded(word) for word in ("Passed", '"success"', 1, "no", "", None, "0.5")] == [
        True, True, True, False, None, None, None,
    ]  # fmt: skip
