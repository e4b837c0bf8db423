"""The page where a person answers expensive requests, over a real ledger."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_app_pages import app, said

from instrument.ledger import Review, SqliteLedger

HOSTILE = "<script>alert(1)</script> {{7*7}} `rm`"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the app looks for its ledger."""
    monkeypatch.setattr("sys.argv", ["app.py"])
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs.ledger"
    monkeypatch.setenv("FLYBALL_LEDGER", str(path))
    return path


def asked(review_id: str, prompt: str = "Refund all of them.") -> Review:
    now = datetime.now(UTC)
    return Review(
        review_id=review_id,
        run_id="r1",
        agent_name="refunds",
        user_id="u1",
        model="claude-opus-5-5",
        reason="The run has cost $1.0000, and the next request may cost $0.5000.",
        spent_usd=1.0,
        asked_usd=0.5,
        limit_usd=10.0,
        prompt=prompt,
        created_at=now,
        deadline_at=now + timedelta(hours=1),
    )


def page(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    at = app(monkeypatch, "sample", "reviews")
    assert not at.exception
    return at


def test_without_a_ledger_it_says_how_to_name_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No ledger here yet" in said(page(monkeypatch))
    assert not place.exists()


def test_a_question_is_approved_with_a_note_and_a_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SqliteLedger(place)) as ledger:
        ledger.ask(asked("rev_1"))
        ledger.ask(asked("rev_2", HOSTILE))
        at = page(monkeypatch)
        assert "2 questions waiting" in said(at)
        assert "<script>" not in said(at)
        at.text_input(key="by").set_value("Ada").run()
        at.text_input(key="note-rev_1").set_value("It is Friday.").run()
        at.button(key="approve-rev_1").click().run()
        answer = ledger.review("rev_1")
        assert answer is not None
        assert (answer.decision, answer.note, answer.decided_by) == ("approved", "It is Friday.", "Ada")
        assert "1 question waiting" in said(at)
        at.button(key="deny-rev_2").click().run()
        assert [r.decision for r in ledger.reviews(waiting=False)].count("denied") == 1
        assert "0 questions waiting" in said(at)


def test_an_answer_of_somebody_else_stands(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SqliteLedger(place)) as ledger:
        ledger.ask(asked("rev_1"))
        at = page(monkeypatch)
        ledger.decide("rev_1", approved=False, by="Bob")
        at.button(key="approve-rev_1").click().run()
        answer = ledger.review("rev_1")
        assert answer is not None
        assert (answer.decision, answer.decided_by) == ("denied", "Bob")
        assert not at.exception
