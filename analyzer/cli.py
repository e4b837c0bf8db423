"""The command line: parses, calls the command, and turns what went wrong into a sentence and an exit status."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from analyzer.commands import (
    alerts,
    app,
    calibrate,
    check,
    checklist,
    convert,
    demo,
    detectors,
    diff,
    exits,
    export,
    load,
    metrics,
    outcome,
    replay,
    reviews,
    serve,
)
from analyzer.report.clean import one_line
from instrument.errors import FlyballError


def parser() -> argparse.ArgumentParser:
    """The whole command line. Each command sets `run`, which takes the arguments and returns the exit status."""
    whole = argparse.ArgumentParser(
        prog="flyball",
        description="A linter for agent traces: what went wrong in a run, what it cost and what to do about it.",
    )
    whole.add_argument("--version", action="version", version=f"flyball {metadata.version('flyball')}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for command in (
        check,
        load,
        detectors,
        replay,
        calibrate,
        outcome,
        diff,
        checklist,
        app,
        demo,
        alerts,
        metrics,
        reviews,
        serve,
        convert,
        export,
    ):
        command.register(commands)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; `argv` without the program's name. Returns the exit status (`analyzer.commands.exits`).

    Raises `SystemExit` as argparse does: 0 after --help and --version, 2 on bad usage.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to fail
    try:
        args = parser().parse_args(argv)
        status: int = args.run(args)
        sys.stdout.flush()
    except FlyballError as e:
        print(f"flyball: {one_line(e, 1000)}", file=sys.stderr)
        return exits.UNUSABLE
    except BrokenPipeError:
        # Python flushes stdout once more when it exits; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.CUT_PIPE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
