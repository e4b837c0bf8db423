"""Scripts of `analyzer.cases` played to a panel, the way the runner plays a run to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from analyzer import cases
from analyzer.cases import Entry, Turn, User
from instrument import sameness
from instrument.effects import effect_of, writes
from instrument.guards.facts import Action, Answer, Call, Intervention, Outcome
from instrument.guards.panel import Panel
from instrument.policy import Guards, Policy
from instrument.runner.words import Words

TEMPORARY = frozenset({"Timeout", "Overloaded"})
OBSERVE = Policy(guards=Guards(mode="observe"))


@dataclass
class Played:
    """What the guards did about a script, and which calls ran."""

    panel: Panel
    acts: list[Intervention] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    stopped: Intervention | None = None

    def said(self) -> list[tuple[str, str, int]]:
        """Guard, action and turn of each act."""
        return [(i.guard, str(i.action), i.turn) for i in self.acts]


def play(
    script: Sequence[Entry],
    policy: Policy | None = None,
    *,
    start_seconds: float = 0.0,
    turn_seconds: float = 2.0,
    one_by_one: bool = False,
    each: Callable[[Panel], None] = lambda _: None,
    idle: Sequence[int] = (),
    invalid: Collection[int] = (),
) -> Played:
    """Plays a script to the end, or until a guard that is not merely observing stops it.

    `one_by_one`: each call is asked and run before the next of its turn; otherwise all are asked first. `idle`: turns
    whose answers announce and do nothing; `invalid`: turns whose calls do not fit the tool's schema.
    """
    played, number, heard, words = Played(Panel(policy or Policy())), 0, set[str](), Words()
    for place, entry in enumerate(script):
        if isinstance(entry, User):
            if entry.text not in heard:  # words that were said before tell the model nothing new
                played.panel.heard()
            heard.add(entry.text)
            continue
        number += 1
        turn = entry if isinstance(entry, Turn) else Turn((entry,))
        if turn.prompt is not None and words.new({"prompt": turn.prompt}):
            played.panel.heard()
        if turn.calls:
            words.acted()
        _answer(played, turn, number, number in idle)
        steps = [
            (fact(c, number, f"call_{place}_{at}", start_seconds + turn_seconds * number), c)
            for at, c in enumerate(turn.calls)
        ]
        if number in invalid:
            steps = [(replace(call, invalid="'q' is missing"), c) for call, c in steps]
        if one_by_one:
            for step in steps:
                _run(played, step, _ask(played, step[0]))
        else:
            verdicts = [_ask(played, call) for call, _ in steps]
            for step, verdict in zip(steps, verdicts, strict=True):
                _run(played, step, verdict)
        each(played.panel)
        if played.stopped is not None:
            break
    return played


def fact(call: cases.Call, turn: int, call_id: str, at_seconds: float) -> Call:
    """What the panel is told of a call before it runs."""
    exact, loose = sameness.call_keys(call.name, call.arguments)
    values = list(call.arguments.values()) if isinstance(call.arguments, dict) else []
    arguments = _text(call.arguments)
    return Call(
        turn,
        call_id,
        call.name,
        exact,
        loose,
        effect_of(call.name, arguments),
        unknown=not call.declared,
        null_input=bool(values) and all(v in (None, "", [], {}) for v in values),
        at_seconds=at_seconds,
        writes=writes(call.name, arguments),
    )


def _text(arguments: Any) -> str:
    return orjson.dumps(arguments, option=orjson.OPT_NON_STR_KEYS).decode()


def outcome(call: cases.Call, rejected: str | None = None) -> Outcome:
    """What the panel is told of how it ended."""
    if rejected == "blocked":
        return Outcome(rejected=rejected)
    failed = bool(call.error) or sameness.says_error(call.result)
    kind = sameness.failure_kind(call.error, call.result) if failed else None
    words_key = sameness.loose_result_key(call.result) if writes(call.name, _text(call.arguments)) else None
    return Outcome(
        sameness.result_key(call.result), failed, kind, call.error in TEMPORARY, rejected, words_key=words_key
    )


def _answer(played: Played, turn: Turn, number: int, idle: bool) -> None:
    if turn.error is None:
        text = turn.text
        answer = Answer(
            number,
            sameness.output_key(text),
            sameness.loose_output_key(text),
            len(text.strip()),
            len(turn.calls),
            idle,
        )
        _note(played, played.panel.answered(answer))


def _ask(played: Played, call: Call) -> Intervention | None:
    verdict = played.panel.asked(call)
    _note(played, [verdict] if verdict else [])
    return None if verdict is None or verdict.observed else verdict


def _run(played: Played, step: tuple[Call, cases.Call], verdict: Intervention | None) -> None:
    call, scripted = step
    rejected = None
    if verdict is None:
        played.ran.append(call.call_id)
    else:
        rejected = "unknown_tool" if call.unknown else "invalid_arguments" if call.invalid else "blocked"
    _note(played, played.panel.ran(call, outcome(scripted, rejected)))


def _note(played: Played, acts: Sequence[Intervention]) -> None:
    played.acts += acts
    stops = [i for i in acts if i.action is Action.STOP and not i.observed]
    played.stopped = played.stopped or (stops[0] if stops else None)


def was_guarded(case: cases.Case) -> bool:
    """Whether a guard had refused calls in it already: played again, they would be asked for without having been refused."""
    entries = [e for run in case.runs() for e in run.script]
    calls = [
        c for e in entries for c in (e.calls if isinstance(e, Turn) else (e,) if isinstance(e, cases.Call) else ())
    ]
    return any(call.rejected is not None for call in calls)
