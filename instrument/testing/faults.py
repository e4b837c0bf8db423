"""Wrappers that spoil an answer on its way to the client. They nest: `delayed(cut(text("Hello")), 0.2)`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from instrument.testing.exchanges import Exchange
from instrument.testing.replies import ErrorReply, Reply

AnyReply = Reply | ErrorReply | Exchange
R = TypeVar("R", Reply, ErrorReply, Exchange)


def delayed(reply: R, seconds: float) -> R:
    """Nothing is sent for `seconds`; then the answer is."""
    return _with(reply, delay_seconds=seconds)


def slow(reply: R, seconds_per_event: float) -> R:
    """Each event of the stream comes that much later; a plain body counts as two."""
    return _with(reply, piece_delay_seconds=seconds_per_event)


def stalled(reply: R, seconds: float, *, after_events: int | None = None) -> R:
    """The answer stops for `seconds` after so many events (default: half of them), then goes on."""
    return _with(reply, stall_seconds=seconds, stall_after=after_events)


def cut(reply: R, *, after_events: int | None = None, error: ErrorReply | None = None) -> R:
    """The connection breaks after so many events (default: half of them), or in the middle of a plain body.

    With `error` a stream does not break there but ends with that error as its last event, as the API reports an
    overload that comes after the first events.
    """
    return _with(reply, cut=True, cut_after=after_events, cut_error=error)


def malformed(reply: R) -> R:
    """The answer arrives whole, but the JSON of its body, or of the event in its middle, is broken off."""
    return _with(reply, malformed=True)


def closed() -> Reply:
    """The connection is closed without any answer."""
    return _with(Reply(), closed=True)


def _with(reply: R, **changes: Any) -> R:
    return replace(reply, fault=replace(reply.fault, **changes))
