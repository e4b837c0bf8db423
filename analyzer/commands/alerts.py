"""`flyball alerts`: alert rules for a monitoring system, tried on recorded history, or looked at without one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from instrument.errors import FlyballError
from instrument.policy import Policy, load_policy, parse_policy, policy_tables

_WEBHOOK = "FLYBALL_WEBHOOK"
"""Environment variable with the webhook's address, which is its password."""
_HOUR_SECONDS = 3600


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "alerts",
        help="alert rules with the numbers of the policy",
        description="Alert rules for a monitoring system.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _generate(actions)
    _backtest(actions)
    _check(actions)


def _generate(actions: Any) -> None:
    parser = actions.add_parser(
        "generate",
        help="write rules, their tests, dashboards and runbooks",
        description="Writes recording and alerting rules for Prometheus with the thresholds of the policy, tests for them, a route for "
        "Alertmanager, a dashboard and rules for Grafana, and a page for whoever is woken.",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder to write to; made if it does not exist"
    )
    parser.add_argument(
        "--runbooks",
        metavar="URL",
        default="runbooks",
        help="where the runbook pages will stand; without it beside the rules",
    )
    parser.add_argument(
        "--db",
        metavar="FILE",
        type=Path,
        help="recorded history: lines that the policy file does not name (cost and silence of a run, share of looping runs, "
        "failures of a tool) are taken from what is usual in it",
    )
    _common(parser)
    parser.set_defaults(run=run_generate)


def _backtest(actions: Any) -> None:
    parser = actions.add_parser(
        "backtest",
        help="what the rules would have done over recorded history",
        description="When each rule would have fired over the recorded history, how often with a finding behind it and how often "
        "without, and which findings no rule saw.",
        epilog="Exit status: 0 done, 2 unreadable input or bad usage.",
    )
    parser.add_argument("--db", metavar="FILE", type=Path, required=True, help="database with the history")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how the result is written")
    _baselines(parser)
    _common(parser)
    parser.set_defaults(run=run_backtest)


def _check(actions: Any) -> None:
    parser = actions.add_parser(
        "check",
        help="look at the rules now, without Prometheus",
        description="Evaluates the rules over the database as it is now. Meant for cron: what fired at the last look is remembered, so a "
        "message is sent only for what is new or resolved.",
        epilog="Exit status, as of `flyball check`: 0 nothing fires, 1 something does, 2 unreadable input, bad usage, or the message could "
        "not be sent (it is sent at the next look).",
    )
    parser.add_argument("--db", metavar="FILE", type=Path, required=True, help="database that agents record into")
    parser.add_argument(
        "--webhook",
        metavar="URL",
        help=f"where to post what is new and resolved, in Slack's format; without it ${_WEBHOOK}, which no list of processes shows",
    )
    parser.add_argument(
        "--state", metavar="FILE", type=Path, help="where the last look is remembered; without it beside the database"
    )
    parser.add_argument(
        "--ledger", metavar="WHERE", help="file or redis:// address of the ledger: adds the rules about reviews"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how the result is written")
    _baselines(parser)
    _common(parser)
    parser.set_defaults(run=run_check)


def _baselines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baselines",
        metavar="FILE",
        type=Path,
        help="flyball.baselines.json of `flyball alerts generate --db`: its lines, as Prometheus has them",
    )


def _common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--policy", metavar="FILE", type=Path, help="policy file; without it the nearest flyball.toml or pyproject.toml"
    )
    add("--interval", metavar="S", type=_seconds, default=30, help="seconds between evaluations; without it 30")
    add(
        "--for",
        metavar="S",
        dest="hold",
        type=_hold,
        default=60,
        help="seconds a condition must hold, less than an hour; without it 60",
    )
    add("--keep-firing", metavar="S", type=_hold, default=300, help="seconds an alert fires on; without it 300")


def _seconds(text: str) -> int:
    seconds = int(text)
    if seconds < 1:
        raise ValueError(text)
    return seconds


def _hold(text: str) -> int:
    """Rules look back an hour: what must hold for longer would never fire."""
    seconds = int(text)
    if not 0 <= seconds < _HOUR_SECONDS:
        raise ValueError(text)
    return seconds


def _timing(args: argparse.Namespace) -> Any:
    from analyzer.alerts.prometheus import Timing

    return Timing(args.interval, args.hold, args.keep_firing)


def run_generate(args: argparse.Namespace) -> int:
    """Writes the files and names them. Raises `FlyballError` where the folder cannot be written to."""
    from analyzer.alerts.package import package

    tables, path = policy_tables(args.policy)
    policy = parse_policy(tables, path)
    found = _measured(args.db, policy, tables) if args.db else ()
    files = package(policy, _timing(args), args.runbooks, found)
    try:
        for name, text in files.items():
            path = args.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            print(path)
    except OSError as e:
        raise FlyballError(
            f"{args.out}: cannot be written to ({e.strerror}); choose another folder with --out"
        ) from None
    for baseline in found:
        unknown = len(baseline.lines) - len(baseline.known)
        told = f"{len(baseline.known)} lines from recorded history, {unknown} not known (too few runs)"
        print(f"{baseline.metric.name}: {told}", file=sys.stderr)
    return exits.FINE


def _measured(db: Path, policy: Policy, tables: dict[str, Any]) -> tuple[Any, ...]:
    """The baselines of what the policy file does not name."""
    from analyzer.alerts.baselines import measured
    from instrument.store.checkpoint import adopt
    from instrument.store.connect import reading

    given = {f"{section}.{name}" for section, values in tables.items() if isinstance(values, dict) for name in values}
    adopt(db)
    with reading(db) as con:
        return measured(con, policy, given)


def _read_baselines(path: Path | None) -> tuple[Any, ...]:
    from analyzer.alerts.baselines import read

    return () if path is None else read(path)


def run_backtest(args: argparse.Namespace) -> int:
    """Prints what the rules would have done. Raises `FlyballError`."""
    from analyzer.alerts.backtest import backtest
    from analyzer.commands.terminal import look
    from analyzer.report import alerts_text
    from instrument.store.checkpoint import adopt
    from instrument.store.connect import reading

    policy, lines = load_policy(args.policy), _read_baselines(args.baselines)
    adopt(args.db)
    with reading(args.db) as con:
        result = backtest(con, policy, _timing(args), baselines=lines)
    sys.stdout.write(
        alerts_text.backtest_as_json(result) if args.format == "json" else alerts_text.backtest_as_text(result, look())
    )
    return exits.FINE


def run_check(args: argparse.Namespace) -> int:
    """Prints what fires, and posts what is new. Raises `FlyballError`."""
    from analyzer.alerts import checking
    from analyzer.alerts.exposition import waiting
    from analyzer.commands.terminal import look
    from analyzer.report import alerts_text
    from instrument.store.checkpoint import adopt
    from instrument.store.connect import reading

    policy, lines = load_policy(args.policy), _read_baselines(args.baselines)
    webhook = args.webhook or os.environ.get(_WEBHOOK)
    state = args.state or args.db.with_name(args.db.name + ".alerts.json")
    before = checking.remembered(state)
    now = time.time()
    asked = waiting(args.ledger, now)
    adopt(args.db)
    with reading(args.db) as con:
        alerts, lost = checking.firing_now(con, policy, int(now * 1e9), _timing(args), asked, before.lost_spans, lines)
    found = checking.compared(alerts, before.alerts)
    # Said before it is sent: a webhook that fails must not hide what fires.
    sys.stdout.write(
        json.dumps(checking.as_values(found), indent=2) + "\n"
        if args.format == "json"
        else alerts_text.look_as_text(found, look())
    )
    sys.stdout.flush()
    if webhook and (found.new or found.resolved):
        checking.post(webhook, checking.payload(found))
    # Remembered after the message has gone out: what could not be sent is new again at the next look.
    checking.remember(state, checking.Remembered(alerts, lost))
    return exits.FINDINGS if alerts else exits.FINE
