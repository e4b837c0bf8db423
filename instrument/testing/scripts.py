"""What answers a request: a list of replies, a function of the request, or recorded exchanges."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from instrument.testing.exchanges import Exchange
from instrument.testing.faults import AnyReply


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server received it. Header names are lower case; `path` has no query."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class ScriptEndedError(Exception):
    """A request came for which the script has no reply."""


Script = Callable[[Request], AnyReply]


def in_turn(replies: Iterable[AnyReply]) -> Script:
    """Answers the requests in the order in which they come; `replies` may be endless."""
    rest = enumerate(replies, start=1)
    used = 0

    def answer(request: Request) -> AnyReply:  # noqa: ARG001 - a script by its order alone
        nonlocal used
        for used, reply in rest:  # noqa: B007 - kept for the message below
            return reply
        raise ScriptEndedError(
            f"the script of this ModelServer has ended: it held {used} replies, and one more was asked for"
        )

    return answer


def recorded(exchanges: Iterable[Exchange], *, match_body: bool) -> Script:
    """Each exchange answers once: the next one of the request's path and, if `match_body`, with the same body."""
    waiting: dict[tuple[str, str], deque[Exchange]] = defaultdict(deque)

    def key(path: str, body: object) -> tuple[str, str]:
        return path, json.dumps(body, sort_keys=True) if match_body else ""

    for exchange in exchanges:
        waiting[key(exchange.endpoint, exchange.request_body)].append(exchange)

    def answer(request: Request) -> AnyReply:
        fitting = waiting[key(request.path, request.body)]
        if not fitting:
            alike = " with this body" if match_body else ""
            raise ScriptEndedError(
                f"the script of this ModelServer has ended: no exchange for {request.path}{alike} is left"
            )
        return fitting.popleft()

    return answer
