"""`watch(client)`: what the Anthropic SDK's own spans lack, at a lower price than its content mode.

The SDK's span stays as it is, without content. A middleware keeps the body of the request and the bytes of the response, which exist
anyway; when the span has ended they are turned into messages, tool definitions and billing details for its line in the journal. Nothing
is patched.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx2
import orjson
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from instrument import genai_messages, semconv, tracing
from instrument.items import Known
from instrument.otlp_line import dumps
from instrument.sse import message_of_stream
from instrument.tap import capture

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from anthropic._request import APIRequest

Client = TypeVar("Client", bound="Anthropic | AsyncAnthropic")

_SDK_SCOPE: Final = "com.anthropic.sdk.python"
_STREAM_BYTES: Final = 64_000_000
"""Of a response longer than this only the beginning is kept."""


def watch(client: Client) -> Client:
    """A client like `client` whose calls are recorded with messages, tool definitions, web searches and speed.

    Works for `Anthropic`, `AsyncAnthropic` and their platform variants, best after `record()`. Of the client's options only the content
    mode of its OpenTelemetry spans changes; if they were off, they are on. Watching a watched client changes nothing.
    """
    if any(isinstance(m, (_Watch, _AsyncWatch)) for m in client.middleware):
        return client
    options: Any = client.open_telemetry
    options["traces"].update(enabled=True, content_mode="metadata_only")
    if "tracer_provider" not in options and (provider := tracing.provider_in_use()) is not None:
        options["tracer_provider"] = provider
    watcher: Any = _AsyncWatch() if _is_async(client) else _Watch()
    # Innermost: it sees what is really sent.
    return cast("Client", client.with_options(middleware=[*client.middleware, watcher], open_telemetry=options))


def _is_async(client: Any) -> bool:
    return inspect.iscoroutinefunction(client.request)


class _Watch:
    """Middleware of a synchronous client."""

    def __call__(self, request: APIRequest, call_next: Callable[[APIRequest], Any]) -> Any:
        try:
            response = call_next(request)
        except Exception:
            _keep(request, None)
            raise
        _keep(request, response)
        return response


class _AsyncWatch:
    """Middleware of an asynchronous client."""

    async def __call__(self, request: APIRequest, call_next: Callable[[APIRequest], Awaitable[Any]]) -> Any:
        try:
            response = await call_next(request)
        except Exception:
            _keep(request, None)
            raise
        _keep(request, response)
        return response


def _keep(request: APIRequest, response: Any) -> None:
    """Keeps an attempt for the span of its call; the last attempt is the one that counts. Never raises."""
    try:
        span = trace.get_current_span()
        if not tracing.wants_content() or not _is_sdks(span):
            return
        # The SDK made a copy of the body for this call, so nobody changes it before the span has ended.
        exchange = _Exchange(request.json)
        raw = getattr(response, "http_response", None)
        if isinstance(raw, httpx2.Response):
            exchange.follow(raw)
        capture(span.get_span_context().span_id, exchange)
    except Exception as e:  # noqa: BLE001 - the call goes on, recorded or not
        tracing.complain(e)


def _is_sdks(span: trace.Span) -> bool:
    """Whether this is the SDK's own span, and not some span around a client that has none."""
    scope = span.instrumentation_scope if isinstance(span, ReadableSpan) and span.is_recording() else None
    return scope is not None and scope.name.startswith(_SDK_SCOPE)


class _Exchange:
    """One attempt: what was sent and the response as it came. Called when the span has ended, gives what its attributes lack."""

    __slots__ = ("_asked", "_bytes", "_chunks", "_response")

    def __init__(self, asked: Any) -> None:
        self._asked = asked
        self._response: httpx2.Response | None = None
        self._chunks: list[bytes] = []
        self._bytes = 0

    def follow(self, response: httpx2.Response) -> None:
        """A response that has been read is at hand; of one that is still to come a copy is made on the way."""
        self._response = response
        if not response.is_closed:
            response.stream = tee(response.stream, self._took)

    def _took(self, chunk: bytes) -> None:
        if self._bytes < _STREAM_BYTES:
            self._chunks.append(chunk)
            self._bytes += len(chunk)

    def __call__(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        if attributes.get(semconv.OPERATION) != semconv.CHAT:  # counting tokens, listing models
            return {}
        found = _asked(self._asked) if isinstance(self._asked, Mapping) else {}
        found.update(self._answered())
        return found

    def _answered(self) -> dict[str, Any]:
        response = self._response
        if response is None or not 200 <= response.status_code < 300:
            return {}
        body = response.content if not self._chunks else b"".join(self._chunks)
        if self._chunks:
            body = decoded(body, response.headers.get("content-encoding", ""))
        # Looking into the headers costs more than all the rest here.
        message = orjson.loads(body) if body.lstrip()[:1] == b"{" else message_of_stream(body)
        if not isinstance(message, dict):
            return {}
        found: dict[str, Any] = genai_messages.billed_extras(message.get("usage"))
        if isinstance(blocks := message.get("content"), list):
            found[semconv.OUTPUT_MESSAGES] = _json([{"role": "assistant", "parts": genai_messages.parts(blocks)}])
        return found


def _asked(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (system := body.get("system")) is not None:
        found[semconv.SYSTEM_INSTRUCTIONS] = _known.system(system)
    messages = body.get("messages") or ()
    found[semconv.INPUT_MESSAGES] = _known.messages(messages) or _json(genai_messages.messages(messages))
    if tools := body.get("tools"):
        found[semconv.TOOL_DEFINITIONS] = _known.tools(tools)
    return found


def _json(value: Any) -> str:
    return dumps(value).decode()


_known = Known(lambda value: (_json(value), 0))


def decoded(data: bytes, encoding: str) -> bytes:
    """A body as it came over the wire, uncompressed, as far as it came. Raises `ValueError` for an encoding we cannot read."""
    match encoding.lower():
        case "" | "identity":
            return data
        case "gzip" | "deflate":
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data)
        case "zstd":
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    raise ValueError(f"a response in content encoding {encoding} was not recorded")


def tee(stream: Any, took: Callable[[bytes], None], done: Callable[[], None] | None = None) -> _Tee | _AsyncTee:
    """A stream of the same kind as `stream` that passes everything on and shows it to `took` first; `done` when it is closed."""
    if not isinstance(stream, httpx2.SyncByteStream):
        return _AsyncTee(stream, took, done)
    kind = _BothTee if isinstance(stream, httpx2.AsyncByteStream) else _Tee
    return kind(stream, took, done)


class _Source:
    def __init__(self, stream: Any, took: Callable[[bytes], None], done: Callable[[], None] | None) -> None:
        self._stream, self._took, self._done = stream, took, done

    def _ended(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    @property
    def elapsed(self) -> timedelta | None:
        """What `httpx2.Response.elapsed` asks its stream for."""
        return getattr(self._stream, "elapsed", None)


class _Tee(_Source, httpx2.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._took(chunk)
            yield chunk

    def close(self) -> None:
        self._stream.close()
        self._ended()


class _AsyncTee(_Source, httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._stream.__aiter__()
        try:
            async for chunk in chunks:
                self._took(chunk)
                yield chunk
        finally:
            if hasattr(chunks, "aclose"):  # a generator read in part is closed in the task that read it
                await chunks.aclose()

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._ended()


class _BothTee(_Tee, _AsyncTee):
    """Of a body that is at hand as a whole, which can be read either way."""
