"""Test kit: a scripted model server that the real SDK talks to over HTTP, and tools that fail on purpose.

from instrument.testing import ModelServer, text, tool_use

with ModelServer([tool_use("search", {"q": "x"}), text("Done.")]) as server:
    client = anthropic.Anthropic(api_key="test", base_url=server.url)
    ...
    assert server.requests[1].body["messages"][-1]["content"][0]["type"] == "tool_result"
"""

from instrument.testing.exchanges import Exchange, load_exchanges, recorded_exchanges
from instrument.testing.faults import closed, cut, delayed, malformed, slow, stalled
from instrument.testing.replies import ErrorReply, Reply, error, text, thinking, together, tool_use
from instrument.testing.scripts import Request
from instrument.testing.server import ModelServer
from instrument.testing.tool_faults import failing, hanging, returning
from instrument.testing.usage import Usage, estimated_tokens

__all__ = [  # noqa: RUF022 - grouped by what they are for
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
]
