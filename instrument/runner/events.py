"""What `GuardedRunner.stream` yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instrument.guards.facts import Intervention
    from instrument.runner.result import RunResult


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A request is sent to the model."""

    turn: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the model's words, as it came."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to run."""

    call_id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool has run, or was refused; `text` is what the model reads."""

    call_id: str
    name: str
    text: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Acted:
    """A guard, or the runner itself, has done something about the run."""

    intervention: Intervention


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of every stream."""

    result: RunResult


Event = TurnStarted | TextDelta | ThinkingDelta | ToolStarted | ToolEnded | Acted | Ended
