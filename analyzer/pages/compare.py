"""Compare: two runs aligned step by step, or two groups of runs with the intervals of what differs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import streamlit as st

from analyzer.diff import groups as by_agent
from analyzer.pages import compare_pieces, data, exports, layout, live, pieces, words
from analyzer.pages.data import Snapshot
from analyzer.report import charts_more
from analyzer.views import compare as views
from analyzer.views import compare_groups, overview
from analyzer.views.runs import ordered

PAGE_ROWS = 30
RUNS_OFFERED = 300
KINDS_SHOWN = 40
CHARS = 1_500
WAYS = {
    "runs": "Two runs",
    "agent": "Agents",
    "model": "Models",
    "version": "Versions",
    "user": "Users",
    "time": "Before and after",
}

shown = data.snapshot()
st.title("Compare", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))
if shown.runs.is_empty():
    layout.stop_without_runs(shown.path)


@st.cache_resource(show_spinner="Aligning the two runs …", max_entries=16, hash_funcs={Snapshot: live.version})
def aligned(snapshot: Snapshot, left: int, right: int, lonely: tuple[bool, bool]) -> views.Alignment:
    """Two runs of a snapshot, by number, aligned once."""
    with data.opened(snapshot) as con:
        first, second = (
            views.steps_of(con, key, lonely=alone) for key, alone in zip((left, right), lonely, strict=True)
        )
    return views.align(first, second)


def run_of(name: str, default: str) -> dict[str, Any]:
    """The run that the address names, chosen among the worst and the newest."""
    asked = st.query_params.get(name) or default
    likely = pl.concat([ordered(shown.runs, "Worst first").head(RUNS_OFFERED // 2), shown.runs.head(RUNS_OFFERED // 2)])
    named = shown.runs.filter(pl.col("run_id") == asked)
    if named.is_empty():
        st.html(pieces.muted(f"No run here has the id {asked[:80]}."))
        named = likely.head(1)
    offered = {
        row["run_id"]: row for row in pl.concat([named, likely]).unique("run_id", maintain_order=True).to_dicts()
    }
    st.session_state[f"compare {name}"] = named["run_id"][0]
    label = {"a": "Left", "b": "Right"}[name]
    chosen = st.selectbox(
        label,
        [*offered],
        key=f"compare {name}",
        format_func=lambda i: compare_pieces.run_label(offered[i]),
        on_change=choose,
        args=(name,),
    )
    return offered[chosen]


def choose(name: str) -> None:
    """Keeps in the address what somebody chose."""
    st.query_params[name] = str(st.session_state[f"compare {name}"])


def usual_pair() -> tuple[str, str]:
    """The worst run, and the newest one of the same agent in which nothing was found."""
    long = shown.runs.filter(pl.col("model_calls") > 1)
    likely = long.filter((pl.len() > 1).over("agent_name")) if long.height else long
    worst = ordered(next(f for f in (likely, long, shown.runs) if f.height), "Worst first").row(0, named=True)
    like = pl.col("agent_name").eq_missing(pl.lit(worst["agent_name"], pl.String)) & (pl.col("model_calls") > 1)
    good = shown.runs.filter(pl.col("run_id") != worst["run_id"])
    good = pl.concat([good.filter(like & (pl.col("findings") == 0)), good.filter(like), good]).head(1)
    return worst["run_id"], good["run_id"][0] if good.height else worst["run_id"]


def two_runs() -> None:
    """The runs `a` and `b` of the address."""
    first, second = usual_pair()
    columns = st.columns(2, gap="large")
    sides = []
    for column, name, default in zip(columns, "ab", (first, second), strict=True):
        with column:
            run = run_of(name, default)
            st.page_link(
                layout.RUN, label="Open this run", icon=":material/arrow_forward:", query_params={"run": run["run_id"]}
            )
            sides.append(run)
    left, right = sides
    if left["run_id"] == right["run_id"]:
        st.subheader("Both are the same run", anchor=False)
        st.caption("Choose another one on one side.")
        return
    lonely = left["model_calls"] == 0, right["model_calls"] == 0
    found = aligned(shown, left["run_key"], right["run_key"], lonely)
    steps(found, left, right, lonely)


def steps(found: views.Alignment, left: dict[str, Any], right: dict[str, Any], lonely: tuple[bool, bool]) -> None:
    """Totals, the strip, and a page of rows."""
    totals, strip = st.columns([2, 3], gap="large")
    with totals:
        st.header("Totals", anchor=False)
        st.html(compare_pieces.totals(views.deltas(left, right)))
    counts, difference = found.counts, found.first_difference
    with strip:
        st.header("Step by step", anchor=False)
        told = ", ".join(
            f"{counts[status]:,} {name}" for status, name in compare_pieces.STATUSES.items() if counts[status]
        )
        st.caption(f"{words.plural(len(found.pairs), 'row')}: {told}.")
        st.caption(
            "The two did the same throughout." if difference is None else f"They part at row {difference + 1:,}."
        )
        only = st.toggle("Only where they differ", key="compare only")
        if found.left_over or found.right_over:
            st.caption(
                f"Runs as long as these are aligned for the first {views.STEPS_ALIGNED:,} steps that differ: "
                f"{found.left_over:,} steps of the left and {found.right_over:,} of the right run are not compared."
            )
    rows = [(n, pair) for n, pair in enumerate(found.pairs, 1) if not only or pair.status != "same"]
    pages = max(1, -(-len(rows) // PAGE_ROWS))
    at = next((n for n, (number, _) in enumerate(rows) if difference is not None and number > difference), 0)
    key = f"compare page {left['run_key']} {right['run_key']} {only}"
    number = min(pages, int(st.session_state.get(key) or at // PAGE_ROWS + 1))
    page = rows[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
    with strip:
        if page:
            statuses = [
                (compare_pieces.STATUSES[p.status], p.left is not None, p.right is not None) for p in found.pairs
            ]
            window = (page[0][0], page[-1][0]) if pages > 1 else None
            st.altair_chart(charts_more.alignment(charts_more.alignment_rows(statuses), window))
            exports.charts("comparison")
    if not rows:
        st.caption("Nothing differs.")
        return
    with data.opened(shown) as con:
        said = [
            views.told(
                con,
                run["run_key"],
                [s for _, p in page if p.status != "same" and (s := getattr(p, side))],
                lonely=alone,
                chars=CHARS,
            )
            for side, run, alone in (("left", left, lonely[0]), ("right", right, lonely[1]))
        ]
    st.html(compare_pieces.heads(*(compare_pieces.run_label(run) for run in (left, right))))
    st.html(compare_pieces.pairs(page, *said))
    exporting, pager = st.columns([3, 2], vertical_alignment="center")
    with exporting:
        exports.table(lambda: views.table(found), "comparison", "all rows")
    if pages > 1:
        with pager, st.container(horizontal_alignment="right"):
            st.pagination(pages, default=number, key=key)


def two_groups(by: str) -> None:
    """The groups `left` and `right` of the address, told apart by `by`."""
    runs = shown.runs
    if by == "version":
        with data.opened(shown) as con:
            runs = runs.join(overview.versions(con), on="run_key", how="left")
    if by == "time":
        first, second = times(runs)
        if first is None or second is None:
            return
    else:
        offered = compare_groups.values(runs, by)
        if len(offered) < 2:
            st.subheader(f"There are no two {WAYS[by].lower()} here", anchor=False)
            st.caption(
                "Compare something else."
                if by != "version"
                else "Set `service.version` as a resource attribute (OTEL_RESOURCE_ATTRIBUTES) when you deploy."
            )
            return
        chosen = []
        for column, name, default in zip(st.columns(2, gap="large"), ("left", "right"), offered[:2], strict=True):
            asked = st.query_params.get(name)
            st.session_state[f"compare {name}"] = asked if asked in offered else default
            with column:
                chosen.append(
                    st.selectbox(
                        name.title(),
                        offered,
                        key=f"compare {name}",
                        format_func=words.visible,
                        on_change=choose,
                        args=(name,),
                    )
                )
        if chosen[0] == chosen[1]:
            st.subheader("Both are the same group", anchor=False)
            st.caption("Choose another one on one side.")
            return
        first, second = ((words.visible(value)[:40], compare_groups.group(runs, by, value)) for value in chosen)
    groups(first, second)


def times(runs: pl.DataFrame) -> tuple[tuple[str, pl.DataFrame] | None, tuple[str, pl.DataFrame] | None]:
    """The runs before and after a moment that somebody chooses."""
    starts = runs["start_ns"].drop_nulls()
    if starts.n_unique() < 2:
        st.caption("All runs here started at the same time.")
        return None, None
    middle = int(starts.median() or 0)  # type: ignore[arg-type]  # of integers
    asked = st.query_params.get("at", "")
    at_ns = int(asked) if asked.isdecimal() and len(asked) < 20 else middle
    st.session_state["compare at"] = datetime.fromtimestamp(at_ns // 10**9, UTC).replace(tzinfo=None)
    st.datetime_input("Moment, UTC", None, key="compare at", format="YYYY-MM-DD", on_change=choose_time, width=320)
    before, after = compare_groups.halves(runs, at_ns)
    if before.is_empty() or after.is_empty():
        st.caption("All runs lie on one side of that moment. Choose another.")
        return None, None
    return ("before", before), ("after", after)


def choose_time() -> None:
    """Keeps the moment in the address."""
    moment: datetime | None = st.session_state["compare at"]
    if moment is not None:
        st.query_params["at"] = str(int(moment.replace(tzinfo=UTC).timestamp()) * 10**9)


def groups(first: tuple[str, pl.DataFrame], second: tuple[str, pl.DataFrame]) -> None:
    """What differs between two groups."""
    (left, before), (right, after) = first, second
    with st.spinner("Comparing …"):
        found, left_out = compare_groups.compared(before, after, shown.report.findings)
    # Names of groups come from traces, and a caption would read them as Markdown.
    st.html(
        pieces.muted(
            f"{left}: {words.plural(found.runs_before, 'run')}. {right}: {words.plural(found.runs_after, 'run')}."
            + (f" The {left_out:,} oldest runs are left out." if left_out else "")
            + " A change in bold is hardly chance: its 95 % interval does not hold zero (bootstrap of the runs)."
        )
    )
    for agent, changes in by_agent(found.changes).items():
        # Not named: runs of several agents together, or those that name none.
        st.html(pieces.page(f'<p class="fb-title">{pieces.text(agent or "All runs together")}</p>'))
        st.html(compare_pieces.changes(changes, left, right))
    st.header("Findings", anchor=False)
    if not found.kinds:
        st.caption("Nothing was found on either side.")
        return
    worst = sorted(
        found.kinds, key=lambda k: -abs(k.after / max(found.runs_after, 1) - k.before / max(found.runs_before, 1))
    )
    rows = [
        (
            f"`{k.detector}`", k.agent_name or "all", k.tool_name or "",
            compare_pieces.part(k.before, found.runs_before), compare_pieces.part(k.after, found.runs_after),
            "new" if not k.before else "gone" if not k.after else "",
        )
        for k in worst[:KINDS_SHOWN]
    ]  # fmt: skip
    st.html(pieces.table(["Detector", "Agent", "Tool", f"Runs, {left}", f"Runs, {right}", ""], rows))
    if len(worst) > KINDS_SHOWN:
        st.caption(f"and {len(worst) - KINDS_SHOWN:,} more kinds")


def switch() -> None:
    """Another way of comparing has other sides."""
    st.query_params.from_dict({"by": st.session_state["compare by"] or "runs"})


by = st.query_params.get("by", "runs")
st.session_state["compare by"] = by if by in WAYS else "runs"
by = str(
    st.segmented_control(
        "Compare",
        [*WAYS],
        key="compare by",
        format_func=WAYS.__getitem__,
        required=True,
        on_change=switch,
        label_visibility="collapsed",
    )
)
if by == "runs" and shown.runs.height < 2:
    st.caption("There is one run here. It takes two to compare.")
elif by == "runs":
    two_runs()
else:
    two_groups(by)
live.refresh(shown)
