"""Sessions of the coding agent pi: JSON Lines, a header and then what was said, with usage and cost of every answer.

Entries form a tree from version 2 on: going back to an earlier entry leaves what came after it out of the next request. What an answer
cost stands in it and is taken as it is. Format: github.com/badlogic/pi-mono, coding-agent, "session format".
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from analyzer.readers.agent_runs import (
    Message,
    Run,
    Spans,
    answered,
    asked,
    inferred,
    odd_record,
    reported,
    said,
    words,
    written,
)
from analyzer.readers.format import Format
from analyzer.readers.loose import amount, count, dumps, listing, mapping, moment_ns, text
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument import semconv

_SESSION: Final = re.compile(rb'^[^\n]*"type"\s*:\s*"session"', re.MULTILINE)
_MESSAGE: Final = re.compile(rb'"(?:cacheRead|toolCallId|stopReason)"\s*:')
_ASIDE: Final = frozenset(("model_change", "thinking_level_change", "label", "custom", "session_info", "leaf"))
"""Entries about the session that no model reads."""
_FINISHED: Final = frozenset(("stop", "length", "toolUse"))


def _sniff(head: bytes) -> bool:
    about = _SESSION.search(head) is not None and (b'"cwd"' in head or b'"version"' in head)
    return head.lstrip()[:1] == b"{" and (about or (_MESSAGE.search(head) is not None and b'"role"' in head))


def _read(stream: Stream, sink: Sink) -> None:
    spans = Spans(sink, stream.source, "pi")
    session: _Session | None = None
    made: Counter[str] = Counter()
    for line, entry in records(stream, sink):
        if session is None or entry.get("type") == "session":
            made += session.end() if session else Counter()
            session = _Session(spans, entry)
        if not session.take(entry):
            made["odd"] += 1
            if made["odd"] <= 20:
                sink.add_issue(odd_record(stream.source, f"an entry of type {entry.get('type')!r:.80} was left out", 1, line))
    made += session.end() if session else Counter()
    spans.flush()
    for kind, message in _INFERRED.items():
        if made[kind]:
            sink.add_issue(inferred(kind, stream.source, message, made[kind]))
