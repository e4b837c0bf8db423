"""The turns of a run on its page: a few at a time, loops folded, opened where the address says."""

from __future__ import annotations

from typing import Final
from zlib import crc32

import duckdb
import polars as pl
import streamlit as st

from analyzer.pages import data, turns
from analyzer.pages.run_data import Aim, Facts
from analyzer.pages.run_parts import pager
from analyzer.views import conversation, conversation_folds
from analyzer.views.conversation_folds import Entry

ENTRIES_PER_PAGE: Final = 8
FOLDED_PER_PAGE: Final = 10
PAGE_CHARS: Final = 1_500_000
"""Of texts on one page, so that no message to the browser is larger than it can take."""
TEXT_CHARS: Final = 12_000
"""Of one text, unless whole texts are asked for."""
# Ours alone, without a word of a trace: brings what the address names into view. The number makes it run anew. Charts above it are drawn
# later and push it away, so it is followed for a while, or until the reader goes elsewhere.
_SCROLL: Final = """<script>/* %d */ {
  const follow = new ResizeObserver(() =>
    (document.querySelector('.fb-here') || document.querySelector('.fb-aim'))?.scrollIntoView({block: 'center'}));
  follow.observe(document.querySelector('[data-testid=stMainBlockContainer]'));
  const enough = new AbortController();
  enough.signal.addEventListener('abort', () => follow.disconnect());
  for (const name of ['wheel', 'touchmove', 'keydown', 'pointerdown'])
    addEventListener(name, () => enough.abort(), {signal: enough.signal, passive: true});
  setTimeout(() => enough.abort(), 5000);
}</script>"""


def conversed(facts: Facts, aim: Aim) -> None:
    """The turns as a conversation."""
    st.header("Turns", anchor="turns")
    if facts.turns.is_empty():
        st.caption("No model or tool call of this run was recorded.")
        return
    beside = turns.Beside(
        run_id=facts.run["run_id"],
        findings=facts.local,
        actions=facts.actions,
        started=facts.started,
        compactions=dict(facts.composition.compactions.iter_rows()),
        chosen=aim.span_id,
    )
    turning, switch = st.columns([3, 1], vertical_alignment="center")
    whole = switch.toggle("One turn, whole texts", key="whole", help="Long texts are cut so that a page opens at once.")
    found, per_page = _entries(facts, whole=whole)
    with turning:
        pages = -(-len(found) // per_page)
        page = pager(
            pages, conversation_folds.page_with(found, aim.turn, per_page), f"turns {per_page} {facts.key} {aim.name}"
        )
    if aim.span_id or aim.finding:
        place = f"{aim.name} {st.session_state.get('moves', 0)}"
        # Before the turns, where it stays the same element whatever is leafed through.
        st.html(_SCROLL % crc32(place.encode("utf-8", "replace")), unsafe_allow_javascript=True)
    with data.opened(facts.shown) as con:
        for entry in found[(page - 1) * per_page : page * per_page]:
            _entry(con, facts, entry, beside, aim, whole=whole)


def _entries(facts: Facts, *, whole: bool) -> tuple[list[Entry], int]:
    if whole:
        return [Entry(first=turn, last=turn) for turn in facts.turns["turn"]], 1
    return facts.entries, ENTRIES_PER_PAGE


def _entry(
    con: duckdb.DuckDBPyConnection, facts: Facts, entry: Entry, beside: turns.Beside, aim: Aim, *, whole: bool
) -> None:
    aimed = (aim.span_id or aim.finding) and entry.first <= aim.turn <= entry.last
    if aimed:
        st.html('<div class="fb-aim"></div>')
    if entry.times == 1:
        _turns(con, facts, entry.first, entry.last, beside, whole=whole)
        return
    spoken = conversation_folds.spoken_within(con, facts.key, entry)
    st.html(turns.fold(entry, beside, spoken))
    inside = facts.turns.filter(pl.col("turn").is_between(entry.first, entry.last))["turn"].to_list()
    # Opened where a span in it was asked for; the first round says what all of them do.
    name = f"{'Turn' if entry.period == 1 else 'Round'} 1 of {entry.times:,}"
    _turns(con, facts, inside[0], inside[entry.period - 1], beside, whole=whole)
    rest = inside[entry.period :]
    opened = bool(aim.span_id and aim.turn in rest)
    label = f"The other {len(rest):,} turns, one by one (above: {name.lower()})"
    with st.expander(label, expanded=opened, on_change="rerun", key=f"fold {facts.key} {entry.first} {opened}") as box:
        if box.open:
            _folded(con, facts, rest, beside, aim)


def _folded(con: duckdb.DuckDBPyConnection, facts: Facts, rest: list[int], beside: turns.Beside, aim: Aim) -> None:
    start = rest.index(aim.turn) // FOLDED_PER_PAGE + 1 if aim.span_id and aim.turn in rest else 1
    page = pager(-(-len(rest) // FOLDED_PER_PAGE), start, f"folded {facts.key} {rest[0]} {aim.name}")
    part = rest[(page - 1) * FOLDED_PER_PAGE : page * FOLDED_PER_PAGE]
    _turns(con, facts, part[0], part[-1], beside, whole=False)


def _turns(
    con: duckdb.DuckDBPyConnection, facts: Facts, first: int, last: int, beside: turns.Beside, *, whole: bool
) -> None:
    asked = facts.turns.filter(pl.col("turn").is_between(first, last))
    texts = 2 * int(asked["tool_calls"].clip(upper_bound=turns.CALLS_SHOWN).sum()) + 10 * asked.height
    share = PAGE_CHARS // (1 if whole else ENTRIES_PER_PAGE) // max(1, texts)
    chars = share if whole else min(TEXT_CHARS, max(conversation.CHARS_SHOWN, share))
    told = conversation.conversation(con, facts.key, first, last, lonely=facts.lonely, chars=chars)
    for turn in told:
        st.html(turns.turn(turn, beside))
