"""`flyball serve`: receives spans over HTTP and keeps them."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.commands import exits
from analyzer.report.amounts import counted

if TYPE_CHECKING:
    from analyzer.serve.server import Served


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "serve",
        help="receive spans over OTLP/HTTP",
        description="Receives spans over OTLP/HTTP (protobuf or JSON) from agents in any language and records them, until it is "
        "stopped with Ctrl-C. Clients need one variable: OTEL_EXPORTER_OTLP_ENDPOINT. Secrets are taken out before anything is written.",
    )
    add = parser.add_argument
    add("--db", metavar="FILE", type=Path, required=True, help="the database; it is made if it does not exist")
    add("--host", default="127.0.0.1", help="address to listen on")
    add(
        "--port",
        metavar="N",
        type=_port,
        default=4318,
        help="port to listen on, 0 for any that is free; 4318 if not given",
    )
    add(
        "--max-body-mb",
        metavar="N",
        type=_megabytes,
        default=64,
        help="largest request after decompression; 64 if not given",
    )
    add(
        "--content",
        choices=("full", "hashed", "none"),
        default="full",
        help="what of prompts, arguments and results is written",
    )
    add(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a further name by which clients may call this server; may be given several times",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until stopped. Raises `FlyballError` where the address cannot be listened on."""
    from analyzer.serve import hosts
    from analyzer.serve.server import Settings, serve

    logging.basicConfig(format="flyball: %(message)s", level=logging.WARNING, stream=sys.stderr)
    if not hosts.is_loopback(args.host):
        print(
            f"flyball: warning: on {args.host} everyone who reaches this machine can send spans, unencrypted and without a password; "
            "use 127.0.0.1 or put a proxy in front that asks for one",
            file=sys.stderr,
        )

    def listening(address: str) -> None:
        print(f"flyball: receiving spans at {address} into {args.db}", file=sys.stderr)
        print(f"flyball: start agents with OTEL_EXPORTER_OTLP_ENDPOINT={address}", file=sys.stderr, flush=True)

    settings = Settings(args.db, args.host, args.port, args.max_body_mb << 20, args.content, tuple(args.allow_host))
    served = serve(settings, listening)
    print(f"flyball: {_told(served, args.db)}", file=sys.stderr)
    return exits.FINE


def _told(served: Served, db: Path) -> str:
    parts = [f"received {counted(served.spans, 'span')}"]
    if served.repeated:
        parts.append(f"{served.repeated:,} of them more than once (clients sent them again)")
    if served.rejected:
        parts.append(f"{served.rejected:,} more could not be kept")
    if served.log_records or served.data_points:
        parts.append(
            f"{counted(served.log_records, 'log record')} and {counted(served.data_points, 'measurement')} were not kept"
        )
    where = (
        f"all is in {db}"
        if served.complete
        else f"not all is in {db} yet; the next command that reads it brings in the rest"
    )
    return "; ".join((*parts, where))


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


def _megabytes(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= 4096):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give a number from 1 to 4096")
    return int(text)
