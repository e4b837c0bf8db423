"""Whether `flyball calibrate` keeps its promise on real good runs. Usage: python -m benchmarks.calibration [TRACES]

200 times the good runs of an agent are split by chance: lines are calibrated on seven tenths of them, and counted is how many of the
others, which the lines never saw, they would have stopped. A good run is one that its own file calls so: a tau2 simulation with reward 1, a
run of mini-swe-agent or SWE-agent that handed in its work, a session of pi (nobody says that these failed).
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Final

import duckdb

from analyzer.calibrate import calibrate, needed_runs, stops
from analyzer.readers import load, resolve
from analyzer.replay import Reached, reached, replay
from instrument.prices import Prices

TRACES: Final = Path(__file__).parents[2] / "shared" / "traces"
FOLDERS: Final = ("mini_swe_agent", "pi", "swe_agent", "tau2")
ALPHAS: Final = (0.05, 0.1, 0.2)
SPLITS: Final = 200
_CALIBRATED_SHARE: Final = 0.7
_REPLAYED: Final = 5
"""Splits whose lines are replayed as well, over every run."""
_GOOD: Final = """
SELECT s.run_id, any_value(regexp_extract(sources.name, '(mini_swe_agent|pi|swe_agent|tau2)/.*', 0)) AS file
FROM spans s JOIN sources USING (source_key) LEFT JOIN attribute_sets a USING (attributes_key)
WHERE kind = 'agent' AND (
    a.attributes."flyball.outcome"::VARCHAR = 'success' OR lower(a.attributes."flyball.outcome.reason"::VARCHAR) LIKE 'submitted%'
    OR sources.name LIKE '%/pi/%'
) GROUP BY s.run_id ORDER BY s.run_id
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """How the promise was kept over many splits of the same good runs."""

    agent: str
    runs: int
    alpha: float
    share: float
    """Of the runs that the lines never saw, the mean share that they stop."""
    low: float
    high: float
    """95 % interval of that mean, from how the splits differ."""
    guards: dict[str, int]
    """By setting, stopped runs."""
    refused: bool = False
    """Too few runs for this promise, and `calibrate` says so."""


@contextmanager
def stored(traces: Path = TRACES) -> Iterator[duckdb.DuckDBPyConnection]:
    """A store with all runs of the four folders."""
    with TemporaryDirectory() as place:
        db = Path(place) / "traces.duckdb"
        load(resolve([str(traces / name) for name in FOLDERS]), db)
        with duckdb.connect(str(db), read_only=True) as con:
            yield con


def good_runs(con: duckdb.DuckDBPyConnection) -> dict[str, list[Reached]]:
    """How far each good run went, by the folder that it comes from, and all of them as `all together`."""
    folder_of = {run_id: file.split("/")[0] for run_id, file in good_run_ids(con)}
    found: dict[str, list[Reached]] = {"all together": []}
    for run in reached(con, None, Prices()):
        if run.run_id in folder_of:
            found.setdefault(folder_of[run.run_id], []).append(run)
            found["all together"].append(run)
    return found


def good_run_ids(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Run id and file, below the folder of the traces, of each good run."""
    return con.execute(_GOOD).fetchall()


def kept(agent: str, runs: Sequence[Reached], alpha: float, splits: int = SPLITS) -> Kept:
    """The promise of `alpha` over so many random splits."""
    cut = round(_CALIBRATED_SHARE * len(runs))
    if cut < needed_runs(alpha):
        return Kept(agent, len(runs), alpha, 0.0, 0.0, 0.0, {}, refused=True)
    shares, guards = [], Counter[str]()
    for number in range(splits):
        mixed = _mixed(runs, number)
        lines = calibrate(mixed[:cut], alpha=alpha, seed=number).lines
        stopped = [stops(lines, run) for run in mixed[cut:]]
        guards.update(setting for settings in stopped for setting in settings)
        shares.append(sum(map(bool, stopped)) / len(stopped))
    mean, half = fmean(shares), 1.96 * stdev(shares) / sqrt(splits)
    return Kept(agent, len(runs), alpha, mean, max(0.0, mean - half), mean + half, dict(guards.most_common()))


def replayed_otherwise(
    con: duckdb.DuckDBPyConnection, runs: Sequence[Reached], alpha: float, splits: int = _REPLAYED
) -> int:
    """Runs that a replay of calibrated lines stops although the lines say that they let them through, over some splits."""
    wrong = 0
    for number in range(splits):
        mixed = _mixed(runs, number)
        found = calibrate(mixed[: round(_CALIBRATED_SHARE * len(mixed))], alpha=alpha, seed=number)
        ended = {run.run_id for run in replay(con, found.policy()) if run.stop is not None}
        wrong += sum(run.run_id in ended and not stops(found.lines, run) for run in runs)
    return wrong


def promises(con: duckdb.DuckDBPyConnection, splits: int = SPLITS) -> list[Kept]:
    """By agent and promise, in order."""
    return [kept(agent, runs, alpha, splits) for agent, runs in sorted(good_runs(con).items()) for alpha in ALPHAS]


def table(told: Sequence[Kept]) -> str:
    """As Markdown."""
    lines = ["| good runs of | runs | promised at most | stopped | most often by |", "| --- | --- | --- | --- | --- |"]
    for one in told:
        stopped = "refused: too few runs" if one.refused else f"{one.share:.1%} ({one.low:.1%} to {one.high:.1%})"
        most = ", ".join(f"`{setting}`" for setting in list(one.guards)[:3]) or "-"
        lines.append(f"| {one.agent} | {one.runs} | {one.alpha:.0%} | {stopped} | {most} |")
    return "\n".join(lines)


def _mixed(runs: Sequence[Reached], seed: int) -> list[Reached]:
    mixed = list(runs)
    random.Random(seed).shuffle(mixed)
    return mixed


def main() -> int:
    """Prints the table; 1 where a promise was not kept."""
    traces = Path(sys.argv[1]) if len(sys.argv) > 1 else TRACES
    if not traces.is_dir():
        print(f"There are no traces in {traces}; name the folder.")
        return 0
    with stored(traces) as con:
        told = promises(con)
        print(table(told))
        every = good_runs(con)["all together"]
        print(f"\nStopped by a replay and not by the lines: {replayed_otherwise(con, every, 0.1)} runs.")
    return 1 if any(not one.refused and one.low > one.alpha for one in told) else 0


if __name__ == "__main__":
    raise SystemExit(main())
