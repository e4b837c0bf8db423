"""Runs: all of them, filtered, sorted, a page at a time."""

from __future__ import annotations

import streamlit as st

from analyzer.pages import data, layout, pieces, words
from analyzer.pages.tables import run_table
from analyzer.views import runs as views

PAGE_ROWS = 50
CHOICES = 500
"""Names offered in a filter; the browser does not like more."""

shown = data.snapshot()
st.title("Runs", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))
if shown.runs.is_empty():
    layout.stop_without_runs(shown.path)


def names(column: str) -> list[str]:
    """The most frequent values of a column of the runs."""
    known = shown.runs[column].drop_nulls()
    return [str(name) for name in known.value_counts(sort=True)[column].head(CHOICES)]


stops = names("stop_reason")
filters = iter(st.columns([2] * (7 if stops else 6), vertical_alignment="bottom"))
wanted = views.Wanted(
    agents=next(filters).multiselect("Agent", names("agent_name"), placeholder="any", format_func=words.visible),
    models=next(filters).multiselect("Model", names("model"), placeholder="any", format_func=words.visible),
    detectors=next(filters).multiselect(
        "Finding", [o.detector for o in shown.report.outcomes], placeholder="any", key="finding"
    ),
    outcomes=next(filters).multiselect("Outcome", views.OUTCOMES, placeholder="any"),
    # Nobody needs it where no run was under a guard.
    stops=next(filters).multiselect("Stop reason", stops, placeholder="any", format_func=words.visible)
    if stops
    else (),
    text=next(filters).text_input("Id contains", placeholder="run, trace or user").strip(),
)
sort = next(filters).selectbox("Sort", [*views.SORTS])

found = views.ordered(views.matching(shown.runs, wanted), sort)
if found.is_empty():
    st.subheader("No run is like that", anchor=False)
    st.caption("Take a filter away.")
    st.stop()

pages = -(-found.height // PAGE_ROWS)
summary, pager = st.columns([3, 2], vertical_alignment="center")
summary.caption(
    f"{words.plural(found.height, 'run')}{' of ' + format(shown.runs.height, ',') if wanted else ''} · "
    f"{words.plural(int((found['findings'] > 0).sum()), 'run')} with findings · click a row to open its run"
)
with pager, st.container(horizontal_alignment="right"):
    # Another list starts at its first page.
    page = st.pagination(pages, key=f"page of {sort} {wanted}") if pages > 1 else 1
run_table(found.slice((page - 1) * PAGE_ROWS, PAGE_ROWS), key="runs")
