"""Runs: all of them, filtered, sorted, a page at a time. The address says what is shown, so it can be shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import streamlit as st

from analyzer.pages import data, exports, layout, live, pieces, words
from analyzer.pages.tables import run_table
from analyzer.views import runs_wanted
from analyzer.views.runs import OUTCOMES
from analyzer.views.runs_table import SORTS, WORST, Sums
from analyzer.views.runs_wanted import Wanted

PAGE_ROWS = 50
LABELS = {
    WORST: "Worst finding", "agent": "Agent", "model": "Model", "user": "User", "started": "Started", "outcome": "Outcome",
    "stop": "Stop reason", "findings": "Findings", "cost": "Cost", "wasted": "Wasted", "duration": "Duration", "turns": "Turns",
    "calls": "Tool calls", "failed": "Failed calls", "context": "Context", "input": "Tokens in", "output": "Tokens out",
    "spans": "Spans",
}  # fmt: skip
HEADS = {"worst": WORST, "detectors": "findings"} | {
    columns[0]: sort for sort, columns in SORTS.items() if sort != WORST
}
ORDERS = {"desc": "most first", "asc": "least first"}

shown = data.snapshot()
st.title("Runs", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))
if shown.runs.is_empty():
    layout.stop_without_runs(shown.path)

table = shown.run_table
address = {name: st.query_params.get_all(name) for name in st.query_params}
wanted, strange = runs_wanted.wanted_of(address)
sort = (address.get("sort") or [WORST])[-1]
sort = sort if sort in SORTS else WORST
descending = (address.get("order") or ["desc"])[-1] != "asc"


def go(params: dict[str, list[str]]) -> None:
    """Makes this the address; the page is then drawn from it."""
    st.query_params.from_dict(params)


def asked(wanted: Wanted, by: str, way: str) -> dict[str, list[str]]:
    """The address of these runs in this order; what is usual is left out."""
    order = {"sort": [by]} if by != WORST else {}
    return runs_wanted.params_of(wanted) | order | ({"order": [way]} if way != "desc" else {})


def changed() -> None:
    """Somebody moved a filter: the address follows."""
    at = st.session_state
    cost, moments = at["runs cost"], [at["runs since"], at["runs until"]]
    since, until = (None if moment is None else runs_wanted.ns_of(moment.isoformat()) for moment in moments)
    now = Wanted(
        **{field: tuple(at.get(f"runs {name}", ())) for name, field in runs_wanted.NAMES.items()},
        since_ns=since,
        until_ns=until,
        cost=runs_wanted.cost_of(cost) if cost.strip() else None,
        text=at["runs text"].strip(),
    )
    params = asked(now, at["runs sort"], at["runs order"])
    # Shown with what is wrong with it, and not thrown away.
    go(params | ({"cost": [cost]} if cost.strip() and now.cost is None else {}))


def by_head(column: str) -> None:
    """A click on a head sorts by that column; a second one the other way round."""
    by = HEADS.get(column)
    if by is not None:
        go(asked(wanted, by, "asc" if by == sort and descending else "desc"))
        st.rerun()


def moment(ns: int | None) -> datetime | None:
    """In UTC and without saying so, as the input wants it."""
    return None if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).replace(tzinfo=None)


def choose(label: str, name: str, offered: Sequence[str], show: Callable[[str], str] = words.visible) -> None:
    """A filter that takes several names; what the address says is among them, known here or not."""
    given = list(getattr(wanted, runs_wanted.NAMES[name]))
    st.session_state[f"runs {name}"] = given
    options = [*offered, *(value for value in given if value not in offered)]
    st.multiselect(
        label,
        options,
        key=f"runs {name}",
        placeholder="any",
        format_func=lambda v: show(v) or "(not known)",
        on_change=changed,
    )


stops = table.names("stop_reason")
upper = iter(st.columns(6 if stops or wanted.stops else 5, vertical_alignment="bottom"))
lower = iter(st.columns(6, vertical_alignment="bottom"))
for label, name, offered in (
    ("Agent", "agent", table.names("agent_name")),
    ("Model", "model", table.names("model")),
    ("User", "user", table.names("user_id")),
    ("Finding", "detector", [o.detector for o in shown.report.outcomes]),
    ("Outcome", "outcome", OUTCOMES),
    # Nobody needs it where no run was under a guard.
    *([("Stop reason", "stop", stops)] if stops or wanted.stops else []),
):
    with next(upper):
        choose(label, name, offered)
for label, name, ns in (("Since, UTC", "since", wanted.since_ns), ("Until, UTC", "until", wanted.until_ns)):
    st.session_state[f"runs {name}"] = moment(ns)
    next(lower).datetime_input(label, None, key=f"runs {name}", format="YYYY-MM-DD", on_change=changed)
st.session_state["runs cost"] = str(wanted.cost or "")
next(lower).text_input(
    "Cost, $",
    key="runs cost",
    placeholder="any",
    help="`0.5` at least, `0.1-2` between, `-2` at most, or `unknown`",
    on_change=changed,
)
st.session_state["runs text"] = wanted.text
next(lower).text_input("Id contains", key="runs text", placeholder="run, trace or user", on_change=changed)
st.session_state["runs sort"] = sort
next(lower).selectbox("Sort by", [*SORTS], key="runs sort", format_func=LABELS.__getitem__, on_change=changed)
st.session_state["runs order"] = "desc" if descending else "asc"
next(lower).selectbox("Order", [*ORDERS], key="runs order", format_func=ORDERS.__getitem__, on_change=changed)
if strange:
    told = [pieces.chip("not understood, so not applied", "warning"), *(pieces.text(one[:200]) for one in strange)]
    st.html(pieces.page(pieces.line(told)))

sums = table.sums(wanted)
if not sums.runs:
    st.subheader("No run is like that", anchor=False)
    st.caption("Take a filter away.")
    st.button("Show all runs", on_click=go, args=({},))
    live.refresh(shown)
    st.stop()


def tiles(sums: Sums) -> list[str]:
    """What the wanted runs come to."""
    share = f"of {shown.runs.height:,}" if wanted else "all there are"
    costs = f"{words.plural(sums.unknown_costs, 'run')} of unknown cost" if sums.unknown_costs else "of every run known"
    return [
        pieces.tile("Runs", words.count(sums.runs), share),
        pieces.tile("With findings", words.count(sums.with_findings), words.plural(sums.findings, "finding")),
        pieces.tile("Failed", words.count(sums.failed), f"{sums.unfinished:,} unfinished"),
        pieces.tile("Cost", words.money(sums.cost_usd), costs),
        pieces.tile(
            "Wasted", words.money(sums.wasted_usd), f"{words.share(sums.wasted_usd, sums.cost_usd)} of the cost"
        ),
        pieces.tile(
            "Turns",
            words.count(sums.model_calls),
            f"{words.count(sums.tool_calls)} tool calls, {words.count(sums.failed_tool_calls)} failed",
        ),
        pieces.tile("Tokens in", words.count(sums.input_tokens), f"{words.count(sums.output_tokens)} out"),
    ]


st.html(pieces.tiles(tiles(sums)))
pages = -(-sums.runs // PAGE_ROWS)
summary, pager = st.columns([3, 2], vertical_alignment="center")
summary.caption("Click a row, or press Enter on it, to open its run; the head of a column to sort all runs by it.")
with pager, st.container(horizontal_alignment="right"):
    # Another list starts at its first page.
    page = st.pagination(pages, key=f"page of {sort} {descending} {wanted}") if pages > 1 else 1
rows = table.page(wanted, sort, descending=descending, offset=(page - 1) * PAGE_ROWS, limit=PAGE_ROWS)
run_table(rows, key=f"runs by {sort} {'desc' if descending else 'asc'} {page}", sort=by_head)
exports.table(lambda: table.matching(wanted), "runs", f"all {sums.runs:,} runs of this list")
live.refresh(shown)
