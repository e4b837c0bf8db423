"""A failure, or what only looks like one, woven into a healthy run, with the place where it begins and ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from analyzer.cases import DIALECTS, Call, Case, Run, Turn, User
from benchmarks.accuracy.healthy import Healthy
from benchmarks.accuracy.spending import Spent, spent

RECORDED: Final = frozenset(DIALECTS) - {"hashed"}
"""Dialects of the main table; `hashed` has one of its own."""
SPANS: Final = RECORDED - {"messages_only"}
"""Those with tool spans, so with times and outcomes of their own."""
MODEL: Final = -1
"""As a place in a turn: the model call itself; 0 and up are its tool calls."""
_NUMBERED: Final = frozenset({"gen_ai_old", "openinference"})
_CHARS_PER_TOKEN: Final = 4
_SYSTEM_TOKENS: Final = 800

Entry = Turn | User


@dataclass(frozen=True, slots=True)
class Placed:
    """One entry of an injected stretch: which of its spans prove the failure, and whether the turn brought nothing."""

    entry: Entry
    proof: tuple[int, ...] = ()
    useless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an injector wants told. `severity` None: it must stay quiet."""

    kind: str
    stretch: Sequence[Placed]
    severity: str | None = None
    only: frozenset[str] = RECORDED
    place: str = "any"
    """`any`, `start`, `end` (the stretch is the last before the answer), `whole` (the stretch is all there is)."""
    ending: Sequence[Placed] | None = None
    """What ends the run; None: an answer in words."""
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    declares: bool = True
    ended: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)
    others: Sequence[Run] = ()
    """Further runs of the case, before the one with the stretch."""
    agent: str | None = None
    wastes: bool = True
    """Whether the pattern's useless turns are its waste; otherwise `useless` means nothing."""
    wasted: Spent | None = None
    """What it wastes where no turn is useless as a whole."""
    whole_run: bool = False
    """The failure is the run as such: it begins with the agent's span."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the injected failure is, in the terms of a finding, and what it wasted; None: nobody can say, or none is claimed."""

    first_turn: int
    last_turn: int
    first_step: int
    last_step: int
    severity: str
    waste_tokens: int | None
    waste_usd: float | None = None
    waste_seconds: float | None = None

    @property
    def waste(self) -> tuple[float | None, float | None, float | None]:
        """Tokens, US dollars and seconds."""
        return self.waste_tokens, self.waste_usd, self.waste_seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One trace of the suite."""

    detector: str
    kind: str
    base: str
    """Name of the healthy piece it was put into; empty where the stretch is all there is."""
    dialect: str
    case: Case
    truth: Truth | None

    @property
    def trace_id(self) -> str:
        """Trace of the run with the stretch: the last one of the case."""
        return self.case.trace_ids()[-1]


def woven(plan: Plan, base: Healthy, rng: Random, detector: str, name: str) -> Sample:
    """The stretch of `plan` put into `base`, as a case of that name."""
    before, after = _around(plan, base, rng)
    ending = plan.ending if plan.ending is not None else [Placed(Turn(text=rng.choice(_ANSWERS)))]
    placed = sized([*before, *plan.stretch, *after, *ending])
    run = Run([p.entry for p in placed], plan.agent or name, base.question, plan.ended, plan.facts)
    case = Case(name, [*plan.others, run], [], plan.declares, plan.only, plan.schemas)
    dialect = _dialect(plan, rng)
    truth = _truth(plan, placed, timed=dialect in SPANS) if plan.severity else None
    into = "" if plan.place == "whole" else base.name
    return Sample(detector, plan.kind, into, dialect, case, truth)


def _dialect(plan: Plan, rng: Random) -> str:
    """Those that number every part of every message take five times as long to load, and are drawn less often for it."""
    spoken = sorted(plan.only)
    return rng.choices(spoken, [1 if dialect in _NUMBERED else 3 for dialect in spoken])[0]


def sized(placed: Sequence[Placed]) -> list[Placed]:
    """`placed` with input tokens where an entry has none: what was said before, four characters a token."""
    out, chars = [], 0
    for p in placed:
        entry = p.entry
        if isinstance(entry, Turn):
            if entry.input_tokens is None and entry.error is None:
                entry = replace(entry, input_tokens=_SYSTEM_TOKENS + chars // _CHARS_PER_TOKEN)
            chars += len(entry.text) + sum(len(str(c.arguments)) + len(str(c.result)) for c in entry.calls)
        else:
            chars += len(entry.text)
        out.append(replace(p, entry=entry))
    return out


def steps(placed: Sequence[Placed]) -> Iterator[tuple[Placed, int, int]]:
    """Each turn of `placed` with its number from 1 and the step of its model call; step 0 is the agent's."""
    step, turn = 1, 0
    for p in placed:
        if isinstance(p.entry, Turn):
            turn += 1
            yield p, turn, step
            step += 1 + len(p.entry.calls)


def _truth(plan: Plan, placed: Sequence[Placed], *, timed: bool) -> Truth:
    """`timed`: the dialect tells when tools ran."""
    proofs = [(turn, step + 1 + place) for p, turn, step in steps(placed) for place in p.proof]
    wasted = [spent(p.entry, timed=timed) for p in placed if p.useless and isinstance(p.entry, Turn)]
    sums = plan.wasted or (Spent.sum(wasted) if plan.wastes else Spent(None, None, None))
    return Truth(
        0 if plan.whole_run else min(turn for turn, _ in proofs),
        max(turn for turn, _ in proofs),
        0 if plan.whole_run else min(step for _, step in proofs),
        max(step for _, step in proofs),
        plan.severity or "",
        sums.tokens,
        sums.usd,
        sums.seconds,
    )


def _around(plan: Plan, base: Healthy, rng: Random) -> tuple[list[Placed], list[Placed]]:
    if plan.place == "whole":
        return [], []
    script = [Placed(entry) for entry in base.script]
    turns = [n for n, p in enumerate(script) if isinstance(p.entry, Turn)]
    # Not between the user's words and the answer to them.
    cut = {"start": 0, "end": turns[-1]}.get(plan.place)
    cut = rng.choice([0, *turns[1:]]) if cut is None else cut
    before, after = script[:cut], script[cut:]
    return before, [] if plan.place == "end" else after


def reads(rng: Random, count: int) -> list[Turn]:
    """Turns that look at something new each."""
    topic = rng.choice(("notes", "src", "docs", "reports", "data"))
    start = rng.randrange(10_000)
    return [
        Turn((Call("read_page", {"path": f"{topic}/{n}.md"}, f"{topic} of day {n}: {rng.getrandbits(40):x}"),))
        for n in range(start, start + count)
    ]


_ANSWERS: Final = (
    "That is what I found out about your question; tell me if you want to see more of it.",
    "Here is the summary you asked for, with the points in the order of their weight.",
    "Your question is answered above. The details stand in the notes that I quoted.",
    "Das ist alles, was ich dazu herausgefunden habe.",
    "Voilà ce que j'ai trouvé à ce sujet.",
)
