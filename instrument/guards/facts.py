"""What guards are told and what they answer: values without content, so that a live run and a recorded one drive the same code.

Keys are those of `instrument.sameness`; `None` means "not known" and is never the same as anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from instrument.effects import Effect


class Action(StrEnum):
    """What was done about a run. The first three are the ladder that guards climb; the others are the runner's own measures."""

    NUDGE = "nudge"
    """The model was told something; nothing was kept from it."""
    BLOCK = "block"
    """A tool call did not run; the model was told why."""
    STOP = "stop"
    """The run was brought to its end."""
    WARN = "warn"
    """Recorded, and nothing else."""
    COMPACT = "compact"
    """The conversation was made shorter."""
    CUT = "cut"
    """A tool result was cut."""
    LOWER = "lower"
    """A request was sent with a lower `max_tokens`."""
    RETRY = "retry"
    """A failed request was sent again."""
    ASK = "ask"
    """A person was asked."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the model asked for, before anybody ran it."""

    turn: int
    """Number of the model call that asked, from 1. Calls of one turn are parallel."""
    call_id: str
    tool: str
    call_key: int | None
    loose_call_key: int | None
    effect: Effect = Effect.LOOKS
    """As `instrument.effects.effect_of` judges it; never `COMMANDS`."""
    unknown: bool = False
    """The tool was not declared in the request."""
    nearest: tuple[str, ...] = ()
    """Of an unknown tool: the declared ones whose names are nearest."""
    invalid: str | None = None
    """Why the arguments do not fit the tool's schema; None if they do, or nobody could tell."""
    null_input: bool = False
    """There were arguments, and every value in them is empty: null, "", [], {}."""
    at_seconds: float = 0.0
    """When it was asked, on a clock that only moves forward; differences alone mean anything."""
    writes: bool = False
    """As `instrument.effects.writes` judges it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. `rejected` calls never ran."""

    result_key: int | None = None
    failed: bool | None = None
    """True for an error, flagged or read from the result's words (`sameness.says_error`); None where nobody knows."""
    failure_kind: str | None = None
    temporary: bool = False
    """The failure may pass by itself: a time-out, a lost connection, an overloaded server."""
    rejected: str | None = None
    """`unknown_tool`, `invalid_arguments` or `blocked`."""
    at_seconds: float | None = None
    """When it ended, on the clock of `Call.at_seconds`; None: as if it had ended when it was asked."""
    words_key: int | None = None
    """Of a call that writes: key of the result's words (`sameness.loose_result_key`)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answered."""

    turn: int
    output_key: int | None = None
    loose_output_key: int | None = None
    output_chars: int = 0
    calls: int = 0
    """Tool calls it asked for."""
    idle: bool = False
    """It says what it is going to do, and does nothing."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """One action of a guard. Written as an event of the span concerned, and kept in the run's result."""

    guard: str
    """Slug of the guard; that of the detector which finds the same afterwards, where there is one."""
    action: Action
    reason: str
    """One sentence in the past tense, with the numbers."""
    setting: str = ""
    """The policy's field that decided, such as `loops.same_call_repeats`; empty where none did."""
    threshold: float | None = None
    value: float | None = None
    """What was measured against `threshold`, in the unit of `setting`."""
    advice: str = ""
    """What the model is told; empty where it is told nothing."""
    tool: str | None = None
    call_id: str | None = None
    turn: int = 0
    observed: bool = False
    """The policy's mode was `observe`: this is what would have been done."""
