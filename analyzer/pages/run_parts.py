"""The parts of the page of a run. Layout only: what they show is worked out in `analyzer.views`."""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import streamlit as st

from analyzer.findings import Finding
from analyzer.pages import data, exports, links, pieces, words
from analyzer.pages.run_data import Aim, Facts, raw
from analyzer.report import charts_behaviour, charts_timeline, charts_turns
from analyzer.report.amounts import share
from analyzer.views import behaviour as graphs
from analyzer.views import run as views
from analyzer.views import run_span, timeline
from analyzer.views.story import story
from instrument.windows import window_of

SPANS_PER_PAGE: Final = 60
FINDINGS_SHOWN: Final = 6
AGENTS_NAMED: Final = 20
_GAPS_OF_RUN: Final = 0.3
"""From this share of a run on, gaps are drawn shorter unless the reader wants otherwise."""


def show_span(span_id: str) -> None:
    """Turns the page to a span, and its address with it."""
    _moved()
    st.query_params.pop("finding", None)
    st.query_params["span"] = span_id


def show_finding(fingerprint: str) -> None:
    """Turns the page to where a finding begins, and its address with it."""
    _moved()
    st.query_params.pop("span", None)
    st.query_params["finding"] = fingerprint


def _moved() -> None:
    # To where the page is already, too: the reader may have gone on from there.
    st.session_state["moves"] = st.session_state.get("moves", 0) + 1


def pager(pages: int, default: int, key: str) -> int:
    """A pagination, where there is more than one page."""
    return st.pagination(pages, default=default, key=key) if pages > 1 else 1


def window_tokens(facts: Facts) -> int | None:
    """Context window of the run's model; None: not known."""
    model = facts.run["model"]
    return window_of(model, data.policy().context.windows) if model else None


def wrong(facts: Facts, aim: Aim) -> None:
    """The three sentences, the findings with a way to each, and what guards did."""
    st.header("What went wrong" if facts.findings else "What it did", anchor=False)
    told = story(facts.run, facts.findings, facts.actions, window_tokens=window_tokens(facts), dim=facts.dim)
    worst = facts.findings[0].severity.value if facts.findings else "good"
    st.html(
        pieces.page(f'<div class="fb-story {worst}">{"".join(f"<p>{pieces.prose(one)}</p>" for one in told)}</div>')
    )
    if aim.unknown:
        st.warning("This run has no such part any more; the page opens where it begins, or at the worst finding.")
        st.code(words.visible(aim.unknown), language=None)
    for finding in facts.findings[:FINDINGS_SHOWN]:
        _finding(finding)
    if rest := facts.findings[FINDINGS_SHOWN:]:
        with st.expander(f"{words.plural(len(rest), 'more finding')}, milder than these"):
            for finding in rest[:60]:
                _finding(finding)
    if facts.actions:
        with st.expander(
            f"What the guards did: {words.plural(len(facts.actions), 'action')}", expanded=len(facts.actions) < 4
        ):
            st.html(pieces.guard_actions(facts.actions))


def _finding(finding: Finding) -> None:
    card, button = st.columns([11, 1.4], vertical_alignment="center")
    card.html(pieces.finding_card(finding, with_run=False))
    button.button(
        f"Turn {max(1, finding.first_turn):,}",
        key=f"go {finding.fingerprint} {finding.first_step}",
        on_click=show_finding,
        args=(finding.fingerprint,),
        icon=":material/arrow_downward:",
        width="stretch",
    )


def time_line(facts: Facts, aim: Aim) -> None:
    """The waterfall, a page of it at a time, below an overview where there are several."""
    if st.session_state.pop("picked a span", False):
        st.rerun()  # the whole page, which turns to it
    st.header("Timeline", anchor="timeline")
    whole = facts.timeline
    pages = max(1, -(-whole.rows.height // SPANS_PER_PAGE))
    if not whole.rows["start_seconds"].count():
        st.caption("No times were recorded for this run, so there is no timeline; the turns below are in order.")
        return
    overview = st.container()
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        number = pager(pages, aim.position // SPANS_PER_PAGE + 1, f"spans {facts.key} {aim.name}")
    shorten = whole.gaps.height > 0 and right.toggle(
        "Leave out gaps",
        value=whole.gap_seconds > _GAPS_OF_RUN * whole.end_seconds,
        key=f"gaps {facts.key}",
        help="Draws silences of 10 s and more shorter than they were, as grey bands.",
    )
    page = timeline.page(whole, (number - 1) * SPANS_PER_PAGE, SPANS_PER_PAGE, shorten=shorten)
    if pages > 1:
        true = timeline.page(whole, (number - 1) * SPANS_PER_PAGE, SPANS_PER_PAGE)
        overview.altair_chart(charts_timeline.overview(facts.density, (true.low, true.high), whole.gaps))
    key = f"waterfall {facts.key} {number} {shorten} {aim.span_id}"
    chart = charts_timeline.waterfall(
        page.rows, page.gaps, (page.low, page.high), shortened=page.shortened, chosen=aim.span_id
    )
    st.altair_chart(chart, key=key, on_select=lambda: _picked(key), selection_mode=charts_timeline.PICKED)
    st.caption(" ".join(_about_times(facts)))
    agents = [found for one in facts.started.values() for found in one]
    if agents:
        named = [links.link(name, links.to("run", run=run_id)) for run_id, name in agents[:AGENTS_NAMED]]
        rest = f"and {len(agents) - AGENTS_NAMED:,} more" if len(agents) > AGENTS_NAMED else ""
        st.html(pieces.page(pieces.line(["Sub-agents, each with a page of its own:", *named, rest])))
    exports.table(lambda: whole.rows, "run-spans")


def _picked(key: str) -> None:
    picked: Any = st.session_state[key]["selection"].get(charts_timeline.PICKED)
    if picked:
        show_span(str(picked[0]["span_id"]))
        st.session_state["picked a span"] = True


def _about_times(facts: Facts) -> list[str]:
    rows = facts.timeline.rows
    said = ["A click on a bar opens its span below."]
    if inferred := rows.filter("inferred").height:
        said.append(
            f"Times of {inferred:,} of {rows.height:,} spans were not recorded whole and are worked out from what came before (~)."
        )
    if pending := rows.filter("pending").height:
        said.append(f"{words.plural(pending, 'span')} never ended, or had not when this was read.")
    if facts.timeline.gaps.height:
        gaps = words.plural(facts.timeline.gaps.height, "gap")
        said.append(f"{gaps} in which nothing ran, {words.duration(facts.timeline.gap_seconds)} together.")
    return said


def context_and_cost(facts: Facts) -> None:
    """What filled the context, and what each turn cost."""
    bands = views.bands(facts.local)
    left, right = st.columns(2, gap="large")
    with left:
        st.header("What filled the context", anchor="context")
        made, window = facts.composition, window_tokens(facts)
        if made.parts.is_empty():
            st.caption(
                'Neither messages nor token counts were recorded for this run; record(content="full") keeps them.'
            )
        else:
            st.altair_chart(charts_turns.composition(made.parts, made.unit, made.compactions, bands, window))
            st.caption(" ".join(_about_context(facts, window)))
    with right:
        st.header("Cost by turn", anchor="cost")
        costs = views.costs(facts.turns)
        if costs["cost_usd"].count():
            st.altair_chart(charts_turns.costs(costs, bands))
        else:
            st.caption("No call of this run has a known price. Name prices in flyball.toml.")
        if unpriced := int(costs["unpriced_calls"].sum()):
            st.caption(
                f"{words.plural(unpriced, 'call')} of unknown price (grey crosses): the sum is at least what it shows."
            )
        exports.table(facts.turns, "run-turns")


def _about_context(facts: Facts, window: int | None) -> list[str]:
    made, peak = facts.composition, facts.run["peak_input_tokens"]
    said = []
    if peak and window:
        said.append(f"At most {peak:,} tokens in one request: {share(peak / window)} of the window of {window:,}.")
    elif peak:
        said.append(
            f"At most {peak:,} tokens in one request. The window of this model is not known; name it in flyball.toml."
        )
    if made.unit == "characters":
        said.append("Tokens were not recorded.")
    elif made.parts["chars"].count():
        said.append("The total is recorded; parts are estimated by their characters.")
    missing = [
        name
        for name, absent in (("System instructions", made.no_system), ("declared tools", made.no_declared))
        if absent
    ]
    if missing and made.parts["chars"].count():
        said.append(
            f"{' and '.join(missing).capitalize()} were not recorded: what they took is inside the other parts."
        )
    if made.unknown_requests:
        said.append(f"Of {words.plural(made.unknown_requests, 'request')} no message was recorded.")
    if made.compactions.height:
        said.append(f"Made smaller {words.plural(made.compactions.height, 'time')} (triangles).")
    return said


def behaviour(facts: Facts) -> None:
    """How the run went from tool to tool, and the tools in numbers."""
    st.header("From tool to tool", anchor="behaviour")
    graph = facts.behaviour
    if graph.tools.is_empty():
        st.caption("This run called no tool.")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.altair_chart(charts_behaviour.behaviour(graph.tools, *graphs.drawn(graph)), width="content")
    with right:
        st.html(pieces.table(("Tool", "Calls", "Failed", "Blocked", "Time"), _tool_rows(graph)))
        more = f" {words.plural(graph.left_out, 'rarer transition')} not drawn." if graph.left_out else ""
        st.caption(
            "Tools in order of first use; a line to the right goes on to a later one, to the left back to an earlier one, with how often. "
            f"Coloured lines are loops that a finding names; the redder a tool, the more of its calls failed.{more}"
        )
        exports.table(graph.tools, "run-tools")


def _tool_rows(graph: graphs.Behaviour) -> list[tuple[str, ...]]:
    rows = graph.tools.sort("calls", "node", descending=[True, False]).iter_rows(named=True)
    return [
        (
            words.visible(row["tool"]).replace("`", "\u02bc"),
            f"{row['calls']:,}",
            f"{row['failed']:,} ({words.share(row['failed'], row['calls'])})" if row["failed"] else "0",
            f"{row['blocked']:,}",
            words.duration(row["seconds"]),
        )
        for row in rows
    ]


def raw_span(facts: Facts, aim: Aim) -> None:
    """Any span of the run as JSON."""
    st.header("Raw span", anchor="raw")
    rows = facts.timeline.rows
    own = rows.filter(pl.col("run_key") == facts.key)
    start = int(rows["step"][aim.position]) if rows.height else 0
    span_id = aim.span_id
    asked, about = st.columns([1, 4], vertical_alignment="bottom")
    step = asked.number_input(
        "Step", 0, max(0, int(own["step"].max() or 0)), min(start, int(own["step"].max() or 0)), key=f"raw {facts.key} {aim.name}",  # type: ignore[arg-type]
        help="Number of the span in the run; the timeline and the turns show it.",
    )  # fmt: skip
    if span_id is None or step != start:
        with data.opened(facts.shown) as con:
            span_id = run_span.span_at(con, facts.key, int(step))
    found = raw(facts, span_id) if span_id else None
    if found is None:
        st.caption(f"There is no span at step {int(step):,}.")
        return
    with about:
        st.html(pieces.page(pieces.line(_named(found, facts))))
    st.code(found.json, language="json", height=360, wrap_lines=True)
    if found.left_out_chars:
        st.caption(
            f"{found.left_out_chars:,} characters of long texts are left out here; flyball convert writes the whole."
        )


def _named(found: run_span.Raw, facts: Facts) -> list[str]:
    return [
        f'<b class="fb-mono">{pieces.text(found.label[:80])}</b>',
        f"turn {found.turn:,}",
        "" if found.run_key == facts.key else f"of the sub-agent run {pieces.text(found.run_id)}",
    ]
