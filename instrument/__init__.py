"""Record and govern LLM agents. Importing this does nothing else and loads nothing heavy; `record()` starts a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instrument.call import current
from instrument.context import ContextThreadPool, conversation, in_context, user
from instrument.decorators import agent, model, tool, usage
from instrument.tracing import record

if TYPE_CHECKING:
    from instrument.anthropic_client import watch
    from instrument.policy import Policy, load_policy
    from instrument.recorder import Recorder, Stats
    from instrument.redact import Redactor

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # record
    "record",
    "Recorder",
    "Stats",
    "Redactor",
    # what is recorded
    "agent",
    "tool",
    "model",
    "watch",
    "usage",
    "current",
    # for whom, and across threads
    "user",
    "conversation",
    "in_context",
    "ContextThreadPool",
    # what is allowed
    "Policy",
    "load_policy",
]

_LATER = {
    "watch": "instrument.anthropic_client",
    "Recorder": "instrument.recorder",
    "Stats": "instrument.recorder",
    "Redactor": "instrument.redact",
    "Policy": "instrument.policy",
    "load_policy": "instrument.policy",
}


def __getattr__(name: str) -> Any:
    """Loads what needs more than OpenTelemetry on first use."""
    if name not in _LATER:
        raise AttributeError(f"module 'instrument' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value
