"""Reviews as ledgers keep them: what was asked is one JSON document and never changes, the answer lies beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from instrument.errors import LedgerError
from instrument.ledger.base import Review, utc_time

ANSWER: Final = ("decision", "note", "decided_by", "decided_at")
"""The names of the columns, or fields, that hold the answer; `decided_at` in seconds since 1970."""


def encode(review: Review) -> str:
    """What was asked."""
    asked = replace(review, decision=None, note="", decided_by="", decided_at=None)
    return msgspec.json.encode(asked).decode()


def decode(where: str, document: Any, answer: tuple[Any, ...]) -> Review:
    """A review from its document and its answer, in the order of `ANSWER`; None for each where there is none.

    Raises `LedgerError` where the document is none of ours.
    """
    try:
        asked = msgspec.json.decode(document, type=Review)
    except msgspec.MsgspecError as e:
        raise LedgerError(where, f"holds a review that cannot be read ({e}); upgrade flyball, or remove it") from e
    decision, note, by, at = answer
    if not decision:
        return asked
    return replace(asked, decision=decision, note=note or "", decided_by=by or "", decided_at=utc_time(float(at)))
