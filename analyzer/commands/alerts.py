"""`flyball alerts`: alert rules for a monitoring system, tried on recorded history, or looked at without one."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from instrument.errors import FlyballError
from instrument.policy import load_policy


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
    _common(parser)
    parser.set_defaults(run=run_backtest)


def _check(actions: Any) -> None:
    parser = actions.add_parser(
        "check",
        help="look at the rules now, without Prometheus",
        description="Evaluates the rules over the database as it is now. Meant for cron: what fired at the last look is remembered, so a "
        "message is sent only for what is new or resolved.",
        epilog="Exit status: 0 nothing fires, 1 something does, 2 unreadable input, bad usage, or the message could not be sent.",
    )
    parser.add_argument("--db", metavar="FILE", type=Path, required=True, help="database that agents record into")
    parser.add_argument("--webhook", metavar="URL", help="where to post what is new and resolved, in Slack's format")
    parser.add_argument(
        "--state", metavar="FILE", type=Path, help="where the last look is remembered; without it beside the database"
    )
    parser.add_argument(
        "--ledger", metavar="WHERE", help="file or redis:// address of the ledger: adds the rules about reviews"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how the result is written")
    _common(parser)
    parser.set_defaults(run=run_check)


def _common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--policy", metavar="FILE", type=Path, help="policy file; without it the nearest flyball.toml or pyproject.toml"
    )
    add("--interval", metavar="S", type=_seconds, default=30, help="seconds between evaluations; without it 30")
    add("--for", metavar="S", dest="hold", type=int, default=60, help="seconds a condition must hold; without it 60")
    add("--keep-firing", metavar="S", type=int, default=300, help="seconds an alert fires on; without it 300")


def _seconds(text: str) -> int:
    seconds = int(text)
    if seconds < 1:
        raise ValueError(text)
    return seconds


def _timing(args: argparse.Namespace) -> Any:
    from analyzer.alerts.prometheus import Timing

    return Timing(args.interval, max(0, args.hold), max(0, args.keep_firing))


def run_generate(args: argparse.Namespace) -> int:
    """Writes the files and names them. Raises `FlyballError` where the folder cannot be written to."""
    from analyzer.alerts.package import package

    files = package(load_policy(args.policy), _timing(args), args.runbooks)
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
    return exits.FINE


def run_backtest(args: argparse.Namespace) -> int:
    """Prints what the rules would have done. Raises `FlyballError`."""
    from analyzer.alerts.backtest import backtest
    from analyzer.commands.terminal import look
    from analyzer.report import alerts_text
    from instrument.store.checkpoint import adopt
    from instrument.store.connect import reading

    policy = load_policy(args.policy)
    adopt(args.db)
    with reading(args.db) as con:
        result = backtest(con, policy, _timing(args))
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

    policy = load_policy(args.policy)
    state = args.state or args.db.with_name(args.db.name + ".alerts.json")
    before = checking.remembered(state)
    now = time.time()
    asked = waiting(args.ledger, now)
    adopt(args.db)
    with reading(args.db) as con:
        alerts, lost = checking.firing_now(con, policy, int(now * 1e9), _timing(args), asked, before.lost_spans)
    found = checking.compared(alerts, before.alerts)
    if args.webhook and (found.new or found.resolved):
        checking.post(args.webhook, checking.payload(found))
    # Remembered after the message has gone out: what could not be sent is new again at the next look.
    checking.remember(state, checking.Remembered(alerts, lost))
    sys.stdout.write(
        json.dumps(checking.as_values(found), indent=2) + "\n"
        if args.format == "json"
        else alerts_text.look_as_text(found, look())
    )
    return exits.FINDINGS if alerts else exits.FINE
