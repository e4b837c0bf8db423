"""A real `flyball serve` in a process of its own, and plain HTTP to talk to it."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrument.store.connect import reading

JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@dataclass
class Answer:
    """What the server said."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage


class Server:
    """`flyball serve` on a free port."""

    def __init__(self, database: Path, *options: str, port: int = 0) -> None:
        self.database = database
        command = [sys.executable, "-m", "analyzer.cli", "serve", "--db", str(database), "--port", str(port), *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()
        while "receiving spans at" not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.url = self.said.split("receiving spans at ")[1].split()[0]
        self.port = int(self.url.rsplit(":", 1)[1])

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = JSON) -> Answer:
        """One request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.headers)

    def post(self, body: bytes, headers: Mapping[str, str] = JSON, path: str = "/v1/traces") -> Answer:
        """Exports `body`."""
        return self.request("POST", path, body, headers)

    def takes(self, body: bytes) -> bool:
        """Whether `body` is answered with 200; not where nobody answers."""
        try:
            return self.post(body).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self) -> None:
        """What the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Sees to it that it is gone, whatever happened."""
        if self.process.poll() is None:
            self.kill()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Stops it orderly; returns what it said."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return said


def serving(database: Path, *options: str) -> contextlib.closing[Server]:
    """A server that is gone afterwards."""
    return contextlib.closing(Server(database, *options))


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Answers of the database the server has filled."""
    with reading(database) as con:
        return con.execute(query).fetchall()
