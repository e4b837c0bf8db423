"""`flyball reviews`: what a person sees of the queue, and how it is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analyzer.cli import main
from analyzer.report.layout import Look
from analyzer.report.review_text import review_as_text, reviews_as_text
from instrument.ledger import Review, SqliteLedger

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07\x1b[2J[bold red]all fine[/]\n\u202eevil\x9b"


def question(review_id: str = "r1", prompt: str = "Migrate the warehouse.", limit_usd: float | None = 10.0) -> Review:
    return Review(
        review_id=review_id,
        run_id="a1b2c3",
        agent_name="migrator",
        user_id="ann",
        model="claude-opus-5-5",
        reason="the run would pass $5.00",
        spent_usd=4.1,
        asked_usd=1.9,
        limit_usd=limit_usd,
        prompt=prompt,
        created_at=NOON - timedelta(minutes=3),
        deadline_at=NOON + timedelta(minutes=57),
    )


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteLedger]:
    """Found through the environment, as the runs find it."""
    monkeypatch.setenv("FLYBALL_LEDGER", str(tmp_path / "flyball.ledger"))
    with closing(SqliteLedger(tmp_path / "flyball.ledger")) as made:
        made.reviews()
        yield made


def test_the_queue_is_told_with_what_is_asked_why_and_what_to_do() -> None:
    assert (
        reviews_as_text([question()], Look(width=80), NOON)
        == """\
1 review waiting for an answer

r1  migrator, claude-opus-5-5, user ann
  asks for  up to $1.90; it has spent $4.10 of the $10.00 it may
  because   the run would pass $5.00
  prompt    Migrate the warehouse.
  waiting   for 3 min 0 s; 57 min 0 s left

Next
  flyball reviews show ID     the whole question
  flyball reviews approve ID  let the run spend it
  flyball reviews deny ID     let it end with what it has
"""
    )


def test_a_run_past_its_time_and_without_a_limit_says_so() -> None:
    text = review_as_text(question(limit_usd=None), Look(width=100), NOON + timedelta(hours=1))
    assert "it has spent $4.10, without a limit" in text
    assert "waiting   for 1 h 3 min; its time ended at 2026-11-30 12:57:00 UTC" in text


@pytest.mark.parametrize("verb", ["list", "show"])
def test_a_prompt_can_do_nothing_to_the_terminal(
    ledger: SqliteLedger, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.ask(question(prompt=HOSTILE))
    assert main(["reviews", verb, *(["r1"] if verb == "show" else [])]) == 0
    out = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07\\x1b[2J[bold red]all fine[/]" in out
    assert "\\u202eevil\\x9b" in out
    assert all(c.isprintable() or c == "\n" for c in out)


def test_a_long_prompt_is_shown_to_where_it_was_cut() -> None:
    text = review_as_text(question(prompt="\x00" * 5000), Look(width=80), NOON)
    assert text.replace("\n  ", "").count("\\x00") == 2000
    assert "Prompt, its first 2,000 characters" in text


def test_nothing_waiting_is_no_failure(ledger: SqliteLedger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reviews", "list"]) == 0
    assert capsys.readouterr().out == "No review is waiting\n"


@pytest.mark.parametrize(("verb", "decision"), [("approve", "approved"), ("deny", "denied")])
def test_an_answer_is_given_once(
    ledger: SqliteLedger, verb: str, decision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.ask(question())
    assert main(["reviews", verb, "r1", "--by", "eve", "--note", "quarter\x1bend"]) == 0
    assert "quarter\\x1bend" in capsys.readouterr().out
    found = ledger.review("r1")
    assert found
    assert (found.decision, found.decided_by, found.note) == (decision, "eve", "quarter\x1bend")
    assert main(["reviews", "approve", "r1"]) == 2
    error = capsys.readouterr().err
    assert f"review 'r1' was {decision} by eve at 20" in error
    assert ledger.review("r1") == found


def test_who_answers_is_the_login_name_unless_a_name_is_given(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "zoe")
    for review_id, by in (("r1", []), ("r2", ["--by", ""])):
        ledger.ask(question(review_id))
        assert main(["reviews", "approve", review_id, *by]) == 0
    assert [r.decided_by for r in ledger.reviews(waiting=False)] == ["zoe", ""]


def test_all_lists_the_answered_too(ledger: SqliteLedger, capsys: pytest.CaptureFixture[str]) -> None:
    for review_id in ("r1", "r2", "r3"):
        ledger.ask(question(review_id))
    ledger.decide("r1", approved=False, by="eve", note="too dear")
    ledger.time_out("r2")
    assert main(["reviews", "list"]) == 0
    waiting = capsys.readouterr().out
    assert ("r1 " in waiting, "r2 " in waiting, "r3 " in waiting) == (False, False, True)
    assert main(["reviews", "list", "--all"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("1 review waiting for an answer; 2 answered\n")
    assert "denied    by eve, 20" in told
    assert " UTC: too dear\n" in told
    assert "timed out  20" in told


def test_what_to_do_next_names_the_ledger_where_it_was_named(
    ledger: SqliteLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.ask(question())
    assert main(["reviews", "list", "--ledger", ledger.where]) == 0
    assert "flyball reviews approve ID --ledger WHERE  let" in capsys.readouterr().out


def test_json_has_the_names_of_the_fields(ledger: SqliteLedger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.ask(question(prompt="\x1bé"))
    assert main(["reviews", "list", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "reviews": [
            {
                "review_id": "r1", "run_id": "a1b2c3", "agent_name": "migrator", "user_id": "ann",
                "model": "claude-opus-5-5", "reason": "the run would pass $5.00", "spent_usd": 4.1, "asked_usd": 1.9,
                "limit_usd": 10.0, "prompt": "\x1bé", "created_at": "2026-11-30T11:57:00Z",
                "deadline_at": "2026-11-30T12:57:00Z", "decision": None, "note": "", "decided_by": "",
                "decided_at": None,
            }
        ]
    }  # fmt: skip
    assert out.isascii()
    assert main(["reviews", "approve", "r1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["reviews"][0]["decision"] == "approved"


@pytest.mark.parametrize("verb", ["show", "approve", "deny"])
def test_an_unknown_id_is_an_error_with_a_sentence(
    ledger: SqliteLedger, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reviews", verb, "r9"]) == 2
    assert "holds no review 'r9'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["list"], ["approve", "r1"]])
def test_a_ledger_that_is_not_there_is_not_an_empty_one(
    tmp_path: Path, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reviews", *verb, "--ledger", str(tmp_path / "typo")]) == 2
    assert "no such ledger" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
