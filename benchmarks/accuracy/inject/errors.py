"""Failures that go on, storms, time-outs and failures that nobody spoke of; and what only looks like them."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from analyzer.cases import Call, Turn
from benchmarks.accuracy.script import SPANS, Placed, Plan, reads
from benchmarks.accuracy.surface import ACTING, arguments, said, text, times

_TOOLS = (
    "fetch",
    "read_file",
    "query_db",
    "deployService",
    "send_request",
    "api_call",
    "abrir_archivo",
    "datei_lesen",
    "调用接口",
    "bash",
)
_FAILURES = (
    ("NotFound", "no such file: '/tmp/{n}/{t}.txt'"),
    ("PermissionError", "[Errno 13] Permission denied: '/srv/{t}/{n}'"),
    ("ValueError", "could not parse '{t}' at line {n}"),
    ("HTTPError", "404 page '/{t}' is gone"),
    ("DatabaseError", 'relation "{t}" does not exist (request {n})'),
    ("Fehler", "Datei '{t}' nicht gefunden ({n})"),
)
_TRANSPORT = (
    ("ConnectError", "connection refused"),
    ("RateLimitError", "429 Too Many Requests"),
    ("ReadTimeout", "read timed out"),
    ("HTTPError", "status 503: service unavailable"),
    ("ConnectionError", "connection reset by peer"),
)
_SORRY = (
    "I am sorry, this did not work.",
    "Leider ist das fehlgeschlagen.",
    "It could not be done: the tool failed.",
    "Lo siento, no se pudo hacer.",
)


def _failing(rng: Random, count: int, tool: str, *, flagged: bool = True) -> list[Call]:
    kind, words = rng.choice(_FAILURES)
    return [
        Call(
            tool,
            {**arguments(rng), "n": n},
            ("" if flagged else "Error: ") + words.format(n=rng.randrange(10_000), t=text(rng, 12).replace(" ", "")),
            kind if flagged else None,
            seconds=0.2,
        )
        for n in range(count)
    ]


def _after_first(placed: list[Placed]) -> list[Placed]:
    second = [n for n, p in enumerate(placed) if p.proof][1]
    return [replace(p, useless=n >= second) for n, p in enumerate(placed)]


def _sorry(rng: Random) -> list[Placed]:
    return [Placed(Turn(text=rng.choice(_SORRY)))]


def _quiet(*turns: Turn) -> list[Placed]:
    return [Placed(t) for t in turns]


def _cascade_severity(failures: int, recovered: bool) -> str:
    return ("warning" if recovered else "error") if failures >= 6 else ("info" if recovered else "warning")


# --- error_cascade ------------------------------------------------------------------------------------------------------


def cascade(rng: Random) -> Plan:
    """One tool failing the same way with other arguments each time."""
    tool, count = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}", times(rng, 3)
    turns = [Placed(said(rng, c), (0,)) for c in _failing(rng, count, tool)]
    return Plan(
        kind="in a row", stretch=_after_first(turns), severity=_cascade_severity(count, False), ending=_sorry(rng)
    )


def cascade_unflagged(rng: Random) -> Plan:
    """The words of the result alone say so."""
    tool, count = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}", times(rng, 3)
    turns = [Placed(said(rng, c), (0,)) for c in _failing(rng, count, tool, flagged=False)]
    return Plan(
        kind="not flagged", stretch=_after_first(turns), severity=_cascade_severity(count, False), ending=_sorry(rng)
    )


def cascade_with_others(rng: Random) -> Plan:
    """Other tools work in between."""
    tool, count = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}", times(rng, 3, 15)
    turns: list[Placed] = []
    for number, call in enumerate(_failing(rng, count, tool)):
        turns.append(Placed(said(rng, call), (0,)))
        turns += [Placed(t) for t in reads(rng, rng.randint(0, 2))] if number < count - 1 else []
    return Plan(
        kind="others in between",
        stretch=_after_first(turns),
        severity=_cascade_severity(count, False),
        ending=_sorry(rng),
    )


def cascade_recovered(rng: Random) -> Plan:
    """And then it worked."""
    tool, count = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}", times(rng, 3, 12)
    failed = _failing(rng, count, tool)
    turns = _after_first([Placed(said(rng, c), (0,)) for c in failed])
    worked = Placed(said(rng, replace(failed[-1], arguments={"again": text(rng, 12)}, result=text(rng), error=None)))
    return Plan(kind="recovered", stretch=[*turns, worked], severity=_cascade_severity(count, True))


def cascade_mixed(rng: Random) -> Plan:
    """Whatever is tried fails, each in its own way."""
    count = rng.randint(5, 12)
    turns = []
    for number in range(count):
        kind, words = _FAILURES[number % len(_FAILURES)]
        call = Call(f"{_TOOLS[number % 5]}_{number % 5}", {"n": number}, words.format(n=number, t=text(rng, 12)), kind)
        turns.append(Placed(said(rng, call), (0,)))
    return Plan(
        kind="one after another in many ways",
        stretch=_after_first(turns),
        severity=_cascade_severity(count, False),
        ending=_sorry(rng),
    )


def cascade_model(rng: Random) -> Plan:
    """The model itself fails, and nothing comes after."""
    count = rng.randint(3, 8)
    turn = Turn(
        error=rng.choice(
            (("authentication_error", "invalid x-api-key"), ("billing_error", "credit balance is too low"))
        ),
        pause_seconds=rng.choice((0.0, 20.0)),
    )
    return Plan(
        kind="the model fails",
        stretch=_after_first([Placed(turn, (-1,))] * count),
        severity=_cascade_severity(count, False),
        place="end",
        ending=[],
    )


def twice(rng: Random) -> Plan:
    """Fails twice and is put right, several times."""
    tool = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}"
    turns = []
    for _ in range(rng.randint(1, 4)):
        failed = _failing(rng, 2, tool)
        turns += [said(rng, c) for c in failed] + [said(rng, replace(failed[-1], error=None, result=text(rng)))]
    return Plan(kind="two retries that recover", stretch=_quiet(*turns))


def tests_progress(rng: Random) -> Plan:
    """Tests that fail on less each time."""
    left = rng.randint(3, 9)
    test = rng.choice(("run_tests", "bash"))
    command = {"command": "pytest -q"} if test == "bash" else {}
    turns = [
        t
        for n in range(left, 0, -1)
        for t in (
            said(rng, Call(rng.choice(ACTING), {"text": text(rng, 20)}, "ok")),
            said(rng, Call(test, command, f"FAILED (failures={n}, passed={30 - n})", rng.choice(("ExitCode", None)))),
        )
    ]
    return Plan(
        kind="tests that fail on less each time", stretch=_quiet(*turns, said(rng, Call(test, command, "30 passed")))
    )


def documents(rng: Random) -> Plan:
    """Documents that speak of errors."""
    lines = (
        "2026-03-01 ERROR connection refused",
        "see the chapter on Error handling",
        '{"level": "error", "n": 1}',
        "Traceback is what Python calls it",
    )
    turns = [
        said(
            rng, Call(rng.choice(("grep", "read_log", "search")), {"n": n}, f"{n}: {rng.choice(lines)} {text(rng, 20)}")
        )
        for n in range(rng.randint(4, 12))
    ]
    return Plan(kind="documents that speak of errors", stretch=_quiet(*turns))


def parallel_failures(rng: Random) -> Plan:
    """Many calls of one turn fail, and the next works."""
    tool = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}"
    failed = _failing(rng, rng.randint(3, 9), tool)
    return Plan(
        kind="failures of one turn",
        stretch=_quiet(Turn(tuple(failed)), said(rng, replace(failed[0], error=None, result=text(rng)))),
    )


def different_failures(rng: Random) -> Plan:
    """Four different problems, each solved."""
    turns = []
    for number, (kind, words) in enumerate(rng.sample(_FAILURES, 4)):
        turns += [
            said(rng, Call("read_entry", {"n": number}, words.format(n=number, t=text(rng, 12)), kind)),
            *reads(rng, 1),
        ]
        turns += [said(rng, Call("read_entry", {"n": -number}, text(rng)))]
    return Plan(kind="different failures, each solved", stretch=_quiet(*turns))


# --- retry_storm --------------------------------------------------------------------------------------------------------


def _storm_severity(attempts: int, recovered: bool) -> str:
    return "info" if recovered else "error" if attempts >= 6 else "warning"


def storm_tool(rng: Random) -> Plan:
    """A tool that cannot be reached."""
    tool, count, (kind, words) = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}", times(rng, 5), rng.choice(_TRANSPORT)
    call = Call(tool, arguments(rng), words, kind, seconds=0.2)
    turns = _after_first([Placed(said(rng, call), (0,))] * count)
    return Plan(kind="a tool", stretch=turns, severity=_storm_severity(count, False), only=SPANS, ending=_sorry(rng))


def storm_model(rng: Random) -> Plan:
    """A model that is overloaded until the run ends."""
    count = times(rng, 5, 30)
    error = rng.choice(
        (
            ("overloaded_error", "Overloaded"),
            ("rate_limit_error", "429 Too Many Requests"),
            ("APIConnectionError", "Connection error."),
        )
    )
    turns = _after_first([Placed(Turn(error=error), (-1,))] * count)
    return Plan(
        kind="the model", stretch=turns, severity=_storm_severity(count, False), place="end", ending=[], only=SPANS
    )


def storm_model_recovered(rng: Random) -> Plan:
    """A model that is overloaded for a while."""
    count = times(rng, 5, 15)
    turns = _after_first([Placed(Turn(error=("overloaded_error", "Overloaded")), (-1,))] * count)
    return Plan(kind="the model, for a while", stretch=turns, severity="info", only=SPANS)


def storm_client(rng: Random) -> Plan:
    """A client that retries inside a loop that retries."""
    count, again = rng.randint(2, 5), rng.randint(2, 4)
    turns = _after_first([Placed(Turn(error=("overloaded_error", "Overloaded"), retries=again), (-1,))] * count)
    return Plan(
        kind="retries within retries",
        stretch=turns,
        severity=_storm_severity(count * (again + 1), False),
        place="end",
        ending=[],
        only=SPANS,
    )


def slow_retries(rng: Random) -> Plan:
    """With pauses in between."""
    turn = Turn(error=("overloaded_error", "Overloaded"), pause_seconds=rng.uniform(15, 60))
    return Plan(kind="with pauses", stretch=_quiet(*[turn] * rng.randint(5, 10)), only=SPANS)


def storm_other(rng: Random) -> Plan:
    """Failures that are not of transport."""
    calls = _failing(rng, rng.randint(5, 15), f"{rng.choice(_TOOLS)}_{rng.randrange(99)}")
    return Plan(kind="failures of another kind", stretch=_quiet(*[said(rng, c) for c in calls]), only=SPANS)


def storm_parallel(rng: Random) -> Plan:
    """All of one turn fail at once."""
    kind, words = rng.choice(_TRANSPORT)
    call = Call(rng.choice(_TOOLS), {}, words, kind, seconds=0.3)
    return Plan(kind="calls of one turn", stretch=_quiet(Turn((call,) * rng.randint(5, 12))), only=SPANS)


def storm_broken(rng: Random) -> Plan:
    """A success in between."""
    kind, words = rng.choice(_TRANSPORT)
    tool = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}"
    call = Call(tool, {"u": 1}, words, kind, seconds=0.2)
    turns = [
        t
        for n in range(rng.randint(3, 6))
        for t in (*[said(rng, call)] * 2, said(rng, Call(tool, {"u": n}, text(rng))))
    ]
    return Plan(kind="retries that recover at once", stretch=_quiet(*turns), only=SPANS)


def storm_documents(rng: Random) -> Plan:
    """Logs that speak of time-outs."""
    turns = [
        said(rng, Call("grep", {"n": n}, f"log {n}: connection timed out, 503, retrying {text(rng, 12)}"))
        for n in range(rng.randint(5, 12))
    ]
    return Plan(kind="logs of time-outs", stretch=_quiet(*turns), only=SPANS)


# --- tool_timeout -------------------------------------------------------------------------------------------------------


def _slow(
    rng: Random, seconds: float | None, error: str | None = None, words: str = "timed out", tool: str | None = None
) -> Call:
    return Call(
        tool or f"{rng.choice(_TOOLS[:8])}_{rng.randrange(99)}",
        arguments(rng),
        words if error else text(rng),
        error,
        seconds=seconds,
    )


def _timeouts(rng: Random, kind: str, calls: list[Call], severity: str, lost: bool) -> Plan:
    turns = [Placed(said(rng, c), (0,), lost) for c in calls]
    return Plan(kind=kind, stretch=turns, severity=severity, only=SPANS, ending=_sorry(rng) if lost else None)


def cut_at_limit(rng: Random) -> Plan:
    """Cut at a limit beyond ours."""
    seconds, count = rng.uniform(121, 900), rng.choice((1, 1, 1, 2))
    call = _slow(
        rng, seconds, rng.choice(("TimeoutError", "ToolError")), f"no result within {seconds:.0f} seconds: timed out"
    )
    return _timeouts(rng, "cut at a limit", [call] * count, "warning", True)


def slow_and_well(rng: Random) -> Plan:
    """Slow, and right in the end."""
    call = _slow(rng, rng.uniform(125, 2000))
    return _timeouts(rng, "slow, and right in the end", [call] * rng.choice((1, 1, 2)), "info", False)


def never_ended(rng: Random) -> Plan:
    """Never ended, while another call of the turn went on."""
    other = Call("compile_report", {"x": rng.randrange(99)}, text(rng), seconds=rng.uniform(125, 119 + 200))
    hung = _slow(rng, None)
    return Plan(
        kind="never ended",
        stretch=[Placed(Turn((hung, other)), (0,), True)],
        severity="warning",
        only=SPANS,
        ending=_sorry(rng),
    )


def own_limit(rng: Random) -> Plan:
    """A limit of its own, and it never worked."""
    call = _slow(rng, rng.uniform(31, 110), "Timeout", "timed out")
    return _timeouts(rng, "a shorter limit of its own", [call] * rng.choice((1, 2)), "warning", True)


def quick(rng: Random) -> Plan:
    """Long, but under the limit."""
    return Plan(
        kind="under the limit",
        stretch=_quiet(*[said(rng, _slow(rng, rng.uniform(60, 118))) for _ in range(rng.randint(1, 4))]),
        only=SPANS,
    )


def waits(rng: Random) -> Plan:
    """A tool that waits on purpose."""
    tool = rng.choice(("sleep", "wait_for_build", "delay", "waitUntilReady", "esperar", "warten"))
    kind = "waits on purpose" if tool not in ("esperar", "warten") else "waits on purpose, in another language"
    return Plan(kind=kind, stretch=_quiet(said(rng, Call(tool, {"seconds": 300}, "ok", seconds=300.0))), only=SPANS)


def person(rng: Random) -> Plan:
    """A person answers."""
    tool = rng.choice(("ask_human", "request_approval", "getUserConfirmation", "human_feedback"))
    return Plan(
        kind="a person answers",
        stretch=_quiet(said(rng, Call(tool, {"q": text(rng, 20)}, "yes", seconds=rng.uniform(130, 3000)))),
        only=SPANS,
    )


def quick_timeouts(rng: Random) -> Plan:
    """Time-outs of a few seconds."""
    tool = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}"
    turns = [
        said(rng, _slow(rng, rng.uniform(1, 25), "Timeout", "timed out", tool)),
        said(rng, _slow(rng, 1.0, tool=tool)),
    ]
    return Plan(kind="time-outs of a few seconds", stretch=_quiet(*turns), only=SPANS)


def own_limit_recovered(rng: Random) -> Plan:
    """A limit of its own, and it worked afterwards."""
    tool = f"{rng.choice(_TOOLS)}_{rng.randrange(99)}"
    turns = [
        said(rng, _slow(rng, rng.uniform(31, 110), "Timeout", "timed out", tool)),
        said(rng, _slow(rng, 1.0, tool=tool)),
    ]
    return Plan(kind="recovered after a time-out", stretch=_quiet(*turns), only=SPANS)


# --- ignored_error ------------------------------------------------------------------------------------------------------

_BOASTS = (
    "All done: it has been sent and saved.",
    "I have updated the record. Everything is in place.",
    "The ticket was created successfully.",
    "Erledigt: alles wurde gespeichert.",
    "The notes of both days speak of the garden and of the weather.",
)
_HONEST = (
    "The record could not be saved: permission was denied.",
    "Unfortunately the mail was not sent.",
    "Leider konnte die Datei nicht gespeichert werden.",
    "Malheureusement, l'envoi a échoué.",
    "No se pudo guardar el archivo.",
    "保存失败,抱歉。",
    "I tried to save it, but the server refused.",
    "The ticket is still open, since creating the other one failed.",
)  # fmt: skip


def _ignored(
    rng: Random, kind: str, tool: str, given: Any, *, flagged: bool = True, count: int = 1, severity: str = "warning"
) -> Plan:
    error, words = rng.choice(
        (*_FAILURES[1:3], ("SmtpError", "550 mailbox unknown"), ("Conflict", "version {n} is stale"))
    )
    told = ("" if flagged else "Error: ") + words.format(n=rng.randrange(99), t=text(rng, 12))
    turns = [Placed(Turn((Call(tool, given, told, error if flagged else None),)), (0,)) for _ in range(count)]
    rest = [Placed(t) for t in reads(rng, rng.randint(0, 3))]
    return Plan(
        kind=kind,
        stretch=[*turns, *rest],
        severity=severity,
        place="end",
        ending=[Placed(Turn(text=rng.choice(_BOASTS)))],
        wastes=False,
    )


def not_done(rng: Random) -> Plan:
    """A change that failed, and an answer that does not say so."""
    return _ignored(rng, "a change that failed", rng.choice(ACTING), arguments(rng), count=rng.choice((1, 1, 2)))


def not_done_unflagged(rng: Random) -> Plan:
    """The words of the result alone say so."""
    return _ignored(rng, "not flagged", rng.choice(ACTING), arguments(rng), flagged=False)


def not_done_shell(rng: Random) -> Plan:
    """A change by shell."""
    command = rng.choice(
        ("git push origin main", "cp a.txt b.txt", "npm install left-pad", "rm -r build", "echo x > /etc/motd")
    )
    return _ignored(rng, "a change by shell", rng.choice(("bash", "run_shell", "terminal")), {"command": command})


def lookup_failed(rng: Random) -> Plan:
    """A lookup that failed weighs less."""
    return _ignored(
        rng,
        "a lookup that failed",
        rng.choice(("get_weather", "find_user", "search", "lookup_rate")),
        arguments(rng),
        severity="info",
    )


def not_done_abroad(rng: Random) -> Plan:
    """A change by a tool whose name is not English."""
    return _ignored(
        rng,
        "a change, named in another language",
        rng.choice(("enviar_correo", "datei_speichern", "发送邮件")),
        arguments(rng),
    )


def _failed_then(rng: Random, kind: str, after: list[Turn], answer: str) -> Plan:
    failed = Turn((Call(rng.choice(ACTING), arguments(rng), "550 refused by the server", "ToolError"),))
    return Plan(kind=kind, stretch=_quiet(failed, *after), place="end", ending=[Placed(Turn(text=answer))])


def honest(rng: Random) -> Plan:
    """The answer says so."""
    return _failed_then(rng, "the answer says so", reads(rng, rng.randint(0, 2)), rng.choice(_HONEST))


def made_up_for(rng: Random) -> Plan:
    """Another call did it."""
    other = Turn((Call(rng.choice(ACTING), {"to": text(rng, 12)}, "ok"),))
    return _failed_then(rng, "another call did it", [*reads(rng, 1), other], rng.choice(_BOASTS))


def said_on_the_way(rng: Random) -> Plan:
    """It was said on the way."""
    page = replace(reads(rng, 1)[0], text=rng.choice(_HONEST))
    return _failed_then(rng, "said on the way", [page], rng.choice(_BOASTS))


def did_work(rng: Random) -> Plan:
    """Tried again, and it worked."""
    call = Call(rng.choice(ACTING), arguments(rng), "421 try later", "ToolError")
    return Plan(
        kind="worked the second time",
        stretch=_quiet(Turn((call,)), Turn((replace(call, error=None, result="ok"),))),
        place="end",
        ending=[Placed(Turn(text=rng.choice(_BOASTS)))],
    )


def tests_failed(rng: Random) -> Plan:
    """Tests that fail are a result."""
    call = Call(rng.choice(("run_tests", "lint_code", "check_types")), {}, "FAILED (failures=2)")
    return Plan(
        kind="tests that fail",
        stretch=_quiet(Turn((call,))),
        place="end",
        ending=[Placed(Turn(text="That is as far as I got today."))],
    )


FAILING = {
    "error_cascade": (cascade, cascade_unflagged, cascade_with_others, cascade_recovered, cascade_mixed, cascade_model),
    "retry_storm": (storm_tool, storm_model, storm_model_recovered, storm_client),
    "tool_timeout": (cut_at_limit, slow_and_well, never_ended, own_limit),
    "ignored_error": (not_done, not_done_unflagged, not_done_shell, lookup_failed, not_done_abroad),
}
HEALTHY = {
    "error_cascade": (twice, tests_progress, documents, parallel_failures, different_failures),
    "retry_storm": (slow_retries, storm_other, storm_parallel, storm_broken, storm_documents),
    "tool_timeout": (quick, waits, person, quick_timeouts, own_limit_recovered),
    "ignored_error": (honest, made_up_for, said_on_the_way, did_work, tests_failed),
}
