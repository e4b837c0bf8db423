"""Test kit: a scripted model server that the real SDK talks to over HTTP, tools that fail on purpose, and checks of a whole agent.

from instrument.testing import ModelServer, text, tool_use

with ModelServer([tool_use("search", {"q": "x"}), text("Done.")]) as server:
    client = anthropic.Anthropic(api_key="test", base_url=server.url)
    ...
    assert server.requests[1].body["messages"][-1]["content"][0]["type"] == "tool_result"

A team's own agent, a function of (client, prompt, tools), against a model that misbehaves:

def test_broken_tool(): check_broken_tool(my_agent)
def test_ambiguous_tool(): check_ambiguous_tool(my_agent)
def test_cost_limit(): check_cost_limit(my_agent, limit_usd=0.50)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from instrument.testing.exchanges import Exchange, load_exchanges, recorded_exchanges
from instrument.testing.faults import closed, cut, delayed, malformed, slow, stalled
from instrument.testing.replies import ErrorReply, Reply, error, text, thinking, together, tool_use
from instrument.testing.scripts import Request
from instrument.testing.server import ModelServer
from instrument.testing.tool_faults import failing, hanging, returning
from instrument.testing.usage import Usage, estimated_tokens
from instrument.testing.waiting import release_tools

if TYPE_CHECKING:
    from instrument.testing.api_faults import API_FAULTS, ApiFault
    from instrument.testing.broken_tools import TOOL_FAULTS, ToolFault
    from instrument.testing.checks import (
        FAILURE_MODES,
        check_all_failure_modes,
        check_ambiguous_tool,
        check_broken_tool,
        check_context_overflow,
        check_cost_limit,
        check_hallucinated_tool,
        check_infinite_loop,
        check_stuck_state,
    )
    from instrument.testing.observed import Limits, Observed

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # an agent against a model that misbehaves: the three tests to write first, then the rest
    "check_broken_tool",
    "check_ambiguous_tool",
    "check_cost_limit",
    "check_infinite_loop",
    "check_context_overflow",
    "check_hallucinated_tool",
    "check_stuck_state",
    "check_all_failure_modes",
    "FAILURE_MODES",
    "Limits",
    "Observed",
    # the server
    "ModelServer",
    "Request",
    # replies
    "Reply",
    "ErrorReply",
    "Usage",
    "text",
    "tool_use",
    "thinking",
    "together",
    "error",
    "estimated_tokens",
    # replies that do not arrive in order
    "closed",
    "cut",
    "delayed",
    "malformed",
    "slow",
    "stalled",
    # recorded exchanges
    "Exchange",
    "load_exchanges",
    "recorded_exchanges",
    # tools that go wrong
    "failing",
    "hanging",
    "returning",
    "release_tools",
    # everything that can go wrong, to parametrise over
    "TOOL_FAULTS",
    "ToolFault",
    "API_FAULTS",
    "ApiFault",
]

_LATER = {
    "API_FAULTS": "api_faults",
    "ApiFault": "api_faults",
    "TOOL_FAULTS": "broken_tools",
    "ToolFault": "broken_tools",
    "FAILURE_MODES": "checks",
    "Limits": "observed",
    "Observed": "observed",
} | {name: "checks" for name in __all__ if name.startswith("check_")}


def __getattr__(name: str) -> Any:
    """Loads catalogues and checks on first use."""
    if name not in _LATER:
        raise AttributeError(f"module 'instrument.testing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"instrument.testing.{_LATER[name]}"), name)
    return value
