"""Record and govern LLM agents. Importing this does nothing else and loads nothing heavy; `record()` starts a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instrument.call import current
from instrument.context import ContextThreadPool, conversation, in_context, user
from instrument.decorators import agent, model, tool, usage
from instrument.tracing import record

if TYPE_CHECKING:
    from instrument.anthropic_client import watch
    from instrument.errors import CallRefused, FlyballError, RunStopped
    from instrument.guards.facts import Intervention
    from instrument.ledger import open_ledger
    from instrument.policy import Policy, load_policy
    from instrument.recorder import Recorder, Stats
    from instrument.redact import Redactor
    from instrument.runner.guarded import GuardedRunner
    from instrument.runner.guarding import guard
    from instrument.runner.manual import GuardedRun, run
    from instrument.runner.result import RunResult
    from instrument.runner.sdk_loop import tool_runner
    from instrument.runner.stop import StopReason
    from instrument.runner.tools import Tool, limited

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
    # a guarded agent
    "GuardedRunner",
    "RunResult",
    "StopReason",
    "Intervention",
    "Tool",
    "limited",
    # a loop of your own, guarded
    "run",
    "GuardedRun",
    "guard",
    "tool_runner",
    # budgets and reviews
    "open_ledger",
    # what can go wrong
    "FlyballError",
    "RunStopped",
    "CallRefused",
]

_LATER = {
    "watch": "instrument.anthropic_client",
    "Recorder": "instrument.recorder",
    "Stats": "instrument.recorder",
    "Redactor": "instrument.redact",
    "Policy": "instrument.policy",
    "load_policy": "instrument.policy",
    "GuardedRunner": "instrument.runner.guarded",
    "RunResult": "instrument.runner.result",
    "StopReason": "instrument.runner.stop",
    "Intervention": "instrument.guards.facts",
    "Tool": "instrument.runner.tools",
    "limited": "instrument.runner.tools",
    "run": "instrument.runner.manual",
    "GuardedRun": "instrument.runner.manual",
    "guard": "instrument.runner.guarding",
    "tool_runner": "instrument.runner.sdk_loop",
    "open_ledger": "instrument.ledger",
    "FlyballError": "instrument.errors",
    "RunStopped": "instrument.errors",
    "CallRefused": "instrument.errors",
}


def __getattr__(name: str) -> Any:
    """Loads what needs more than OpenTelemetry on first use."""
    if name not in _LATER:
        raise AttributeError(f"module 'instrument' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value
