"""Overview: how much ran, what it cost, what went wrong, what is new, and where to look first."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from analyzer.findings import Severity, State
from analyzer.pages import data, exports, fleet_pieces, layout, links, pieces, words
from analyzer.pages.tables import run_table
from analyzer.report import charts, charts_fleet
from analyzer.views import failures, overview, runs_wanted
from analyzer.views import runs as views

WORST_RUNS = 8
WORST_FINDINGS = 5
WORST_AGENTS = 8
DEPLOYS = 8
NEWS = 12
OUTCOMES_OPEN = 8

shown = data.snapshot()
report, totals = shown.report, shown.report.totals

st.title("Overview", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))

if shown.runs.is_empty():
    layout.stop_without_runs(shown.path)

errors = sum(f.severity is Severity.ERROR for f in report.findings)
warnings = sum(f.severity is Severity.WARNING for f in report.findings)
worst = "error" if errors else "warning" if warnings else ""
wasted = totals.wasted_cost_usd
failed = int((shown.runs["outcome"] == "failed").sum())
st.html(
    pieces.tiles(
        [
            links.tile(
                "Runs",
                words.count(totals.runs),
                f"{totals.unfinished_runs:,} unfinished" if totals.unfinished_runs else "all ended",
                links.to("runs"),
            ),
            links.tile(
                "Failed runs",
                words.count(failed),
                f"{words.share(failed, totals.runs)} of runs" if failed else "none",
                links.to("runs", outcome="failed"),
                "error" if failed else "",
            ),
            links.tile(
                "Findings",
                words.count(len(report.findings)),
                f"{words.plural(errors, 'error')}, {words.plural(warnings, 'warning')}",
                links.to("failures"),
                worst,
            ),
            links.tile(
                "Spend",
                words.money(totals.cost_usd),
                f"{words.plural(totals.unpriced_calls, 'call')} of unknown price"
                if totals.unpriced_calls
                else "every call priced",
                links.to("cost"),
            ),
            links.tile(
                "Wasted",
                words.money(wasted),
                f"{words.share(wasted, totals.cost_usd)} of spend"
                if wasted is not None
                else "size not known"
                if report.findings
                else "nothing found",
                links.to("failures"),
                "warning" if wasted else "",
            ),
            links.tile(
                "Model calls",
                words.count(totals.model_calls),
                f"{words.plural(totals.duplicate_model_calls, 'repeat')} left out"
                if totals.duplicate_model_calls
                else "each counted once",
                links.to("cost"),
            ),
            links.tile(
                "Tool calls",
                words.count(totals.tool_calls),
                f"{words.count(int(shown.runs['failed_tool_calls'].sum()))} failed",
                links.to("tools"),
            ),
        ]
    )
)

spend = views.spend_over_time(shown.runs)
undated = shown.runs.filter(pl.col("start_ns").is_null())
left, right = st.columns(2, gap="large")
with left:
    st.header("Failures by mode over time", anchor=False)
    if shown.found.is_empty():
        st.caption("Nothing was found. Whether everything could be looked at stands below.")
    elif spend.is_empty() or not shown.found["start_ns"].count():
        st.caption(
            "Nothing that was found has a known time, so there is nothing to show over time. What was found stands below."
        )
    else:
        over_time = failures.modes_over_time(shown.runs, shown.found)
        event: Any = st.altair_chart(
            charts_fleet.modes_over_time(over_time, spend["start"]), on_select="rerun", key="modes over time"
        )
        if picked := event["selection"].get(charts_fleet.PICKED):
            st.switch_page(layout.RUNS, query_params=runs_wanted.params_of(failures.runs_of(picked[0], over_time)))
        if left_out := shown.found["start_ns"].null_count():
            st.caption(f"Not on this axis: {words.plural(left_out, 'finding')} of unknown time.")
with right:
    st.header("Spend over time", anchor=False)
    if totals.cost_usd is None:
        st.caption("No model call has a known price. Give prices of your own in flyball.toml.")
    elif spend.is_empty():
        st.caption("No run says when it was, so there is nothing to show over time.")
    else:
        st.altair_chart(charts.spend_over_time(spend))
        if undated.height:
            cost = f", {words.money(float(undated['cost_usd'].sum()))} together" if undated["cost_usd"].count() else ""
            st.caption(f"Not on this axis: {words.plural(undated.height, 'run')} of unknown time{cost}.")

modes, agents = failures.by_mode(shown.found), overview.worst_agents(shown.runs)
left, right = st.columns([2, 3], gap="large")
with left:
    st.header("By failure mode", anchor=False)
    st.html(fleet_pieces.modes(modes))
    exports.table(modes, "failure-modes")
with right:
    st.header("Worst agents", anchor=False)
    st.html(fleet_pieces.agents(agents.head(WORST_AGENTS)))
    exports.table(agents, "agents", f"{agents.height:,} agents in all" if agents.height > WORST_AGENTS else "")

st.header("New since the last deploy", anchor=False)
deploys = overview.deploys(shown.runs, data.asked(shown, overview.versions))
news = overview.new_since(shown.found, shown.runs, deploys)
if deploys.is_empty():
    st.caption(
        "No run says which version of the service it was, so nothing can be new since a deploy. Name it where the agent starts:"
    )
    st.code("export OTEL_RESOURCE_ATTRIBUTES=service.version=1.4.2", language=None)
elif not (deploys["runs_before"] > 0).any():
    st.caption("Each agent ran in one version only: there is nothing to compare it with.")
    st.html(fleet_pieces.deploys(deploys.head(DEPLOYS)))
else:
    if news.is_empty():
        st.caption("Nothing was found since that had not been found before.")
    else:
        st.html(fleet_pieces.news(news.head(NEWS)))
        exports.table(news, "new-since-deploy")
    with st.expander("Which deploys are meant"):
        st.caption(
            "A deploy is the first run of an agent's newest `service.version`. New is what a detector found in the same "
            "agent and tool since then and never before."
        )
        st.html(fleet_pieces.deploys(deploys.head(DEPLOYS)))

st.header("Runs to look at first", anchor=False)
run_table(views.ordered(shown.runs, "Worst first").head(WORST_RUNS), key="worst_runs", short=True)
st.page_link(layout.RUNS, label=f"All {totals.runs:,} runs", icon=":material/arrow_forward:")

if report.findings:
    st.header("Worst findings", anchor=False)
    for finding in report.findings[:WORST_FINDINGS]:
        card, link = st.columns([12, 1], vertical_alignment="center")
        card.html(pieces.finding_card(finding, with_run=True))
        link.page_link(layout.RUN, label="Open", icon=":material/arrow_forward:", query_params={"run": finding.run_id})

left, right = st.columns(2, gap="large")
with left:
    st.header("Findings by detector", anchor=False)
    found_by = views.findings_by_mode(report.findings, [])
    if found_by.is_empty():
        st.caption("Nothing was found.")
    else:
        rows = found_by["detector"].n_unique()
        st.altair_chart(charts.findings_by_mode(found_by).properties(height=charts_fleet.rows_height(rows)))
with right:
    st.header("What the detectors could see", anchor=False)
    dim = [o for o in report.outcomes if o.state is not State.COMPLETE]
    st.html(pieces.muted(f"{len(report.outcomes) - len(dim)} of {len(report.outcomes)} detectors saw everything."))
    if dim:
        few = len(dim) <= OUTCOMES_OPEN
        with nullcontext() if few else st.expander("What the others could not see"):
            st.html(pieces.outcomes(dim))

if report.issues:
    st.header("What could not be read, or had to be inferred", anchor=False)
    issues = pl.DataFrame(
        [
            (i.kind, words.visible(i.source), i.line, i.count, words.visible(i.message), words.visible(i.remedy))
            for i in report.issues[:200]
        ],
        schema=["kind", "file", "line", "count", "what happened", "what to do"],
        orient="row",
    ).with_columns(pl.col("file").map_elements(lambda name: Path(name).name, return_dtype=pl.String))
    st.dataframe(issues, hide_index=True, width="stretch", placeholder=words.UNKNOWN)
    exports.table(issues, "issues")

exports.charts("overview")
