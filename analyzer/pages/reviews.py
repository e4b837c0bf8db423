"""Reviews: what runs ask before they spend more, to be answered here."""

from __future__ import annotations

import getpass
from contextlib import closing
from datetime import UTC, datetime

import streamlit as st

from analyzer.pages import layout, pieces, words
from instrument.errors import LedgerError, ReviewDecided
from instrument.ledger import Ledger, Review, open_ledger

REFRESH_SECONDS = 3
ANSWERED_SHOWN = 20


def ledger() -> Ledger | None:
    """The ledger of FLYBALL_LEDGER, else of this folder; None where there is none yet."""
    try:
        return open_ledger(must_exist=True)
    except LedgerError:
        return None


def decide(review_id: str, approved: bool) -> None:
    """Answers a question with the note beside it. One that somebody else has answered meanwhile stays as it is."""
    found = ledger()
    if found is None:
        return
    note, by = st.session_state.get(f"note-{review_id}", ""), st.session_state.get("by", "")
    with closing(found):
        try:
            found.decide(review_id, approved=approved, note=note, by=by)
        except ReviewDecided as e:
            st.toast(words.visible(str(e)))


def waiting(review: Review, now: datetime) -> None:
    """One question, with the two answers."""
    with st.container(border=True):
        st.html(pieces.review(review, now))
        note, approve, deny = st.columns([6, 1, 1], vertical_alignment="bottom")
        note.text_input("Note", key=f"note-{review.review_id}", placeholder="Why; the run records it")
        approve.button(
            "Approve",
            key=f"approve-{review.review_id}",
            type="primary",
            width="stretch",
            on_click=decide,
            args=(review.review_id, True),
        )
        deny.button(
            "Deny", key=f"deny-{review.review_id}", width="stretch", on_click=decide, args=(review.review_id, False)
        )


@st.fragment(run_every=REFRESH_SECONDS)
def queue() -> None:
    """The questions as they are now."""
    found = ledger()
    if found is None:
        st.subheader("No ledger here yet", anchor=False)
        st.caption("Runs make one when the policy says `review.over_usd`. Name theirs where it is another:")
        st.code("FLYBALL_LEDGER=WHERE flyball app", language=None)
        return
    try:
        with closing(found):
            reviews = found.reviews(waiting=None)
    except LedgerError as e:
        layout.stop("The ledger cannot be read", str(e), "flyball reviews list")
    now = datetime.now(UTC)
    open_ones = [r for r in reviews if r.decision is None]
    answered = [r for r in reviews if r.decision is not None]
    st.header(f"{words.plural(len(open_ones), 'question')} waiting", anchor=False)
    if not open_ones:
        st.caption("A run asks before it spends more than `review.over_usd` of its policy. Nothing asks now.")
    for review in open_ones:
        waiting(review, now)
    if answered:
        st.header("Answered", anchor=False)
        latest = sorted(answered, key=lambda r: r.decided_at or r.created_at, reverse=True)[:ANSWERED_SHOWN]
        st.html(
            pieces.table(
                ["Agent", "Asked for", "Answer", "By", "Note"],
                [(r.agent_name, words.money(r.asked_usd), r.decision, r.decided_by, r.note) for r in latest],
            )
        )


st.title("Reviews", anchor=False)
st.html(pieces.muted("Expensive requests wait here for a person. An answer cannot be taken back."))
if "by" not in st.session_state:
    try:
        st.session_state["by"] = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        st.session_state["by"] = ""
st.text_input("Your name", key="by", width=260)
queue()
