"""`unknown_tool`: the model called a tool that it was never given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from analyzer.detectors.detector import Detector, Sight, between, plural, seen
from analyzer.detectors.unknown_tool.unknown import UNDECLARED, UNKNOWN
from analyzer.frames import Frames
from instrument.names import nearest
from instrument.policy import Policy

_TOOL: Final = ("run_key", "tool_name")


def find(frames: Frames, policy: Policy) -> pl.DataFrame:
    """One row is one run and one tool that did not exist there."""
    params = policy.unknown_tools
    columns = [
        "tool_name",
        f"undeclared: {UNDECLARED}",
        "ran: NOT coalesce(failed, true) AND NOT inferred AND rejected IS NULL",
    ]
    wrong = (
        # Row numbers first: hardly any row is wanted, and the text of the others stays packed.
        frames.calls(
            columns, where=f"rowid IN (SELECT rowid FROM spans WHERE kind = 'tool' AND {frames.span} AND {UNKNOWN})"
        )
        .filter(pl.col("tool_name").is_not_null())
        .group_by(_TOOL, maintain_order=True)
        .agg(
            steps=pl.col("step"),
            calls=pl.len(),
            first_turn=pl.col("turn").first(),
            last_turn=pl.col("turn").last(),
            useless_turns=pl.col("turn").unique().sort(),
            answered=pl.col("ran").all(),
            undeclared=pl.col("undeclared").any(),
        )
        .filter(pl.col("calls") >= params.calls)
    )
    return with_nearest(frames, wrong).with_columns(
        severity=pl.when("answered")
        .then(pl.lit("info"))
        .when(pl.col("calls") >= params.error_calls)
        .then(pl.lit("error"))
        .otherwise(pl.lit("warning")),
        confidence=pl.when("answered").then(0.15).when("undeclared").then(0.97).otherwise(0.8),
        # What was answered was no waste, whatever was declared.
        useless_turns=pl.when(~pl.col("answered")).then("useless_turns"),
    )


def with_nearest(frames: Frames, wrong: pl.DataFrame) -> pl.DataFrame:
    """`wrong` plus `declared` (the names that run could have used) and `nearest` among them.

    Where the declarations were not recorded, the tools that worked in the run stand for them.
    """
    if wrong.is_empty():
        return wrong.with_columns(declared=pl.lit(None, pl.List(pl.String)), nearest=pl.lit(None, pl.String))
    known = frames.ask(
        "SELECT run_key, list_sort(coalesce(list_distinct(flatten(list(names))), list(DISTINCT tool_name) FILTER "
        "(kind = 'tool' AND NOT coalesce(failed, true)), [])) "
        "AS declared FROM spans LEFT JOIN toolsets USING (toolset_key) WHERE run_key IN (SELECT run_key FROM wanted) GROUP BY run_key",
        wanted=wrong.select("run_key").unique(),
    ).with_columns(pl.col("run_key").cast(pl.Int32), pl.col("declared").cast(pl.List(pl.String)))
    joined = wrong.join(known, on="run_key", how="left", maintain_order="left")
    names = [
        next(iter(nearest(tool, declared or (), 1)), None)
        for tool, declared in joined.select("tool_name", "declared").iter_rows()
    ]
    return joined.with_columns(nearest=pl.Series(names, dtype=pl.String))


def message(facts: Mapping[str, Any]) -> str:
    """`search_web`, which was not declared, was called 4 times ..."""
    why = (
        "which was not among the declared tools"
        if facts["undeclared"]
        else "of which the error says that it does not exist"
    )
    meant = f" The nearest declared name is `{facts['nearest']}`." if facts["nearest"] else ""
    answered = " and answered all the same" if facts["answered"] else ""
    return (
        f"`{facts['tool_name']}`, {why}, was called {plural(facts['calls'], 'time')} {between(facts)}{answered}.{meant}"
    )


def sight(frames: Frames, _: Policy) -> Sight:
    """Tool calls whose request's declarations were recorded."""
    return seen(frames.tool_calls, pl.col("declared").is_not_null())


DETECTOR = Detector(
    slug="unknown_tool",
    failure_mode="hallucinated tool calls",
    title="A tool that does not exist",
    finds="The model called a tool that the request had not declared, or that the error said does not exist.",
    matters="Such a call cannot work, and a model that is told only “error” tries again with other arguments. Users have "
    "reported 26 dollars in one turn.",
    wrong="Where an agent runs tools that its requests do not declare (a framework adding its own), their calls look "
    "invented; calls that were answered well are "
    "therefore only mentioned. Without recorded declarations the words of the error decide.",
    advice="Check names against the declared tools before running anything and answer with the nearest real name. "
    "Look whether the prompt mentions a tool by a name it no longer has.",
    params="unknown_tools",
    evidence={
        "tool_name": "Name that was called.",
        "calls": "How often.",
        "nearest": "Declared name most like it.",
        "declared": "Names that were declared in the run; where none were recorded, those that worked.",
        "undeclared": "Whether the declarations prove it; otherwise the error says so.",
        "answered": "Whether every one of the calls was answered all the same.",
        "arguments": "Arguments of the first call, the first 300 characters.",
    },
    reads={"tool_calls": ("declared",)},
    message=message,
    sight=sight,
    unseen="the tools declared in the requests were not recorded",
    find=find,
)
