"""What can go wrong, drawn as a tree. Every error carries the facts a handler needs as attributes.

    FlyballError
    ├── PolicyError          a policy file that says something it cannot
    ├── StoreError           the database
    │   ├── StoreLocked      another program holds it, and went on holding it
    │   ├── StoreTooNew      written by a later flyball
    │   ├── StoreEmpty       made, but nothing could be written to it yet
    │   └── StoreForeign     not a flyball database, or damaged
    ├── LedgerError          the ledger of budgets and reviews could not do it
    │   ├── UnknownReview    it holds no such review
    │   └── ReviewDecided    somebody has answered already
    ├── RunError             a guarded run
    │   ├── RunStopped       it ended otherwise than by an answer, and the caller wants to hear of it
    │   ├── CallRefused      a decorated tool that the guards did not let run
    │   └── ResumeError      it waits for a review and cannot go on
    └── UnreadableTrace      a file that holds no trace we can read

A broken line inside a readable file is no error but an issue (`instrument.otlp.Issue`): data, counted and shown.
"""

from __future__ import annotations

from datetime import datetime
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


class LedgerError(FlyballError):
    """The ledger at `where` (a path, or an address without its password) could not do what it was asked to do."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        super().__init__(f"{where}: {problem}")


class UnknownReview(LedgerError):
    """The ledger holds no review of this id."""

    def __init__(self, where: str, review_id: str) -> None:
        self.review_id = review_id
        super().__init__(where, f"holds no review {review_id!r}; `flyball reviews list --all` shows those it holds")


class ReviewDecided(LedgerError):
    """A review is answered once; this one was `decision` by `decided_by` (empty: nobody gave a name) at `decided_at`, in UTC."""

    def __init__(
        self, where: str, review_id: str, *, decision: str, decided_by: str, decided_at: datetime | None
    ) -> None:
        self.review_id, self.decision, self.decided_by, self.decided_at = review_id, decision, decided_by, decided_at
        who = f" by {decided_by}" if decided_by else ""
        when = f" at {decided_at:%Y-%m-%d %H:%M:%S} UTC" if decided_at else ""
        answered = "timed out" if decision == "timed_out" else f"was {decision}"
        super().__init__(where, f"review {review_id!r} {answered}{who}{when}; an answer stands, so start the run again")


class RunError(FlyballError):
    """Something about a guarded run."""


class RunStopped(RunError):
    """A run ended for `stop_reason`; raised by `RunResult.raise_for_stop` only, and by calls that a run's guards refuse."""

    def __init__(self, stop_reason: str, problem: str) -> None:
        self.stop_reason = stop_reason
        super().__init__(problem)


class CallRefused(RunError):
    """A tool decorated with `@instrument.tool` was not run; the text is what the model should read instead of a result."""

    def __init__(self, tool: str, text: str) -> None:
        self.tool = tool
        super().__init__(text)


class ResumeError(RunError):
    """The run that waits for review `review_id` cannot go on."""

    def __init__(self, review_id: str, problem: str) -> None:
        self.review_id = review_id
        super().__init__(f"{review_id}: {problem}")


class UnreadableTrace(FlyballError):
    """`path` holds no trace that we can read; `problem` says what was found and what to do."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}")
