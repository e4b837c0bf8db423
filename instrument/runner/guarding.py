"""`instrument.guard(client)`: inside of an `instrument.run`, every request of the client goes by the guards of that run.

A middleware of the SDK's: it sees each attempt, may change the request, and is there for every loop that is built on the client.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx2
import orjson

from instrument import tracing
from instrument.anthropic_client import decoded, tee
from instrument.context import guarding
from instrument.sse import message_of_stream

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from anthropic._request import APIRequest

    from instrument.runner.manual import GuardedRun

Client = TypeVar("Client", bound="Anthropic | AsyncAnthropic")
_MESSAGES = "/v1/messages"


def guard(client: Client) -> Client:
    """A client like `client` whose requests, inside of an `instrument.run` or a guarded `@instrument.agent`, go by its guards.

    Requests are held against the budget, shortened where the context is full, told what the guards have to say, and, once the
    run is stopped, turned into one that can only be answered in words; after that one they raise `RunStopped`. Outside of a run nothing
    changes. Guarding a guarded client changes nothing.
    """
    if any(isinstance(m, (_Guard, _AsyncGuard)) for m in client.middleware):
        return client
    guarded: Any = _AsyncGuard() if inspect.iscoroutinefunction(client.request) else _Guard()
    # Outermost: what records the request sees what was made of it.
    return cast("Client", client.with_options(middleware=[guarded, *client.middleware]))


class _Guard:
    """Middleware of a synchronous client."""

    def __call__(self, request: APIRequest, call_next: Callable[[APIRequest], Any]) -> Any:
        run, body = guarding.get(), request.json
        if run is None or not _is_message(request) or not isinstance(body, Mapping):
            return call_next(request)
        ready = request.copy(body=run.request(**body))
        try:
            response = call_next(ready)
        except Exception as e:
            run.failed(e)
            raise
        _follow(run, response)
        return response


class _AsyncGuard:
    """Middleware of an asynchronous client."""

    async def __call__(self, request: APIRequest, call_next: Callable[[APIRequest], Awaitable[Any]]) -> Any:
        run, body = guarding.get(), request.json
        if run is None or not _is_message(request) or not isinstance(body, Mapping):
            return await call_next(request)
        ready = request.copy(body=await run.arequest(**body))
        try:
            response = await call_next(ready)
        except Exception as e:
            run.failed(e)
            raise
        _follow(run, response)
        return response


def _is_message(request: APIRequest) -> bool:
    return request.method.lower() == "post" and request.url.split("?")[0].endswith(_MESSAGES)


def _follow(run: GuardedRun, response: Any) -> None:
    """Tells the run of the answer: at once where it is here, else when the last piece of it has come."""
    raw = getattr(response, "http_response", None)
    if not isinstance(raw, httpx2.Response):
        run.failed(ValueError("the answer was no HTTP response"))
    elif raw.status_code >= 400:
        run.failed(httpx2.HTTPStatusError("refused", request=raw.request, response=raw))
    elif raw.is_closed:
        _tell(run, raw.content)
    else:
        chunks: list[bytes] = []
        encoding = raw.headers.get("content-encoding", "")
        raw.stream = tee(raw.stream, chunks.append, lambda: _tell(run, decoded(b"".join(chunks), encoding)))


def _tell(run: GuardedRun, body: bytes) -> None:
    try:
        message = orjson.loads(body) if body.lstrip()[:1] == b"{" else message_of_stream(body)
    except Exception as e:  # noqa: BLE001 - the client will find out by itself; ours is the account
        tracing.complain(e)
        message = None
    if isinstance(message, dict) and isinstance(message.get("content"), list) and message.get("stop_reason"):
        run.answered(message)
    else:
        run.failed(ValueError("the answer was cut short"))
