"""Questions that runs put to a person, in words. What a run says about itself is made printable first: it may be hostile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from analyzer.report.amounts import counted, duration, money
from analyzer.report.clean import one_line
from analyzer.report.layout import Look, drawn, rows, titled
from instrument.ledger.base import PROMPT_CHARS, Review

_PROMPT_CHARS: Final = 100
"""Of a prompt in the list."""
_ESCAPED: Final = 10
"""Characters that one unsafe character is written with, at most."""
_COLOURS: Final = {None: "yellow", "approved": "green", "denied": "red", "timed_out": "dim"}


def reviews_as_text(reviews: Sequence[Review], look: Look, now: datetime, place: str = "") -> str:
    """The queue, in the order given, in lines of at most `look.width` columns; `place` ends the commands that it suggests."""
    return drawn(_queue(reviews, now, place), look)


def review_as_text(review: Review, look: Look, now: datetime) -> str:
    """One question with all that is known about it, and its answer."""
    return drawn(_whole(review, now), look)


def _queue(reviews: Sequence[Review], now: datetime, place: str) -> Iterable[RenderableType]:
    open_ones = sum(r.decision is None for r in reviews)
    waiting = f"{counted(open_ones, 'review')} waiting for an answer" if open_ones else "No review is waiting"
    answered = len(reviews) - open_ones
    yield Text(waiting + (f"; {answered:,} answered" if answered else ""), style="yellow" if open_ones else "green")
    for review in reviews:
        yield Text()
        yield _title(review)
        prompt = one_line(review.prompt, _PROMPT_CHARS)
        yield rows((*_money(review), ("prompt", prompt), _state(review, now)))
    if open_ones:
        yield titled("Next")
        yield rows(
            (
                (f"flyball reviews show ID{place}", "the whole question"),
                (f"flyball reviews approve ID{place}", "let the run spend it"),
                (f"flyball reviews deny ID{place}", "let it end with what it has"),
            ),
            label="bold",
        )


def _whole(review: Review, now: datetime) -> Iterable[RenderableType]:
    yield _title(review)
    who = (("run", one_line(review.run_id)), ("asked at", _moment(review.created_at)))
    yield rows((*_money(review), *who, _state(review, now)))
    cut = f", its first {PROMPT_CHARS:,} characters" if len(review.prompt) == PROMPT_CHARS else ""
    yield titled(f"Prompt{cut}")
    for line in review.prompt.splitlines():
        yield Padding(Text(one_line(line, PROMPT_CHARS * _ESCAPED), overflow="fold"), (0, 0, 0, 2))


def _title(review: Review) -> Text:
    about = [review.agent_name, review.model, *([f"user {review.user_id}"] if review.user_id is not None else [])]
    name = Text.assemble((one_line(review.review_id), f"bold {_COLOURS[review.decision]}"), overflow="fold")
    return name.append("  " + ", ".join(one_line(part, 80) for part in about))


def _money(review: Review) -> Iterable[tuple[str, str]]:
    limit = f" of the {money(review.limit_usd)} it may" if review.limit_usd is not None else ", without a limit"
    yield "asks for", f"up to {money(review.asked_usd)}; it has spent {money(review.spent_usd)}{limit}"
    yield "because", one_line(review.reason)


def _state(review: Review, now: datetime) -> tuple[str, str]:
    if review.decision is None:
        # The clocks of two machines may differ by a little.
        waited = f"for {duration(max(0.0, (now - review.created_at).total_seconds()))}"
        left = (review.deadline_at - now).total_seconds()
        ends = f"{duration(left)} left" if left > 0 else f"its time ended at {_moment(review.deadline_at)}"
        return "waiting", f"{waited}; {ends}"
    by = f"by {one_line(review.decided_by, 80)}, " if review.decided_by else ""
    note = f": {one_line(review.note)}" if review.note else ""
    when = _moment(review.decided_at) if review.decided_at else "at an unknown time"
    return review.decision.replace("_", " "), f"{by}{when}{note}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
