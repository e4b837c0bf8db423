"""Every threshold that guards use, driven to its effect: with another value the same script is answered otherwise."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

import instrument.guards
from analyzer.cases import Call, Entry, says, tool_call
from instrument.policy import Policy
from tests.guards.driving import play

Said = tuple[str, str, int]

_SEARCH: Final = tool_call("search", {"q": "refunds"}, "no results")
_WAIT: Final[list[Entry]] = [tool_call("read", {"file": f"{w}.md"}, w) for w in "abcdefg"]
_EMPTY: Final[list[Entry]] = [tool_call("find", {"q": None}, f"{n} found") for n in range(9)]
_THINKING: Final[list[Entry]] = [says("I am going to think about this some more now.")] * 9


def _reads(count: int) -> list[Entry]:
    return [tool_call("read", {"file": f"{n}.md"}, f"text {n}") for n in range(count)]


def _timeouts() -> list[Entry]:
    return [tool_call("fetch", {"n": n}, "timed out", error="Timeout") for n in range(9)]


def _missing() -> list[Entry]:
    return [tool_call("read", {"n": n}, f"no file '/{n}'", error="Missing") for n in range(9)]


def _cycle() -> list[Entry]:
    return [tool_call(name, {}, f"what {name} says") for name in "ab"] * 9


def _broken() -> list[Entry]:
    return [tool_call(t, {}, f"{t} broke", error="Error") for t in "abcdefgh"]


def _near() -> list[Entry]:
    return [tool_call("search", {"q": "refunds", "nonce": n}, "no results") for n in range(15)]


def _made_up() -> list[Entry]:
    return [tool_call("made_up", {"n": n}, "no such tool", error="E", declared=False) for n in range(5)]


CASES: Final[dict[str, tuple[Any, list[Entry], Said]]] = {
    "loops.same_call_repeats": (3, [_SEARCH] * 9, ("repeated_call", "nudge", 3)),
    "loops.same_call_error_repeats": (5, [_SEARCH] * 9, ("repeated_call", "stop", 5)),
    "loops.same_call_gap_turns": (
        2,
        [*[_SEARCH] * 3, *_WAIT[:2], _SEARCH, *[_SEARCH] * 3],
        ("repeated_call", "nudge", 9),
    ),
    "loops.poll_seconds": (100.0, [*[_SEARCH] * 4, *_WAIT, _SEARCH], ("repeated_call", "block", 12)),
    "loops.cycle_repeats": (2, _cycle(), ("call_cycle", "nudge", 4)),
    "loops.cycle_error_repeats": (4, _cycle(), ("call_cycle", "stop", 8)),
    "loops.cycle_calls": (9, [tool_call(n, {}, n) for n in "abcdefghi"] * 3, ("call_cycle", "nudge", 27)),
    "loops.near_repeats": (3, _near(), ("near_repeat", "nudge", 3)),
    "loops.near_error_repeats": (7, _near(), ("near_repeat", "stop", 7)),
    "loops.checkpoint_calls": (5, _WAIT, ("no_progress", "nudge", 5)),
    "tool_errors.same_failure_calls": (2, _missing(), ("error_cascade", "nudge", 2)),
    "tool_errors.failed_calls": (3, _broken(), ("error_cascade", "nudge", 3)),
    "tool_errors.error_calls": (4, _missing(), ("error_cascade", "stop", 4)),
    "tool_errors.breaker_seconds": (
        100.0,
        [*_timeouts()[:3], *_reads(15), *_timeouts()[:1]],
        ("error_cascade", "block", 19),
    ),
    "unknown_tools.calls": (2, _made_up(), ("unknown_tool", "block", 1)),
    "unknown_tools.error_calls": (2, _made_up(), ("unknown_tool", "stop", 2)),
    "invalid_arguments.calls": (3, [], ("invalid_arguments", "block", 1)),
    "invalid_arguments.error_calls": (2, [], ("invalid_arguments", "stop", 2)),
    "stuck.same_output_repeats": (2, _THINKING, ("repeated_output", "nudge", 2)),
    "stuck.same_output_error_repeats": (4, _THINKING, ("repeated_output", "stop", 4)),
    "stuck.output_chars": (3, [says("Done.")] * 3, ("repeated_output", "nudge", 3)),
    "stuck.empty_answers": (3, [says("")] * 5, ("empty_response", "stop", 3)),
    "stuck.idle_answers": (
        3,
        [says("I will look."), says("Then I will read."), says("Now go.")],
        ("idle_answer", "nudge", 2),
    ),
    "stuck.null_input_calls": (2, _EMPTY, ("null_input", "nudge", 2)),
    "stuck.null_input_error_calls": (4, _EMPTY, ("null_input", "stop", 4)),
}
"""Another value than the default, a script, and what is said about it then and not by default."""
REPORTED: Final = {"unknown_tools.calls", "invalid_arguments.calls"}
"""Of these the guards only report the number: such a call is refused in any case."""


def _policy(path: str, value: Any) -> Policy:
    section, name = path.split(".")
    return msgspec.convert({section: {name: value}}, Policy)


@pytest.mark.parametrize("path", CASES)
def test_another_value_has_another_effect(path: str) -> None:
    value, script, expected = CASES[path]
    invalid = frozenset(range(1, 6)) if path.startswith("invalid_arguments") else frozenset[int]()
    script = script or [Call("search", {"n": n}, "ok") for n in range(5)]
    changed, usual = (
        play(script, policy, idle=(1, 2, 3) if "idle" in path else (), invalid=invalid)
        for policy in (_policy(path, value), Policy())
    )
    assert expected in changed.said()
    (act, *_) = [i for i in changed.acts if (i.guard, str(i.action), i.turn) == expected]
    if path in REPORTED:
        assert (act.setting, act.threshold) == (path, value)
    else:
        assert expected not in usual.said()
    if act.setting == path:
        assert act.threshold == value


def test_every_threshold_that_guards_read_has_a_case() -> None:
    sections = {s: {f.name for f in msgspec.structs.fields(getattr(Policy(), s))} for s in _SECTIONS}
    used = {name for path in Path(instrument.guards.__path__[0]).glob("*.py") for name in _read_of_params(path)}
    read = {f"{section}.{name}" for section, names in sections.items() for name in names & used}
    assert read == set(CASES)


def _read_of_params(path: Path) -> set[str]:
    """Attributes of what is called `params`, and names that are looked up in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("params"):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


_SECTIONS: Final = ("loops", "tool_errors", "stuck", "unknown_tools", "invalid_arguments")


def test_every_setting_that_an_intervention_names_is_one_of_the_policy() -> None:
    acts = [act for _, script, _ in CASES.values() for act in play(script).acts]
    assert len({act.setting for act in acts}) > 12
    for act in acts:
        section, name = act.setting.split(".")
        assert getattr(getattr(Policy(), section), name) == act.threshold
        assert act.value is not None
        assert act.reason.endswith(".")
        assert act.advice
