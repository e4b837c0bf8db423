"""A policy replayed over recorded runs: it stops where the live guard stopped, and saves what was spent after that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider

import instrument
from analyzer.cases import Case, load, tool_call
from analyzer.cli import main
from analyzer.detectors.invalid_arguments import cases as invalid_arguments
from analyzer.outcomes import read_outcomes
from analyzer.replay import Replayed, replay
from analyzer.run import judge
from instrument.errors import UnreadableTrace
from instrument.policy import InvalidArguments, Policy
from instrument.store.checkpoint import adopt
from instrument.store.connect import reading
from instrument.testing import ModelServer, text, tool_use

STRICT = msgspec.convert({"loops": {"same_call_repeats": 2, "same_call_error_repeats": 3}}, Policy)


def search(q: str) -> str:
    """Looks things up.

    Args:
        q: what
    """
    return f"Nothing about {q}." if not q.startswith("bad") else f"Error: no index for {q}"


def ping(side: str) -> str:
    """Answers.

    Args:
        side: a or b
    """
    return f"pong from {side}"


LOOPS: dict[str, Callable[[int], Any]] = {
    "repeated_call": lambda _: tool_use("search", {"q": "x"}),
    "call_cycle": lambda n: tool_use("ping", {"side": "ab"[n % 2]}),
    "near_repeat": lambda n: tool_use("search", {"q": "x", "nonce": str(n)}),
    "error_cascade": lambda n: tool_use("search", {"q": f"bad {n}"}),
    "unknown_tool": lambda n: tool_use("serch", {"q": str(n)}),
}


def lookup(q: str, nonce: str = "") -> str:
    """Looks things up.

    Args:
        q: what
        nonce: anything
    """
    return search(q)


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "t.duckdb"
    recorder = instrument.record(path, tracer_provider=TracerProvider(), checkpoint_seconds=None)
    yield path
    instrument.tracing.forget(recorder)
    recorder.journal.close()


def guarded(turns: Callable[[int], Any], policy: Policy) -> instrument.RunResult:
    """A run of a model that goes on for ever, until it may only answer in words."""
    count = itertools.count()

    def script(body: dict[str, Any]) -> Any:
        return text("I give up.") if body.get("tool_choice") == {"type": "none"} else turns(next(count))

    lookup.__name__ = "search"
    with ModelServer(script) as server, anthropic.Anthropic(api_key="t", base_url=server.url) as client:
        runner = instrument.GuardedRunner(client, model="claude-opus-5-5", tools=[lookup, ping], policy=policy)
        return runner.run("Find x.")


def replayed(path: Path, policy: Policy) -> tuple[Replayed, ...]:
    adopt(path)
    with reading(path) as con:
        return replay(con, policy)


@pytest.mark.parametrize("policy", [Policy(), STRICT], ids=["default", "strict"])
@pytest.mark.parametrize("name", LOOPS)
def test_a_replayed_policy_stops_where_the_live_guard_stopped(recording: Path, name: str, policy: Policy) -> None:
    result = guarded(LOOPS[name], policy)
    if policy == Policy():
        assert result.stop_reason == name
    live = next(a for a in result.actions if a.action == "stop")
    (run,) = replayed(recording, policy)
    assert run.stop is not None
    assert (run.stop.guard, run.stop.turn) == (live.guard, live.turn)
    assert run.nudges == sum(a.action == "nudge" for a in result.actions)
    assert run.blocks == sum(a.action == "block" for a in result.actions)


def test_arguments_that_did_not_fit_stop_a_replay_where_the_detector_finds_them_though_nobody_had_refused_them() -> (
    None
):
    cases = [c for c in invalid_arguments.CASES if "gen_ai" in c.only]
    con = load(cases)
    policy = Policy(invalid_arguments=InvalidArguments(calls=2, error_calls=2))
    found = judge(con, policy, select=["invalid_arguments"]).findings
    names = {trace: case.name for case in cases for trace in case.trace_ids()}
    stopped = {
        names[r.trace_id] for r in replay(con, policy) if r.stop is not None and r.stop.guard == "invalid_arguments"
    }
    assert stopped == {names[f.trace_id] for f in found if f.severity == "error"}
    assert "only the error says so" in stopped
    assert len(stopped) > 5


def test_it_saves_what_the_record_says_was_spent_after_the_stop() -> None:
    con = load([_case(12)])
    (run,) = replay(con, Policy())
    assert run.stop is not None
    assert run.stop.turn == 8
    ((after, tokens),) = con.execute(
        "SELECT sum(cost_usd), sum(input_tokens + output_tokens) FROM spans WHERE kind = 'model' AND turn > 8"
    ).fetchall()
    assert run.saved_usd == pytest.approx(after, abs=1e-12)
    assert run.saved_tokens == tokens


def test_a_healthy_run_is_left_alone_and_saves_nothing() -> None:
    (run,) = replay(load([_reads(12)]), Policy())
    assert (run.stop, run.saved_usd, run.nudges, run.blocks) == (None, 0, 0, 0)


def test_a_stopped_run_that_had_succeeded_is_said_to_be_stopped_wrongly() -> None:
    con = load([_case(12)])
    (run,) = replay(con, Policy())
    assert run.succeeded is None
    assert not run.wrongly_stopped
    (run,) = replay(con, Policy(), {run.run_id: True})
    assert run.wrongly_stopped
    (run,) = replay(con, Policy(), {run.trace_id: False})
    assert run.succeeded is False
    assert not run.wrongly_stopped


def test_the_command_shows_policies_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text("[loops]\nsame_call_repeats = 2\nsame_call_error_repeats = 3\n")
    loose = tmp_path / "loose.toml"
    loose.write_text("[loops]\nsame_call_error_repeats = 100\n")
    samples = str(Path(__file__).parents[1] / "sample_traces")
    assert main(["replay", samples, "--policy", str(strict), "--policy", str(loose)]) == 0
    said = capsys.readouterr().out
    assert "Side by side" in said
    assert main(["replay", samples, "--policy", str(strict), "--policy", str(loose), "--format", "json"]) == 0
    strict_one, loose_one = json.loads(capsys.readouterr().out)["policies"]
    assert strict_one["stopped"] > loose_one["stopped"]
    assert strict_one["saved_usd"] == pytest.approx(sum(s["saved_usd"] for s in strict_one["stops"]))


def test_outcomes_are_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text("run,outcome\na,success\nb,0\n\n")
    assert read_outcomes(path) == {"a": True, "b": False}
    path.write_text("a,success\nb,perhaps\n")
    with pytest.raises(UnreadableTrace, match="line 2"):
        read_outcomes(path)
    with pytest.raises(UnreadableTrace, match="cannot be read"):
        read_outcomes(tmp_path / "none.csv")


def _case(times: int) -> Case:
    return Case("loop", [tool_call("search", {"q": "x"}, "nothing")] * times, [])


def _reads(times: int) -> Case:
    return Case("reads", [tool_call("read_file", {"path": f"{n}.md"}, f"text {n}") for n in range(times)], [])
