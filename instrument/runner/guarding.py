"""`instrument.guard(client)`: inside of an `instrument.run`, every request of the client goes by the guards of that run.

A middleware of the SDK's: it sees each attempt, may change the request, and is there for every loop that is built on the client.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx2
import orjson

from instrument import compaction, tracing
from instrument.anthropic_client import decoded, tee
from instrument.context import guarding
from instrument.sse import message_of_stream

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from anthropic._request import APIRequest

    from instrument.runner.manual import GuardedRun
    from instrument.runner.sending import Sent

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


def unguarded(client: Any) -> Any:
    """The client without our guards, for those who hold money and ask guards by themselves: nothing is to be counted twice."""
    given = getattr(client, "middleware", ())
    kept = [m for m in given if not isinstance(m, (_Guard, _AsyncGuard))]
    return client if len(kept) == len(given) else client.with_options(middleware=kept)


class _Guard:
    """Middleware of a synchronous client."""

    def __call__(self, request: APIRequest, call_next: Callable[[APIRequest], Any]) -> Any:
        run, body = guarding.get(), request.json
        if run is None or not _is_message(request) or not isinstance(body, Mapping):
            return call_next(request)
        for attempt in (1, 2):
            sent = run.begin(dict(body))
            try:
                response = call_next(request.copy(body=sent.body))
                error = _error_of(response, lambda raw: raw.read())
            except BaseException as e:
                run.broke(sent, e)
                raise
            if error is None:
                _follow(run, sent, response)
                return response
            run.broke(sent, error)
            if sent.inner or attempt == 2 or not compaction.overflow(error):
                return response
        raise AssertionError("the second attempt returns")


class _AsyncGuard:
    """Middleware of an asynchronous client."""

    async def __call__(self, request: APIRequest, call_next: Callable[[APIRequest], Awaitable[Any]]) -> Any:
        run, body = guarding.get(), request.json
        if run is None or not _is_message(request) or not isinstance(body, Mapping):
            return await call_next(request)
        for attempt in (1, 2):
            sent = await run.abegin(dict(body))
            try:
                response = await call_next(request.copy(body=sent.body))
                raw = getattr(response, "http_response", None)
                if isinstance(raw, httpx2.Response) and raw.status_code >= 400:
                    await raw.aread()
                error = _error_of(response, lambda raw: raw)
            except BaseException as e:
                run.broke(sent, e)
                raise
            if error is None:
                if response.http_response.is_closed and (message := _message_in(response.http_response.content)):
                    await run.aarrived(sent, message)
                else:
                    _follow(run, sent, response)
                return response
            run.broke(sent, error)
            if sent.inner or attempt == 2 or not compaction.overflow(error):
                return response
        raise AssertionError("the second attempt returns")


class _Refused(Exception):
    def __init__(self, response: httpx2.Response) -> None:
        self.response, self.status_code = response, response.status_code
        super().__init__(response.text)


def _is_message(request: APIRequest) -> bool:
    return request.method.lower() == "post" and request.url.split("?")[0].endswith(_MESSAGES)


def _error_of(response: Any, read: Callable[[httpx2.Response], Any]) -> Exception | None:
    """What is wrong with a response; None where an answer is here or on its way."""
    raw = getattr(response, "http_response", None)
    if not isinstance(raw, httpx2.Response):
        return ValueError("the answer was no HTTP response")
    if raw.status_code < 400:
        return None
    read(raw)
    return _Refused(raw)


def _follow(run: GuardedRun, sent: Sent, response: Any) -> None:
    """Tells the run of the answer: at once where it is here, else when the last piece of it has come."""
    raw: httpx2.Response = response.http_response
    if raw.is_closed:
        _tell(run, sent, raw.content)
        return
    chunks: list[bytes] = []
    encoding = raw.headers.get("content-encoding", "")
    raw.stream = tee(raw.stream, chunks.append, lambda: _tell(run, sent, b"".join(chunks), encoding))


def _tell(run: GuardedRun, sent: Sent, body: bytes, encoding: str = "") -> None:
    message = _message_in(body, encoding)
    if message is not None:
        run.arrived(sent, message)
    else:
        run.broke(sent, ValueError("the answer was cut short"))


def _message_in(body: bytes, encoding: str = "") -> dict[str, Any] | None:
    """The model's message in what came over the wire; None where it is no whole one."""
    try:
        whole = decoded(body, encoding)
        found = orjson.loads(whole) if whole.lstrip()[:1] == b"{" else message_of_stream(whole)
    except Exception as e:  # noqa: BLE001 - the client will find out by itself; ours is the account
        tracing.complain(e)
        return None
    complete = isinstance(found, dict) and isinstance(found.get("content"), list) and found.get("stop_reason")
    return found if complete else None
