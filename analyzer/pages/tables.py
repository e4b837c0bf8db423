"""The table of runs, as it stands on several pages: click a row, or press Enter on it, to open its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import polars as pl
import streamlit as st

from analyzer.pages import layout, picked, words

_RANKS: Final = {0: "info", 1: "warning", 2: "error"}
# Names of Streamlit's own palette: chips then follow the theme.
_SEVERITY_COLORS: Final = {"error": "red", "warning": "orange", "info": "blue"}
_OUTCOME_COLORS: Final = {"failed": "red", "unfinished": "orange", "ended": "gray"}
_LONG: Final = ("model", "tool_calls", "failed_tool_calls", "peak_input_tokens")
_TEXT_CHARS: Final = 80


def run_table(
    runs: pl.DataFrame, key: str, *, short: bool = False, sort: Callable[[str], object] | None = None
) -> None:
    """Rows of `views.runs.with_findings`; a click anywhere in a row, or Enter on it, leads to that run. `short`: fits a laptop's width.

    With `sort` a click on a column's head is told to it, by the column's name, and no longer sorts the rows shown.
    """
    columns = _columns(runs)
    if not runs["stop_reason"].count():  # nothing here ran under a guard
        columns = columns.drop("stop_reason")
    event: Any = st.dataframe(
        columns.drop(_LONG) if short else columns,
        key=key,
        hide_index=True,
        width="stretch",
        height="content",
        on_select="rerun",
        selection_mode=("single-cell", "single-column") if sort else "single-cell",
        column_config=_CONFIG,
        placeholder=words.UNKNOWN,
    )
    heads = event["selection"]["columns"]
    if sort and heads:
        sort(heads[0])
    if (row := picked.row(event, key)) is not None:
        st.switch_page(layout.RUN, query_params={"run": runs["run_id"][row]})


def _columns(runs: pl.DataFrame) -> pl.DataFrame:
    severity = pl.col("rank").replace_strict(_RANKS, default=None, return_dtype=pl.String)
    return runs.select(
        pl.when(severity.is_null())
        .then(pl.lit([], pl.List(pl.String)))
        .otherwise(pl.concat_list(severity))
        .alias("worst"),
        _safe("agent_name"),
        _safe("model"),
        pl.col("start_ns").cast(pl.Datetime("ns")).dt.cast_time_unit("ms").dt.replace_time_zone("UTC").alias("start"),
        pl.concat_list("outcome").alias("outcome"),
        _safe("stop_reason"),
        pl.col("detectors"),
        pl.col("cost_usd"),
        pl.col("wasted_usd"),
        pl.col("seconds"),
        pl.col("model_calls"),
        pl.col("tool_calls"),
        pl.col("failed_tool_calls"),
        pl.col("peak_input_tokens"),
    )


def _safe(column: str) -> pl.Expr:
    return pl.col(column).str.slice(0, _TEXT_CHARS).map_elements(words.visible, return_dtype=pl.String)


_CONFIG: Final = {
    "worst": st.column_config.MultiselectColumn(
        "Worst", width=74, options=[*_SEVERITY_COLORS], color=[*_SEVERITY_COLORS.values()]
    ),
    "agent_name": st.column_config.TextColumn("Agent", width=120),
    "model": st.column_config.TextColumn("Model", width=120),
    "start": st.column_config.DatetimeColumn("Started (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC", width=118),
    "outcome": st.column_config.MultiselectColumn(
        "Outcome", width=82, options=[*_OUTCOME_COLORS], color=[*_OUTCOME_COLORS.values()]
    ),
    "stop_reason": st.column_config.TextColumn(
        "Stop reason", width=96, help="Why a guarded run ended; completed: the model gave its answer"
    ),
    "detectors": st.column_config.ListColumn("Findings", width=150),
    "cost_usd": st.column_config.NumberColumn("Cost, $", format="%.4f", width=66),
    "wasted_usd": st.column_config.NumberColumn("Wasted, $", format="%.4f", width=72),
    "seconds": st.column_config.NumberColumn("Took, s", format="%.1f", width=62),
    "model_calls": st.column_config.NumberColumn("Turns", format="localized", width=54),
    "tool_calls": st.column_config.NumberColumn("Calls", format="localized", width=52, help="Tool calls"),
    "failed_tool_calls": st.column_config.NumberColumn(
        "Failed", format="localized", width=54, help="Failed tool calls"
    ),
    "peak_input_tokens": st.column_config.NumberColumn(
        "Context", format="localized", width=70, help="Most tokens sent to the model in one request"
    ),
}
