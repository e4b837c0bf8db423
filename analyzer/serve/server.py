"""The receiver as a running server: a socket, the application, the process beside it, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from analyzer.serve import hosts
from analyzer.serve.app import Intake, application
from analyzer.serve.companion import Companion
from analyzer.serve.receiver import Receiver, Unwritable
from instrument.content import Mode
from instrument.errors import FlyballError

_BACKLOG: Final = 512
_GRACE_SECONDS: Final = 10
"""For requests that are under way when the server is stopped."""
_NOTE_SECONDS: Final = 1.0
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `flyball serve` was asked for."""

    database: Path
    host: str = "127.0.0.1"
    port: int = 4318
    """0: any that is free."""
    max_body_bytes: int = 64 << 20
    content: Mode = "full"
    allowed_hosts: tuple[str, ...] = ()
    checkpoint_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Served:
    """What came of it all."""

    spans: int
    """Received and written to the journal, those that came again included."""
    repeated: int
    """Of these, how many were in the database already when they were brought in."""
    rejected: int
    log_records: int
    data_points: int
    complete: bool
    """Whether the database holds everything; else the rest lies in the journal, and the next reader brings it in."""


class CannotListen(FlyballError):
    """The address cannot be listened on."""

    def __init__(self, host: str, port: int, problem: OSError) -> None:
        self.host, self.port = host, port
        super().__init__(
            f"cannot listen on {host}, port {port}: {problem.strerror or problem}; choose another with --host and --port"
        )


class _Server(uvicorn.Server):
    """uvicorn's server, which would end the process by the signal that stopped it before we are done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops orderly at the first signal; a second SIGINT does not wait for requests under way."""
        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _STOPS:
                loop.remove_signal_handler(number)


def serve(settings: Settings, listening: Callable[[str], object]) -> Served:
    """Serves until SIGINT or SIGTERM. Calls `listening` with the server's address once clients can connect. Raises `CannotListen`."""
    with _socket(settings.host, settings.port) as sock:
        return asyncio.run(_serve(settings, sock, listening))


def _socket(host: str, port: int) -> socket.socket:
    with contextlib.ExitStack() as unfinished:
        try:
            wanted = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = wanted[0]
            sock = unfinished.enter_context(socket.socket(family, kind, protocol))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            # From here on connections wait in the kernel; nothing is refused while the rest starts.
            sock.listen(_BACKLOG)
        except OSError as e:
            raise CannotListen(host, port, e) from None
        unfinished.pop_all()
        return sock


async def _serve(settings: Settings, sock: socket.socket, listening: Callable[[str], object]) -> Served:
    receiver = Receiver(settings.database, settings.content, settings.max_body_bytes)
    companion = Companion(settings.database, seconds=settings.checkpoint_seconds)
    with ThreadPoolExecutor(1, "flyball-receive") as worker:
        allowed = hosts.names((*settings.allowed_hosts, settings.host))
        intake = Intake(receiver, worker, allowed, companion.facts)
        config = uvicorn.Config(
            application(intake), log_config=None, access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=_GRACE_SECONDS, backlog=_BACKLOG, proxy_headers=False, ws="none",
        )  # fmt: skip
        await companion.start()
        noting = asyncio.create_task(_note(receiver, companion, worker))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        listening(f"http://{host}:{sock.getsockname()[1]}")
        await _Server(config).serve([sock])
        noting.cancel()
        worker.submit(_end_runs, receiver, everything=True)
    receiver.journal.close()
    _note_all(receiver, companion)
    complete = await companion.stop()
    counts = receiver.counts
    return Served(
        counts.spans, companion.repeated, counts.rejected_spans, counts.log_records, counts.data_points,
        complete and companion.problem is None,
    )  # fmt: skip


async def _note(receiver: Receiver, companion: Companion, worker: Executor) -> None:
    while True:
        await asyncio.sleep(_NOTE_SECONDS)
        _note_all(receiver, companion)
        worker.submit(_end_runs, receiver)


def _end_runs(receiver: Receiver, *, everything: bool = False) -> None:
    with contextlib.suppress(Unwritable):  # it has said so; the runs show as unfinished
        receiver.end_runs(everything=everything)


def _note_all(receiver: Receiver, companion: Companion) -> None:
    companion.note("not_kept", receiver.counts.log_records + receiver.counts.data_points)
    companion.note("rejected_spans", receiver.counts.rejected_spans)
