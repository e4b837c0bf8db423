"""Logs of Inspect (`inspect_ai`): the whole log as JSON, or, of an `.eval` archive, its members one by one.

A sample is a run. Members that say something of the log and hold no sample (`header.json`, `summaries.json`, `reductions.json`, the
journal) are known and give nothing. Format: inspect.aisi.org.uk, `EvalLog`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import msgspec

from analyzer.readers.agent_runs import Spans, inferred, odd_record, report
from analyzer.readers.elements import elements
from analyzer.readers.format import Format
from analyzer.readers.inspect_samples import Sample
from analyzer.readers.lines import decode, whole
from analyzer.readers.loose import count, listing, mapping, without_nan
from analyzer.readers.outline import outline
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream
from instrument.otlp import Issue

_EVENT: Final = re.compile(
    rb'"event"\s*:\s*"(?:model|tool|step|state|span_begin|span_end|sample_init|info|sandbox|score)"'
)
_LOG: Final = re.compile(rb'\s*\{\s*"version"\s*:\s*\d+\s*,')
_SAMPLE: Final = frozenset(("id", "epoch", "input"))
_SCORED: Final = frozenset(("messages", "target", "choices"))
_SUMMARY: Final = frozenset(("[].id", "[].epoch", "[].input"))
_REDUCTION: Final = frozenset(("[].scorer", "[].samples"))
_EVENTS: Final = re.compile(rb'"events"\s*:\s*\[')

_INFERRED: Final = {
    "no_end": "calls have no end in the log: they were taken as ending where they began",
    "no_usage": "model calls have no token counts",
    "from_cache": "answers came from Inspect's own cache: nothing was sent, and their tokens are not counted",
    "pending": "calls were under way when the log was written: what is known of them is partial",
    "inferred_calls": "samples have no events: every answer was taken as a model call, every tool message as a tool call, without times",
    "unresolved": "texts that the log keeps apart were missing or too long together: their names stand in their place",
    "scorers_differ": "scorers disagree: whether these samples succeeded is left open",
}


def _sniff(head: bytes) -> bool:
    start = head.lstrip()[:1]
    if start not in (b"{", b"["):
        return False
    if _LOG.match(head) and b'"eval"' in head:
        return True
    if start == b"[":
        keys = outline(head)
        return keys >= _SUMMARY or keys >= _REDUCTION
    # To find the places of all keys takes milliseconds, and nearly every file of other formats comes by here: texts first.
    events = _EVENT.search(head) is not None
    if events and _EVENTS.search(head) is not None:
        return True
    if not events and b'"epoch"' not in head:
        return False
    keys = outline(head)
    return (keys >= _SAMPLE and bool(keys & _SCORED)) or (events and "events" in keys)


def _read(stream: Stream, sink: Sink) -> None:
    data = whole(stream, sink)
    if data is None:
        return
    data = without_nan(data)
    spans, made = Spans(sink, stream.source, "inspect"), Counter[str]()
    if stream.head.lstrip()[:1] == b"[":  # a list of summaries or of scores
        return
    if _LOG.match(data):
        _log(data, spans, stream.source, sink, made)
    else:
        _one(data, spans, stream.source, sink, made)
    report(sink, stream.source, _INFERRED, made)
    if made["odd"]:
        sink.add_issue(odd_record(stream.source, "events of no known form were left out", made["odd"]))


def _one(data: bytes, spans: Spans, source: str, sink: Sink, made: Counter[str]) -> None:
    """A sample alone, or a list of events alone. One that is cut off gives the events before the cut."""
    try:
        sample = mapping(decode(data))
    except ValueError:
        events = [e for _, e in elements(data, "events", source, sink)]
        sample = {"events": events, "id": None}
    made += Sample(spans, {}, sample).tell()


def _log(data: bytes, spans: Spans, source: str, sink: Sink, made: Counter[str]) -> None:
    """All samples of a log, which is never decoded as a whole."""
    spec, used = _part(data, "eval"), _part(data, "stats")
    any_sample = False
    for number, found in elements(data, "samples", source, sink):
        any_sample, sample = True, mapping(found)
        if listing(sample.get("messages")) or listing(sample.get("events")) or mapping(sample.get("transcript")):
            made += Sample(spans, spec, sample).tell()
        else:
            sink.add_issue(odd_record(source, f"sample {number} has neither events nor messages and was left out", 1))
    # Beside the samples of an archive such a file is a part of the log and stands for nothing that is missing.
    if not any_sample and not source.endswith(("header.json", "_journal/start.json")):
        sink.add_issue(_without_samples(source, used))


def _part(data: bytes, name: str) -> dict[str, Any]:
    """An object at the top of the log."""
    try:
        found = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get(name)
        return mapping(decode(bytes(found))) if found else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return {}  # cut off or damaged: `elements` says so


def _without_samples(source: str, stats: dict[str, Any]) -> Issue:
    used = [mapping(u) for u in mapping(stats.get("model_usage")).values()]
    tokens = sum(count(u.get("total_tokens")) or 0 for u in used)
    message = f"the log holds no samples: by its own account they used {tokens:,} tokens, which are not counted"
    return inferred(
        "no_samples", source, message, 1, "write the log with its samples (`--log-samples`), or give the `.eval` file"
    )


INSPECT: Final = Format(
    "Inspect log",
    _sniff,
    _read,
    about="Written by inspect_ai, version 1 and 2 of its format: `.eval` archives and JSON logs, samples alone, and lists of events "
    "(inspect_scout). Recognised by `version` and `eval`, by the fields of a sample, or by events such as `span_begin`.",
    sees="Each sample as a run, with scores, limits and errors as its outcome; agents in it as runs below it, and what graded it as a run "
    "of its own; model calls with full requests, tools, usage, times and retries; tool calls with errors; compactions.",
    cannot_see="What a sandbox did, store and state changes; of old logs when tool calls ended; attempts at a sample that were retried.",
)
