"""`flyball check`: reads, judges, reports."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from analyzer.commands import exits
from analyzer.commands.store import opened
from analyzer.findings import Report, Severity
from instrument.errors import UnreadableTrace
from instrument.otlp import Issue
from instrument.policy import parse_policy, policy_tables

NEVER: Final = "never"
_REFUSED: Final = "refused"
_FORMATS: Final = ("json", "markdown", "junit", "github")
_LONGEST_PATHS: Final = 36
"""Characters of paths that are repeated in a suggestion."""
READABLE: Final = (
    "spans of OpenTelemetry or of a tracing product, sessions and logs of agents, chat messages, flyball databases and journals "
    "(docs/formats.md names all formats)"
)


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "check",
        help="judge traces and report what went wrong",
        description="Reads traces, judges every run and reports what went wrong, what it cost and what to do about it.",
        epilog="Exit status: 0 nothing at or above --fail-on, 1 findings, 2 unreadable input or bad usage.",
    )
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="file, folder, glob, .duckdb database, or - for standard input")
    add("--format", choices=("text", *_FORMATS), default="text", help="how the report is written")
    add("--select", metavar="SLUG,..", type=slugs, default=(), help="only these detectors")
    add("--ignore", metavar="SLUG,..", type=slugs, default=(), help="all detectors but these")
    add(
        "--policy", metavar="FILE", type=Path, help="policy file; without it the nearest flyball.toml or pyproject.toml"
    )
    add(
        "--fail-on",
        choices=(*map(str, Severity), NEVER),
        default="warning",
        help="severity from which the exit status is 1",
    )
    add("--db", metavar="FILE", type=Path, help="database to load PATH into and keep; without PATH, the one to judge")
    add(
        "--baseline",
        metavar="FILE",
        type=Path,
        help="findings that are known and accepted: they are not reported and do not count for the exit status",
    )
    add("--update-baseline", action="store_true", help="accept all that is found now, and write it to --baseline")
    add("--all", action="store_true", help="every finding and every issue, not only the first of each kind")
    parser.set_defaults(run=run, fail=parser.error)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of `flyball check` as another command calls it."""
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    return parser.parse_args(["check", *argv])


def slugs(text: str) -> tuple[str, ...]:
    """`a,b` as its parts."""
    return tuple(slug.strip() for slug in text.split(",") if slug.strip())


def run(args: argparse.Namespace) -> int:
    """Prints the report and returns the exit status. Raises `FlyballError`."""
    if not args.paths and args.db is None:
        args.fail("give at least one PATH, or --db FILE")
    if args.update_baseline and args.baseline is None:
        args.fail("--update-baseline needs --baseline FILE")
    from analyzer.detectors import chosen
    from analyzer.run import judge
    from instrument.prices import parse_prices

    tables, path = policy_tables(args.policy)
    policy, prices = parse_policy(tables, path), parse_prices(tables)
    chosen(args.select, args.ignore)  # a misspelt slug is said before a gigabyte is read
    with opened(args.paths, args.db, prices) as store:
        report = judge(store.con, policy, select=args.select, ignore=args.ignore)
        refusals, issues = store.refusals, store.issues
    for refusal in refusals:
        print(f"flyball: {refusal}", file=sys.stderr)
    report = replace(report, issues=(*map(_refused, refusals), *issues, *report.issues))
    if args.baseline is not None:
        report = _with_baseline(report, args.baseline, update=args.update_baseline)
    _write(report, args)
    return status(report, args.fail_on)


def _with_baseline(report: Report, path: Path, *, update: bool) -> Report:
    """The report without known findings, which are counted on stderr. Raises `BaselineError`."""
    from analyzer.baseline import only_new, read_baseline, write_baseline

    if update:
        write_baseline(path, report.findings)
    left = only_new(report, read_baseline(path))
    known = len(report.findings) - len(left.findings)
    print(f"flyball: {known:,} of {len(report.findings):,} findings are known ({path})", file=sys.stderr)
    return left


def status(report: Report, fail_on: str) -> int:
    """The exit status; what could not be read weighs more than what was found."""
    nothing_read = report.totals.spans == 0 and any(issue.error for issue in report.issues)
    if nothing_read or any(issue.kind == _REFUSED for issue in report.issues):
        return exits.UNUSABLE
    if fail_on != NEVER and any(f.severity.rank >= Severity(fail_on).rank for f in report.findings):
        return exits.FINDINGS
    return exits.FINE


def _refused(refusal: UnreadableTrace) -> Issue:
    problem = str(refusal).removeprefix(f"{refusal.path}: ")
    return Issue(_REFUSED, refusal.path, problem, f"leave it out, or give traces: {READABLE}")


def _write(report: Report, args: argparse.Namespace) -> None:
    if args.format in _FORMATS:
        sys.stdout.write(_for_programs(report, args.format, args.fail_on))
        return
    from analyzer.commands.terminal import look
    from analyzer.report.text import as_text

    sys.stdout.write(as_text(report, look(everything=args.all), _next_steps(report, args.paths, args.db)))


def _for_programs(report: Report, form: str, fail_on: str) -> str:
    from analyzer.report import as_github, as_json, as_junit, as_markdown

    if form == "junit":
        return as_junit.as_junit(report, None if fail_on == NEVER else Severity(fail_on))
    if form == "github":
        return as_github.as_github(report)
    return as_markdown.as_markdown(report) if form == "markdown" else as_json.as_json(report)


def _next_steps(report: Report, paths: Sequence[str], db: Path | None) -> list[tuple[str, str]]:
    if not report.totals.spans:
        return []
    where = shlex.join(["--db", str(db)] if db else paths)
    if len(where) > _LONGEST_PATHS:  # a shell has written a glob out
        where = "PATH..."
    steps = [] if "-" in paths and not db else [(f"flyball app {where}", "look at the runs, turn by turn")]
    if report.findings:
        steps.append((f"flyball explain {report.findings[0].detector}", "what it means, and when it is wrong"))
    return steps
