"""One run: what went wrong, where the context and the money went, its timeline, and its turns as a conversation."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from analyzer.findings import Finding, State
from analyzer.pages import data, layout, pieces, words
from analyzer.pages.tables import run_table
from analyzer.report import charts
from analyzer.views import conversation
from analyzer.views import run as views
from analyzer.views import runs as run_views
from instrument.windows import window_of

TURNS_PER_PAGE = 8
SPANS_PER_PAGE = 60
FINDINGS_SHOWN = 12
RUNS_OFFERED = 25
PAGE_CHARS = 3_000_000  # of texts on one page, so that no message to the browser is larger than it can take

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
findings = shown.by_run.get(run["run_id"], ())
local = views.within(findings)
key, lonely = int(run["run_key"]), run["model_calls"] == 0
with data.opened(shown) as con:
    turns = views.turns(con, key, lonely=lonely)
    density = views.density(con, key, run["start_ns"], run["end_ns"])
    span_count = views.span_count(con, key)

# Where the pages of timeline and turns begin: at the worst finding, or at the one that a button chose. It is part of their
# keys, so choosing makes them anew.
aims: dict[int, tuple[int, int]] = st.session_state.setdefault("aims", {})
aim = aims.get(key, (findings[0].first_turn, findings[0].first_step) if findings else (0, 0))


def go_to(finding: Finding) -> None:
    """Turns the pages of the timeline and of the turns to where a finding begins."""
    aims[key] = finding.first_turn, finding.first_step


def page_of(position: int, per_page: int, pages: int) -> int:
    """The page, from 1, that holds a position, from 0."""
    return max(1, min(position // per_page + 1, pages))


def pager(pages: int, default: int, kind: str) -> int:
    """A pagination, where there is more than one page."""
    return st.pagination(pages, default=default, key=f"{kind} {key} {aim}") if pages > 1 else 1


st.html(pieces.run_head(run, findings))

st.header("What went wrong", anchor=False)
if not findings:
    dim = [o.detector for o in shown.report.outcomes if o.state in (State.BLIND, State.PARTIAL)]
    st.caption(
        "Nothing was found in this run." + (f" Not everything could be looked at: {', '.join(dim)}." if dim else "")
    )
for position, finding in enumerate(findings[:FINDINGS_SHOWN]):
    card, button = st.columns([11, 1.4], vertical_alignment="center")
    card.html(pieces.finding_card(finding, with_run=False))
    label = f"Turn {max(1, finding.first_turn):,}"
    arrow = ":material/arrow_downward:"
    button.button(label, key=f"go {position}", on_click=go_to, args=(finding,), icon=arrow, width="stretch")
if len(findings) > FINDINGS_SHOWN:
    st.caption(f"and {words.plural(len(findings) - FINDINGS_SHOWN, 'more finding')}, milder than these")

actions = shown.actions.get(run["run_id"], ())
if actions:
    st.header("What the guards did", anchor=False)
    st.html(pieces.guard_actions(actions))

points, bands = views.for_charts(turns, local), views.bands(local)
left, right = st.columns(2, gap="large")
with left:
    st.header("Context by turn", anchor=False)
    if points["input_tokens"].count():
        window = window_of(run["model"], data.policy().context.windows) if run["model"] else None
        st.altair_chart(charts.context(points, bands, window))
        if window:
            peak = run["peak_input_tokens"]
            st.caption(
                f"At most {peak:,} tokens in one request: {words.share(peak, window)} of the window of {window:,}."
            )
        else:
            st.caption("The window of this model is not known; name it in flyball.toml under `context.windows`.")
    else:
        st.caption("No token counts were recorded for this run.")
with right:
    st.header("Cost by turn", anchor=False)
    if points["cost_usd"].count():
        st.altair_chart(charts.cost_per_turn(points, bands))
    else:
        st.caption("No call of this run has a known price.")

st.header("Timeline", anchor=False)
span_pages = max(1, -(-span_count // SPANS_PER_PAGE))
overview = st.container()
with data.opened(shown) as con:
    begin = views.span_count(con, key, before_step=aim[1])
    page = pager(span_pages, page_of(begin, SPANS_PER_PAGE, span_pages), "spans")
    offset = (page - 1) * SPANS_PER_PAGE
    spans = views.spans(con, key, run["start_ns"], local, offset=offset, limit=SPANS_PER_PAGE)
if span_pages > 1:
    overview.altair_chart(charts.density(density, views.edges(spans)))
st.altair_chart(charts.waterfall(spans))

st.header("Turns", anchor=False)
if turns.is_empty():
    st.caption("No model or tool call of this run was recorded.")
    st.stop()
turning, switch = st.columns([3, 1], vertical_alignment="center")
whole = switch.toggle("One turn, whole texts", key="whole", help="Long texts are cut so that a page opens at once.")
per_page = 1 if whole else TURNS_PER_PAGE
turn_pages = -(-turns.height // per_page)
with turning:
    begin = turns.filter(pl.col("turn") < aim[0]).height
    page = pager(turn_pages, page_of(begin, per_page, turn_pages), f"turns by {per_page}")
asked = turns.slice((page - 1) * per_page, per_page)
chars = PAGE_CHARS // (2 * int(asked["tool_calls"].sum()) + 10) if whole else conversation.CHARS_SHOWN
with data.opened(shown) as con:
    told = conversation.conversation(con, key, asked["turn"][0], asked["turn"][-1], lonely=lonely, chars=chars)
for turn in told:
    named = [f for f in local if f.first_turn <= turn.number <= f.last_turn]
    st.html(pieces.turn(turn, named, [a for a in actions if a.turn == turn.number]))
