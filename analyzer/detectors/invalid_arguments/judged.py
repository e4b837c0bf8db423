"""Tool calls judged by the schemas that their requests declared: each distinct call once, and what surely fits not at all."""

from __future__ import annotations

from typing import Any, Final

import orjson
import polars as pl

from analyzer.detectors.invalid_arguments.schemas import Schema, schemas_of
from analyzer.detectors.invalid_arguments.sieve import fitting
from analyzer.frames import Frames

_DECLARED: Final = """
SELECT toolset_key, definitions FROM toolsets
WHERE toolset_key IN (SELECT toolset_key FROM wanted) AND contains(definitions, '{')
"""
# What the model gave comes before what an instrumentation made of it.
_ASKED: Final = """
WITH calls AS MATERIALIZED (
    SELECT w.toolset_key, w.call_key, s.tool_name, s.span_key, s.trace_id, s.tool_call_id
    FROM wanted w JOIN (FROM spans WHERE rowid IN (SELECT rowid FROM spans WHERE kind = 'tool'
        AND run_key IN (SELECT run_key FROM wanted) AND (run_key, step) IN (SELECT (run_key, step) FROM wanted))
    ) s ON s.run_key = w.run_key AND s.step = w.step
), own AS MATERIALIZED (
    SELECT span_key, arguments FROM contents WHERE span_key IN (SELECT span_key FROM calls)
), requests AS MATERIALIZED (
    SELECT trace_id, tool_call_id, arguments FROM tool_requests WHERE rowid IN (
        SELECT rowid FROM tool_requests WHERE tool_call_id IN (SELECT tool_call_id FROM calls)
    )
)
SELECT calls.toolset_key, calls.call_key, calls.tool_name, coalesce(q.arguments, own.arguments) AS arguments
FROM calls LEFT JOIN own USING (span_key)
    LEFT JOIN requests q ON q.trace_id = calls.trace_id AND q.tool_call_id = calls.tool_call_id
"""
_REQUESTS: Final = """
SELECT call_key, if(fits, NULL, trace_id) AS trace_id, if(fits, NULL, tool_call_id) AS tool_call_id, fits
FROM (SELECT *, {fitting} AS fits FROM tool_requests WHERE arguments IS NOT NULL AND span_key BETWEEN {first} AND {last})
"""
_SPANS: Final = "SELECT coalesce(min(span_key), 0), coalesce(max(span_key), 0) FROM spans WHERE {span}"
_OF_REQUESTS: Final = (
    "SELECT run_key, step FROM spans SEMI JOIN wanted USING (trace_id, tool_call_id) WHERE kind = 'tool' AND {span}"
)
_CALLS: Final = """
SELECT DISTINCT call_key FROM spans JOIN contents USING (span_key)
WHERE kind = 'tool' AND call_key IN (SELECT call_key FROM wanted) AND {span} AND {fitting}
"""
_CALL: Final = ("toolset_key", "call_key")
_FEW: Final = 1_000
"""So many distinct calls are judged sooner than sieved."""


def misfits(frames: Frames) -> pl.DataFrame:
    """One row is one tool call (`run_key`, `step`) whose arguments do not fit its schema, with the `problem`."""
    calls = judgeable(frames)
    problems = _problems(frames, calls)
    return calls.join(problems, on=_CALL, maintain_order="left").select("run_key", "step", "problem")


def judgeable(frames: Frames) -> pl.DataFrame:
    """One row is one call of a declared tool whose arguments were recorded, with `call_key` and the `toolset_key` of
    the last request before it that declared any; only those whose declarations hold schemas.
    """
    return frames.once("judgeable", lambda: _judgeable(frames))


def _judgeable(frames: Frames) -> pl.DataFrame:
    place = pl.col("run_key").cast(pl.Int64) * 2**32 + pl.col("step")
    asked = frames.model_calls.select("run_key", "step", "toolset_key").drop_nulls()
    calls = frames.tool_calls.filter(
        pl.col("declared"), pl.col("call_key").is_not_null(), pl.col("content_state").cast(pl.String) == "full"
    ).select("run_key", "step", "call_key")
    if calls.is_empty() or asked.is_empty():
        return pl.DataFrame(
            schema={"run_key": pl.Int32, "step": pl.Int32, "call_key": pl.UInt64, "toolset_key": pl.UInt64}
        )
    described = frames.ask(_DECLARED, wanted=asked.select("toolset_key").unique())
    # By one number, because both are ordered by it; grouped by run it takes five times as long.
    last = asked.select("toolset_key", asked_in="run_key", place=place.set_sorted())
    return (
        calls.with_columns(place=place.set_sorted())
        .join_asof(last, on="place")
        .filter(
            pl.col("asked_in") == pl.col("run_key"), pl.col("toolset_key").is_in(described["toolset_key"].implode())
        )
        .select("run_key", "step", "call_key", "toolset_key")
    )


def _problems(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """Of the distinct among `calls` those that do not fit, with the `problem`."""
    found: dict[str, list[Any]] = {"toolset_key": [], "call_key": [], "problem": []}
    if not calls.is_empty():
        declared = frames.ask(_DECLARED, wanted=calls.select("toolset_key").unique())
        schemas = {key: schemas_of(definitions) for key, definitions in declared.iter_rows()}
        doubted = _doubted(frames, calls, schemas)
        asked = frames.ask(_ASKED, wanted=doubted).iter_rows() if len(doubted) else ()
        for toolset, call, tool, arguments in asked:
            problem = _problem(schemas[toolset].get(tool), arguments)
            if problem is not None:
                for name, value in zip(found, (toolset, call, problem), strict=True):
                    found[name].append(value)
    return pl.DataFrame(found, schema={"toolset_key": pl.UInt64, "call_key": pl.UInt64, "problem": pl.String}).unique(
        _CALL
    )


def _doubted(frames: Frames, calls: pl.DataFrame, schemas: dict[int, dict[str, Schema]]) -> pl.DataFrame:
    """The first of each distinct call among `calls`, but for those that surely fit."""
    tools: dict[str, list[Any]] = {}
    for declared in schemas.values():
        for tool, schema in declared.items():
            if schema.body not in tools.setdefault(tool, []):
                tools[tool].append(schema.body)
    fits = fitting(tools)
    # As numbers in the text, because then whole stretches of the table are passed over.
    first, last = frames.ask(_SPANS.format(span=frames.span)).row(0)
    requests = frames.ask(_REQUESTS.format(fitting=fits, first=first, last=last))
    sure = requests.filter("fits")["call_key"]
    # The same call has the same key, whoever wrote it down; only a call whose own request has other arguments is looked at by itself.
    odd = requests.filter(~pl.col("fits")).select("trace_id", "tool_call_id")
    places = (
        frames.ask(_OF_REQUESTS.format(span=frames.span), wanted=odd)
        if len(odd)
        else calls.select("run_key", "step").clear()
    )
    doubts = calls.filter(~pl.col("call_key").is_in(sure.implode()))
    if len(doubts) > _FEW:
        more = frames.ask(_CALLS.format(fitting=fits, span=frames.span), wanted=doubts.select("call_key").unique())
        doubts = doubts.filter(~pl.col("call_key").is_in(more["call_key"].implode()))
    doubts = pl.concat([doubts, calls.join(places, on=["run_key", "step"], how="semi")])
    firsts = calls.join(doubts.select(_CALL).unique(), on=_CALL, how="semi", maintain_order="left").unique(
        _CALL, keep="first", maintain_order=True
    )
    return firsts.join(doubts, on=["run_key", "step"], how="semi", maintain_order="left")


def _problem(schema: Schema | None, arguments: str | None) -> str | None:
    """What is wrong with arguments as recorded; None also where they cannot be read: they may have been cut."""
    if schema is None or arguments is None:
        return None
    try:
        given = orjson.loads(arguments or "{}")
    except ValueError:
        return None
    return schema.problem(given) if isinstance(given, dict) else None
