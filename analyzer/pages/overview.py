"""Overview: how much ran, what it cost, what went wrong, and where to look first."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from analyzer.findings import Severity
from analyzer.pages import data, layout, pieces, words
from analyzer.pages.tables import run_table
from analyzer.report import charts
from analyzer.views import runs as views

WORST_RUNS = 8
WORST_FINDINGS = 5

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
st.html(
    pieces.tiles(
        [
            pieces.tile(
                "Runs",
                words.count(totals.runs),
                f"{totals.unfinished_runs:,} unfinished" if totals.unfinished_runs else "all ended",
            ),
            pieces.tile(
                "Findings",
                words.count(len(report.findings)),
                f"{words.plural(errors, 'error')}, {words.plural(warnings, 'warning')}",
                worst,
            ),
            pieces.tile(
                "Spend",
                words.money(totals.cost_usd),
                f"{words.plural(totals.unpriced_calls, 'call')} of unknown price"
                if totals.unpriced_calls
                else "every call priced",
            ),
            pieces.tile(
                "Wasted",
                words.money(wasted),
                f"{words.share(wasted, totals.cost_usd)} of spend"
                if wasted is not None
                else "size not known"
                if report.findings
                else "nothing found",
                "warning" if wasted else "",
            ),
            pieces.tile(
                "Model calls",
                words.count(totals.model_calls),
                f"{words.plural(totals.duplicate_model_calls, 'repeat')} left out"
                if totals.duplicate_model_calls
                else "each counted once",
            ),
            pieces.tile(
                "Tool calls",
                words.count(totals.tool_calls),
                f"{words.count(int(shown.runs['failed_tool_calls'].sum()))} failed",
            ),
            pieces.tile("Tokens in", words.count(totals.input_tokens), f"{words.count(totals.output_tokens)} out"),
        ]
    )
)

left, right = st.columns(2, gap="large")
with left:
    st.header("Findings by failure mode", anchor=False)
    st.altair_chart(
        charts.findings_by_mode(views.findings_by_mode(report.findings, [o.detector for o in report.outcomes]))
    )
spend = views.spend_over_time(shown.runs)
with right:
    st.header("Findings over time", anchor=False)
    over_time = views.findings_over_time(shown.runs, report.findings)
    if over_time.is_empty():
        st.caption("Nothing was found. Whether everything could be looked at stands below.")
    else:
        st.altair_chart(charts.findings_over_time(over_time, spend["start"]))

left, right = st.columns(2, gap="large")
with left:
    st.header("Spend over time", anchor=False)
    if totals.cost_usd is None:
        st.caption("No model call has a known price. Give prices of your own in flyball.toml.")
    else:
        st.altair_chart(charts.spend_over_time(spend))
with right:
    st.header("What the detectors could see", anchor=False)
    st.html(pieces.outcomes(report.outcomes))

st.header("Runs to look at first", anchor=False)
run_table(views.ordered(shown.runs, "Worst first").head(WORST_RUNS), key="worst_runs", short=True)
st.page_link(layout.RUNS, label=f"All {totals.runs:,} runs", icon=":material/arrow_forward:")

if report.findings:
    st.header("Worst findings", anchor=False)
    for finding in report.findings[:WORST_FINDINGS]:
        card, link = st.columns([12, 1], vertical_alignment="center")
        card.html(pieces.finding_card(finding, with_run=True))
        link.page_link(layout.RUN, label="Open", icon=":material/arrow_forward:", query_params={"run": finding.run_id})

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
