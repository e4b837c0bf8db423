"""Loops, and what only looks like one: the same call, cycles of calls, the same question in other words."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from analyzer.cases import Call, Turn, User
from benchmarks.accuracy.script import Placed, Plan, reads
from benchmarks.accuracy.surface import ACTING, CHANGING, LOOKING, arguments, look, result, said, shuffled, text, times

_HEARD = frozenset({"gen_ai", "openinference", "messages_only", "anthropic_sdk"})
"""Dialects that tell whether the user has spoken."""


def _useless(turns: list[Placed]) -> list[Placed]:
    """All turns from the second with a proof on are useless: the first one learned something."""
    second = [n for n, p in enumerate(turns) if p.proof][1]
    return [replace(p, useless=n >= second) for n, p in enumerate(turns)]


def _quiet(*turns: Turn | User) -> list[Placed]:
    return [Placed(t) for t in turns]


# --- repeated_call ------------------------------------------------------------------------------------------------------


def _same_severity(repeats: int) -> str:
    return "error" if repeats >= 8 else "warning"


def same_call(rng: Random) -> Plan:
    """One call, again and again."""
    call, repeats = look(rng), times(rng, 4)
    turns = [Placed(said(rng, call), (0,)) for _ in range(repeats)]
    return Plan(kind="in a row", stretch=_useless(turns), severity=_same_severity(repeats))


def same_call_with_others(rng: Random) -> Plan:
    """Other calls in between, which find something new each."""
    call, repeats = look(rng), times(rng, 4, 20)
    turns: list[Placed] = []
    for number in range(repeats):
        turns += [Placed(said(rng, call), (0,))]
        turns += [Placed(t) for t in reads(rng, rng.randint(0, 3))] if number < repeats - 1 else []
    return Plan(kind="others in between", stretch=_useless(turns), severity=_same_severity(repeats))


def same_call_in_parallel(rng: Random) -> Plan:
    """Each time beside another call."""
    call, repeats = look(rng), times(rng, 4, 20)
    turns = []
    for page in reads(rng, repeats):
        first = rng.random() < 0.5
        calls = (call, *page.calls) if first else (*page.calls, call)
        turns.append(Placed(Turn(calls), (0 if first else 1,)))
    return Plan(kind="beside another call", stretch=_useless(turns), severity=_same_severity(repeats))


def same_call_spelled(rng: Random) -> Plan:
    """Arguments in another order each time."""
    given = {"query": text(rng, 20), "limit": 10, "lang": "de", "open": True}
    name, answer, repeats = rng.choice(LOOKING), result(rng), times(rng, 4)
    turns = [Placed(said(rng, Call(name, shuffled(rng, given), answer)), (0,)) for _ in range(repeats)]
    return Plan(kind="arguments in another order", stretch=_useless(turns), severity=_same_severity(repeats))


def same_change(rng: Random) -> Plan:
    """The same change made again."""
    call, repeats = (
        Call(rng.choice(ACTING), arguments(rng), rng.choice(("ok", "saved", {"status": "ok"}))),
        times(rng, 4),
    )
    turns = [Placed(said(rng, call), (0,)) for _ in range(repeats)]
    return Plan(kind="a change made again", stretch=_useless(turns), severity=_same_severity(repeats))


def poll_arrives(rng: Random) -> Plan:
    """Polling until the answer changes."""
    call = Call(
        rng.choice(("job_status", "get_build", "checkDeployment", "status_abfragen", "bash")),
        {"id": rng.randrange(999)},
        "running",
    )
    done = replace(call, result=f"finished with {text(rng, 12)}")
    waits = rng.random() < 0.4
    pause = [said(rng, Call("sleep", {"seconds": 5}, "slept"))] if waits else []
    turns = [t for _ in range(rng.randint(4, 12)) for t in (said(rng, call), *pause)]
    return Plan(kind="polling that arrives", stretch=_quiet(*turns, said(rng, done)))


def poll_progress(rng: Random) -> Plan:
    """Polling whose answer moves."""
    name, given = rng.choice(LOOKING), arguments(rng)
    return Plan(
        kind="polling with progress",
        stretch=_quiet(*[said(rng, Call(name, given, f"{n * 7 % 101} % done")) for n in range(rng.randint(5, 14))]),
    )


def batch(rng: Random) -> Plan:
    """One check for each of many things, with one answer."""
    name, answer, start = (
        rng.choice(LOOKING),
        rng.choice((True, "ok", "valid", {"ok": True}, "not found")),
        rng.randrange(9000),
    )
    key = rng.choice(("id", "order_id", "path", "attachment"))
    turns = [
        said(rng, Call(name, {key: f"/d/{n}.txt" if key == "path" else n}, answer))
        for n in range(start, start + rng.randint(5, 30))
    ]
    return Plan(kind="a batch over ids", stretch=_quiet(*turns))


def same_check_after_edits(rng: Random) -> Plan:
    """The same check after each change."""
    edit = rng.choice(CHANGING)
    check = rng.choice(
        (
            Call("run_tests", {}, "2 passed, 1 failed"),
            Call("bash", {"command": "pytest -q"}, "1 passed"),
            look(rng, real=0),
        )
    )
    turns = []
    for number in range(rng.randint(4, 10)):
        turns += [said(rng, Call(edit, {"path": "a.py", "text": f"{number} {text(rng, 12)}"}, "ok")), said(rng, check)]
    kind = "the same check after each edit" if edit in ACTING else "the same check after each edit, in another language"
    return Plan(kind=kind, stretch=_quiet(*turns))


def twins(rng: Random) -> Plan:
    """The same call several times within one turn, in up to three turns."""
    call = look(rng)
    turn = Turn((call,) * rng.randint(4, 9))
    return Plan(kind="parallel twins", stretch=_quiet(*[turn] * rng.randint(1, 3)))


def below(rng: Random) -> Plan:
    """Three times is no loop."""
    return Plan(kind="three times", stretch=_quiet(*[said(rng, look_) for look_ in [look(rng, real=0)] * 3]))


def far_apart(rng: Random) -> Plan:
    """The same look many turns later."""
    call = look(rng, real=0)
    turns = [t for _ in range(4) for t in (said(rng, call), *reads(rng, 9))]
    return Plan(kind="far apart", stretch=_quiet(*turns), place="whole")


def asked_again(rng: Random) -> Plan:
    """The user asks again each time."""
    call = look(rng, real=0)
    turns = [
        t
        for n in range(rng.randint(4, 7))
        for t in (
            User(f"And how is it now, {n}? {text(rng, 20)}"),
            said(rng, call),
            Turn(text=f"As before, try {n}: {text(rng, 40)}"),
        )
    ]
    return Plan(kind="the user asks again", stretch=_quiet(*turns), only=_HEARD)


def next_page(rng: Random) -> Plan:
    """Going on to the next page with the same click."""
    click = Call(rng.choice(("click", "scroll", "press_key")), {"on": "next"}, "ok")
    turns = [
        t
        for n in range(rng.randint(4, 10))
        for t in (
            said(rng, click),
            said(rng, Call(rng.choice(("screenshot", "screen", "get_page")), {}, f"page {n}: {text(rng, 30)}")),
        )
    ]
    return Plan(kind="the next page", stretch=_quiet(*turns))


# --- call_cycle ---------------------------------------------------------------------------------------------------------


def _round(rng: Random, period: int) -> list[Call]:
    names = rng.sample(LOOKING, period)
    return [Call(name, {**arguments(rng), "n": place}, f"{text(rng)} {place}") for place, name in enumerate(names)]


def _cycle(rng: Random, kind: str, calls: list[Call], rounds: int, *, rest: int = 0, pauses: bool = False) -> Plan:
    turns = [Placed(said(rng, c), (0,), number >= 1) for number in range(rounds) for c in calls]
    turns += [Placed(said(rng, c), (0,), True) for c in calls[:rest]]
    if pauses:
        slept = said(rng, Call("sleep", {"seconds": 1}, "slept"))
        turns = [p for t in turns for p in (t, Placed(slept, useless=t.useless))][:-1]
        # The pause after the last call of the first round comes before the second one begins.
        turns[2 * len(calls) - 1] = replace(turns[2 * len(calls) - 1], useless=False)
    return Plan(kind=kind, stretch=turns, severity="error" if rounds >= 5 else "warning")


def cycle(rng: Random) -> Plan:
    """Two to eight calls, round and round."""
    period = rng.choice((2, 2, 2, 3, 3, 4, 5, 6, 8))
    rounds = min(times(rng, 3), 60 // period)
    return _cycle(rng, "round and round", _round(rng, period), max(3, rounds))


def cycle_cut(rng: Random) -> Plan:
    """The last round is not whole."""
    period = rng.randint(3, 6)
    return _cycle(rng, "a round cut short", _round(rng, period), times(rng, 3, 6), rest=rng.randint(1, period - 1))


def cycle_one_tool(rng: Random) -> Plan:
    """One tool with two or three arguments in turn."""
    name = rng.choice(LOOKING)
    calls = [Call(name, {"file": f"{n}.py"}, f"text of {n}: {text(rng)}") for n in range(rng.randint(2, 3))]
    return _cycle(rng, "one tool, arguments in turn", calls, times(rng, 3, 12))


def cycle_pauses(rng: Random) -> Plan:
    """With a pause after each call."""
    return _cycle(rng, "with pauses", _round(rng, rng.randint(2, 3)), times(rng, 3, 8), pauses=True)


def cycle_edit(rng: Random) -> Plan:
    """An edit taken back and made again, with a test after each."""
    edit, test = rng.choice(ACTING), rng.choice(("run_tests", "execute_suite", "bash"))
    command = {"command": "make test"} if test == "bash" else {}
    calls = [
        Call(edit, {"file": "a.py", "to": "x"}, "edited"),
        Call(test, command, "2 failed, 8 passed"),
        Call(edit, {"file": "a.py", "to": "y"}, "edited"),
        Call(test, command, "3 failed, 7 passed"),
    ]
    return _cycle(rng, "an edit taken back and made again", calls, times(rng, 3, 6))


def cycle_parallel(rng: Random) -> Plan:
    """All calls of a round in one turn."""
    calls, rounds = tuple(_round(rng, rng.randint(2, 4))), times(rng, 3, 12)
    turns = [Placed(Turn(calls), tuple(range(len(calls))), n >= 1) for n in range(rounds)]
    return Plan(kind="a round per turn", stretch=turns, severity="error" if rounds >= 5 else "warning")


def two_rounds(rng: Random) -> Plan:
    """Two rounds are none too many."""
    calls = _round(rng, rng.randint(2, 6))
    return Plan(kind="two rounds", stretch=_quiet(*[said(rng, c) for c in calls * 2]))


def rounds_with_news(rng: Random) -> Plan:
    """Each round one of the answers is new."""
    calls = _round(rng, rng.randint(2, 4))
    turns = [
        said(rng, replace(c, result=f"{text(rng)} {n}") if place == 0 else c)
        for n in range(rng.randint(3, 9))
        for place, c in enumerate(calls)
    ]
    return Plan(kind="rounds that bring news", stretch=_quiet(*turns))


def polls_in_turn(rng: Random) -> Plan:
    """Two things waited for in turn, and one arrives."""
    a, b = Call("build_status", {}, "running"), Call("test_status", {}, "waiting")
    turns = [said(rng, c) for c in [a, b] * rng.randint(3, 8)]
    return Plan(
        kind="two polls, one arrives", stretch=_quiet(*turns, said(rng, a), said(rng, replace(b, result="12 passed")))
    )


def reread_after_edits(rng: Random) -> Plan:
    """The same files read again, each time after another edit."""
    calls, edit = _round(rng, 2), rng.choice(CHANGING)
    turns = [
        t
        for n in range(rng.randint(3, 8))
        for t in (
            *[said(rng, c) for c in calls],
            said(rng, Call(edit, {"path": f"out/{n}.md", "text": text(rng, 20)}, "written")),
        )
    ]
    kind = "re-reads after each edit" if edit in ACTING else "re-reads after each edit, in another language"
    return Plan(kind=kind, stretch=_quiet(*turns))


def edit_and_test(rng: Random) -> Plan:
    """Edit and test, with progress."""
    edit, left = rng.choice(CHANGING), rng.randint(4, 9)
    turns = [
        t
        for n in range(left)
        for t in (
            said(rng, Call(edit, {"n": n}, "ok")),
            said(rng, Call("run_tests", {}, f"{left - n} failed, {20 + n} passed")),
        )
    ]
    return Plan(kind="edit and test with progress", stretch=_quiet(*turns))


def rounds_user(rng: Random) -> Plan:
    """The user speaks in every round."""
    calls = _round(rng, 2)
    turns: list[Turn | User] = []
    for number in range(rng.randint(3, 6)):
        turns += [said(rng, c) for c in calls]
        turns += [Turn(text=f"Here is try {number}: {text(rng, 30)}"), User(f"Again, please: {text(rng, 20)}")]
    return Plan(kind="the user in every round", stretch=_quiet(*turns), only=_HEARD)


# --- near_repeat --------------------------------------------------------------------------------------------------------


def _near_severity(repeats: int) -> str:
    return "error" if repeats >= 10 else "warning"


def _near(rng: Random, kind: str, asked: list[Call]) -> Plan:
    turns: list[Placed] = []
    between = rng.random() < 0.25
    for number, call in enumerate(asked):
        turns.append(Placed(said(rng, call), (0,)))
        turns += [Placed(t) for t in reads(rng, rng.randint(0, 2))] if between and number < len(asked) - 1 else []
    return Plan(kind=kind, stretch=_useless(turns), severity=_near_severity(len(asked)))


def nonce(rng: Random) -> Plan:
    """A nonce, a time stamp, an attempt number, a request id."""
    name, given, answer = rng.choice(LOOKING), arguments(rng), result(rng)
    passing = rng.choice(
        (
            lambda _: {"nonce": rng.getrandbits(30)},
            lambda n: {"timestamp": 1_790_000_000 + 7 * n},
            lambda n: {"attempt": n},
            lambda _: {"request_id": f"{rng.getrandbits(128):032x}"},
            lambda n: {"at": f"2026-03-01T10:{n % 60:02}:07Z"},
        )
    )
    return _near(rng, "a nonce", [Call(name, {**given, **passing(n)}, answer) for n in range(times(rng, 5, 40))])


def empty_pages(rng: Random) -> Plan:
    """Page after page with nothing on it."""
    name, key = rng.choice(LOOKING), rng.choice(("page", "offset", "cursor", "skip"))
    nothing: tuple[Any, ...] = ("[]", "no results", {"items": []})
    answer = rng.choice(nothing)
    topic = text(rng, 24)
    return _near(rng, "empty pages", [Call(name, {"q": topic, key: 20 * n}, answer) for n in range(times(rng, 5, 40))])


def reworded(rng: Random) -> Plan:
    """The same words in another order."""
    name, answer = rng.choice(LOOKING), f"no results for that ({text(rng, 12)})"
    words = ["refund", "policy", "for", "damaged", "items", "returned", "late", "from", "abroad"]
    orders: dict[str, None] = {}
    wanted = times(rng, 5, 25)
    while len(orders) < wanted:
        rng.shuffle(words)
        orders[" ".join(words)] = None
    return _near(rng, "words in another order", [Call(name, {"query": q}, answer) for q in orders])


def batch_of_ids(rng: Random) -> Plan:
    """A list of ids, each with the same answer."""
    name, answer, count = rng.choice(LOOKING), rng.choice((True, "ok", "no open invoice")), rng.randint(5, 25)
    ids = rng.choice(
        (
            lambda n: {"order_id": f"#W{1000 + n}"},
            lambda _: {"user_id": f"{rng.getrandbits(128):032x}"},
            lambda _: {"id": f"{rng.getrandbits(32):08x}-1111-4222-8333-{rng.getrandbits(48):012x}"},
            lambda n: {"n": n},
        )
    )
    return Plan(kind="a batch over ids", stretch=_quiet(*[said(rng, Call(name, ids(n), answer)) for n in range(count)]))


def batch_of_days(rng: Random) -> Plan:
    """Day after day, each with the same answer."""
    nothing: tuple[Any, ...] = ("no meetings", "closed", [])
    name, answer = rng.choice(LOOKING), rng.choice(nothing)
    turns = [said(rng, Call(name, {"date": f"2026-04-{n:02}"}, answer)) for n in range(1, rng.randint(6, 20))]
    return Plan(kind="a batch over days", stretch=_quiet(*turns))


def full_pages(rng: Random) -> Plan:
    """Page after page with something new."""
    name, topic = rng.choice(LOOKING), text(rng, 20)
    turns = [said(rng, Call(name, {"q": topic, "page": n}, [f"{text(rng, 30)}"])) for n in range(rng.randint(5, 20))]
    return Plan(kind="pages with new results", stretch=_quiet(*turns))


def stamped_poll(rng: Random) -> Plan:
    """Polling with a time stamp, and it arrives."""
    name, given = rng.choice(("get_job", "query_export", "checkBuild")), arguments(rng)
    asked = [Call(name, {**given, "timestamp": 1_790_000_000 + n}, "pending") for n in range(rng.randint(5, 12))]
    return Plan(
        kind="polling that arrives",
        stretch=_quiet(
            *[
                said(rng, c)
                for c in [*asked, replace(asked[0], arguments={**given, "timestamp": 1_790_000_099}, result="ready")]
            ]
        ),
    )


def stamped_after_edits(rng: Random) -> Plan:
    """The same question with a time stamp after each change."""
    name, edit = rng.choice(LOOKING), rng.choice(CHANGING)
    turns = [
        t
        for n in range(rng.randint(5, 9))
        for t in (
            said(rng, Call(edit, {"n": n, "text": text(rng, 12)}, "ok")),
            said(rng, Call(name, {"q": "state", "timestamp": 1_790_000_000 + n}, "clean")),
        )
    ]
    kind = (
        "the same question after each edit"
        if edit in ACTING
        else "the same question after each edit, in another language"
    )
    return Plan(kind=kind, stretch=_quiet(*turns))


def near_below(rng: Random) -> Plan:
    """Four times is no loop."""
    name, answer = rng.choice(LOOKING), result(rng)
    return Plan(
        kind="four times",
        stretch=_quiet(
            *[said(rng, Call(name, {"q": "state", "nonce": rng.getrandbits(20)}, answer)) for _ in range(4)]
        ),
    )


FAILING = {
    "repeated_call": (same_call, same_call_with_others, same_call_in_parallel, same_call_spelled, same_change),
    "call_cycle": (cycle, cycle_cut, cycle_one_tool, cycle_pauses, cycle_edit, cycle_parallel),
    "near_repeat": (nonce, empty_pages, reworded),
}
HEALTHY = {
    "repeated_call": (
        poll_arrives,
        poll_progress,
        batch,
        same_check_after_edits,
        twins,
        below,
        far_apart,
        asked_again,
        next_page,
    ),
    "call_cycle": (
        two_rounds,
        rounds_with_news,
        polls_in_turn,
        reread_after_edits,
        edit_and_test,
        rounds_user,
        next_page,
    ),
    "near_repeat": (batch_of_ids, batch_of_days, full_pages, stamped_poll, stamped_after_edits, near_below),
}
