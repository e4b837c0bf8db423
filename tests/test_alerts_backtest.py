"""What alert rules did over recorded history: by our account, and by a real Prometheus that was given the same history."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_alerts_live import PROMETHEUS, free_port, running, until

from analyzer.alerts.backtest import active_instants, backtest, held_over, history
from analyzer.alerts.conditions import number
from analyzer.alerts.firing import firings
from analyzer.alerts.metrics import METRICS, NOW_ONLY
from analyzer.alerts.prometheus import Timing
from analyzer.alerts.rules import rules
from analyzer.alerts.windows import SECOND, Instants
from analyzer.cli import main
from analyzer.readers import load, resolve
from instrument.policy import Policy
from instrument.store.connect import reading

SAMPLES = Path(__file__).resolve().parents[1] / "sample_traces"
PROMTOOL = shutil.which("promtool")
TIMING = Timing(interval_seconds=30, for_seconds=60, keep_firing_seconds=300)
if (PROMETHEUS is None or PROMTOOL is None) and os.environ.get("CI"):
    pytest.fail("CI must have Prometheus and promtool (Debian package prometheus)", pytrace=False)
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None or PROMTOOL is None, reason="Prometheus is not installed")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    db = tmp_path_factory.mktemp("samples") / "traces.duckdb"
    load(resolve([str(SAMPLES)]), db)
    return db


def test_every_failure_of_the_samples_would_have_woken_somebody_with_a_finding_behind_it(samples: Path) -> None:
    with reading(samples) as con:
        result = backtest(con, Policy(), TIMING)
    fired = {t.rule.alert for t in result.tested if t.firings}
    assert fired == {
        "FlyballErrorCascade",
        "FlyballRepeatedCall",
        "FlyballContextNearFull",
        "FlyballContextFillsSoon",
        "FlyballUnknownTool",
        "FlyballRepeatedOutput",
        "FlyballCostOutlier",
    }
    assert sum(t.without_finding or 0 for t in result.tested) == 0
    assert {r.alert for r in result.not_testable} == {"FlyballReviewWaits", "FlyballTelemetryLost"}


def openmetrics(samples: Path, instants: Instants) -> Iterator[str]:
    """Every sample of the history, in the order that OpenMetrics asks for: by metric, by series, by time."""
    with reading(samples) as con:
        parts: dict[str, list[pl.DataFrame]] = {}
        for name, rows in history(con, Policy(), instants):
            parts.setdefault(name, []).append(rows)
    for metric in METRICS:
        if metric in NOW_ONLY or metric.name not in parts:
            continue
        rows = pl.concat(parts[metric.name])
        yield f"# TYPE {metric.name} gauge"
        for *labels, at_ns, value in (
            rows.sort(*metric.labels, "at_ns").select(*metric.labels, "at_ns", "value").iter_rows()
        ):
            named = ",".join(f"{k}={json.dumps(v)}" for k, v in zip(metric.labels, labels, strict=True))
            yield f"{metric.name}{{{named}}} {number(value)} {at_ns / SECOND:.3f}"
    yield "# EOF"


@needs_prometheus
def test_prometheus_says_the_same_of_the_same_history(samples: Path, tmp_path: Path) -> None:
    assert PROMETHEUS
    assert PROMTOOL
    found = rules(Policy())
    with reading(samples) as con:
        instants = active_instants(con, TIMING.interval_seconds)
        # The recorded demo runs are of one afternoon; older public samples lie months before.
        instants = instants[instants > instants[-1] - 12 * 3600 * SECOND]
        held = held_over(con, Policy(), found, instants)
    ours = {
        (f.rule.alert, f.rule.severity, tuple(sorted(f.labels.items()))): f.fired_ns
        for f in firings(held, instants, TIMING)
    }
    assert len(ours) >= 6
    (tmp_path / "history.om").write_text("\n".join(openmetrics(samples, instants)) + "\n", "utf-8")
    blocks = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", "history.om", "tsdb"]
    subprocess.run(blocks, cwd=tmp_path, check=True, capture_output=True, text=True)
    (tmp_path / "prometheus.yml").write_text("global: {}\n", "utf-8")
    port = free_port()
    own = (
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=tsdb",
        "--storage.tsdb.retention.time=100y",
        # A scraped series ends with a mark; one written after the fact does not, and would be seen for five minutes more.
        "--query.lookback-delta=29s",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with running(PROMETHEUS, *own, cwd=tmp_path):
        until(lambda: _ready(port))
        theirs = {}
        for rule in found:
            for labels, times in _held(port, rule.expr, instants):
                first = _first_firing(times)
                if first is not None:
                    theirs[(rule.alert, rule.severity, labels)] = first * SECOND
    assert theirs.keys() == ours.keys()
    for key, at_ns in ours.items():
        assert abs(theirs[key] - at_ns) <= TIMING.interval_seconds * SECOND, key


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _held(port: int, expr: str, instants: Instants) -> Iterator[tuple[tuple[tuple[str, str], ...], list[int]]]:
    """Each series of `expr` and the seconds at which it has a sample."""
    span = {"start": instants[0] // SECOND, "end": instants[-1] // SECOND, "step": TIMING.interval_seconds}
    query = urllib.parse.urlencode({"query": expr, **span})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query_range?{query}", timeout=60) as answer:
        for series in json.load(answer)["data"]["result"]:
            labels = {k: v for k, v in series["metric"].items() if k != "__name__"}
            yield tuple(sorted(labels.items())), [int(t) for t, _ in series["values"]]


def _first_firing(times: list[int]) -> int | None:
    """The first evaluation at which the condition had held for `for`."""
    at = np.array(times)
    since = at[0]
    for before, now in pairwise(at):
        since = since if now - before == TIMING.interval_seconds else now
        if now - since >= TIMING.for_seconds:
            return int(now)
    return None


def test_the_command_says_what_fired_and_what_nobody_would_have_seen(
    samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alerts", "backtest", "--db", str(samples), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    loop = next(r for r in told["rules"] if (r["alert"], r["severity"]) == ("FlyballRepeatedCall", "critical"))
    assert (loop["fired"], loop["with_finding"], loop["without_finding"]) == (1, 1, 0)
    assert loop["firings"][0]["labels"]["agent_name"] == "support"
    assert main(["alerts", "backtest", "--db", str(samples)]) == 0
    assert "FlyballRepeatedCall (critical)" in capsys.readouterr().out
