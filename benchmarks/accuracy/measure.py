"""Everything that is measured, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import duckdb

from analyzer.detectors import DETECTORS
from analyzer.readers import load, resolve
from analyzer.run import judge
from benchmarks.accuracy.baselines import BASELINES
from benchmarks.accuracy.healthy import pieces, runs
from benchmarks.accuracy.inject import FAILING, samples
from benchmarks.accuracy.judging import Judged, alarming, alarms, judged, states
from benchmarks.accuracy.neighbours import KNOWS, SPEAKS_OF, verdicts
from benchmarks.accuracy.score import Score, Stated, baseline, score
from benchmarks.calibration import FOLDERS, Kept, good_run_ids, promises, stored
from benchmarks.savings import savings, summary

DEVELOPMENT_SEED: Final = 1
"""What injectors and detectors may be looked at with."""
EVALUATION_SEED: Final = 280417
"""What the published numbers come from, and nothing else."""
ANSWER: Final = "That is what I found out for you."
"""Ends the pieces of longer runs."""
_OTHER_EACH: Final = 40
"""Samples of each side with hashed content and without token counts."""


@dataclass(frozen=True, slots=True)
class Arm:
    """The same with less recorded: F1, and what the detector says it could see."""

    f1: float
    state: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm in a healthy run as it is."""

    run: str
    detector: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Real:
    """What real runs say, read from the trace collection by our own readers."""

    good_runs: int
    alarms: Sequence[Alarm]
    """In those whose own files call them good; `run` names folder and file."""
    promises: Sequence[Kept]
    savings: str


@dataclass(frozen=True, slots=True)
class Measured:
    """All that the page tells."""

    seed: int
    each: int
    scores: Mapping[str, Score]
    hashed: Mapping[str, Arm]
    unmeasured: Mapping[str, Arm]
    baselines: Mapping[str, Mapping[str, tuple[int, int, int, int]]]
    """By class and check: hits, failing, false alarms, healthy."""
    healthy_runs: int
    healthy_alarms: Sequence[Alarm]
    healthy_baselines: Mapping[str, int]
    """By check, healthy runs in which it fires."""
    healthy_stated: Sequence[Stated]
    """What was found in the healthy runs as they are, mentions included, as statements that were wrong."""
    neighbours: Mapping[str, Mapping[str, tuple[int, int, int, int] | None]]
    """By class and neighbour, as `baselines`; None where it does not speak of the class; empty where none is installed."""
    healthy_neighbours: Mapping[str, int]
    real: Real | None
    """None where the trace collection is not there."""
    traces_runs: int | None
    traces_alarms: Mapping[str, Mapping[str, int]]
    """By folder of the trace collection and detector; empty where it is not there."""


def classes() -> list[str]:
    """Detectors for which there are injectors."""
    return [slug for slug in DETECTORS if slug in FAILING]


def found_before() -> dict[str, Collection[str]]:
    """By healthy piece, the detectors that find something in it as it is."""
    return {name: {f.detector for f in found} for name, found in alarms(pieces(), answer=ANSWER).items()}


def scores(
    seed: int, each: int, before: Mapping[str, Collection[str]], *, dialect: str | None = None, measured: bool = True
) -> tuple[dict[str, Score], list[Judged], dict[str, str]]:
    """Scores by detector, the judged samples they come from, and what each detector said it could see."""
    drawn = [s for slug in classes() for s in samples(slug, seed, each)]
    told = list(judged(drawn, dialect=dialect, measured=measured))
    by_class: dict[str, list[Judged]] = {slug: [] for slug in classes()}
    for one in told:
        by_class[one.sample.detector].append(one)
    return {slug: score(slug, some, before) for slug, some in by_class.items()}, told, states(told)


def measured(seed: int, each: int, traces: Path | None) -> Measured:
    """The whole run. `traces`: a collection of trace files, if there is one."""
    before = found_before()
    own, told, _ = scores(seed, each, before)
    hashed, _, hashed_states = scores(seed, min(each, _OTHER_EACH), before, dialect="hashed")
    bare, _, bare_states = scores(seed, min(each, _OTHER_EACH), before, dialect="gen_ai", measured=False)
    found = alarms(runs())
    traces_runs, traces_alarms = of_traces(traces)
    beside, healthy_beside = _neighbours(told)
    return Measured(
        seed=seed,
        each=each,
        scores=own,
        hashed={slug: Arm(s.f1, hashed_states[slug]) for slug, s in hashed.items()},
        unmeasured={slug: Arm(s.f1, bare_states[slug]) for slug, s in bare.items()},
        baselines=_baselines(told),
        healthy_runs=len(runs()),
        healthy_alarms=[
            Alarm(name, f.detector, str(f.severity), f.message) for name, fs in found.items() for f in alarming(fs)
        ],
        healthy_baselines={name: sum(fires(run.script) for run in runs()) for name, fires in BASELINES.items()},
        healthy_stated=[Stated(f.confidence, False, f in alarming([f])) for fs in found.values() for f in fs],
        neighbours=beside,
        healthy_neighbours=healthy_beside,
        real=real(traces),
        traces_runs=traces_runs,
        traces_alarms=traces_alarms,
    )


def of_traces(folder: Path | None) -> tuple[int | None, dict[str, dict[str, int]]]:
    """Runs and alarms of a whole collection of trace files, whatever its runs are; None where it is not there."""
    if folder is None or not folder.is_dir():
        return None, {}
    with TemporaryDirectory() as place:
        db = Path(place) / "traces.duckdb"
        load(resolve([str(folder)]), db)
        with duckdb.connect(str(db), read_only=True) as con:
            report = judge(con)
            names = dict(
                con.execute(
                    "SELECT run_id, any_value(sources.name) FROM spans JOIN sources USING (source_key) GROUP BY 1"
                ).fetchall()
            )
    found: dict[str, Counter[str]] = {}
    for finding in alarming(report.findings):
        path = Path(names[finding.run_id]).resolve()
        found.setdefault(path.relative_to(folder.resolve()).parts[0], Counter())[finding.detector] += 1
    return report.totals.runs, {name: dict(counts) for name, counts in sorted(found.items())}


def real(folder: Path | None) -> Real | None:
    """Good runs of the collection through readers and store as they are; None where it is not there."""
    if folder is None or not all((folder / name).is_dir() for name in FOLDERS):
        return None
    with stored(folder) as con:
        names = dict(good_run_ids(con))
        found = [
            Alarm(names[f.run_id], f.detector, str(f.severity), f.message)
            for f in alarming(judge(con).findings)
            if f.run_id in names
        ]
        return Real(len(names), found, promises(con), summary(savings(con)))


def _neighbours(
    told: Sequence[Judged],
) -> tuple[dict[str, dict[str, tuple[int, int, int, int] | None]], dict[str, int]]:
    """By class and neighbour; and by neighbour the healthy runs in which it says anything that it knows of our classes."""
    healthy = verdicts([run.script for run in runs()])
    counts = {name: sum(bool(said & KNOWS[name]) for said in all_said) for name, all_said in healthy.items()}
    out: dict[str, dict[str, tuple[int, int, int, int] | None]] = {}
    for slug in classes() if healthy else ():
        some = [j for j in told if j.sample.detector == slug]
        meant, truths = SPEAKS_OF.get(slug, frozenset()), [j.sample.truth is not None for j in some]
        found = verdicts([j.sample.case.runs()[-1].script for j in some])
        out[slug] = {
            name: baseline([bool(words & meant) for words in said], truths) if meant & KNOWS[name] else None
            for name, said in found.items()
        }
    return out, counts


def _baselines(told: Sequence[Judged]) -> dict[str, dict[str, tuple[int, int, int, int]]]:
    out: dict[str, dict[str, tuple[int, int, int, int]]] = {}
    for slug in classes():
        some = [j for j in told if j.sample.detector == slug]
        truths = [j.sample.truth is not None for j in some]
        scripts = [j.sample.case.runs()[-1].script for j in some]
        out[slug] = {name: baseline([fires(s) for s in scripts], truths) for name, fires in BASELINES.items()}
    return out
