"""How one tool call ended, as a value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from instrument.capture import type_of
from instrument.runner.content import Content, as_content, drained
from instrument.runner.failures import error_content, is_temporary


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of one tool call. An error's content is text and never empty, as the API demands."""

    content: Content
    """What the model reads."""
    text: str
    """The same as text, for the record."""
    is_error: bool
    error_type: str | None
    error: BaseException | None
    """What was raised; None without an error, and where a process could not send it."""
    temporary: bool
    """The same call may succeed later: a time-out, a lost connection, an overloaded server."""
    timed_out: bool
    abandoned: bool
    """It was given up and still runs: a thread cannot be killed, and a task may refuse to be cancelled."""
    seconds: float


def succeeded(value: Any, began: float) -> Ran:
    """The tool returned. `began` is of `time.perf_counter`. Raises what a returned generator raises."""
    content, text = as_content(drained(value))
    return Ran(content, text, False, None, None, False, False, False, time.perf_counter() - began)


def failed(error: BaseException, began: float) -> Ran:
    """The tool raised."""
    text = error_content(error)
    seconds = time.perf_counter() - began
    return Ran(text, text, True, type_of(error), error, is_temporary(error), False, False, seconds)


def timed_out(tool: str, seconds: float, *, abandoned: bool) -> Ran:
    """The tool gave no result in `seconds`."""
    rest = "; it may still be running, and what it does may still take effect" if abandoned else " and was stopped"
    text = f"TimeoutError: {tool} gave no result within {seconds:.3g} seconds{rest}."
    return Ran(text, text, True, "TimeoutError", TimeoutError(text), True, True, abandoned, seconds)


def out_of_time(tool: str) -> Ran:
    """No time was left to start it."""
    text = f"TimeoutError: {tool} was not run, since no time was left for it."
    return Ran(text, text, True, "TimeoutError", TimeoutError(text), True, True, False, 0.0)


def not_run(tool: str) -> Ran:
    """A member of a toolset, after an earlier one of the same turn failed: the model planned them as a sequence."""
    text = f"{tool} was not run, because an action before it in this turn failed."
    return Ran(text, text, True, "not_run", None, False, False, False, 0.0)
