"""What to say of a file that holds no trace we can read."""

from __future__ import annotations

import re
from typing import Final

_BINARY: Final = (
    (b"PK\x03\x04", "is a zip archive; unpack it and give the files in it"),
    (b"BZh", "is compressed with bzip2; unpack it, or use gzip or zstd"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it, or use gzip or zstd"),
    (b"\x1f\x8b", "is compressed more often than flyball unpacks; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed more often than flyball unpacks; unpack it first"),
    (b"PAR1", "is a Parquet file; export the traces as OTLP JSON Lines"),
    (b"SQLite format 3", "is an SQLite database; export the traces as OTLP JSON Lines"),
    (b"%PDF", "is a PDF"),
    (b"\x89PNG", "is a picture"),
    (b"\0", "begins with NUL bytes: the disk may have failed while it was written, or it is no text at all"),
)
_OTHER_SIGNAL: Final = re.compile(rb'"resource(Logs|Metrics)"\s*:')


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
    if head.lstrip()[:1] in (b"{", b"["):
        return "is JSON, but holds no spans in a format flyball knows"
    return "holds no trace"
