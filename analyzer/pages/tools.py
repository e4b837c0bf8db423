"""Tools: how often each is called, how often it fails, how long it takes, and whether it is called rightly."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from analyzer.pages import data, exports, fleet_pieces, layout, links, picked, pieces, words
from analyzer.pages.frames import safe
from analyzer.report import charts_fleet
from analyzer.views import tools as views

CHARTED = 15
KINDS_SHOWN = 12

shown = data.snapshot()
st.title("Tools", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))
if shown.runs.is_empty():
    layout.stop_without_runs(shown.path)

tools = views.with_findings(data.asked(shown, views.summaries), data.asked(shown, views.trends), shown.found)
if tools.is_empty():
    st.subheader("No tool call was recorded", anchor=False)
    st.caption("Decorate tools so that they are, or hand the loop to the runner:")
    st.code("@instrument.tool\ndef search(query: str) -> str: ...", language="python")
    st.stop()

whole = views.together(tools)
st.html(
    pieces.tiles(
        [
            pieces.tile(
                "Tools",
                words.count(tools.height),
                f"{words.plural(int((shown.runs['tool_calls'] > 0).sum()), 'run')} call some",
            ),
            pieces.tile(
                "Calls",
                words.count(whole["calls"]),
                f"{words.count(whole['unjudged_calls'])} of unknown outcome"
                if whole["unjudged_calls"]
                else "all outcomes known",
            ),
            pieces.tile(
                "Failed",
                words.count(whole["failed_calls"]),
                f"{words.share(whole['failed_calls'], whole['judged_calls'])} of those known",
                "error" if whole["failed_calls"] else "",
            ),
            links.tile(
                "Timed out",
                words.count(whole["timed_out_calls"]),
                f"{words.count(whole['pending_calls'])} never ended" if whole["pending_calls"] else "all others ended",
                links.to("failures", detector="tool_timeout"),
                "warning" if whole["timed_out_calls"] or whole["pending_calls"] else "",
            ),
            links.tile(
                "No such tool",
                words.count(whole["unknown_calls"]),
                "undeclared tools",
                links.to("failures", detector="unknown_tool"),
                "error" if whole["unknown_calls"] else "",
            ),
            links.tile(
                "Invalid arguments",
                words.count(whole["invalid_calls"]),
                "refused before they ran",
                links.to("failures", detector="invalid_arguments"),
                "warning" if whole["invalid_calls"] else "",
            ),
            pieces.tile("Blocked", words.count(whole["blocked_calls"]), "by a guard, never ran"),
        ]
    )
)

COLUMNS = {
    "tool_name": st.column_config.TextColumn("Tool", width=170),
    "calls": st.column_config.NumberColumn("Calls", format="localized", width=70),
    "runs": st.column_config.NumberColumn("Runs", format="localized", width=65),
    "error_share": st.column_config.NumberColumn(
        "Error rate", format="percent", width=80, help="Of calls whose outcome is known; empty: none is"
    ),
    "error_trend": st.column_config.AreaChartColumn(
        "Error rate over time",
        width=140,
        y_min=0,
        y_max=1,
        help="From the first call to the last; times without a call are left out",
    ),
    "median_ms": st.column_config.NumberColumn("Median, ms", format="localized", width=88),
    "p95_ms": st.column_config.NumberColumn(
        "p95, ms", format="localized", width=80, help="95 of 100 calls were faster"
    ),
    "timed_out_calls": st.column_config.NumberColumn("Timed out", format="localized", width=78),
    "pending_calls": st.column_config.NumberColumn("No end", format="localized", width=68),
    "unknown_calls": st.column_config.NumberColumn(
        "Undeclared", format="localized", width=85, help="Calls of a tool that the request did not declare"
    ),
    "invalid_calls": st.column_config.NumberColumn(
        "Invalid", format="localized", width=68, help="Calls refused because of their arguments"
    ),
    "blocked_calls": st.column_config.NumberColumn("Blocked", format="localized", width=70, help="By a guard"),
    "findings": st.column_config.NumberColumn("Findings", format="localized", width=75),
}
event: Any = st.dataframe(
    safe(views.in_ms(tools).select([*COLUMNS]), "tool_name"),
    key="tools",
    hide_index=True,
    width="stretch",
    height="content" if tools.height <= CHARTED else 560,
    on_select="rerun",
    selection_mode="single-cell",
    column_config=COLUMNS,
    placeholder=words.UNKNOWN,
)
exports.table(tools, "tools", "Click a row, or press Enter on it, to see how that tool failed.")

top = tools.filter(pl.col("tool_name").is_not_null()).head(CHARTED)
left, right = st.columns(2, gap="large")
with left:
    st.header("How calls ended", anchor=False)
    if top.is_empty():
        st.caption("No tool call has a name.")
    else:
        st.altair_chart(charts_fleet.calls_by_outcome(safe(top, "tool_name")))
with right:
    st.header("How long calls took", anchor=False)
    timed = top.filter(pl.col("median_seconds") > 0)
    if timed.is_empty():
        st.caption("No call has a start and an end that were measured.")
    else:
        st.altair_chart(charts_fleet.latency(safe(timed, "tool_name")))
if tools.height > top.height:
    st.caption(f"The {top.height} most called of {tools.height:,} tools; the table has them all.")

asked = st.query_params
if (row := picked.row(event, "tools")) is not None and row < tools.height:
    asked["tool"] = tools["tool_name"][row] or ""
names = tools["tool_name"].to_list()
worst = views.worst(tools)
named = asked.get("tool", worst or "")
tool = named if named in names else None
if tool is None and not (named == "" and None in names and "tool" in asked):
    if "tool" in asked:
        st.subheader("No such tool was called", anchor=False)
        st.code(words.visible(named), language=None)
    else:
        st.caption("No call of any tool failed.")
    exports.charts("tools")
    st.stop()

st.header("Failures of one tool", anchor=False)
st.html(pieces.page(f'<p class="fb-said fb-mono">{pieces.text(tool or "no name recorded")}</p>'))
failures = data.asked(shown, views.failures, tool)
own = shown.found.filter(pl.col("tool_name") == tool) if tool else shown.found.head(0)
if failures.is_empty():
    st.caption("None of its calls is known to have failed.")
else:
    st.html(fleet_pieces.tool_failures(failures.head(KINDS_SHOWN)))
    exports.table(failures, "tool-failures")
    with st.expander("The newest failed calls"):
        calls = data.asked(shown, views.failed_calls, tool)
        opened: Any = st.dataframe(
            safe(views.newest(calls), "agent_name", "failure", "said"),
            key=f"failed calls {tool}",
            hide_index=True,
            width="stretch",
            height=360,
            on_select="rerun",
            selection_mode="single-cell",
            placeholder=words.UNKNOWN,
            column_config={
                "start": st.column_config.DatetimeColumn("Start (UTC)", format="YYYY-MM-DD HH:mm:ss", timezone="UTC"),
                "agent_name": "Agent",
                "failure": "Failure",
                "said": "What it said",
                "seconds": st.column_config.NumberColumn("Took, s", format="%.3f"),
                "rejected": st.column_config.TextColumn("Refused as", help="It never ran"),
            },
        )
        exports.table(calls, "failed-calls")
        if (row := picked.row(opened, f"failed calls {tool}")) is not None:
            spot = {"run": calls["run_id"][row], "span": calls["span_id"][row]}
            st.switch_page(layout.RUN, query_params=spot)
if own.height and tool:
    st.page_link(
        layout.FAILURES,
        label=words.plural(own.height, "finding") + " about this tool",
        icon=":material/arrow_forward:",
        query_params={"tool": tool},
    )

exports.charts("tools")
