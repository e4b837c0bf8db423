"""Getting an answer from a person: a function of the host's, or the queue in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, Final

from instrument import tracing
from instrument.ledger import Ledger, Review
from instrument.runner import threads

POLL_SECONDS: Final = 0.25
"""How often the ledger is asked whether there is an answer."""
Reviewer = Callable[[Review], Any]
"""Gives True, False, or a `Review` with its decision; may be a coroutine function."""


def decided(review: Review, answer: Any) -> Review:
    """`review` with what a reviewer said. Whatever is not plainly yes is no."""
    if isinstance(answer, Review):
        return answer
    return replace(
        review,
        decision="approved" if answer is True else "denied",
        decided_by="the reviewer",
        decided_at=datetime.now(UTC),
    )


def ask_host(reviewer: Reviewer, review: Review, timeout_seconds: float) -> Review:
    """The review as the host's function decides it; without a decision where it takes longer. It runs in a thread: it may wait for ever."""
    answers: SimpleQueue[Review] = SimpleQueue()
    context = contextvars.copy_context()
    work = threads.start(lambda: answers.put(context.run(_called, reviewer, review)))
    try:
        return answers.get(timeout=timeout_seconds)
    except Empty:
        work.abandon()
        return review


async def ask_host_async(reviewer: Reviewer, review: Review, timeout_seconds: float) -> Review:
    """The same in an event loop; a coroutine function runs on the loop."""
    if not _is_async(reviewer):
        return await _asked_in_thread(reviewer, review, timeout_seconds)
    try:
        async with asyncio.timeout(timeout_seconds) as limit:
            return decided(review, await reviewer(review))
    except Exception as e:  # noqa: BLE001 - a reviewer that breaks has not said yes
        return review if isinstance(e, TimeoutError) and limit.expired() else _broken(review, e)


async def _asked_in_thread(reviewer: Reviewer, review: Review, timeout_seconds: float) -> Review:
    """Not in the loop's own threads: these are few, and a program waits for them at its end."""
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    answer: asyncio.Future[Review] = loop.create_future()

    def give(found: Review) -> None:
        if not answer.done():
            answer.set_result(found)

    def work() -> None:
        found = context.run(_called, reviewer, review)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(give, found)

    thread = threads.start(work)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await answer
    except TimeoutError:
        return review
    finally:
        thread.abandon()


def _called(reviewer: Reviewer, review: Review) -> Review:
    try:
        answer = reviewer(review)
        return decided(review, asyncio.run(_awaited(answer)) if inspect.isawaitable(answer) else answer)
    except BaseException as e:  # noqa: BLE001 - as above
        return _broken(review, e)


async def _awaited(answer: Any) -> Any:
    return await answer


def _broken(review: Review, error: BaseException) -> Review:
    if isinstance(error, Exception):
        tracing.complain(error)
    return replace(
        review,
        decision="denied",
        decided_by="the reviewer",
        note=f"asking raised {type(error).__name__}",
        decided_at=datetime.now(UTC),
    )


def _is_async(reviewer: Reviewer) -> bool:
    return inspect.iscoroutinefunction(reviewer) or inspect.iscoroutinefunction(getattr(reviewer, "__call__", None))  # noqa: B004


def answered(ledger: Ledger, review: Review) -> Review | None:
    """The review as the queue has it, once it has been decided."""
    found = ledger.review(review.review_id)
    return found if found is not None and found.decision is not None else None
