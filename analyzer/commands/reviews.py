"""`flyball reviews`: the questions that runs put to a person before they spend more, and the answers."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from analyzer.commands import exits
from instrument.errors import UnknownReview

if TYPE_CHECKING:
    from instrument.ledger import Ledger, Review


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "reviews",
        help="answer runs that ask before they spend more",
        description="Lists, shows and answers the questions of runs that are about to spend more than the policy lets them.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _list(actions)
    _one(actions, "show", "show one question", "Shows all that is known about a question, and its answer.")
    approve = _one(actions, "approve", "let the run spend it", "Lets the run go on. An answer cannot be taken back.")
    deny = _one(actions, "deny", "do not", "Lets the run end with what it has. An answer cannot be taken back.")
    for answer, approved in ((approve, True), (deny, False)):
        answer.add_argument("--note", metavar="TEXT", help="why; the run records it")
        answer.add_argument("--by", metavar="NAME", help="who answers; without it your login name")
        answer.set_defaults(run=run_decide, approved=approved)


def _list(actions: Any) -> None:
    parser = actions.add_parser(
        "list", help="list what waits for an answer", description="Lists the questions that wait for an answer."
    )
    parser.add_argument("--all", action="store_true", help="those that have been answered, too")
    _common(parser)
    parser.set_defaults(run=run_list)


def _one(actions: Any, verb: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        verb,
        help=summary,
        description=description,
        epilog="Exit status: 0 done, 2 no such review, an answer to one that has one already, or no such ledger.",
    )
    parser.add_argument("review_id", metavar="ID", help="the review, as `flyball reviews list` names it")
    _common(parser)
    parser.set_defaults(run=run_show)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ledger",
        metavar="WHERE",
        help="file or redis:// address of the ledger that the runs use; "
        "without it $FLYBALL_LEDGER, else flyball.ledger in this folder",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how it is written")


def run_list(args: argparse.Namespace) -> int:
    """Prints the queue. Raises `LedgerError`."""
    with closing(_ledger(args)) as ledger:
        reviews = ledger.reviews(waiting=None if args.all else True)
    if args.format == "json":
        _write_json(reviews)
        return exits.FINE
    from analyzer.commands.terminal import look
    from analyzer.report.review_text import reviews_as_text

    place = "" if args.ledger is None else " --ledger WHERE"  # an address may hold a password
    sys.stdout.write(reviews_as_text(reviews, look(), datetime.now(UTC), place))
    return exits.FINE


def run_show(args: argparse.Namespace) -> int:
    """Prints one question. Raises `LedgerError`."""
    with closing(_ledger(args)) as ledger:
        review = ledger.review(args.review_id)
    if review is None:
        raise UnknownReview(ledger.where, args.review_id)
    _write(review, args.format)
    return exits.FINE


def run_decide(args: argparse.Namespace) -> int:
    """Answers one question and prints it. Raises `LedgerError`."""
    by = _login_name() if args.by is None else args.by
    with closing(_ledger(args)) as ledger:
        review = ledger.decide(args.review_id, approved=args.approved, note=args.note or "", by=by)
    _write(review, args.format)
    return exits.FINE


def _ledger(args: argparse.Namespace) -> Ledger:
    from instrument.ledger import open_ledger

    # A file that is not there is a slip of the finger, and not a ledger in which nothing waits.
    return open_ledger(args.ledger, must_exist=True)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""


def _write(review: Review, form: str) -> None:
    if form == "json":
        _write_json([review])
        return
    from analyzer.commands.terminal import look
    from analyzer.report.review_text import review_as_text

    sys.stdout.write(review_as_text(review, look(), datetime.now(UTC)))


def _write_json(reviews: Sequence[Review]) -> None:
    """`{"reviews": [...]}` with the field names of `instrument.ledger.Review`, times in ISO 8601, in ASCII."""
    import msgspec

    json.dump({"reviews": msgspec.to_builtins(reviews)}, sys.stdout, indent=2, ensure_ascii=True, allow_nan=False)
    print()
