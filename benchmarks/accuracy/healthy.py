"""Real healthy runs as scripts of the case language, out of the extract that lies beside this file.

The extract (`healthy.jsonl.zst`, one run a line) is written by `benchmarks.accuracy.extract`; whose runs they are and under which licence
stands in `healthy.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
import zstandard

from analyzer.cases import Call, Turn, User

EXTRACT: Final = Path(__file__).with_name("healthy.jsonl.zst")
PIECE_TURNS: Final = 14
"""Turns of the pieces into which longer runs are cut: requests repeat the history, so that a run of n turns costs n²."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """One run, or a piece of one: nothing in it was chosen by a detector."""

    name: str
    """Source and number, and where it is a piece its place in the run."""
    question: str
    script: tuple[Turn | User, ...]

    @property
    def turns(self) -> int:
        """Model calls."""
        return sum(isinstance(entry, Turn) for entry in self.script)


@cache
def runs(path: Path = EXTRACT) -> tuple[Healthy, ...]:
    """Every run of the extract, whole."""
    lines = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).readall().splitlines()
    return tuple(_run(orjson.loads(line)) for line in lines)


@cache
def pieces(path: Path = EXTRACT) -> tuple[Healthy, ...]:
    """The runs in pieces of at most `PIECE_TURNS` turns; those of fewer than three turns are left out."""
    return tuple(piece for run in runs(path) for piece in _pieces(run) if piece.turns >= 3)


def _run(line: dict[str, Any]) -> Healthy:
    return Healthy(line["name"], line["question"], tuple(_entry(e) for e in line["script"]))


def _entry(found: dict[str, Any]) -> Turn | User:
    if "user" in found:
        return User(found["user"])
    return Turn(
        tuple(_call(c) for c in found.get("calls", ())), found.get("text", ""), output_tokens=found.get("output", 50)
    )


def _call(found: dict[str, Any]) -> Call:
    return Call(
        found["name"], found["arguments"], found["result"], found.get("error"), seconds=found.get("seconds", 0.5)
    )


def _pieces(run: Healthy) -> list[Healthy]:
    parts: list[list[Turn | User]] = [[]]
    for entry in run.script:
        if isinstance(entry, Turn) and _turns(parts[-1]) == PIECE_TURNS:
            parts.append([])
        parts[-1].append(entry)
    return [
        Healthy(f"{run.name}/{number}", run.question, tuple(part)) for number, part in enumerate(parts) if _turns(part)
    ]


def _turns(script: Sequence[Turn | User]) -> int:
    return sum(isinstance(entry, Turn) for entry in script)
