"""Everything the API can do to an agent, as a catalogue to parametrise a test over.

@pytest.mark.parametrize("fault", API_FAULTS.values(), ids=str)
def test_my_agent_survives(fault):
    script = itertools.chain([tool_use("lookup")], fault(tool="lookup"), itertools.repeat(text("Done.")))
    with ModelServer(script) as server: ...
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from instrument.testing.exchanges import Exchange
from instrument.testing.faults import AnyReply, closed, cut, malformed, slow, stalled
from instrument.testing.replies import error, text, together, tool_use
from instrument.testing.usage import Usage

STALL_SECONDS: Final = 30.0
"""Of the silence in `stalled`; a client that waits longer gets its answer then."""
_SLOW_SECONDS: Final = 0.05
_SOON_SECONDS: Final = 0.05
_HOUR_SECONDS: Final = 3600.0
_WORDS: Final = "The handbook has a page on that, and it says: " * 8
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass(frozen=True, slots=True)
class ApiFault:
    """One thing that goes wrong: what the server answers in place of its next answers."""

    name: str
    sentence: str
    """What the API does, for a person."""
    endless: bool
    """Whether it never stops, so that what comes after it in a script is never sent."""
    _replies: Callable[[str], Iterable[AnyReply]]

    def __call__(self, tool: str = "lookup") -> Iterator[AnyReply]:
        """The replies. `tool` is one that the agent declares, for the faults in which the model calls one."""
        return iter(self._replies(tool))

    def __str__(self) -> str:
        return self.name


_catalogue: dict[str, ApiFault] = {}
API_FAULTS: Final[Mapping[str, ApiFault]] = MappingProxyType(_catalogue)
"""By name. Each gives replies for a `ModelServer` and says in `sentence` what goes wrong."""


def _once(reply: Callable[[str], AnyReply]) -> Callable[[str], AnyReply]:
    _add(reply, endless=False, replies=lambda tool: (reply(tool),))
    return reply


def _for_ever(reply: Callable[[str], AnyReply]) -> Callable[[str], AnyReply]:
    _add(reply, endless=True, replies=lambda tool: itertools.repeat(reply(tool)))
    return reply


def _add(reply: Callable[[str], AnyReply], *, endless: bool, replies: Callable[[str], Iterable[AnyReply]]) -> None:
    name, sentence = reply.__name__, inspect.getdoc(reply) or ""
    _catalogue[name] = ApiFault(name, sentence, endless, replies)


# ruff: noqa: ARG001 - every reply is told the tool, few call it

# --- errors ------------------------------------------------------------------------------------------------------


@_once
def rate_limited(tool: str) -> AnyReply:
    """429, to be tried again in a moment."""
    return error(429, retry_after_seconds=_SOON_SECONDS)


@_once
def rate_limited_for_an_hour(tool: str) -> AnyReply:
    """429, to be tried again in an hour."""
    return error(429, retry_after_seconds=_HOUR_SECONDS)


@_once
def overloaded(tool: str) -> AnyReply:
    """529, overloaded."""
    return error(529, retry_after_seconds=_SOON_SECONDS)


@_for_ever
def overloaded_for_ever(tool: str) -> AnyReply:
    """529 to every request from now on."""
    return error(529, retry_after_seconds=_SOON_SECONDS)


@_once
def server_error(tool: str) -> AnyReply:
    """500, an error inside the API."""
    return error(500, retry_after_seconds=_SOON_SECONDS)


@_once
def bad_gateway(tool: str) -> AnyReply:
    """502 with a page of HTML, from a proxy on the way."""
    return _page(502, _HTML)


@_once
def unauthorized(tool: str) -> AnyReply:
    """401, the key is wrong."""
    return error(401)


@_once
def invalid_request(tool: str) -> AnyReply:
    """400, the request is not as it should be."""
    return error(400, message="messages.1.content: Input should be a valid list")


@_once
def prompt_too_long(tool: str) -> AnyReply:
    """400, the prompt is longer than the context window."""
    return error(400, message="prompt is too long: 210000 tokens > 200000 maximum")


@_once
def request_too_large(tool: str) -> AnyReply:
    """413, the request has too many bytes."""
    return error(413)


# --- answers that do not arrive in order -------------------------------------------------------------------------


@_once
def connection_closed(tool: str) -> AnyReply:
    """The connection is closed without an answer."""
    return closed()


@_once
def cut_off(tool: str) -> AnyReply:
    """The connection breaks in the middle of the answer."""
    return cut(text(_WORDS))


@_once
def cut_in_tool_call(tool: str) -> AnyReply:
    """The connection breaks in the middle of a tool call."""
    return cut(tool_use(tool, {"question": _WORDS}))


@_once
def error_in_stream(tool: str) -> AnyReply:
    """A stream ends in an overload after its first events; a plain body breaks off."""
    return cut(text(_WORDS), error=error(529))


@_once
def stalls(tool: str) -> AnyReply:
    """The answer stops for 30 seconds in the middle."""
    return stalled(text(_WORDS), STALL_SECONDS)


@_once
def slow_answer(tool: str) -> AnyReply:
    """Every event comes late."""
    return slow(text("Slowly."), _SLOW_SECONDS)


@_once
def malformed_json(tool: str) -> AnyReply:
    """The JSON of the answer is broken."""
    return malformed(text(_WORDS))


@_once
def empty_body(tool: str) -> AnyReply:
    """200 with nothing in it."""
    return _page(200, "")


# --- answers that are odd ----------------------------------------------------------------------------------------


@_once
def empty_content(tool: str) -> AnyReply:
    """The model says nothing at all."""
    return together()


@_once
def blank_text(tool: str) -> AnyReply:
    """The model says nothing but white space, which the API does not take back."""
    return text(" \n")


@_once
def unknown_stop_reason(tool: str) -> AnyReply:
    """The model stopped for a reason that this SDK has never heard of."""
    return text("Half of it", stop_reason="a_reason_of_tomorrow")


@_once
def unknown_block(tool: str) -> AnyReply:
    """The answer holds a block of a kind that this SDK has never heard of."""
    answer = text("And this.")
    return replace(answer, content=({"type": "hologram", "data": {"x": [1, None]}}, *answer.content))


@_once
def refusal(tool: str) -> AnyReply:
    """The model refuses to answer."""
    return together(stop_reason="refusal")


@_once
def max_tokens_in_tool_call(tool: str) -> AnyReply:
    """The token limit cut a tool call in two: its arguments are not all there."""
    return tool_use(tool, {"question": "wha"}, raw_input='{"question": "wha', stop_reason="max_tokens")


@_once
def context_window_exceeded(tool: str) -> AnyReply:
    """The answer filled the context window."""
    return text("The handbook says", stop_reason="model_context_window_exceeded")


@_once
def pause_turn(tool: str) -> AnyReply:
    """The turn is paused, to be continued by sending it back."""
    return text("Looking that up.", stop_reason="pause_turn")


@_for_ever
def pause_turn_for_ever(tool: str) -> AnyReply:
    """Every turn is paused from now on."""
    return text("Looking that up.", stop_reason="pause_turn")


@_once
def no_usage(tool: str) -> AnyReply:
    """The answer does not say what it used."""
    return text("Free of charge.", usage=None)


@_once
def huge_usage(tool: str) -> AnyReply:
    """The answer claims to have used a billion tokens."""
    return text("Not so free.", usage=Usage(10**9, 10**9))


# --- tool calls that are odd -------------------------------------------------------------------------------------


@_once
def wrong_arguments(tool: str) -> AnyReply:
    """A tool is called with arguments that it does not have."""
    return tool_use(tool, {"no_such_argument": {"nested": [None]}})


@_once
def input_not_an_object(tool: str) -> AnyReply:
    """A tool is called with a list in place of named arguments."""
    return tool_use(tool, ["what", 1, None])


@_once
def broken_input(tool: str) -> AnyReply:
    """The arguments of a tool call are no JSON (in a stream; a plain answer has none)."""
    return tool_use(tool, {}, raw_input='{"question": what?}')


@_once
def unknown_tool(tool: str) -> AnyReply:
    """A tool is called that was never declared."""
    return tool_use(f"{tool}_by_telepathy", {"question": "what"})


@_once
def duplicate_ids(tool: str) -> AnyReply:
    """Two tool calls of one answer have the same id."""
    calls = (tool_use(tool, {"question": each}, id="toolu_twin") for each in ("this", "that"))
    return together(*calls)


@_once
def many_tool_calls(tool: str) -> AnyReply:
    """One answer calls a tool a hundred times."""
    return together(*(tool_use(tool, {"question": f"number {each}"}) for each in range(100)))


@_once
def tool_call_without_its_stop_reason(tool: str) -> AnyReply:
    """A tool is called, and the answer says that the turn is over."""
    return tool_use(tool, {"question": "what"}, stop_reason="end_turn")


@_once
def stop_reason_without_its_tool_call(tool: str) -> AnyReply:
    """The answer says that it calls a tool, and does not."""
    return text("I call the tool.", stop_reason="tool_use")


@_for_ever
def tool_calls_for_ever(tool: str) -> AnyReply:
    """The same tool is called with the same arguments from now on, even when there are no tools any more."""
    return tool_use(tool, {"question": "what"})


@_for_ever
def narration_for_ever(tool: str) -> AnyReply:
    """The model announces what it will do, and never does it."""
    return text("I will now look into the handbook and report back to you.")


def _page(status: int, body: str) -> Exchange:
    kind = "text/html" if body else "application/json"
    return Exchange("/v1/messages", {}, status, {"content-type": kind}, body, streaming=False, source="the test kit")
