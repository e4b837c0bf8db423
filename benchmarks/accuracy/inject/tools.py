"""Calls of tools that do not exist, or that do not fit, or that are empty; and what only looks like them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from analyzer.cases import Call, Turn
from benchmarks.accuracy.script import SPANS, Placed, Plan, reads
from benchmarks.accuracy.surface import LOOKING, arguments, said, text, times

_DECLARE: Final = frozenset({"gen_ai", "gen_ai_old", "openinference", "openllmetry"})
"""Dialects that record declarations and spans of tools."""
_INVENTED: Final = (
    "serch",
    "read_fil",
    "getWeatherNow",
    "python_repl",
    "multi_tool_use.parallel",
    "browser.open",
    "suchen_im_netz",
    "查找",
    "functions.list",
    "update_plan",
)
_UNKNOWN: Final = (
    "Error: unknown tool {t}",
    "No such tool: {t}",
    "Tool {t} not found",
    "tool '{t}' does not exist",
    "{t} is not a valid tool",
)


def _quiet(*turns: Turn) -> list[Placed]:
    return [Placed(t) for t in turns]


# --- unknown_tool -------------------------------------------------------------------------------------------------------


def _unknown_severity(calls: int) -> str:
    return "error" if calls >= 3 else "warning"


def _invented(rng: Random) -> str:
    return rng.choice((*_INVENTED, f"{rng.choice(LOOKING[:12])}_{rng.randrange(9)}x"))


def invented(rng: Random) -> Plan:
    """The error says so, and where declarations were recorded, they do too."""
    tool, calls = _invented(rng), times(rng, 1, 12)
    words = rng.choice(_UNKNOWN).format(t=tool)
    turns: list[Placed] = []
    for number in range(calls):
        turns.append(
            Placed(
                said(rng, Call(tool, {**arguments(rng), "n": number}, words, "ToolNotFound", declared=False)),
                (0,),
                True,
            )
        )
        turns += [Placed(t) for t in reads(rng, rng.choice((0, 0, 1)))] if number < calls - 1 else []
    return Plan(kind="the error says so", stretch=turns, severity=_unknown_severity(calls))


def invented_silently(rng: Random) -> Plan:
    """Only the declarations prove it."""
    tool, calls = _invented(rng), times(rng, 1, 12)
    turns = [
        Placed(said(rng, Call(tool, {"n": n}, f"failed {text(rng, 12)}", "Error", declared=False)), (0,), True)
        for n in range(calls)
    ]
    return Plan(kind="the declarations say so", stretch=turns, severity=_unknown_severity(calls), only=_DECLARE)


def invented_refused(rng: Random) -> Plan:
    """Refused before anything ran."""
    tool, calls = _invented(rng), times(rng, 1, 12)
    call = Call(tool, {}, f"`{tool}` does not exist; did you mean `search`?", declared=False, rejected="unknown_tool")
    return Plan(
        kind="refused",
        stretch=[Placed(said(rng, call), (0,), True)] * calls,
        severity=_unknown_severity(calls),
        only=SPANS,
    )


def invented_beside(rng: Random) -> Plan:
    """Beside calls that are right."""
    tool, calls = _invented(rng), rng.randint(1, 4)
    wrong = Call(tool, {}, f"Tool {tool} not found", "ToolNotFound", declared=False)
    turns = [Placed(Turn((*t.calls, wrong)), (1,), True) for t in reads(rng, calls)]
    return Plan(kind="beside good calls", stretch=turns, severity=_unknown_severity(calls))


def undeclared_in_general(rng: Random) -> Plan:
    """Nobody recorded declarations, and nothing failed."""
    return Plan(
        kind="no declarations",
        stretch=_quiet(*[said(rng, Call(rng.choice(LOOKING), arguments(rng), text(rng))) for _ in range(4)]),
        declares=False,
    )


def answered_all_the_same(rng: Random) -> Plan:
    """Not declared, and answered: a tool of the framework."""
    call = Call("framework_memory", arguments(rng), text(rng), declared=False)
    return Plan(kind="answered all the same", stretch=_quiet(*[said(rng, call)] * rng.randint(1, 3)), only=SPANS)


def speaks_of_unknown(rng: Random) -> Plan:
    """A result that speaks of unknown tools."""
    words = (
        f"docs: unknown tool errors, {text(rng, 12)}",
        "the tool was not found in the box",
        "no such tool as a hammer",
    )
    return Plan(
        kind="results that speak of it",
        stretch=_quiet(*[said(rng, Call("search", {"n": n}, rng.choice(words))) for n in range(3)]),
    )


def declared_later(rng: Random) -> Plan:
    """Declared from this request on."""
    turns = [
        Turn((Call("late_tool", {"n": n}, text(rng), declared=False),), more_tools=("late_tool",)) for n in range(3)
    ]
    return Plan(kind="declared in that request", stretch=_quiet(*turns), only=_DECLARE)


def declared_and_failing(rng: Random) -> Plan:
    """A declared tool that says “not found” of something else."""
    turns = [
        said(rng, Call("find_order", {"n": n}, rng.choice((f"order {n} not found", "no such order")), "NotFound"))
        for n in range(2)
    ]
    return Plan(kind="a declared tool that finds nothing", stretch=_quiet(*turns))


# --- invalid_arguments --------------------------------------------------------------------------------------------------

_BOOK: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "place": {"type": "string"},
        "guests": {"type": "integer", "minimum": 1, "maximum": 12},
        "when": {"type": "string", "enum": ["noon", "evening"]},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["place", "guests"],
    "additionalProperties": False,
}
_WRONG: Final[tuple[Callable[[int], dict[str, Any]], ...]] = (
    lambda n: {"place": f"Ada {n}"},
    lambda n: {"place": "Ada", "guests": n + 1, "seats": 2},
    lambda n: {"place": "Ada", "guests": "two", "notes": [str(n)]},
    lambda n: {"place": "Ada", "guests": 13 + n},
    lambda n: {"place": f"Bo {n}", "guests": 2, "when": "night"},
    lambda n: {"place": "Ada", "guests": 2, "notes": [n]},
    lambda _: {},
)
_SAYS: Final = (
    "1 validation error for BookInput\nguests\n  Field required",
    "Missing required parameter: guests",
    "Invalid arguments: 'guests' is a required property",
    "unexpected keyword argument 'seats'",
    "Input validation error: 'two' is not of type 'integer'",
)


def _invalid_severity(turns: int) -> str:
    return "error" if turns >= 4 else "warning"


def _booked(rng: Random, name: str, given: Any, words: str | None) -> Call:
    return Call(name, given, words or f"booked {text(rng, 12)}", "BookingError" if words else None)


def _name(rng: Random) -> str:
    return rng.choice(("book", "bookTable", "create_booking", "reservar_mesa", "予約する"))


def misfit(rng: Random) -> Plan:
    """By the schema."""
    name, wrong, count = _name(rng), rng.choice(_WRONG), times(rng, 2, 10)
    turns = [
        Placed(said(rng, _booked(rng, name, wrong(n), f"no table was booked, {n}")), (0,), True) for n in range(count)
    ]
    return Plan(
        kind="by the schema",
        stretch=turns,
        severity=_invalid_severity(count),
        only=_DECLARE,
        schemas={name: _BOOK},
        ending=_SORRY,
    )


def misfit_said(rng: Random) -> Plan:
    """By the words of the error."""
    name, words, count = _name(rng), rng.choice(_SAYS), times(rng, 2, 10)
    turns = [Placed(said(rng, _booked(rng, name, {"place": f"Ada {n}"}, words)), (0,), True) for n in range(count)]
    return Plan(kind="by the error's words", stretch=turns, severity=_invalid_severity(count), ending=_SORRY)


def misfit_refused(rng: Random) -> Plan:
    """Refused before the tool ran."""
    name, count = _name(rng), times(rng, 2, 10)
    call = Call(name, {"place": "Ada"}, 'The arguments do not fit: "guests" is missing', rejected="invalid_arguments")
    return Plan(
        kind="refused",
        stretch=[Placed(said(rng, call), (0,), True)] * count,
        severity=_invalid_severity(count),
        only=SPANS,
        ending=_SORRY,
    )


def misfit_mended(rng: Random) -> Plan:
    """Put right each time: worth a mention."""
    name, count = _name(rng), rng.randint(2, 5)
    turns: list[Placed] = []
    for n in range(count):
        turns.append(Placed(said(rng, _booked(rng, name, {"place": f"Ada {n}"}, f"no table, {n}")), (0,), True))
        turns.append(Placed(said(rng, _booked(rng, name, {"place": "Ada", "guests": n + 1}, None))))
    return Plan(kind="put right each time", stretch=turns, severity="info", only=_DECLARE, schemas={name: _BOOK})


def fitting(rng: Random) -> Plan:
    """Arguments that fit, and fail."""
    name = _name(rng)
    turns = [
        said(
            rng,
            _booked(rng, name, {"place": f"Ada {n}", "guests": n + 1}, rng.choice((None, f"no table is free at {n}"))),
        )
        for n in range(4)
    ]
    return Plan(kind="arguments that fit", stretch=_quiet(*turns), schemas={name: _BOOK}, ending=_SORRY)


def once(rng: Random) -> Plan:
    """Once, and put right."""
    name = _name(rng)
    turns = [
        said(rng, _booked(rng, name, {"place": "Ada"}, "no table")),
        said(rng, _booked(rng, name, {"place": "Ada", "guests": 2}, None)),
    ]
    return Plan(kind="once, and put right", stretch=_quiet(*turns), schemas={name: _BOOK})


def strict(rng: Random) -> Plan:
    """A stricter schema than the tool."""
    name = _name(rng)
    turns = [
        said(rng, _booked(rng, name, {"place": "Ada", "guests": n + 1, "table": n}, None))
        for n in range(rng.randint(2, 6))
    ]
    return Plan(kind="answered all the same", stretch=_quiet(*turns), schemas={name: _BOOK})


def shell_speaks(rng: Random) -> Plan:
    """Code that speaks of its own arguments."""
    words = (
        "TypeError: f() missing 1 required positional argument: 'x'",
        "usage: tool [-h]; error: unknown argument -q",
        "invalid parameter in config.yaml",
    )
    turns = [
        said(rng, Call("bash", {"command": f"python a{n}.py"}, f"{rng.choice(words)} {text(rng, 12)}", "ExitCode"))
        for n in range(2)
    ]
    return Plan(
        kind="code that speaks of its arguments",
        stretch=_quiet(*turns, *[said(rng, Call("bash", {"command": "python b.py"}, "ok"))]),
    )


def documents(rng: Random) -> Plan:
    """Documents about arguments."""
    turns = [
        said(rng, Call("search", {"n": n}, f"Missing required parameter: how to mend it, {text(rng, 12)}"))
        for n in range(3)
    ]
    return Plan(kind="documents that speak of it", stretch=_quiet(*turns))


# --- null_input ---------------------------------------------------------------------------------------------------------

_BLANK: Final = (
    {"query": ""},
    {"q": None},
    {"path": "", "lines": []},
    {"filters": {}, "text": ""},
    {"a": None, "b": None, "c": ""},
)


def _blank_severity(turns: int) -> str:
    return "error" if turns >= 5 else "warning"


def blank(rng: Random) -> Plan:
    """Nothing but empty values."""
    count = times(rng, 3, 30)
    call = Call(
        rng.choice(LOOKING),
        rng.choice(_BLANK),
        rng.choice(("nothing to do", "please give a query", f"all of it: {text(rng)}")),
    )
    return Plan(
        kind="the same blank", stretch=[Placed(said(rng, call), (0,), True)] * count, severity=_blank_severity(count)
    )


def blank_failing(rng: Random) -> Plan:
    """And the tool says that it was empty."""
    count = times(rng, 3, 12)
    call = Call(rng.choice(LOOKING), rng.choice(_BLANK), "empty input", "ValueError")
    return Plan(
        kind="refused by the tool",
        stretch=[Placed(said(rng, call), (0,), True)] * count,
        severity=_blank_severity(count),
        ending=_SORRY,
    )


def blank_varied(rng: Random) -> Plan:
    """One blank and another in turn."""
    name, count = rng.choice(LOOKING), times(rng, 4, 20)
    pair = rng.sample(_BLANK, 2)
    turns = [Placed(said(rng, Call(name, pair[n % 2], f"nothing, {n}")), (0,), True) for n in range(count)]
    return Plan(kind="two blanks in turn", stretch=turns, severity=_blank_severity(count))


def no_arguments(rng: Random) -> Plan:
    """A tool that takes none."""
    return Plan(
        kind="no arguments at all",
        stretch=_quiet(*[said(rng, Call("get_state", {}, f"state {n}")) for n in range(rng.randint(3, 8))]),
    )


def blank_twice(rng: Random) -> Plan:
    """Twice."""
    return Plan(
        kind="twice",
        stretch=_quiet(*[said(rng, Call("search", rng.choice(_BLANK), f"nothing, {n}")) for n in range(2)]),
    )


def partly_filled(rng: Random) -> Plan:
    """One value is there."""
    turns = [
        said(rng, Call("list_items", {"filter": "", "page": n, "tags": []}, text(rng)))
        for n in range(rng.randint(3, 9))
    ]
    return Plan(kind="one value is there", stretch=_quiet(*turns))


def zero_and_false(rng: Random) -> Plan:
    """Zero and false are values."""
    turns = [said(rng, Call("get_rows", rng.choice(({"offset": 0}, {"all": False})), text(rng))) for _ in range(4)]
    return Plan(kind="zero and false", stretch=_quiet(*turns))


def filled_between(rng: Random) -> Plan:
    """Filled in between."""
    blanks = said(rng, Call("search", {"query": ""}, "nothing"))
    turns = [
        t for n in range(4) for t in (blanks, said(rng, Call("search", {"query": f"{text(rng, 12)} {n}"}, text(rng))))
    ]
    return Plan(kind="filled in between", stretch=_quiet(*turns))


_SORRY: Final = (Placed(Turn(text="I could not do that: it failed each time.")),)

FAILING = {
    "unknown_tool": (invented, invented_silently, invented_refused, invented_beside),
    "invalid_arguments": (misfit, misfit_said, misfit_refused, misfit_mended),
    "null_input": (blank, blank_failing, blank_varied),
}
HEALTHY = {
    "unknown_tool": (
        undeclared_in_general,
        answered_all_the_same,
        speaks_of_unknown,
        declared_later,
        declared_and_failing,
    ),
    "invalid_arguments": (fitting, once, strict, shell_speaks, documents),
    "null_input": (no_arguments, blank_twice, partly_filled, zero_and_false, filled_between),
}
