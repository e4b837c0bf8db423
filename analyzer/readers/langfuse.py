"""Traces exported from Langfuse: downloads of its pages, answers of its API, and rows of its batch and blob storage exports.

An export has observations, each with a type, an input and an output in the form of whatever framework recorded it, usage and cost. Format:
langfuse.com/docs, "Public API", `ObservationsView` and `TraceWithFullDetails`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from analyzer.readers.agent_runs import odd_record, report
from analyzer.readers.exported import put
from analyzer.readers.format import Format
from analyzer.readers.langfuse_spans import exported
from analyzer.readers.langfuse_tree import Observation, parts
from analyzer.readers.lines import values
from analyzer.readers.loose import listing, mapping, text
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

_OBSERVATION: Final = re.compile(rb'"parent(?:ObservationId|_observation_id)"\s*:')
_DOWNLOAD: Final = re.compile(rb'^\s*\{\s*"trace"\s*:\s*\{')
_PROJECT: Final = re.compile(rb'"project(?:Id|_id)"\s*:')
_FROM_API: Final = re.compile(rb'"htmlPath"\s*:')
_SNAKE: Final = re.compile(r"_([a-z])")
_KEPT: Final = ("input", "output", "metadata", "usage_details", "cost_details")
"""Values whose own names are not Langfuse's."""


def _sniff(head: bytes) -> bool:
    if _OBSERVATION.search(head):
        return True
    return _PROJECT.search(head) is not None and (_DOWNLOAD.match(head) or _FROM_API.search(head)) is not None


def _read(stream: Stream, sink: Sink) -> None:
    made: Counter[str] = Counter()
    traces: dict[str, list[Observation]] = {}
    for value in values(stream, sink):
        for found, trace in _observations(value, made):
            name, trace_id = text(found.get("id")), text(found.get("traceId")) or text(trace.get("id"))
            if name is None or trace_id is None:
                made["odd"] += 1
                continue
            traces.setdefault(trace_id, []).append(Observation(name, trace_id, found, trace))
    for together in traces.values():
        for one, part in zip(together, parts(together, made), strict=True):
            put(sink, stream.source, exported(one, part, made))
    _state(stream.source, sink, made, sum(map(len, traces.values())))


def _observations(value: Any, made: Counter[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every observation in a JSON value, with its trace, as far as that is there. Not recursive: depth is the file's to choose."""
    left: list[Any] = [value]
    while left:
        here = left.pop()
        if isinstance(here, list):
            left.extend(reversed(here))
        elif isinstance(here, dict):
            if isinstance(here.get("observations"), list):
                trace = _camel(mapping(here.get("trace")) or here)
                for found in listing(here["observations"]):
                    if isinstance(found, dict):
                        yield _camel(found), trace
                    else:  # the API's list of traces names observations by their ids
                        made["named"] += isinstance(found, str)
                        made["odd"] += not isinstance(found, str)
            elif ("traceId" in here or "trace_id" in here) and "type" in here:
                yield _camel(here), {}
            elif isinstance(here.get("data"), list):
                left.append(here["data"])
            else:
                made["odd"] += 1
        else:
            made["odd"] += 1


def _camel(found: dict[str, Any]) -> dict[str, Any]:
    """The names of the API, where a batch or blob storage export has its own."""
    return {_SNAKE.sub(lambda m: m.group(1).upper(), name): value for name, value in found.items()}


def _state(source: str, sink: Sink, made: Counter[str], observations: int) -> None:
    if made["odd"] or not observations:
        message = "entries are no observations, or have no id and trace id, and were left out"
        sink.add_issue(odd_record(source, message, made["odd"] or 1))
    if made["named"]:
        message = "observations are only named by their ids and were not read"
        sink.add_issue(odd_record(source, message, made["named"]))
    report(sink, source, _INFERRED, made)


_INFERRED: Final = {
    "roll_up": "generations go around other generations and report the same calls: their usage and cost were not counted again",
    "event_spans": "observations report that a call began, ended or went on, beside the one that stands for it: they were not counted",
    "no_end_time": "observations have no end time: how long they took is not known",
    "no_times": "observations have no start time, so their order is unknown",
    "no_usage": "generations have no token counts: what they used is not known",
    "plain_texts": "inputs or outputs are texts of which roles and tool calls are not known",
}

LANGFUSE: Final = Format(
    "Langfuse export",
    _sniff,
    _read,
    about=(
        "Traces from [Langfuse](https://langfuse.com): the download of a trace's page, answers of the public API, and JSON or JSON "
        "Lines of batch and blob storage exports. Recognised by `parentObservationId`, or by a trace that names its project."
    ),
    sees=(
        "Generations, tools and agents as observations say they are (older ones by what the recording framework left in their metadata); "
        "messages and tool definitions in the forms of OpenAI, Anthropic, Gemini, LangChain and OpenTelemetry GenAI; usage with cache and "
        "reasoning; the cost that Langfuse recorded, which stands over the price list; sessions, users, times, errors."
    ),
    cannot_see=(
        "What the recording integration did not hand on: often the tool definitions, sometimes output tokens or roles. Retries within a "
        "call. Scores and comments are not read."
    ),
)
