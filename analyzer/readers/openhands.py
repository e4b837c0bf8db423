"""Logs of OpenHands: outputs of its evaluations and its issue resolver, and event stores of its SDK.

Its raw completion logs hold a request and its response, and are read as such (`chat_messages`).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from analyzer.readers.agent_runs import Spans, inferred, odd_record, report
from analyzer.readers.format import Format
from analyzer.readers.openhands_events import Conversation
from analyzer.readers.openhands_history import History
from analyzer.readers.records import records
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

_OUTPUT: Final = re.compile(
    rb'"history"\s*:\s*\[\s*\[*\s*\{[^{}]{0,4096}"(?:action|content|observation|timestamp)"', re.DOTALL
)
_METRICS: Final = re.compile(rb'"(?:instance_id|issue|metrics|git_patch)"\s*:')
_INSTRUCTION: Final = re.compile(rb'"instruction"\s*:')
_EVENT: Final = re.compile(
    rb'"kind"\s*:\s*"(?:MessageEvent|ActionEvent|ObservationEvent|SystemPromptEvent|ConversationStateUpdateEvent|AgentErrorEvent)"'
)

_INFERRED: Final = {
    "inferred_times": "the file says when something was there, not when it was asked for: calls begin where what came before them ended",
    "no_times": "calls have no time: they were put one right after the other, from 1970 on, so that their order is kept",
    "no_time_zone": "times name no time zone and were taken as UTC",
    "inferred_calls": "actions do not name the response they came from: each was taken as one model call",
    "no_usage": "model calls have no token counts",
    "no_answer": "model calls are counted in the file, but what they answered is not in it, or was no action",
    "unassigned_costs": "costs belong to no call that could be told: they count in what the run cost by its own account only",
    "counter_reset": "token counts started again from less than they were: what was used in between may be missing",
    "other_records": "events about the session itself, which no model reads, were passed over",
}
_JOIN: Final = "give the folder that holds the events, not single files of it: all of them are one conversation"


def _sniff(head: bytes) -> bool:
    if head.lstrip()[:1] != b"{":
        return False
    if _EVENT.search(head) is not None:
        return True
    return _METRICS.search(head) is not None and (
        _OUTPUT.search(head) is not None or _INSTRUCTION.search(head) is not None
    )


def _read(stream: Stream, sink: Sink) -> None:
    spans, made = Spans(sink, stream.source, "openhands"), Counter[str]()
    conversation: Conversation | None = None
    for line, record in records(stream, sink):
        if isinstance(record.get("history"), list):
            made += History(spans, record).tell()
        elif "kind" in record:
            conversation = conversation or Conversation(spans, record)
            conversation.take(record)
        else:
            sink.add_issue(
                odd_record(
                    stream.source, "a record has neither a history nor is it an event, and was left out", 1, line
                )
            )
    made += conversation.end() if conversation else Counter()
    report(sink, stream.source, _INFERRED, made)
    if made["lone_event"]:
        sink.add_issue(inferred("lone_event", stream.source, "the file holds one event of a conversation", 1, _JOIN))
    if made["odd"]:
        sink.add_issue(odd_record(stream.source, "events of no known form were left out", made["odd"]))


OPENHANDS: Final = Format(
    "OpenHands log",
    _sniff,
    _read,
    about="`output.jsonl` of OpenHands evaluations and its issue resolver, and events of its SDK (`events.jsonl`, or a folder with "
    "a file for each). Recognised by a "
    "`history` beside `metrics`, `instance_id` or `issue`, or by events such as `ActionEvent`.",
    sees="Model calls with usage, cost and latency where they are written down, tool calls with arguments, results and exit codes, "
    "condensations, and whether the issue was resolved. Counters that add up become the usage of single calls.",
    cannot_see="The full requests (prompts that the program adds); in outputs, tool definitions; in event stores, finish reasons.",
)
