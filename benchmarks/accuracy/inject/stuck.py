"""Stuck states: the same answer, no answer, half an answer, silence; and what only looks like them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from analyzer.cases import Call, Turn, User
from benchmarks.accuracy.script import MODEL, SPANS, Placed, Plan, reads
from benchmarks.accuracy.spending import Spent
from benchmarks.accuracy.surface import LOOKING, arguments, look, said, text, times

_HEARD: Final = frozenset({"gen_ai", "openinference", "messages_only", "anthropic_sdk"})
_THINKING: Final = frozenset({"gen_ai", "anthropic_sdk", "openllmetry", "messages_only"})
_SAME: Final = (
    "I will now continue with the next step of the plan.",
    "Let me try once more to get this done for you.",
    "Ich mache jetzt mit dem nächsten Schritt weiter.",
    "Voy a continuar con el siguiente paso del plan.",
    "接下来我会继续执行计划中的下一个步骤,请稍等片刻,谢谢。",
    "The file has been checked and I am going to proceed with it as you have asked me to. " * 6,
)


def _quiet(*turns: Turn | User) -> list[Placed]:
    return [Placed(t) for t in turns]


# --- repeated_output ----------------------------------------------------------------------------------------------------


def _output_severity(repeats: int) -> str:
    return "error" if repeats >= 6 else "warning"


def _again(kind: str, turns: Sequence[Turn]) -> Plan:
    placed = [Placed(t, (MODEL,), n > 0) for n, t in enumerate(turns)]
    return Plan(
        kind=kind, stretch=placed, severity=_output_severity(len(placed)), place="start" if len(placed) % 2 else "end"
    )


def same_answer(rng: Random) -> Plan:
    """To the letter."""
    return _again("to the letter", [Turn(text=rng.choice(_SAME))] * times(rng, 3))


def same_but_numbers(rng: Random) -> Plan:
    """But for numbers and case."""
    words = rng.choice(
        (
            "Let me try again, this is attempt {n}, please wait.",
            "Schritt {n}: Ich versuche es noch einmal, bitte warten.",
        )
    )
    return _again(
        "but for numbers",
        [Turn(text=words.format(n=n).upper() if n % 3 == 2 else words.format(n=n)) for n in range(times(rng, 3, 30))],
    )


def questions_answered(rng: Random) -> Plan:
    """The same answer to different questions."""
    answer = rng.choice(("I am sorry, but I cannot help you with that request.", *_SAME[:4]))
    turns = [t for n in range(rng.randint(3, 7)) for t in (User(f"Question {n}: {text(rng, 30)}"), Turn(text=answer))]
    return Plan(kind="the same answer to new questions", stretch=_quiet(*turns), only=_HEARD)


def around_calls(rng: Random) -> Plan:
    """The same words around calls that find something."""
    words = rng.choice(_SAME)
    return Plan(
        kind="around calls that find something",
        stretch=_quiet(*[Turn(t.calls, words) for t in reads(rng, rng.randint(4, 12))]),
    )


def learned_between(rng: Random) -> Plan:
    """Something learned in between."""
    words = rng.choice(_SAME)
    return Plan(
        kind="something learned in between",
        stretch=_quiet(*[t for page in reads(rng, rng.randint(3, 7)) for t in (Turn(text=words), page)]),
    )


def short(rng: Random) -> Plan:
    """Short answers."""
    return Plan(
        kind="short answers", stretch=_quiet(*[Turn(text=rng.choice(("Done.", "OK.", "Fertig.")))] * rng.randint(3, 8))
    )


def answered_twice(rng: Random) -> Plan:
    """Twice."""
    return Plan(kind="twice", stretch=_quiet(*[Turn(text=rng.choice(_SAME))] * 2))


# --- empty_response -----------------------------------------------------------------------------------------------------


def empty(rng: Random) -> Plan:
    """No words and no call."""
    count = times(rng, 2, 12)
    return Plan(
        kind="nothing",
        stretch=[Placed(Turn(output_tokens=rng.randint(1, 6)), (MODEL,), True)] * count,
        severity="warning",
    )


def blank_text(rng: Random) -> Plan:
    """White space alone."""
    count = times(rng, 2, 12)
    words = rng.choice((" ", " \n", "\n\n", "\t"))
    return Plan(
        kind="white space",
        stretch=[Placed(Turn(text=words, output_tokens=2), (MODEL,), True)] * count,
        severity="warning",
    )


def thought_alone(rng: Random) -> Plan:
    """Thinking alone."""
    turns = [Placed(Turn(thinking=text(rng, 80), output_tokens=200), (MODEL,), True) for _ in range(times(rng, 2, 8))]
    return Plan(kind="thinking alone", stretch=turns, severity="warning", only=_THINKING)


def empty_once(rng: Random) -> Plan:
    """Once."""
    return Plan(kind="once", stretch=_quiet(Turn(output_tokens=rng.randint(1, 6))))


def empty_apart(rng: Random) -> Plan:
    """Not in a row."""
    return Plan(
        kind="not in a row",
        stretch=_quiet(*[t for page in reads(rng, rng.randint(2, 5)) for t in (Turn(output_tokens=3), page)]),
    )


def refusals(rng: Random) -> Plan:
    """Refusals have no words."""
    turn = Turn(output_tokens=3, finish=rng.choice(("refusal", "content_filter")))
    return Plan(kind="refusals", stretch=_quiet(*[turn] * rng.randint(2, 4)))


def only_calls(rng: Random) -> Plan:
    """Calls without words."""
    return Plan(kind="calls without words", stretch=_quiet(*reads(rng, rng.randint(3, 12))))


def spoken_between(rng: Random) -> Plan:
    """The user spoke in between."""
    turns = [t for n in range(rng.randint(2, 4)) for t in (Turn(output_tokens=3), User(f"And {n}? {text(rng, 12)}"))]
    return Plan(kind="the user spoke in between", stretch=_quiet(*turns), only=_HEARD)


# --- truncated_response -------------------------------------------------------------------------------------------------

_LIMIT: Final = ("max_tokens", "length", "MAX_TOKENS", "max_output_tokens")


def last_cut(rng: Random) -> Plan:
    """The last answer was cut."""
    turn = Turn(
        text=f"The report: first of all {text(rng, 60)}",
        finish=rng.choice(_LIMIT),
        output_tokens=rng.choice((100, 1024, 4096)),
    )
    return Plan(
        kind="the last answer",
        stretch=[Placed(turn, (MODEL,))],
        severity="warning",
        place="end",
        ending=[],
        wastes=False,
    )


def call_cut(rng: Random) -> Plan:
    """A call was cut and ran all the same."""
    call = Call(
        rng.choice(("write_file", "create_page", "guardar_archivo")),
        {"path": "a.md", "text": f"# {text(rng, 40)}"},
        "written",
    )
    return Plan(
        kind="a call that ran",
        stretch=[Placed(Turn((call,), finish=rng.choice(_LIMIT), output_tokens=4096), (MODEL,))],
        severity="warning",
        wastes=False,
    )


def continued(rng: Random) -> Plan:
    """Continued."""
    turns = [
        Placed(Turn(text=f"The report: {text(rng, 60)}", finish=rng.choice(_LIMIT), output_tokens=1024), (MODEL,)),
        Placed(User("Go on.")),
        Placed(Turn(text=f"and secondly {text(rng, 40)}")),
    ]
    return Plan(kind="continued", stretch=turns, severity="info", wastes=False)


def whole(rng: Random) -> Plan:
    """Ended by itself."""
    finish = rng.choice(("end_turn", "stop", "stop_sequence", "STOP", "completed"))
    return Plan(
        kind="ended by itself",
        stretch=[],
        place="end",
        ending=_quiet(Turn(text=f"That is all: {text(rng, 60)}", finish=finish, output_tokens=4096)),
    )


def label(rng: Random) -> Plan:
    """A label was wanted."""
    turn = Turn(text=rng.choice(("spam", "yes", "3")), finish="max_tokens", output_tokens=rng.randint(1, 8))
    return Plan(kind="a label was wanted", stretch=[], place="end", ending=_quiet(turn))


def speaks_of_length(rng: Random) -> Plan:
    """An answer that only looks cut."""
    turn = Turn(text=f"As I said, the max_tokens of {text(rng, 20)} and so on...", finish="end_turn", output_tokens=900)
    return Plan(kind="words without an end", stretch=[], place="end", ending=_quiet(turn))


# --- no_final_answer ----------------------------------------------------------------------------------------------------


def ended_in_call(rng: Random) -> Plan:
    """Ended after a call whose result nobody read."""
    call = look(rng, real=0.3)
    turn = Turn((call,), rng.choice(("", "Let me look at the last one, too.")))
    return Plan(
        kind="after a call",
        stretch=[],
        severity="info",
        place="end",
        ending=[Placed(turn, (MODEL, 0))],
        only=SPANS,
        wastes=False,
    )


def ended_in_calls(rng: Random) -> Plan:
    """After several at once."""
    calls = tuple(Call(rng.choice(LOOKING), {**arguments(rng), "n": n}, text(rng)) for n in range(rng.randint(2, 4)))
    ending = [Placed(Turn(calls), (MODEL, *range(len(calls))))]
    return Plan(
        kind="after several calls", stretch=[], severity="info", place="end", ending=ending, only=SPANS, wastes=False
    )


def ended_empty(rng: Random) -> Plan:
    """With an answer that says nothing."""
    ending = [Placed(t) for t in reads(rng, 1)] + [Placed(Turn(text=rng.choice(("", " ")), output_tokens=2), (MODEL,))]
    return Plan(kind="an empty answer", stretch=[], severity="warning", place="end", ending=ending, wastes=False)


def _closed(rng: Random, kind: str, *turns: Turn, ended: bool = True) -> Plan:
    return Plan(
        kind=kind, stretch=_quiet(*reads(rng, rng.randint(0, 3))), place="end", ending=_quiet(*turns), ended=ended
    )


def handed_in(rng: Random) -> Plan:
    """Handed in by a tool."""
    tool = rng.choice(
        (
            "submit",
            "finish",
            "task_complete",
            "attempt_completion",
            "final_answer",
            "submitAnswer",
            "return_result",
            "StructuredOutput",
        )
    )
    return _closed(rng, "handed in by a tool", Turn((Call(tool, {"answer": text(rng, 20)}, "ok"),)))


def handed_over(rng: Random) -> Plan:
    """Handed over."""
    tool = rng.choice(("transfer_to_human_agents", "handoff_to_billing", "escalate", "ask_user"))
    return _closed(rng, "handed over", Turn((Call(tool, {"summary": text(rng, 20)}, "ok"),)))


def handed_in_abroad(rng: Random) -> Plan:
    """Handed in by a tool whose name is not English."""
    tool = rng.choice(("finalizar", "antwort_abgeben", "terminer", "提交"))
    return _closed(rng, "handed in, in another language", Turn((Call(tool, {"answer": text(rng, 20)}, "ok"),)))


def answered_beside(rng: Random) -> Plan:
    """The answer stands beside the call."""
    return _closed(
        rng,
        "the answer beside the call",
        Turn((Call("save_note", {"n": 1}, "ok"),), f"Here is the whole answer. {text(rng, 400)}"),
    )


def cut_off(rng: Random) -> Plan:
    """The run has not ended."""
    return _closed(rng, "not ended yet", *reads(rng, 1), ended=False)


def answered(rng: Random) -> Plan:
    """An answer."""
    return _closed(rng, "an answer", *reads(rng, 2), Turn(text=rng.choice(("Yes.", "42", "Fertig.", text(rng, 200)))))


# --- silent_gap ---------------------------------------------------------------------------------------------------------


def gap(rng: Random) -> Plan:
    """Nothing under way between a tool's result and the next request."""
    (before,), (after,) = reads(rng, 1), reads(rng, 1)
    seconds = rng.choice((301.5, rng.uniform(320, 900), rng.uniform(1_000, 80_000)))
    stretch = [Placed(before, (0,)), Placed(Turn(after.calls, pause_seconds=seconds), (MODEL,))]
    idle = Spent(None, None, seconds)
    return Plan(kind="after a tool", stretch=stretch, severity="warning", only=SPANS, wasted=idle)


def gap_after_two(rng: Random) -> Plan:
    """After calls in parallel."""
    calls, seconds = tuple(c for t in reads(rng, 2) for c in t.calls), rng.uniform(310, 9_000)
    stretch = [
        Placed(Turn(calls), (1,)),
        Placed(Turn(text="So that is that, as far as it goes.", pause_seconds=seconds), (MODEL,)),
    ]
    idle = Spent(None, None, seconds)
    return Plan(kind="after several tools", stretch=stretch, severity="warning", only=SPANS, wasted=idle)


def user_away(rng: Random) -> Plan:
    """The user took time."""
    turns: list[Turn | User] = [
        Turn(text=f"Which one do you want? {text(rng, 20)}"),
        User(f"The second: {text(rng, 12)}"),
        Turn(text="As you wish.", pause_seconds=rng.uniform(400, 50_000)),
    ]
    return Plan(kind="the user took time", stretch=_quiet(*turns), only=_HEARD - {"messages_only"})


def short_gap(rng: Random) -> Plan:
    """Less than the limit."""
    (page,) = reads(rng, 1)
    return Plan(
        kind="less than the limit",
        stretch=_quiet(*reads(rng, 1), Turn(page.calls, pause_seconds=rng.uniform(60, 280))),
        only=SPANS,
    )


def long_tool(rng: Random) -> Plan:
    """A tool was at work."""
    call = Call("build_index", arguments(rng), text(rng), seconds=rng.uniform(310, 2_000))
    return Plan(kind="a tool was at work", stretch=_quiet(said(rng, call)), only=SPANS)


def long_model(rng: Random) -> Plan:
    """The model was at work."""
    (page,) = reads(rng, 1)
    return Plan(
        kind="the model was at work", stretch=_quiet(Turn(page.calls, seconds=rng.uniform(310, 2_000))), only=SPANS
    )


FAILING = {
    "repeated_output": (same_answer, same_but_numbers),
    "empty_response": (empty, blank_text, thought_alone),
    "truncated_response": (last_cut, call_cut, continued),
    "no_final_answer": (ended_in_call, ended_in_calls, ended_empty),
    "silent_gap": (gap, gap_after_two),
}
HEALTHY = {
    "repeated_output": (questions_answered, around_calls, learned_between, short, answered_twice),
    "empty_response": (empty_once, empty_apart, refusals, only_calls, spoken_between),
    "truncated_response": (whole, label, speaks_of_length),
    "no_final_answer": (handed_in, handed_over, handed_in_abroad, answered_beside, cut_off, answered),
    "silent_gap": (user_away, short_gap, long_tool, long_model),
}
