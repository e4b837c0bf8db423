"""What to say of a file that holds no trace we can read."""

from __future__ import annotations

import re
from typing import Final

_BINARY: Final = (
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it, or use zip or tar"),
    (b"Rar!", "is a RAR archive; unpack it, or use zip or tar"),
    (b"BZh", "is compressed more often than flyball unpacks; unpack it first"),
    (b"\xfd7zXZ", "is compressed more often than flyball unpacks; unpack it first"),
    (b"\x1f\x8b", "is compressed more often than flyball unpacks; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed more often than flyball unpacks; unpack it first"),
    (b"SQLite format 3", "is an SQLite database; export the traces as OTLP JSON Lines"),
    (b"%PDF", "is a PDF"),
    (b"\x89PNG", "is a picture"),
    (b"\0", "begins with NUL bytes: the disk may have failed while it was written, or it is no text at all"),
)
_OTHER_SIGNAL: Final = re.compile(rb'"resource(Logs|Metrics)"\s*:')

_OF_OTHERS: Final = (
    (
        re.compile(rb'"messages_display"\s*:'),
        "holds talks as text for display (few-shot examples of tau-bench), which does not say what was called with what; give the results",
    ),
    (
        re.compile(rb'"confirmation_policy"\s*:'),
        "is the state of an OpenHands conversation; give its events instead",
    ),
)
"""Files that lie beside traces, and what they are."""


def refusal(head: bytes) -> str:
    """What a file that begins with `head` seems to be, and what to do."""
    if not head.strip():
        return "is empty: nothing was recorded in it, or nothing yet"
    for start, sentence in _BINARY:
        if head.startswith(start):
            return sentence
    if signal := _OTHER_SIGNAL.search(head):
        kind = signal.group(1).decode().lower()
        return f"holds OpenTelemetry {kind}, not traces; give the file the traces were exported to"
    for mark, sentence in _OF_OTHERS:
        if mark.search(head):
            return sentence
    if head.lstrip()[:1] in (b"{", b"["):
        return "is JSON, but holds no spans in a format flyball knows"
    return "holds no trace"
