"""Alerts: the rules that the policy gives, what they would have done on the recorded history, and the files to deploy them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import polars as pl
import streamlit as st

from analyzer.alerts.backtest import Backtest, backtest
from analyzer.alerts.metrics import METRICS
from analyzer.alerts.package import package
from analyzer.alerts.prometheus import RULES_FILE, RUNBOOKS, TESTS_FILE
from analyzer.alerts.rule import Rule
from analyzer.alerts.rules import rules
from analyzer.pages import data, exports, layout, links, live, picked, pieces, words
from analyzer.pages.data import Snapshot
from analyzer.report import charts_more
from analyzer.views import alert_history
from analyzer.views.alert_history import Gauge
from instrument.policy import Policy

AT_ONCE = 3_000
"""Evaluations that are tried without being asked for: a second or two."""
ROWS_SHOWN = 300
PERIODS = {1: "last day recorded", 7: "last 7 days", 30: "last 30 days", None: "all of it"}

policy = data.policy()
files = package(policy)
in_force = rules(policy)
st.title("Alerts", anchor=False)
origin = "the default policy" if policy == Policy() else "your policy"
st.html(
    pieces.muted(
        f"{len(in_force)} rules with the thresholds of {origin}, tried on what was recorded before they wake anyone"
    )
)

shown = data.snapshot()


@st.cache_resource(show_spinner="Trying the rules on the history …", max_entries=8, hash_funcs={Snapshot: live.version})
def tried(snapshot: Snapshot, policy_json: bytes, days: int | None) -> tuple[Backtest, int]:
    """The rules over a part of the history, and how many evaluations before it are left out."""
    with data.opened(snapshot) as con:
        part = alert_history.period(con, days)
        found = backtest(
            con,
            msgspec.json.decode(policy_json, type=Policy),
            instants=part.instants,
            findings=snapshot.report.findings,
        )
    return found, part.left_out


@st.cache_resource(show_spinner="Working out the gauges …", max_entries=8, hash_funcs={Snapshot: live.version})
def measured(snapshot: Snapshot, policy_json: bytes, days: int | None, _fired: Sequence[Rule]) -> tuple[Gauge, ...]:
    """The gauges of the rules that fired, over the same part."""
    with data.opened(snapshot) as con:
        part = alert_history.period(con, days)
        return alert_history.gauges(con, msgspec.json.decode(policy_json, type=Policy), part.instants, _fired)


def history() -> Backtest | None:
    """The backtest and what it says; None where none was run."""
    if shown.runs.is_empty():
        st.caption("Nothing is recorded yet, so there is no history to try the rules on.")
        st.code(f"flyball load PATH... --db {shown.path}", language=None)
        return None
    chosen, button = st.columns([2, 6], vertical_alignment="bottom")
    days = chosen.selectbox("History", alert_history.DAYS, index=1, format_func=PERIODS.__getitem__, key="alerts days")
    with data.opened(shown) as con:
        many = len(alert_history.period(con, days).instants)
    asked = (
        button.button("Run the backtest", type="primary", icon=":material/play_arrow:", key="alerts run")
        if many > AT_ONCE
        else True
    )
    kept = st.session_state.setdefault("alerts asked", set())
    if asked:
        kept.add((days, shown.changed_ns))
    if (days, shown.changed_ns) not in kept:
        st.caption(f"{many:,} evaluations, one for each half minute in which anything went on. It takes some seconds.")
        return None
    key = shown, msgspec.json.encode(policy), days
    found, left_out = tried(*key)
    summary(found, left_out)
    chart(found)
    if [t for t in found.tested if t.firings] and st.toggle(
        "Show the gauges behind these firings", key="alerts gauges"
    ):
        gauges(measured(*key, [t.rule for t in found.tested if t.firings]))
    if found.unseen or any(t.firings for t in found.tested):
        exports.charts("alerts")
    return found


def summary(found: Backtest, left_out: int) -> None:
    """What came of it, in numbers."""
    fired = sum(len(t.firings) for t in found.tested)
    proven = sum(t.with_finding or 0 for t in found.tested)
    alone = sum(t.without_finding or 0 for t in found.tested)
    first, last = (words.when(int(found.instants[n])) for n in (0, -1)) if len(found.instants) else ("", "")
    st.html(
        pieces.tiles(
            [
                pieces.tile(
                    "Fired",
                    words.count(fired),
                    f"{sum(bool(t.firings) for t in found.tested)} of {len(found.tested)} rules",
                ),
                pieces.tile("With a finding", words.count(proven), "a detector says the same"),
                pieces.tile(
                    "Without a finding",
                    words.count(alone),
                    "false alarms, or early ones",
                    "warning" if alone else "",
                ),
                pieces.tile(
                    "Findings unseen",
                    f"{len(found.unseen):,}",
                    f"of {found.findings:,}: no rule fired for them",
                    "warning" if found.unseen else "",
                ),
                pieces.tile("Evaluations", words.count(len(found.instants)), "each half minute of activity"),
            ]
        )
    )
    names = ", ".join(dict.fromkeys(r.alert for r in found.not_testable))
    st.caption(
        f"From {first} to {last} UTC."
        + (f" {left_out:,} earlier evaluations are left out; `flyball alerts backtest` takes all." if left_out else "")
        + (f" Not tried, since the record has no times for them: {names}." if names else "")
    )


def chart(found: Backtest) -> None:
    """The time line, and below it the firings and what no rule saw."""
    fired, unseen = alert_history.firings(found), alert_history.unseen(found)
    if fired.is_empty() and unseen.is_empty():
        st.subheader("No rule would have fired", anchor=False)
        st.caption("And nothing was found that one should have fired for.")
        return
    first, last = edges(fired, unseen)
    st.altair_chart(
        charts_more.firings_over_time(
            fired.with_columns(_safe("labels")), unseen.with_columns(_safe("agent_name")), first, last
        )
    )
    one, other = st.tabs([f"Firings ({fired.height:,})", f"Findings no rule saw ({unseen.height:,})"])
    with one:
        if fired.is_empty():
            st.caption("No rule fired.")
        rows = fired.head(ROWS_SHOWN).select("rule", "behind", _safe("labels"), "value", "since", "fired", "resolved")
        st.dataframe(
            rows,
            hide_index=True,
            width="stretch",
            column_config=FIRINGS,
            placeholder="still firing",
            key="alerts firings",
        )
        more(fired.height)
        exports.table(fired, "firings")
    with other:
        if unseen.is_empty():
            st.caption("A rule fired for every finding of that time.")
            return
        rows = unseen.head(ROWS_SHOWN).select("severity", "detector", _safe("agent_name"), "at", _safe("message"))
        event: Any = st.dataframe(
            rows, hide_index=True, width="stretch", column_config=UNSEEN, placeholder=words.UNKNOWN, key="alerts unseen", on_select="rerun",
            selection_mode="single-cell",
        )  # fmt: skip
        more(unseen.height)
        exports.table(unseen, "findings-no-rule-saw")
        if (place := picked.row(event, "alerts unseen")) is not None:
            st.switch_page(layout.RUN, query_params={"run": unseen["run_id"][place]})


def more(rows: int) -> None:
    """Says what a table leaves out."""
    if rows > ROWS_SHOWN:
        st.caption(f"and {rows - ROWS_SHOWN:,} more: flyball alerts backtest --db FILE --format json")


def edges(fired: pl.DataFrame, unseen: pl.DataFrame) -> tuple[Any, Any]:
    """First and last moment of what is drawn, with a little room."""
    moments = pl.concat([fired["fired"], fired["until"], unseen["at"]])
    first: Any = moments.min()
    last: Any = moments.max()
    room = (last - first) / 30 + timedelta(minutes=5)
    return first - room, last + room


def _safe(column: str) -> pl.Expr:
    return pl.col(column).str.slice(0, 300).map_elements(words.visible, return_dtype=pl.String)


def gauges(found: Sequence[Gauge]) -> None:
    """Small charts, two beside each other."""
    if not found:
        st.caption("The rules that fired compare several gauges with each other; they have no line of their own.")
    for start in range(0, len(found), 2):
        for column, gauge in zip(st.columns(2, gap="large"), found[start : start + 2], strict=False):
            with column:
                st.html(
                    pieces.page(
                        f'<p><code>{pieces.text(gauge.name)}</code></p><p class="fb-muted">{pieces.prose(gauge.meaning)}</p>'
                    )
                )
                samples = gauge.samples.with_columns(_safe("series"))
                st.altair_chart(
                    charts_more.gauge(samples, gauge.lines, gauge.name.removeprefix("flyball_").replace("_", " "))
                )


def _time(label: str) -> Any:
    return st.column_config.DatetimeColumn(label, format="YYYY-MM-DD HH:mm:ss", width=140)


FIRINGS = {
    "rule": st.column_config.TextColumn("Rule", width=215),
    "behind": st.column_config.TextColumn("Behind it", width=120),
    "labels": st.column_config.TextColumn("Of", width=290),
    "value": st.column_config.TextColumn("Value", width=90),
    "since": _time("Held since (UTC)"),
    "fired": _time("Fired (UTC)"),
    "resolved": _time("Resolved (UTC)"),
}
UNSEEN = {
    "severity": st.column_config.TextColumn("Severity", width=80),
    "detector": st.column_config.TextColumn("Finding", width=160),
    "agent_name": st.column_config.TextColumn("Agent", width=130),
    "at": _time("From (UTC)"),
    "message": st.column_config.TextColumn("What happened", width=600),
}

st.header("On the recorded history", anchor=False)
result = history()

st.header("Rules", anchor=False)
counts = {t.rule.alert + t.rule.severity: t for t in result.tested} if result else {}


def row(rule: Rule) -> tuple[str, ...]:
    """One rule of the table, as markup."""
    done = counts.get(rule.alert + rule.severity)
    fired = words.UNKNOWN if done is None else f"{len(done.firings):,}"
    proven, alone = (None, None) if done is None else (done.with_finding, done.without_finding)
    return (
        f'<b class="fb-nowrap">{pieces.text(rule.alert)}</b>',
        pieces.chip(rule.severity, "error" if rule.severity == "critical" else "warning"),
        pieces.prose(f"`{' '.join(rule.expr.split())}`"),
        "<br>".join(f'<span class="fb-nowrap">{pieces.prose(f"`{name}`")}</span>' for name in rule.detectors),
        fired,
        *(words.UNKNOWN if number is None else f"{number:,}" for number in (proven, alone)),
    )


heads = ["Alert", "Severity", "Fires while", "Reported afterwards as", "Fired", "With a finding", "Without"]
st.html(links.table(heads, [row(rule) for rule in in_force], numbers=3))

st.header("Runbook", anchor=False)
alert = st.selectbox("Alert", list(dict.fromkeys(rule.alert for rule in in_force)), key="alerts runbook", width=420)
with st.container(border=True):
    # Dollar signs would begin a formula, but not within the code of a rule.
    parts = files[f"{RUNBOOKS}/{alert}.md"].split("```")
    st.markdown(
        "```".join(part if n % 2 else part.replace("$", r"\$").replace("# ", "#### ") for n, part in enumerate(parts))
    )

st.header("Files", anchor=False)
st.download_button(
    f"Download all {len(files)} files", alert_history.archive(files), file_name="flyball-alerts.zip", mime="application/zip",
    on_click="ignore", icon=":material/folder_zip:", type="primary",
)  # fmt: skip
name = st.selectbox("File", [*files], key="alerts file", width=420)
st.download_button(
    f"Download {name.rsplit('/', 1)[-1]}", files[name], file_name=name.rsplit("/", 1)[-1], mime="text/plain", on_click="ignore",
    icon=":material/download:",
)  # fmt: skip
language = {"yml": "yaml", "json": "json", "md": "markdown"}.get(name.rsplit(".", 1)[-1])
st.code(files[name], language=language, height=420)
st.caption("Check them before you deploy them:")
st.code(f"promtool check rules {RULES_FILE}\npromtool test rules {TESTS_FILE}", language=None)
with st.expander("Gauges they rest on"):
    st.html(pieces.table(["Gauge", "One value is"], [(f"`{m.name}`", m.meaning) for m in METRICS]))
live.refresh(shown)
