"""The receiver's hold on the process that checkpoints (`analyzer.serve.checkpointing`): starts it, hears it, starts it again if it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from analyzer.serve.checkpointing import Note, Round

log = logging.getLogger("flyball.serve")

_AGAIN_SECONDS: Final = 5.0
_CLOSING_SECONDS: Final = 60.0


class Companion:
    """One checkpointing process at a time."""

    def __init__(self, database: Path, *, seconds: float) -> None:
        self.spans = 0
        """Spans it has brought into the database that were new there."""
        self.repeated = 0
        """Spans it found there already: sent again by clients."""
        self.problem: str | None = None
        """Why the last round failed; None: it did not."""
        self._command = [sys.executable, "-m", "analyzer.serve.checkpointing", str(database), str(seconds)]
        self._told: Counter[str] = Counter()
        self._process: Process | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Starts it."""
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE)
        self._hearing = asyncio.create_task(self._hear())

    def note(self, kind: str, total: int) -> None:
        """Has the database say that there were `total` of `kind` since the server started."""
        process, more = self._process, total - self._told[kind]
        if more and process is not None and process.stdin is not None and not process.stdin.is_closing():
            self._told[kind] = total
            process.stdin.write(msgspec.json.encode(Note(kind, more)) + b"\n")

    async def stop(self) -> bool:
        """Has it bring in the rest and end. False: it is still at it, and goes on without us."""
        self._closing = True
        if self._process is None or self._process.stdin is None or self._hearing is None:
            return True
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._hearing), _CLOSING_SECONDS)
            return True
        return False

    async def _hear(self) -> None:
        while True:
            process = self._process
            assert process is not None
            assert process.stdout is not None
            async for line in process.stdout:
                self._take(msgspec.json.decode(line, type=Round))
            status = await process.wait()
            if self._closing:
                return
            log.warning("the process that fills the database has ended (%s) and is started again", status)
            await asyncio.sleep(_AGAIN_SECONDS)
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE)

    def _take(self, told: Round) -> None:
        self.spans += told.spans
        self.repeated += told.repeated
        if told.problem != self.problem and told.problem is not None:
            log.warning("%s. What is received stays in the journal meanwhile.", told.problem)
        self.problem = told.problem

    def facts(self) -> dict[str, Any]:
        """The counts by name."""
        return {
            "stored_spans": self.spans,
            "repeated_spans": self.repeated,
            "checkpoint_problem": self.problem,
        }
