"""The queue of questions to a person, and the runs that wait for an answer: the same for both ledgers."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from instrument.errors import ReviewDecided, UnknownReview
from instrument.ledger import Decision, Ledger, Review, SqliteLedger
from instrument.ledger.base import KEEP_REVIEW_DAYS, utc_time
from tests.ledger.clock import Clock


def question(clock: Clock, review_id: str = "r1", prompt: str = "Migrate the warehouse.") -> Review:
    return Review(
        review_id=review_id,
        run_id="a1b2",
        agent_name="migrator",
        user_id="ann",
        model="claude-opus-5-5",
        reason="the run has spent $4.10 and asks for $1.90 more",
        spent_usd=4.1,
        asked_usd=1.9,
        limit_usd=None,
        prompt=prompt,
        created_at=utc_time(clock.now + 0.123456),
        deadline_at=utc_time(clock.now + 3600),
    )


def ids(reviews: list[Review]) -> list[str]:
    return [review.review_id for review in reviews]


def test_a_question_comes_back_as_it_was_asked(ledger: Ledger, clock: Clock) -> None:
    asked = question(clock)
    ledger.ask(asked)
    assert ledger.review("r1") == asked
    assert ledger.reviews() == [asked]
    assert ledger.review("r2") is None


@pytest.mark.parametrize(("approved", "decision"), [(True, "approved"), (False, "denied")])
def test_an_answer_says_who_when_and_why(ledger: Ledger, clock: Clock, approved: bool, decision: Decision) -> None:
    asked = question(clock)
    ledger.ask(asked)
    clock.now += 90.5
    answered = ledger.decide("r1", approved=approved, note="the quarter ends\ntoday", by="eve")
    assert answered == replace(
        asked, decision=decision, note="the quarter ends\ntoday", decided_by="eve", decided_at=utc_time(clock.now)
    )
    assert ledger.review("r1") == answered


def test_an_answer_stands(ledger: Ledger, clock: Clock) -> None:
    ledger.ask(question(clock))
    ledger.decide("r1", approved=False, by="eve")
    clock.now += 60
    with pytest.raises(ReviewDecided, match="was denied by eve at 2026-11-30 12:00:00 UTC") as error:
        ledger.decide("r1", approved=True, by="bob")
    assert (error.value.decision, error.value.decided_by) == ("denied", "eve")
    ledger.ask(question(clock))
    found = ledger.review("r1")
    assert found
    assert (found.decision, found.decided_by) == ("denied", "eve")


def test_what_nobody_asked_cannot_be_answered(ledger: Ledger) -> None:
    with pytest.raises(UnknownReview, match="holds no review 'r9'"):
        ledger.decide("r9", approved=True)
    with pytest.raises(UnknownReview):
        ledger.time_out("r9")
    with pytest.raises(UnknownReview):
        ledger.save_state("r9", b"")
    assert ledger.reviews(waiting=None) == []
    assert ledger.load_state("r9") is None


def test_a_run_that_waits_no_longer_closes_its_question(ledger: Ledger, clock: Clock) -> None:
    ledger.ask(question(clock))
    assert ledger.time_out("r1").decision == "timed_out"
    with pytest.raises(ReviewDecided, match="timed out at"):
        ledger.decide("r1", approved=True)


def test_an_answer_in_the_last_moment_stands(ledger: Ledger, clock: Clock) -> None:
    ledger.ask(question(clock))
    ledger.decide("r1", approved=True, by="eve")
    late = ledger.time_out("r1")
    assert (late.decision, late.decided_by) == ("approved", "eve")


def test_a_question_past_its_deadline_may_be_answered(ledger: Ledger, clock: Clock) -> None:
    ledger.ask(question(clock))
    clock.now += 30 * 86_400
    assert ids(ledger.reviews()) == ["r1"]
    assert ledger.decide("r1", approved=True).decision == "approved"


def test_questions_are_listed_oldest_first_and_by_what_was_answered(ledger: Ledger, clock: Clock) -> None:
    for review_id in ("c", "a", "b", "d"):
        clock.now += 1
        ledger.ask(question(clock, review_id))
    ledger.decide("a", approved=True)
    ledger.time_out("d")
    assert ids(ledger.reviews()) == ["c", "b"]
    assert ids(ledger.reviews(waiting=False)) == ["a", "d"]
    assert ids(ledger.reviews(waiting=None)) == ["c", "a", "b", "d"]


def test_any_text_can_be_asked_about_and_only_its_beginning_is_kept(ledger: Ledger, clock: Clock) -> None:
    hostile = "\x1b[2J'; DROP TABLE reviews; --\x00\ud800 \u202e{}" + "é" * 5000
    ledger.ask(question(clock, "'}{\x00", prompt=hostile))
    ledger.decide("'}{\x00", approved=True, note=hostile, by="\udfff")
    [found] = ledger.reviews(waiting=None)
    assert found.prompt.startswith("\x1b[2J'; DROP TABLE reviews; --\x00\\ud800 \u202e{}é")
    assert len(found.prompt) == 2000
    assert found.decided_by == "\\udfff"


def test_the_state_of_a_paused_run_is_kept_byte_for_byte(ledger: Ledger, clock: Clock) -> None:
    ledger.ask(question(clock))
    assert ledger.load_state("r1") is None
    for state in (bytes(range(256)) * 1000, b""):
        ledger.save_state("r1", state)
        assert ledger.load_state("r1") == state


def test_a_paused_run_is_taken_by_one_process(ledger: Ledger, clock: Clock) -> None:
    ledger.ask(question(clock))
    assert not ledger.take("r1", "p1", hold_seconds=60)
    ledger.save_state("r1", b"state")
    ledger.decide("r1", approved=True)
    assert ledger.take("r1", "p1", hold_seconds=60)
    assert not ledger.take("r1", "p2", hold_seconds=60)
    clock.now += 59
    assert ledger.take("r1", "p1", hold_seconds=60)  # it goes on
    clock.now += 59
    assert not ledger.take("r1", "p2", hold_seconds=60)
    clock.now += 1
    assert ledger.take("r1", "p2", hold_seconds=60)  # p1 has died
    assert not ledger.take("r1", "p1", hold_seconds=60)


def test_a_run_that_was_resumed_to_its_end_is_not_resumed_again(ledger: Ledger, clock: Clock) -> None:
    ledger.ask(question(clock))
    ledger.save_state("r1", b"state")
    assert ledger.take("r1", "p1", hold_seconds=60)
    ledger.drop_state("r1")
    ledger.drop_state("r1")
    assert ledger.load_state("r1") is None
    assert not ledger.take("r1", "p1", hold_seconds=60)


def test_a_file_forgets_what_was_answered_long_ago_and_keeps_what_is_open(tmp_path: Path, clock: Clock) -> None:
    with closing(SqliteLedger(tmp_path / "flyball.ledger", clock=clock)) as ledger:
        for review_id in ("answered", "open"):
            ledger.ask(question(clock, review_id))
            ledger.save_state(review_id, b"state")
        ledger.decide("answered", approved=True)
        clock.now += (KEEP_REVIEW_DAYS + 1) * 86_400
        ledger.reserve(ledger.account("ann"), 0.1, limit_usd=1.0, hold_seconds=60)
        assert ids(ledger.reviews(waiting=None)) == ["open"]
        assert (ledger.load_state("answered"), ledger.load_state("open")) == (None, b"state")
