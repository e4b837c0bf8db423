"""The table of runs, as it stands on several pages: click a row to open its run."""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import streamlit as st

from analyzer.pages import layout, words
from analyzer.report.charts import SEVERITY_COLORS

_RANKS: Final = {0: "info", 1: "warning", 2: "error"}
_OUTCOME_COLORS: Final = {
    "failed": SEVERITY_COLORS["error"],
    "unfinished": SEVERITY_COLORS["warning"],
    "ended": "#98a2ae",
}
_LONG: Final = ("model", "tool_calls", "failed_tool_calls", "peak_input_tokens", "run_id")
_TEXT_CHARS: Final = 80


def run_table(runs: pl.DataFrame, key: str, *, short: bool = False) -> None:
    """Rows of `views.runs.with_findings`; a click anywhere in a row leads to that run. `short`: fits a laptop's width."""
    event: Any = st.dataframe(
        _columns(runs).drop(_LONG) if short else _columns(runs),
        key=key,
        hide_index=True,
        width="stretch",
        height="content",
        on_select="rerun",
        selection_mode="single-cell",
        column_config=_CONFIG,
        placeholder=words.UNKNOWN,
    )
    cells = event["selection"]["cells"]
    if cells:
        row = cells[0][0]
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
        pl.col("detectors"),
        pl.col("cost_usd"),
        pl.col("wasted_usd"),
        pl.col("seconds"),
        pl.col("model_calls"),
        pl.col("tool_calls"),
        pl.col("failed_tool_calls"),
        pl.col("peak_input_tokens"),
        _safe("run_id"),
    )


def _safe(column: str) -> pl.Expr:
    return pl.col(column).str.slice(0, _TEXT_CHARS).map_elements(words.visible, return_dtype=pl.String)


_CONFIG: Final = {
    "worst": st.column_config.MultiselectColumn(
        "Worst", width=84, options=[*SEVERITY_COLORS], color=[*SEVERITY_COLORS.values()]
    ),
    "agent_name": st.column_config.TextColumn("Agent", width=150),
    "model": st.column_config.TextColumn("Model", width=150),
    "start": st.column_config.DatetimeColumn("Started (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC", width=130),
    "outcome": st.column_config.MultiselectColumn(
        "Outcome", width=95, options=[*_OUTCOME_COLORS], color=[*_OUTCOME_COLORS.values()]
    ),
    "detectors": st.column_config.ListColumn("Findings", width=230),
    "cost_usd": st.column_config.NumberColumn("Cost, $", format="%.4f", width=85),
    "wasted_usd": st.column_config.NumberColumn("Wasted, $", format="%.4f", width=85),
    "seconds": st.column_config.NumberColumn("Duration, s", format="%.1f", width=95),
    "model_calls": st.column_config.NumberColumn("Turns", format="localized", width=70),
    "tool_calls": st.column_config.NumberColumn("Tool calls", format="localized", width=85),
    "failed_tool_calls": st.column_config.NumberColumn("Failed", format="localized", width=70),
    "peak_input_tokens": st.column_config.NumberColumn("Peak context, tokens", format="localized", width=150),
    "run_id": st.column_config.TextColumn("Run", width=150),
}
