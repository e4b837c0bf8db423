"""A local HTTP server that answers like the Anthropic API and says what a test tells it to say."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from instrument.testing.exchanges import Exchange
from instrument.testing.faults import AnyReply
from instrument.testing.replies import error
from instrument.testing.scripts import Request, Script, ScriptEndedError, in_turn, recorded
from instrument.testing.wire import COUNT_TOKENS, MESSAGES, Answer, Issued, answer, token_count

_POLL_SECONDS = 0.02  # how long closing may wait for the accepting thread to notice
_GOODBYE_SECONDS = 2.0  # how long closing waits for connections; their threads are daemons anyway


class ModelServer:
    """Answers `POST /v1/messages` and `/v1/messages/count_tokens` over real HTTP on 127.0.0.1 while in its context.

    `script` holds the replies in order (any iterable, endless ones too) or is a function from the request's body to a
    reply; it is called by one thread at a time. A streamed request gets its reply as an event stream. Once the script
    has ended, or when it raises, requests are answered with status 400 and the reason, which the SDK does not retry.
    Counting tokens takes nothing from the script.

    Ids are `msg_test_0001`, `toolu_test_0001`, `req_test_0001` and so on, in order of arrival. Unless a reply says
    otherwise, its usage is estimated at about 4 characters per token from the request as it was sent, so that it grows
    with the conversation. `clock` gives Unix seconds for the dates in the headers.

        with ModelServer([tool_use("search", {"q": "x"}), text("Done.")]) as server:
            client = anthropic.Anthropic(api_key="test", base_url=server.url)
    """

    def __init__(
        self,
        script: Iterable[AnyReply] | Callable[[dict[str, Any]], AnyReply],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._script: Script = (lambda request: script(request.body)) if callable(script) else in_turn(script)
        self._replaying = False
        self._clock = clock
        self._lock = threading.Lock()
        self._issued = Issued()
        self._requests: list[Request] = []
        self._closing = threading.Event()
        self._listener: _Listener | None = None

    @classmethod
    def replay(cls, exchanges: Iterable[Exchange], *, match_body: bool = False) -> Self:
        """A server that gives recorded answers, each once, byte for byte but for compression.

        In the order of `exchanges` per path, or to the request with the same body as the recorded one. A stream stays
        a stream and an error an error, whatever the request asks for.
        """
        server = cls(())
        server._script = recorded(exchanges, match_body=match_body)
        server._replaying = True
        return server

    @property
    def url(self) -> str:
        """For the `base_url` of a client, such as `http://127.0.0.1:40123`. RuntimeError outside of the context."""
        if self._listener is None:
            raise RuntimeError("the ModelServer is not running: use it in a with statement")
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was received on the two endpoints so far, retries included, in the order of the answers."""
        with self._lock:
            return tuple(self._requests)

    def __enter__(self) -> Self:
        self._closing.clear()
        self._listener = _Listener(self._answer, self._closing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._closing.set()
            self._listener.close()
            self._listener = None

    def _answer(self, path: str, headers: Mapping[str, str], raw_body: bytes) -> Answer:
        with self._lock:
            now = datetime.fromtimestamp(self._clock(), UTC)
            try:
                return self._scripted(path, headers, raw_body, now)
            except _RefusedError as refused:
                reply = error(refused.status, message=str(refused))
            except ScriptEndedError as ended:
                reply = error(400, message=str(ended))
            except Exception as raised:  # noqa: BLE001 - the test's code; unless its client is told, it waits and retries
                reply = error(400, message=f"the script of this ModelServer raised {raised!r}")
            return answer(reply, {}, self._issued, now)

    def _scripted(self, path: str, headers: Mapping[str, str], raw_body: bytes, now: datetime) -> Answer:
        if path not in (MESSAGES, COUNT_TOKENS):
            raise _RefusedError(404, f"no such endpoint: {path}")
        request = Request(path, headers, _json_object(raw_body))
        self._requests.append(request)
        if path == COUNT_TOKENS and not self._replaying:
            return token_count(request.body, self._issued, now)
        return answer(self._script(request), request.body, self._issued, now)


class _RefusedError(Exception):
    """A request that no script is asked about."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


def _json_object(raw_body: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw_body)
    except ValueError as problem:
        raise _RefusedError(400, f"the request body is not JSON: {problem}") from problem
    if not isinstance(body, dict):
        raise _RefusedError(400, f"the request body is a {type(body).__name__}, not an object")
    return body


class _Listener(socketserver.ThreadingTCPServer):
    """Accepts connections, one daemon thread each, and can end them all at once.

    A plain TCP server, because `http.server.HTTPServer` looks up the host's name, which can take seconds.
    """

    daemon_threads = True
    request_queue_size = 128  # many clients may connect at once

    def __init__(self, respond: Callable[[str, Mapping[str, str], bytes], Answer], closing: threading.Event) -> None:
        self.respond = respond
        self.closing = closing
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._accepting = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        self._accepting.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._changed:
            self._connections.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        super().close_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def close(self) -> None:
        """Stops accepting, ends every connection, even one that waits for its next request, and frees the port."""
        self.shutdown()
        self._accepting.join()
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client was quicker
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, timeout=_GOODBYE_SECONDS)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection, which may carry many requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the small pieces of a stream wait 40 ms for each other

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client may hang up whenever it likes
            super().handle()

    def do_POST(self) -> None:
        listener = cast(_Listener, self.server)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(listener.respond(urlsplit(self.path).path, headers, body), listener.closing)

    do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815 - the API has more endpoints; they are answered as not found

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is http.server's
        """Says nothing: a test's output is the test's."""

    def _send(self, reply: Answer, closing: threading.Event) -> None:
        if closing.wait(reply.fault.delay_seconds) or reply.fault.closed:
            self.close_connection = True
            return
        self._send_head(reply)
        for number, piece in enumerate(reply.sent_pieces()):
            if closing.wait(reply.pause_seconds(number)):
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if reply.streaming else piece)
        if reply.breaks_off:
            self.close_connection = True
        elif reply.streaming:
            self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, reply: Answer) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
