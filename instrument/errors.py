"""What can go wrong, drawn as a tree. Every error carries the facts a handler needs as attributes.

    FlyballError
    ├── PolicyError          a policy file that says something it cannot
    ├── StoreError           the database
    │   ├── StoreLocked      another program holds it, and went on holding it
    │   ├── StoreTooNew      written by a later flyball
    │   ├── StoreEmpty       made, but nothing could be written to it yet
    │   └── StoreForeign     not a flyball database, or damaged
    └── UnreadableTrace      a file that holds no trace we can read

A broken line inside a readable file is no error but an issue (`instrument.otlp.Issue`): data, counted and shown.
"""

from __future__ import annotations

from pathlib import Path


class FlyballError(Exception):
    """Base of all errors that flyball raises on purpose. Its text names the remedy."""


class PolicyError(FlyballError):
    """`path` says something that is no policy; the text names the key and what it may be."""

    def __init__(self, path: Path | None, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}" if path else problem)


class StoreError(FlyballError):
    """Something about the database at `path`."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}")


class StoreLocked(StoreError):
    """Another program held the database for the whole time we were willing to wait."""

    def __init__(self, path: Path, waited_seconds: float, holder: str) -> None:
        self.waited_seconds = waited_seconds
        super().__init__(
            path, f"held by another program for {waited_seconds:.0f} s ({holder}); close it there and try again"
        )


class StoreTooNew(StoreError):
    """The database has a schema version this flyball does not know."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        self.version = version
        super().__init__(
            path,
            f"has schema version {version}, this flyball knows up to {known}; upgrade with `pip install -U flyball`",
        )


class StoreEmpty(StoreError):
    """The file is a database without tables: the first checkpoint failed, on a full disk for example."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"is empty, since nothing could be written to it yet; what was recorded is in {path}.journal, which can be read too",
        )


class StoreForeign(StoreError):
    """The file is not a flyball database, or is damaged."""


class UnreadableTrace(FlyballError):
    """`path` holds no trace that we can read; `problem` says what was found and what to do."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}")
