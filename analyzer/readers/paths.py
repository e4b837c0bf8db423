"""From what a user types to the files it means."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from analyzer.readers.event_stores import stores_in
from instrument.errors import UnreadableTrace
from instrument.journal import folder_of

STANDARD_INPUT: Final = "-"
_DUCKDB_MAGIC = b"DUCK"
_DUCKDB_MAGIC_AT = 8  # after the checksum of the first block
_OPENED_PIPES = ("/dev/fd/", "/proc/")
_BESIDE_DATABASE = (".journal", ".lock", ".wal")
_ABOUT = ("readme", "licen")
"""Beginnings of the names of files that tell about the others: nobody takes them for traces."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read, or standard input (`-`)."""

    path: str
    named: bool
    """Whether the user named this very file: then it must hold a trace. Files found in a folder need not."""
    parts: tuple[str, ...] = ()
    """Where `path` is a folder with an event in each file: those files, which are read as one."""


@dataclass(slots=True)
class Inputs:
    """What the paths of a command line mean."""

    databases: list[Path] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    refusals: list[UnreadableTrace] = field(default_factory=list)
    """Paths that mean nothing; the others are still there."""


def resolve(paths: Sequence[str]) -> Inputs:
    """Files, folders, globs, databases and `-` as what they stand for: every file once, folders in sorted order.

    In folders, hidden files and texts about the files (README, LICENSE, .md) are passed over, links to folders are not followed,
    and only regular files count.
    """
    inputs, seen = Inputs(), set[tuple[int, int]]()
    for path in paths:
        if not os.path.lexists(path) and folder_of(Path(path)).is_dir():
            inputs.databases.append(Path(path))  # recorded, and not yet brought into a database
            continue
        try:
            for source in _meant(path):
                _take(source, inputs, seen)
        except OSError as e:
            where = str(e.filename or path)
            inputs.refusals.append(
                UnreadableTrace(where, f"cannot be read ({e.strerror}); check the path and its permissions")
            )
        except UnreadableTrace as refusal:
            inputs.refusals.append(refusal)
    return inputs


def is_database(path: Path) -> bool:
    """Whether the file is a DuckDB database, by its content. False where it is no file or cannot be read."""
    if not path.is_file():  # opening a pipe would wait for whoever writes to it
        return False
    try:
        with path.open("rb") as file:
            return file.read(_DUCKDB_MAGIC_AT + len(_DUCKDB_MAGIC)).endswith(_DUCKDB_MAGIC)
    except OSError:  # whoever reads the file next says why
        return False


def _take(source: Source, inputs: Inputs, seen: set[tuple[int, int]]) -> None:
    if source.path == STANDARD_INPUT:
        if source not in inputs.sources:
            inputs.sources.append(source)
        return
    path = Path(source.path)
    try:
        facts = path.stat()
    except OSError:  # gone since it was found; reading it will say so
        inputs.sources.append(source)
        return
    if (facts.st_dev, facts.st_ino) in seen:
        return
    seen.add((facts.st_dev, facts.st_ino))
    if is_database(path) or (source.named and path.suffix == ".duckdb"):  # a damaged one: opening it says what to do
        inputs.databases.append(path)
    else:
        inputs.sources.append(source)


def _meant(path: str) -> Iterator[Source]:
    if path == STANDARD_INPUT:
        yield Source(path, named=True)
    elif not os.path.lexists(path):
        yield from _globbed(path)
    elif Path(path).is_dir():
        yield from _walked(path)
    else:
        if _is_special(path):
            raise UnreadableTrace(path, f"is a pipe or a device, not a file; try `flyball check - < {path}`")
        yield Source(path, named=True)


def _globbed(pattern: str) -> Iterator[Source]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if not matches:
        raise UnreadableTrace(pattern, "no such file or folder, and no file matches it; check the path")
    stores = stores_in(matches)
    for match in matches:
        if Path(match).is_dir():
            yield from _walked(match)
        elif not _is_special(match):
            yield from _found(match, stores)


def _walked(folder: str) -> Iterator[Source]:
    found = False
    unreadable: list[OSError] = []
    for here, folders, files in os.walk(folder, onerror=unreadable.append):
        databases = [name for name in files if is_database(Path(here, name))]
        beside = {name + ending for name in databases for ending in _BESIDE_DATABASE}
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in beside)
        stores = stores_in(os.path.join(here, name) for name in files)  # noqa: PTH118 - keeps the path as the user wrote it
        for name in sorted(files):
            path = os.path.join(here, name)  # noqa: PTH118 - likewise
            if not is_aside(name) and name not in beside and Path(path).is_file():
                found = True
                yield from _found(path, stores)
    if unreadable:
        raise unreadable[0]
    if not found:
        raise UnreadableTrace(folder, "is a folder without any file to read; check the path")


def _found(path: str, stores: dict[str, tuple[str, ...]]) -> Iterator[Source]:
    """The file, or, for the first event of a store, the whole store."""
    folder = str(Path(path).parent)
    events = stores.get(folder, ())
    if path not in events:
        yield Source(path, named=False)
    elif path == events[0]:
        yield Source(folder, named=False, parts=events)


def is_aside(name: str) -> bool:
    """Whether a file or folder found beside others is hidden, or a text about them."""
    return name.startswith(".") or name.lower().startswith(_ABOUT) or name.lower().endswith(".md")


def _is_special(path: str) -> bool:
    """A pipe or device, whose reading might never end. Pipes that a shell opened for us (`<(...)`) are fine."""
    return not Path(path).is_file() and not path.startswith(_OPENED_PIPES)
