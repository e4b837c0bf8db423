"""Failures: what was found, by detector: how often, where, since when, with what proof, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import streamlit as st

from analyzer import baseline
from analyzer.detectors import DETECTORS
from analyzer.findings import Finding
from analyzer.pages import accepted, data, exports, fleet_pieces, layout, picked, pieces, words
from analyzer.report import charts
from analyzer.report.finding_markdown import as_markdown
from analyzer.views import failures as views
from analyzer.views import runs as run_views

PER_PAGE = 6
COPIED = 25
"""Findings in one text to copy."""
NAMES = 500
AGENTS_SHOWN = 8

shown = data.snapshot()
st.title("Failures", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))
if shown.runs.is_empty():
    layout.stop_without_runs(shown.path)
if shown.found.is_empty():
    st.subheader("Nothing was found", anchor=False)
    st.caption("This is what the detectors could look at:")
    st.html(pieces.outcomes(shown.report.outcomes))
    st.stop()

asked = st.query_params
place = accepted.place(layout.options())
try:
    known = baseline.read_known(place) if place else ()
except baseline.BaselineError as e:
    place, known = None, ()
    st.warning("What is accepted cannot be read, so nothing can be accepted here.", icon=":material/report:")
    st.code(words.visible(str(e)), language=None, wrap_lines=True)
marks = frozenset(entry.fingerprint for entry in known)


def names(column: str) -> list[str]:
    """The most frequent values of a column of the findings."""
    return [str(name) for name in shown.found[column].drop_nulls().value_counts(sort=True)[column].head(NAMES)]


def given(name: str, offered: list[str]) -> list[str]:
    """What a link asks for, as far as it is there."""
    return [value for value in asked.get_all(name) if value in offered]


modes, agents, tools = names("mode"), names("agent_name"), names("tool_name")
columns = st.columns([2, 2, 2, 2, 1.6], vertical_alignment="bottom")
mode = columns[0].multiselect("Failure mode", modes, default=given("mode", modes), placeholder="any")
agent = columns[1].multiselect(
    "Agent", agents, default=given("agent", agents), placeholder="any", format_func=words.visible
)
tool = columns[2].multiselect("Tool", tools, default=given("tool", tools), placeholder="any", format_func=words.visible)
severity = columns[3].multiselect("Severity", ["error", "warning", "info"], placeholder="any")
with_known = columns[4].toggle(
    "Accepted too", disabled=not known, help="Findings that were accepted as known are left out otherwise."
)
wanted = views.Wanted(
    modes=mode, agents=agent, tools=tool, severities=severity, without=frozenset() if with_known else marks
)
found = views.matching(shown.found, wanted)
if found.is_empty():
    st.subheader("No finding is like that", anchor=False)
    st.caption("Take a filter away" + (", or show what is accepted." if known and not with_known else "."))

detectors = views.by_detector(shown.runs, found)
slugs = detectors["detector"].to_list()
COLUMNS = {
    "severity": st.column_config.MultiselectColumn(
        "Worst", width=80, options=["error", "warning", "info"], color=["red", "orange", "blue"]
    ),
    "detector": st.column_config.TextColumn("Detector", width=160),
    "mode": st.column_config.TextColumn("Failure mode", width=175),
    "findings": st.column_config.NumberColumn("Findings", format="localized", width=75),
    "runs": st.column_config.NumberColumn("Runs", format="localized", width=70),
    "agents": st.column_config.NumberColumn("Agents", format="localized", width=70),
    "wasted_usd": st.column_config.NumberColumn(
        "Wasted, $", format="%.4f", width=90, help="Of each run its largest finding; empty: not known"
    ),
    "trend": st.column_config.BarChartColumn("Findings over time", width=180, y_min=0),
    "last": st.column_config.DatetimeColumn("Last (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC", width=130),
}


def choose() -> str:
    """The table of detectors; gives the one to show: that of the row clicked, else the one a link asks for, else the worst."""
    table = detectors.with_columns(
        severity=pl.concat_list("severity"),
        last=pl.from_epoch("last_ns", time_unit="ns").dt.cast_time_unit("ms").dt.replace_time_zone("UTC"),
    ).select([*COLUMNS])
    event: Any = st.dataframe(
        table,
        key="detectors",
        hide_index=True,
        width="stretch",
        height="content",
        on_select="rerun",
        selection_mode="single-cell",
        column_config=COLUMNS,
        placeholder=words.UNKNOWN,
    )
    exports.table(detectors, "findings-by-detector")
    row = picked.row(event, "detectors")
    if row is not None and row < len(slugs):
        asked["detector"] = slugs[row]
    return asked.get("detector", "") if asked.get("detector", "") in slugs else slugs[0]


def accept(findings: list[Finding]) -> None:
    """Writes findings down as known."""
    assert place is not None  # there is no button without it
    try:
        baseline.accept(place, findings)
    except baseline.BaselineError as e:
        st.session_state["not accepted"] = str(e)


def take_back(fingerprints: list[str]) -> None:
    """Undoes that."""
    assert place is not None  # as above
    try:
        baseline.withdraw(place, fingerprints)
    except baseline.BaselineError as e:
        st.session_state["not accepted"] = str(e)


def show(number: int, finding: Finding) -> None:
    """One finding with its proof and its links."""
    # What to do stands above, once for all.
    st.html(pieces.finding_card(replace(finding, advice=""), with_run=True) + fleet_pieces.evidence(finding))
    spot = {"run": finding.run_id, "finding": finding.fingerprint}
    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        st.page_link(layout.RUN, label="Open", icon=":material/arrow_forward:", query_params=spot)
        with st.popover("Copy", icon=":material/content_copy:", type="tertiary"):
            st.code(as_markdown([finding]), language=None, wrap_lines=True)
        if place is None:
            return
        known_already = finding.fingerprint in marks
        st.button(
            "Undo: report it again" if known_already else "Accept as known",
            key=f"{'undo' if known_already else 'accept'} {number}",
            on_click=take_back if known_already else accept,
            args=([finding.fingerprint] if known_already else [finding],),
            icon=":material/undo:" if known_already else ":material/check:",
            type="tertiary",
            help="Accepted findings are left out here and in `flyball check --baseline`",
        )


if slugs:
    slug = choose()
    detector = DETECTORS[slug]
    own = found.filter(pl.col("detector") == slug)
    (row,) = detectors.filter(pl.col("detector") == slug).iter_rows(named=True)
    findings = views.chosen(shown.report.findings, own)

    st.header(detector.title, anchor=False)
    left, right = st.columns(2, gap="large")
    with left:
        st.html(fleet_pieces.about(detector, row["severity"]))
        with st.expander("When it is wrong"):
            st.html(fleet_pieces.sentences(detector.wrong))
        agents_hit = views.affected(shown.runs, own)
        st.html(fleet_pieces.affected(agents_hit.head(AGENTS_SHOWN), slug))
        exports.table(agents_hit, f"agents-{slug}")
    with right:
        over_time = run_views.findings_over_time(shown.runs, findings)
        if over_time.is_empty():
            st.caption("No run with such a finding says when it was, so there is nothing to show over time.")
        else:
            st.altair_chart(charts.findings_over_time(over_time, run_views.spend_over_time(shown.runs)["start"]))
        if (left_out := own["start_ns"].null_count()) and not over_time.is_empty():
            st.caption(f"Not on this axis: {words.plural(left_out, 'finding')} of unknown time.")

    pages = -(-len(findings) // PER_PAGE)
    heading, copying, accepting, pager = st.columns([2.2, 1.6, 1.4, 3], vertical_alignment="bottom")
    heading.header(words.plural(len(findings), "finding"), anchor=False)
    with copying.popover("Copy as Markdown", icon=":material/content_copy:", width="stretch"):
        if len(findings) > COPIED:
            st.caption(f"The worst {COPIED} of {len(findings):,}")
        st.code(as_markdown(findings[:COPIED]), language=None, height=420)
    if place is not None:
        unknown = [f for f in findings if f.fingerprint not in marks]
        accepting.button(
            f"Accept all {len(unknown):,}",
            key="accept all",
            on_click=accept,
            args=(unknown,),
            icon=":material/done_all:",
            width="stretch",
            disabled=not unknown,
        )
    with pager, st.container(horizontal_alignment="right"):
        page = st.pagination(pages, key=f"page of {slug} {wanted}") if pages > 1 else 1
    if problem := st.session_state.pop("not accepted", None):
        st.error("It could not be accepted.")
        st.code(words.visible(problem), language=None, wrap_lines=True)
    for number, finding in enumerate(findings[(page - 1) * PER_PAGE : page * PER_PAGE]):
        show(number, finding)
    exports.table(own.drop("position"), f"findings-{slug}")

st.header("Accepted as known", anchor=False)
if place is None:
    st.caption(
        "Findings can be accepted where the app was opened on a database in a folder it may write to: `--db FILE`. "
        "What is accepted is kept beside it."
    )
elif not known:
    st.caption(f"Nothing is accepted yet. What is will stand in `{place.name}`, beside the database.")
else:
    there = set(shown.found["fingerprint"])
    rows = [
        (
            f"`{entry.detector}`",
            entry.agent_name or words.UNKNOWN,
            entry.message or words.UNKNOWN,
            "yes" if entry.fingerprint in there else "no longer",
        )
        for entry in known[:100]
    ]
    with st.expander(f"{words.plural(len(known), 'finding')} accepted", icon=":material/check:"):
        st.html(pieces.table(["Detector", "Agent", "What was found", "Found now"], rows))
        if len(known) > len(rows):
            st.caption(f"and {len(known) - len(rows):,} more")
    st.button(
        "Undo all",
        on_click=take_back,
        args=([entry.fingerprint for entry in known],),
        icon=":material/undo:",
        type="tertiary",
    )
    st.caption("The same file leaves them out of a check:")
    st.code(f"flyball check {shown.path.name} --baseline {place.name}", language=None)

exports.charts("failures")
