"""Stop lines from good runs: the promised share holds on runs that the lines never saw, and too few runs are refused."""

from __future__ import annotations

import math
import random
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.calibrate import STOPS, TooFewRuns, calibrate, needed_runs, stops
from analyzer.cases import Case, load, tool_call
from analyzer.cli import main
from analyzer.replay import Reached, reached, replay
from instrument.policy import Policy, load_policy


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


def test_a_run_reached_what_its_loop_reached() -> None:
    con = load([Case("loop", [tool_call("search", {"q": "x"}, "nothing")] * 7, [])])
    (run,) = reached(con)
    assert run.values["loops.same_call_error_repeats"] == 7
    assert run.values["loops.turns"] == 7
    assert "tool_errors.error_calls" not in run.values


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
