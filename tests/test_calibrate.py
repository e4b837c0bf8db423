"""Stop lines from good runs: the promised share holds on runs that the lines never saw, and too few runs are refused."""

from __future__ import annotations

import math
import random
import tomllib
from pathlib import Path

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

import instrument
from analyzer.calibrate import STOPS, TooFewRuns, calibrate, needed_runs, stops
from analyzer.cases import Case, agent_run, load, says, tool_call, turn
from analyzer.cli import main
from analyzer.replay import Reached, reached, replay
from instrument.policy import Cost, Policy, load_policy
from instrument.prices import Prices
from instrument.store.checkpoint import adopt
from instrument.store.connect import in_memory, reading
from instrument.store.load import Loader
from instrument.testing import ModelServer, text, tool_use
from tests.detectors.nested_runs import nested


def runs(number: int, seed: int) -> list[Reached]:
    """Good runs with long tails in several settings, some of which go together."""
    dice = random.Random(seed)
    found = []
    for place in range(number):
        turns = 1 + int(dice.paretovariate(1.2))
        found.append(
            Reached(
                f"r{place}",
                "a",
                {
                    "loops.turns": float(turns),
                    "loops.tool_calls": float(turns * dice.randint(1, 3)),
                    "loops.same_call_error_repeats": float(min(turns, int(dice.paretovariate(1.5)))),
                    "tool_errors.error_calls": float(min(turns, int(dice.expovariate(0.4)))),
                    "loops.run_seconds": turns * dice.lognormvariate(1, 1),
                    "cost.run_limit_usd": turns * dice.lognormvariate(-4, 1),
                },
                True,
            )
        )
    return found


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_at_most_the_promised_share_of_unseen_good_runs_is_stopped(alpha: float) -> None:
    population, stopped, seen = runs(4_000, 1), 0, 0
    dice = random.Random(2)
    for split in range(200):
        drawn = dice.sample(population, 150)
        lines = calibrate(drawn[:100], alpha=alpha, seed=split).lines
        stopped += sum(bool(stops(lines, run)) for run in drawn[100:])
        seen += 50
    # Three standard errors of a share around alpha: the lines of 200 splits are not quite independent.
    assert stopped / seen <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / seen)
    assert stopped > 0, "lines that never stop anybody would keep any promise"


def test_too_few_runs_are_refused_with_the_number_it_takes() -> None:
    assert needed_runs(0.05) == 38
    with pytest.raises(TooFewRuns, match="it takes 38"):
        calibrate(runs(37, 3))
    assert calibrate(runs(38, 3)).good_runs == 38


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_alpha_is_a_share(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(runs(100, 3), alpha=alpha)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(40, 120))
def test_what_is_written_is_a_policy_that_says_the_same(seed: int, number: int) -> None:
    found = calibrate(runs(number, seed), alpha=0.1)
    policy = found.policy()
    tables = tomllib.loads(found.toml())
    for line in found.lines:
        section, name = line.setting.split(".")
        assert getattr(getattr(policy, section), name) == tables[section][name]
    ladder = {before: stop for stop, before in STOPS.items() if before}
    for before, stop in ladder.items():
        assert tables[before.split(".")[0]][before.split(".")[1]] < tables[stop.split(".")[0]][stop.split(".")[1]]


def test_a_line_for_a_setting_nobody_told_of_is_not_drawn() -> None:
    """What is not known is not zero: a line drawn from it would stop every run."""
    unpriced = [
        Reached(r.run_id, "a", {s: v for s, v in r.values.items() if s != "cost.run_limit_usd"}, True)
        for r in runs(60, 5)
    ]
    found = calibrate(unpriced, alpha=0.1)
    assert found.unknown == ("cost.run_limit_usd",)
    assert found.policy().cost == Policy().cost
    assert "# Not calibrated" in found.toml()


def test_a_reader_s_made_up_times_are_not_taken_for_the_length_of_a_run() -> None:
    case = Case("reads", [tool_call("read", {"n": n}, f"text {n}", seconds=0.0) for n in range(5)], [])
    con = load([case])
    con.execute("UPDATE spans SET start_ns = step * 1000, end_ns = step * 1000 + 500")
    (run,) = reached(con)
    assert "loops.run_seconds" not in run.values


def test_large_counts_are_written_whole() -> None:
    many = [Reached(f"r{n}", "a", {"loops.turns": 1_234_567.0 + n}, True) for n in range(40)]
    found = calibrate(many, alpha=0.2)
    (turns,) = (line.value for line in found.lines if line.setting == "loops.turns")
    assert tomllib.loads(found.toml())["loops"]["turns"] == turns == found.policy().loops.turns > 1_234_567


def test_runs_of_several_agents_are_said_to_be_promised_about_together() -> None:
    mixed = [Reached(r.run_id, "ab"[n % 2], r.values, True) for n, r in enumerate(runs(60, 5))]
    assert "2 agents" in calibrate(mixed).toml()
    assert "agents" not in calibrate(runs(60, 5)).toml()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(38, 150), st.sampled_from([0.05, 0.1, 0.2, 1 / 3]))
def test_the_lines_let_through_what_their_own_rank_promises(seed: int, number: int, alpha: float) -> None:
    """Of the half that is held out at most alpha (n + 1) runs lie beyond the line; of the other half, about as many."""
    drawn = runs(number, seed)
    found = calibrate(drawn, alpha=alpha, seed=seed)
    mixed = list(drawn)
    random.Random(seed).shuffle(mixed)
    held_out = mixed[len(mixed) // 2 :]
    assert found.held_out == len(held_out)
    assert sum(bool(stops(found.lines, run)) for run in held_out) <= alpha * (len(held_out) + 1) + 1e-9


def test_a_stretch_without_news_is_measured_for_the_checkpoint() -> None:
    new = [tool_call("search", {"q": str(n)}, f"found {n}") for n in range(4)]
    stale = [tool_call("search", {"q": f"x{n}"}, "nothing") for n in range(6)]
    (run,) = reached(load([Case("c", [*new, *stale, *new], [])]))
    assert run.values["loops.checkpoint_calls"] == 9, "the first 'nothing' was news, and the last four had been seen"


def test_a_checkpoint_is_never_asked_for_more_often_than_by_default() -> None:
    lines = {line.setting: line.value for line in calibrate(runs(60, 5)).lines}
    assert lines["loops.checkpoint_calls"] == Policy().loops.checkpoint_calls


def test_a_run_reached_what_its_loop_reached() -> None:
    con = load([Case("loop", [tool_call("search", {"q": "x"}, "nothing")] * 7, [])])
    (run,) = reached(con)
    assert run.values["loops.same_call_error_repeats"] == 7
    assert run.values["loops.turns"] == 7
    assert "tool_errors.error_calls" not in run.values


def lookup(q: str) -> str:
    """Looks things up.

    Args:
        q: what
    """
    return f"What is known of {q}: " + "more and more. " * 40


def _live(policy: Policy) -> instrument.RunResult:
    replies = [*(tool_use("lookup", {"q": f"part {n}"}) for n in range(6)), text("That is all. " * 30)]
    with ModelServer(replies) as server, anthropic.Anthropic(api_key="t", base_url=server.url) as client:
        runner = instrument.GuardedRunner(client, model="claude-opus-5-5", tools=[lookup], policy=policy)
        return runner.run("Find x.")


def test_what_sub_agents_cost_counts_towards_the_limit_of_their_caller() -> None:
    dear = [turn(tool_call("read", {"n": n}, f"text {n}"), input_tokens=100_000) for n in range(3)]
    case = Case("family", [agent_run([tool_call("ask_helper"), says("Done.")]), agent_run(dear, agent="helper")], [])
    con = in_memory()
    loader = Loader(con)
    loader.add(nested(case, "execute_tool ask_helper"), "case")
    loader.finish()
    ((whole,),) = con.execute("SELECT sum(cost_usd) FROM spans WHERE kind = 'model'").fetchall()
    costs = {run.agent_name: run.cost_usd for run in reached(con)}
    assert costs["family"] == pytest.approx(whole)
    assert 0.9 < (costs["helper"] or 0) < whole


def test_a_good_run_ends_live_under_the_limit_that_it_is_said_to_need(tmp_path: Path) -> None:
    """Money is held for the worst case of a request, so a limit of what such runs have cost would stop them."""
    path = tmp_path / "t.duckdb"
    recorder = instrument.record(path, tracer_provider=TracerProvider(), checkpoint_seconds=None)
    try:
        assert _live(Policy()).stop_reason == "completed"
        adopt(path)
    finally:
        instrument.tracing.forget(recorder)
        recorder.journal.close()
    with reading(path) as con:
        (bare,), (run,) = reached(con), reached(con, None, Prices())
    spent, needed = (r.values["cost.run_limit_usd"] for r in (bare, run))
    assert (run.cost_usd, run.holds_known, bare.holds_known) == (spent, True, False)
    assert _live(Policy(cost=Cost(run_limit_usd=spent * 1.01))).stop_reason == "run_budget"
    ended = _live(Policy(cost=Cost(run_limit_usd=needed)))
    assert (ended.stop_reason, ended.answer.count("That is all.")) == ("completed", 30)
    assert needed < 10 * spent, "a limit that is far too high protects nobody"
    calibrated = calibrate([run] * 40, alpha=0.1)
    assert "held for the worst case" in calibrated.toml()
    assert _live(calibrated.policy()).stop_reason == "completed"


def test_the_lines_stop_in_a_replay_what_they_say_they_stop() -> None:
    con = load([Case(f"loop {n}", [tool_call("search", {"q": "x"}, "nothing")] * n, []) for n in range(1, 60)])
    found = calibrate(reached(con), alpha=0.2)
    policy = found.policy(Policy())
    replayed = {run.run_id: run.stop is not None for run in replay(con, policy)}
    assert replayed == {run.run_id: bool(stops(found.lines, run)) for run in reached(con)}
    assert 0 < sum(replayed.values()) <= 0.3 * len(replayed)


def test_the_command_writes_a_file_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = str(Path(__file__).parents[1] / "sample_traces")
    out = tmp_path / "flyball.toml"
    assert main(["calibrate", samples, "--assume-good", "--alpha", "0.1", "--out", str(out)]) == 0
    assert "Side by side" in capsys.readouterr().out
    assert load_policy(out) != Policy()
    assert main(["calibrate", samples, "--out", str(out)]) == 2
    assert "good runs are too few" in capsys.readouterr().err
    assert (
        main(["calibrate", samples, "--assume-good", "--per-agent", "--alpha", "0.2", "--out", str(tmp_path / "p")])
        == 0
    )
    assert "summariser.toml" in {p.name for p in (tmp_path / "p").iterdir()}
