"""What is the same for every run of one `GuardedRunner`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from instrument.billing import cache_marks

if TYPE_CHECKING:
    from instrument.policy import Policy
    from instrument.runner.toolbox import Toolbox
    from instrument.spill import Spill

COMPLETE: Final = "task_complete"
COMPLETE_TOOL: Final = {
    "name": COMPLETE,
    "description": "Ends the task. Call it once, when the task is done, or when you are sure that you cannot do it or only a part of it.",
    "input_schema": {
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": ["completed", "failed", "partial"]},
            "answer": {"type": "string", "description": "The final answer for the user, or what is missing and why."},
        },
        "required": ["status", "answer"],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True, slots=True)
class Setup:
    """Model, tools and request parameters; `request` holds what goes into every request as it is."""

    model: str
    toolbox: Toolbox
    policy: Policy
    spill: Spill
    max_tokens: int
    system: Any = None
    task_complete: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)
    betas: tuple[str, ...] | None = None
    """Of the beta endpoint; None: the plain one is used."""
    definitions: tuple[dict[str, Any], ...] = ()
    marks: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        own = (COMPLETE_TOOL,) if self.task_complete else ()
        object.__setattr__(self, "definitions", (*self.toolbox.definitions, *own))
        object.__setattr__(self, "marks", cache_marks([self.system, self.definitions, dict(self.request)]))

    @property
    def thinking_tokens(self) -> int:
        """Output tokens that thinking may take; `max_tokens` must be above it."""
        thinking = self.request.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
        return budget if isinstance(budget, int) else 0
