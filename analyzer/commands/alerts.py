"""`flyball alerts`: alert rules for a monitoring system."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from instrument.errors import FlyballError
from instrument.policy import load_policy


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "alerts", help="alert rules with the numbers of the policy", description="Alert rules for a monitoring system."
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    generate = actions.add_parser(
        "generate",
        help="write Prometheus rules and their tests",
        description="Writes alerting rules for Prometheus, and tests for them, with the thresholds of the policy.",
    )
    generate.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder to write to; made if it does not exist"
    )
    generate.add_argument(
        "--policy", metavar="FILE", type=Path, help="policy file; without it the nearest flyball.toml or pyproject.toml"
    )
    generate.set_defaults(run=run_generate)


def run_generate(args: argparse.Namespace) -> int:
    """Writes the files and names them. Raises `FlyballError` where the folder cannot be written to."""
    from analyzer.alerts.prometheus import generate

    files = generate(load_policy(args.policy))
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (args.out / name).write_text(text, "utf-8")
            print(args.out / name)
    except OSError as e:
        raise FlyballError(
            f"{args.out}: cannot be written to ({e.strerror}); choose another folder with --out"
        ) from None
    return exits.FINE
