"""The receiver's HTTP side: OTLP/HTTP (opentelemetry.io/docs/specs/otlp) as an ASGI application.

Bodies are read here and handed, one at a time, to the thread that decodes and writes them. What is held in memory is bounded: who comes
when it is full is asked to come again, which every OTLP client does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from analyzer.serve import hosts
from analyzer.serve.answers import JSON, PROTOBUF, accepted, refused
from analyzer.serve.batch import Malformed
from analyzer.serve.inflate import CODINGS, TooLarge
from analyzer.serve.receiver import RETRY_SECONDS, Receiver, Unwritable

_BODIES_HELD: Final = 4
"""Bodies of the largest size that may be in memory at a time."""
_BODY_SECONDS: Final = 60.0
"""A client that has not sent its body by then is told so."""
_NOT_KEPT: Final = "flyball keeps spans; measurements are not kept"


class _Busy(Exception):
    """No memory left for another body."""


@dataclass(slots=True)
class Intake:
    """Reads bodies and passes them on."""

    receiver: Receiver
    worker: Executor
    """Of one thread."""
    allowed: frozenset[str]
    """Names by which the server may be called."""
    state: Callable[[], dict[str, Any]]
    """What /health tells besides the counts."""
    _held: int = 0
    """Bytes of bodies in memory."""

    async def traces(self, request: Request) -> Response:
        """POST /v1/traces."""
        return await self._answer(request, self._spans)

    async def logs(self, request: Request) -> Response:
        """POST /v1/logs: events of coding agents become spans."""
        return await self._answer(request, self._events)

    async def metrics(self, request: Request) -> Response:
        """POST /v1/metrics: answered, so that clients do not send them again and again, and counted."""
        return await self._answer(request, self._points)

    async def health(self, request: Request) -> Response:
        """GET /health: what the server has done so far. 503 while the journal cannot be written."""
        if said := hosts.problem(request.headers, self.allowed):
            return refused(JSON, 403, said)
        facts = {**self.receiver.facts(), **self.state()}
        healthy = self.receiver.problem is None
        return JSONResponse({"status": "ok" if healthy else "unwritable", **facts}, 200 if healthy else 503)

    async def _answer(self, request: Request, take: Callable[[bytes, str, str], Response]) -> Response:
        media = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
        coding = request.headers.get("content-encoding", "").strip().lower()
        if said := hosts.problem(request.headers, self.allowed):
            return refused(media, 403, said)
        if media not in (JSON, PROTOBUF):
            return refused(JSON, 415, f"Content-Type must be {PROTOBUF} or {JSON}")
        if coding not in CODINGS:
            return refused(media, 415, "Content-Encoding must be gzip or identity")
        held = _Held(self)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._body(request, held)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.worker, take, body, media, coding)
        except Malformed as e:
            self.receiver.counts.malformed += 1
            return refused(media, 400, str(e))
        except TooLarge as e:
            return refused(media, 413, str(e))
        except (_Busy, Unwritable) as e:
            self.receiver.counts.turned_away += 1
            return refused(media, 503, f"try again: {e}", {"Retry-After": str(RETRY_SECONDS)})
        except TimeoutError:
            return refused(media, 408, f"the body did not arrive within {_BODY_SECONDS:.0f} s")
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        finally:
            held.release()

    async def _body(self, request: Request, held: _Held) -> bytes:
        """The body as it came. Raises `TooLarge`, `_Busy`, `ClientDisconnect`."""
        limit = self.receiver.max_body_bytes
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdecimal():
            if len(declared) > 18 or int(declared) > limit:
                await _read_past(request, limit)
                raise TooLarge(limit)
            if not held.grow(int(declared)):
                await _read_past(request, limit)
                raise _Busy("too many requests at once")
        pieces, size = [], 0
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                await _read_past(request, limit)
                raise TooLarge(limit)
            if size > held.bytes and not held.grow(size - held.bytes):
                await _read_past(request, limit)
                raise _Busy("too many requests at once")
            pieces.append(piece)
        return b"".join(pieces)

    def _spans(self, body: bytes, media: str, coding: str) -> Response:
        batch = self.receiver.spans(body, media, coding)
        return accepted(media, "traces", batch.rejected, batch.reason)

    def _events(self, body: bytes, media: str, coding: str) -> Response:
        batch = self.receiver.events(body, media, coding)
        return accepted(media, "logs", batch.rejected, batch.reason)

    def _points(self, body: bytes, media: str, coding: str) -> Response:
        return accepted(media, "metrics", self.receiver.points(body, media, coding), _NOT_KEPT)

    def hold(self, count: int) -> bool:
        """Sets memory for `count` more bytes of bodies aside, or gives it back. False: there is none."""
        if count > 0 and self._held + count > _BODIES_HELD * self.receiver.max_body_bytes:
            return False
        self._held += count
        return True


@dataclass(slots=True)
class _Held:
    """What one request holds of the memory for bodies."""

    intake: Intake
    bytes: int = 0

    def grow(self, count: int) -> bool:
        if not self.intake.hold(count):
            return False
        self.bytes += count
        return True

    def release(self) -> None:
        self.intake.hold(-self.bytes)
        self.bytes = 0


async def _read_past(request: Request, limit: int) -> None:
    """Lets the client finish sending, within limits: one whose connection is cut while it sends never reads the answer."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            return


async def _unknown(request: Request, _error: Exception) -> Response:
    return refused(JSON, 404, f"there is nothing at {request.url.path[:100]}; spans go to /v1/traces")


async def _wrong_method(_request: Request, _error: Exception) -> Response:
    return refused(JSON, 405, "export requests are sent with POST", {"Allow": "POST"})


def application(intake: Intake) -> Starlette:
    """The routes."""
    routes: list[tuple[str, Callable[[Request], Awaitable[Response]], str]] = [
        ("/v1/traces", intake.traces, "POST"),
        ("/v1/logs", intake.logs, "POST"),
        ("/v1/metrics", intake.metrics, "POST"),
        ("/health", intake.health, "GET"),
        ("/healthz", intake.health, "GET"),
    ]
    return Starlette(
        routes=[Route(path, handler, methods=[method]) for path, handler, method in routes],
        exception_handlers={404: _unknown, 405: _wrong_method},
    )
