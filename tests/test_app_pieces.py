"""Words and pieces of the pages: numbers as people read them, and recorded text that stays text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_views_runs import finding

from analyzer.findings import Finding, GuardAction, Outcome, Severity, State
from analyzer.pages import pieces, turns, words
from analyzer.views.conversation import Call, Said, Text, Turn

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> **bold** {{ 7*7 }} `code` \x1b[31mred \u202egnp.exe &amp; \"'"
OURS = {"div", "a", "details", "summary", "span", "p", "b", "h1", "code", "table", "tr", "td", "th"}


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: str) -> Reader:
    """What a browser would make of `markup`."""
    reader = Reader()
    reader.feed(markup)
    reader.close()
    return reader


def drawn(turn: Turn, findings: Sequence[Finding] = (), actions: Sequence[GuardAction] = ()) -> str:
    """A turn as the page of a run shows it."""
    return turns.turn(turn, turns.Beside(run_id="r", findings=findings, actions=actions))


def hostile_turn(text: str) -> Turn:
    """A turn in which everything recorded is `text`."""
    said = Said(role=text, kind=text, name=text, text=Text(text))
    call = Call(
        step=3, span_id="a", tool_name=text, arguments=Text(text), result=Text(text), failed=True, failure_inferred=False,
        error=text + "!", rejected=text, declared=False, inferred=False, seconds=1.0,
    )  # fmt: skip
    return Turn(
        number=1,
        model=text,
        seconds=2.0,
        finish_reason=text,
        error=text,
        heard=(said,),
        answered=(said,),
        calls=(call,),
    )


@pytest.mark.parametrize(
    "piece",
    [
        drawn(hostile_turn(HOSTILE), [finding("x")]),
        pieces.finding_card(finding("x", message=HOSTILE, advice=HOSTILE, agent_name=HOSTILE), with_run=True),
        pieces.outcomes([Outcome(detector=HOSTILE, state=State.PARTIAL, known=0.5, reason=HOSTILE)]),
        pieces.tile(HOSTILE, HOSTILE, HOSTILE),
        pieces.table([HOSTILE], [[HOSTILE]]),
        pieces.muted(HOSTILE),
    ],
)
def test_markup_in_a_trace_stays_text(piece: str) -> None:
    seen = read(piece)
    assert seen.tags <= OURS
    assert seen.attributes <= {"class", "href", "target"}
    assert "<script>alert(2)</script>" in seen.text
    assert "**bold** {{ 7*7 }}" in seen.text
    assert "\x1b" not in piece
    assert "\u202e" not in piece


@given(st.text())
def test_no_text_makes_a_tag(text: str) -> None:
    assert read(drawn(hostile_turn(text))).tags <= OURS
    assert read(pieces.prose(text)).tags <= {"code"}


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert words.visible(text) == text


def test_what_acts_or_hides_is_made_visible() -> None:
    assert words.visible("a\x1b[1m\x00\x7f\u202e\u200b\r\nb\tc\rd") == "a␛[1m␀␡\\u202e\\u200b\nb\tc␍d"
    assert words.visible("\ud800") == "\\ud800"
    assert words.visible("👩\u200d👩") == "👩\u200d👩"


def test_long_texts_say_what_is_left_out() -> None:
    turn = Turn(number=1, answered=(Said(role="assistant", kind="text", text=Text("abc", 12_345)),))
    assert "12,345 more characters" in read(drawn(turn)).text


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("hashed", "Content was recorded as hashes only."),
        ("none", "Content was not recorded"),
        (None, "No messages were recorded"),
    ],
)
def test_a_turn_without_messages_says_why(state: str | None, said: str) -> None:
    assert said in read(drawn(Turn(number=1, content_state=state))).text


def test_more_calls_than_are_shown_are_counted() -> None:
    call = hostile_turn("x").calls[0]
    seen = read(drawn(Turn(number=1, calls=(call,) * 60))).text
    assert "and 10 more calls" in seen


def test_a_turn_has_the_colour_of_the_worst_finding_that_names_it() -> None:
    both = [finding("x"), finding("x", severity=Severity.ERROR)]
    assert 'class="fb-turn error"' in drawn(Turn(number=1), both)
    assert 'class="fb-turn "' in drawn(Turn(number=1))


def test_waste_names_only_what_is_known() -> None:
    assert (
        pieces.wasted(finding("x", wasted_cost_usd=0.5, wasted_tokens=None, wasted_seconds=61.0)) == "$0.50 · 1 min 1 s"
    )
    assert pieces.wasted(finding("x", wasted_cost_usd=None)) == ""


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.money(None), words.UNKNOWN), (words.money(0), "$0"), (words.money(0.00001), "< $0.0001"), (words.money(0.0042), "$0.0042"),
        (words.money(3.2), "$3.20"), (words.money(1_204.4), "$1,204"),
        (words.count(None), words.UNKNOWN), (words.count(0), "0"), (words.count(1_204), "1,204"), (words.count(45_210), "45.2 k"),
        (words.count(1_310_000), "1.31 M"), (words.count(2e9), "2 G"),
        (words.duration(None), words.UNKNOWN), (words.duration(0.85), "850 ms"), (words.duration(12.44), "12.4 s"),
        (words.duration(200), "3 min 20 s"), (words.duration(7_500), "2 h 5 min"), (words.duration(86_400), "1 d"),
        (words.share(1, 8), "12 %"), (words.share(None, 8), words.UNKNOWN), (words.share(1, 0), words.UNKNOWN),
        (words.percent(0.9999), "99.9 %"), (words.percent(1), "100 %"),
        (words.when(1_763_800_000_000_000_000), "2025-11-22 08:26"), (words.when(None), words.UNKNOWN),
        (words.plural(1, "run"), "1 run"), (words.plural(3_000, "run"), "3,000 runs"),
        (words.stretch(4, 4), "turn 4"), (words.stretch(4, 9), "turns 4 to 9"),
    ],
)  # fmt: skip
def test_numbers_read_as_people_say_them(shown: str, expected: str) -> None:
    assert shown == expected


ACTION = GuardAction(
    run_id="r", trace_id="t", span_id="s", step=3, turn=2, guard="repeated_call", action="block", reason="`ls` was refused.",
    setting="loops.same_call_repeats", threshold=4.0, value=5.0, tool="ls",
)  # fmt: skip


def test_what_a_guard_did_stands_in_the_call_or_the_turn_it_was_done_in() -> None:
    turn = hostile_turn("x")
    shown = drawn(turn, [], [replace(ACTION, turn=1), replace(ACTION, turn=1, step=0, action="nudge", observed=True)])
    call = shown[shown.index('class="fb-part call') :]
    assert call.index("block") < call.index("nudge (observed)")
    assert call.count("<code>ls</code> was refused.") == 2
    assert "loops.same_call_repeats = 4" in call
    assert "guard" not in drawn(turn)


def test_a_call_that_a_guard_blocked_is_not_shown_as_failed() -> None:
    turn = hostile_turn("x")
    blocked = replace(turn, calls=(replace(turn.calls[0], rejected="blocked"),))
    assert "fb-part call failed" in drawn(turn)
    assert "fb-part call failed" not in drawn(blocked)


def test_a_long_list_of_actions_is_cut_and_counted() -> None:
    shown = read(pieces.guard_actions([ACTION] * (pieces.ACTIONS_SHOWN + 3)))
    assert shown.text.count("turn 2") == pieces.ACTIONS_SHOWN
    assert "and 3 more actions" in shown.text


@given(st.text() | st.just(HOSTILE))
def test_whatever_a_guard_says_stays_text(words: str) -> None:
    action = replace(ACTION, guard=words, action=words, reason=words, setting=words, tool=words)
    for shown in (pieces.guard_actions([action]), drawn(hostile_turn("x"), [], [replace(action, turn=1)])):
        found = read(shown)
        assert found.tags <= OURS
        assert found.attributes <= {"class", "href", "target"}
