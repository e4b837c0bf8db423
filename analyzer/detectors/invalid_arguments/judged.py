"""Tool calls judged by the schemas that their requests declared: each distinct call once."""

from __future__ import annotations

from typing import Any, Final

import orjson
import polars as pl

from analyzer.detectors.invalid_arguments.schemas import Schema, schemas_of
from analyzer.frames import Frames

_DECLARED: Final = """
SELECT toolset_key, definitions FROM toolsets
WHERE toolset_key IN (SELECT toolset_key FROM wanted) AND contains(definitions, '{')
"""
# What the model gave comes before what an instrumentation made of it.
_ASKED: Final = """
SELECT w.toolset_key, w.call_key, s.tool_name, coalesce(q.arguments, c.arguments) AS arguments
FROM wanted w JOIN spans s ON s.run_key = w.run_key AND s.step = w.step LEFT JOIN contents c ON c.span_key = s.span_key
    LEFT JOIN tool_requests q ON q.trace_id = s.trace_id AND q.tool_call_id = s.tool_call_id
"""
_CALL: Final = ("toolset_key", "call_key")


def misfits(frames: Frames) -> pl.DataFrame:
    """One row is one tool call (`run_key`, `step`) whose arguments do not fit its schema, with the `problem`."""
    calls = judgeable(frames)
    problems = _problems(frames, calls.unique(_CALL, keep="first", maintain_order=True))
    return calls.join(problems, on=_CALL, maintain_order="left").select("run_key", "step", "problem")


def judgeable(frames: Frames) -> pl.DataFrame:
    """One row is one call of a declared tool whose arguments were recorded, with `call_key` and the `toolset_key` of
    the last request before it that declared any; only those whose declarations hold schemas.
    """
    asked = frames.model_calls.select("run_key", "step", "toolset_key").drop_nulls()
    calls = frames.tool_calls.filter(
        pl.col("declared"), pl.col("call_key").is_not_null(), pl.col("content_state").cast(pl.String) == "full"
    ).select("run_key", "step", "call_key")
    if calls.is_empty() or asked.is_empty():
        return pl.DataFrame(
            schema={"run_key": pl.Int32, "step": pl.Int32, "call_key": pl.UInt64, "toolset_key": pl.UInt64}
        )
    described = frames.ask(_DECLARED, wanted=asked.select("toolset_key").unique())
    return calls.join_asof(asked, on="step", by="run_key", check_sortedness=False).join(
        described.select("toolset_key"), on="toolset_key", how="semi", maintain_order="left"
    )


def _problems(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """Of distinct `calls` those that do not fit, with the `problem`."""
    found: dict[str, list[Any]] = {"toolset_key": [], "call_key": [], "problem": []}
    if not calls.is_empty():
        declared = frames.ask(_DECLARED, wanted=calls.select("toolset_key").unique())
        schemas = {key: schemas_of(definitions) for key, definitions in declared.iter_rows()}
        for toolset, call, tool, arguments in frames.ask(_ASKED, wanted=calls).iter_rows():
            problem = _problem(schemas[toolset].get(tool), arguments)
            if problem is not None:
                for name, value in zip(found, (toolset, call, problem), strict=True):
                    found[name].append(value)
    return pl.DataFrame(found, schema={"toolset_key": pl.UInt64, "call_key": pl.UInt64, "problem": pl.String}).unique(
        _CALL
    )


def _problem(schema: Schema | None, arguments: str | None) -> str | None:
    """What is wrong with arguments as recorded; None also where they cannot be read: they may have been cut."""
    if schema is None or arguments is None:
        return None
    try:
        given = orjson.loads(arguments or "{}")
    except ValueError:
        return None
    return schema.problem(given) if isinstance(given, dict) else None
