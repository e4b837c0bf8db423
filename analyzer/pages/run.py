"""One run: what went wrong, its timeline, what filled its context and cost money, how it went from tool to tool, its turns, raw spans.

`?run=ID` names the run; `&span=ID` or `&finding=FINGERPRINT` where in it the page opens.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from analyzer.pages import data, exports, layout, pieces, run_data, run_parts, run_turns, words
from analyzer.pages.tables import run_table
from analyzer.views import runs as run_views

RUNS_OFFERED = 25

shown = data.snapshot()
run_id = st.query_params.get("run", "")
chosen = shown.runs.filter(pl.col("run_id") == run_id)
if chosen.is_empty():
    st.title("Run", anchor=False)
    if shown.runs.is_empty():
        layout.stop_without_runs(shown.path)
    st.text(f"No run here has the id {words.visible(run_id)}. Choose one of these:" if run_id else "Choose a run:")
    run_table(run_views.ordered(shown.runs, "Worst first").head(RUNS_OFFERED), key="choose")
    st.stop()

run: dict[str, Any] = chosen.row(0, named=True)
facts = run_data.facts(shown, run)
aim = run_data.aim(facts, st.query_params.get("span"), st.query_params.get("finding"))
st.html(pieces.run_head(run, facts.findings))
run_parts.wrong(facts, aim)
# What can be leafed through is drawn anew by itself: the other charts of a long run take longer than all of it.
st.fragment(run_parts.time_line)(facts, aim)
run_parts.context_and_cost(facts)
run_parts.behaviour(facts)
st.fragment(run_turns.conversed)(facts, aim)
st.fragment(run_parts.raw_span)(facts, aim)
exports.charts("run")
