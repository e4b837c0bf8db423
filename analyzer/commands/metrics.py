"""`flyball metrics`: the gauges of a database for Prometheus to scrape."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from instrument.errors import FlyballError
from instrument.policy import load_policy

_PORT = 9464
"""The port that OpenTelemetry's own Prometheus exporter takes by default."""


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "metrics",
        help="serve the gauges of a database to Prometheus",
        description="Serves what the alert rules rest on, worked out from the database at each scrape, on /metrics.",
        epilog="Exit status: 0 done, 2 no such database, bad usage, or the port is taken.",
    )
    parser.add_argument("--db", metavar="FILE", type=Path, required=True, help="database that agents record into")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; without it this machine only")
    parser.add_argument(
        "--port", type=int, default=_PORT, help=f"port to listen on; without it {_PORT}; 0 takes any free one"
    )
    parser.add_argument("--once", action="store_true", help="print the metrics once and end")
    parser.add_argument(
        "--policy", metavar="FILE", type=Path, help="policy file; without it the nearest flyball.toml or pyproject.toml"
    )
    parser.add_argument(
        "--ledger", metavar="WHERE", help="file or redis:// address of the ledger: adds the metrics about reviews"
    )
    parser.add_argument(
        "--hold",
        metavar="S",
        type=float,
        default=300.0,
        help="seconds for which a value stands after its run has ended; without it 300",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to end, or prints once. Raises `FlyballError`."""
    from prometheus_client import generate_latest, start_http_server

    from analyzer.alerts.exposition import DatabaseCollector, registry

    served = registry(DatabaseCollector(args.db, load_policy(args.policy), args.ledger, hold_seconds=args.hold))
    text = generate_latest(served)  # what is wrong with the database is said now, and not at the first scrape
    if args.once:
        sys.stdout.write(text.decode())
        return exits.FINE
    try:
        server, thread = start_http_server(args.port, args.host, served)
    except OSError as e:
        raise FlyballError(f"cannot listen on {args.host}:{args.port} ({e.strerror}); choose another --port") from None
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print(f"metrics on http://{args.host}:{server.server_port}/metrics", file=sys.stderr, flush=True)
    ended.wait()
    server.shutdown()
    server.server_close()
    thread.join()
    return exits.FINE
