"""Simple checks that people write first, on the same samples: they see the script itself, whatever was recorded of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson

from analyzer.cases import Call, Turn

_MANY_STEPS: Final = 30


def same_tool_in_a_row(script: Sequence[object]) -> bool:
    """The same tool three times in a row."""
    names = [call.name for call in _calls(script)]
    return any(a == b == c for a, b, c in zip(names, names[1:], names[2:], strict=False))


def many_steps(script: Sequence[object]) -> bool:
    """More than 30 model calls."""
    return sum(isinstance(entry, Turn) for entry in script) > _MANY_STEPS


def same_call_three_times(script: Sequence[object]) -> bool:
    """The same tool with the same arguments three times, anywhere."""
    calls = Counter((c.name, orjson.dumps(c.arguments, option=orjson.OPT_SORT_KEYS)) for c in _calls(script))
    return max(calls.values(), default=0) >= 3


BASELINES: Final[Mapping[str, Callable[[Sequence[object]], bool]]] = {
    "same tool three times in a row": same_tool_in_a_row,
    "more than 30 steps": many_steps,
    "same call three times": same_call_three_times,
}


def _calls(script: Sequence[object]) -> list[Call]:
    return [call for entry in script if isinstance(entry, Turn) for call in entry.calls]
