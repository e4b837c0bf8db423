"""Stop lines from the user's own good runs, with a stated guarantee (split conformal prediction).

How far a good run goes is measured for everything that a policy counts (`replay.reached`). The runs are split in two. The first half
gives each setting its scale: the value below which most good runs stay. In the second half each run gets one score, the largest ratio
of a value to its scale, and the line is the score of rank ceil((n + 1)(1 - alpha)). What a setting's smallest line lets through anyway
scores nothing. A further good run, exchangeable with these, goes beyond the line with a probability of at most alpha, whatever the
distribution and however many settings there are (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005;
Papadopoulos et al., "Inductive confidence machines", 2002). A setting of which no run says how far it went is left as it is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from analyzer.replay import Reached
from instrument.errors import FlyballError
from instrument.policy import Policy

STOPS: Final[Mapping[str, str | None]] = {
    "tool_errors.error_calls": "tool_errors.same_failure_calls",
    "loops.same_call_error_repeats": "loops.same_call_repeats",
    "loops.cycle_error_repeats": "loops.cycle_repeats",
    "loops.near_error_repeats": "loops.near_repeats",
    "unknown_tools.error_calls": None,
    "invalid_arguments.error_calls": None,
    "stuck.same_output_error_repeats": "stuck.same_output_repeats",
    "stuck.null_input_error_calls": "stuck.null_input_calls",
    "stuck.empty_answers": None,
    "loops.turns": None,
    "loops.tool_calls": None,
    "loops.checkpoint_calls": None,
    "loops.run_seconds": None,
    "cost.run_limit_usd": None,
}
"""Settings that end a run, each with the one of its ladder that comes before."""
_SCALE_SHARE: Final = 0.9
"""A setting's scale is this quantile of the first half."""
_MEASURES: Final = frozenset({"loops.run_seconds", "cost.run_limit_usd"})
"""Settings that are no counts."""
_LEAST: Final = {"loops.run_seconds": 1.0, "cost.run_limit_usd": 0.001, "loops.checkpoint_calls": 25.0}
"""Smallest line of settings that have neither ladder nor count: below it they would only be in the way. (At a checkpoint the model is
also asked for its progress.)"""
_ROUNDING: Final = 1e-9
_BEYOND: Final = 1.01
"""Lines that are no counts lie this much beyond what they must let through, so that rounding takes nothing from the guarantee."""


class TooFewRuns(FlyballError):
    """`runs` good runs cannot carry a guarantee of `alpha`; `needed` can."""

    def __init__(self, runs: int, needed: int, alpha: float) -> None:
        self.runs, self.needed, self.alpha = runs, needed, alpha
        super().__init__(
            f"{runs} good runs are too few to promise that at most {alpha:.1%} of them are stopped; it takes {needed}. "
            "Record more, allow more with --alpha, or say which runs were good (flyball outcome, --outcomes FILE)"
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One setting of the proposed policy, and why it is what it is."""

    setting: str
    value: float
    reason: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """A proposed policy."""

    alpha: float
    good_runs: int
    held_out: int
    """Runs of the second half, on which the guarantee rests."""
    ratio: float
    """The conformal line: how many times its scale a setting may be reached."""
    lines: tuple[Line, ...]
    agents: int = 1
    """Different agents among the runs: the promise is about the mix of them."""
    unknown: tuple[str, ...] = ()
    """Settings left as they are, because no run says how far it went in them."""

    def policy(self, base: Policy | None = None) -> Policy:
        """`base` with the calibrated lines."""
        tables = msgspec.to_builtins(base or Policy())
        for line in self.lines:
            section, name = line.setting.split(".")
            tables[section][name] = line.value if line.setting in _MEASURES else int(line.value)
        return msgspec.convert(tables, Policy)

    def toml(self) -> str:
        """The lines as `flyball.toml`, each with its reason as a comment."""
        head = (
            f"# Calibrated on {self.good_runs} good runs: at most {self.alpha:.1%} of further runs like these are stopped "
            f"(split conformal,\n# {self.held_out} runs held out, line at {self.ratio:.3g} times each setting's scale).\n"
        )
        if self.agents > 1:
            head += f"# Runs of {self.agents} agents, and the promise is about this mix of them: --per-agent makes one for each.\n"
        if self.unknown:
            head += f"# Not calibrated, since no run says how far it went: {', '.join(self.unknown)}.\n"
        parts = [head]
        for section in dict.fromkeys(line.setting.split(".")[0] for line in self.lines):
            own = [line for line in self.lines if line.setting.startswith(f"{section}.")]
            body = "\n".join(f"{line.setting.split('.')[1]} = {_number(line)}  # {line.reason}" for line in own)
            parts.append(f"[{section}]\n{body}\n")
        return "\n".join(parts)


def needed_runs(alpha: float) -> int:
    """Good runs it takes: the second half must hold 1 / alpha - 1 of them, for the rank to exist."""
    return 2 * max(1, math.ceil(1 / alpha - 1 - _ROUNDING))


def calibrate(runs: Sequence[Reached], *, alpha: float = 0.05, seed: int = 0) -> Calibration:
    """Stop lines from `runs`, which are taken to be good. Raises `TooFewRuns`, and `ValueError` for an `alpha` that is no share."""
    if not 0 < alpha < 1:
        raise ValueError("alpha is a share between 0 and 1")
    if len(runs) < needed_runs(alpha):
        raise TooFewRuns(len(runs), needed_runs(alpha), alpha)
    mixed = list(runs)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - a split of data, and no secret
    # The second half carries the guarantee: it is the larger one where the number is odd.
    first, second = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    known = [s for s in STOPS if s not in _MEASURES or any(s in run.values for run in runs)]
    scales = {setting: _scale(setting, first) for setting in known}
    ratio = _line([_score(run, scales) for run in second], alpha)
    lines: list[Line] = []
    for setting in known:
        before = STOPS[setting]
        value = _beyond(setting, ratio * scales[setting])
        if before is not None:
            half = max(2, min(int(value) - 1, math.ceil(value / 2)))
            lines.append(Line(before, half, "half way to the stop"))
        lines.append(Line(setting, value, _reason(setting, value, runs)))
    agents, unknown = len({run.agent_name for run in runs}), tuple(s for s in STOPS if s not in known)
    return Calibration(alpha, len(runs), len(second), ratio, tuple(lines), agents, unknown)


def stops(lines: Sequence[Line], run: Reached) -> list[str]:
    """Settings by which these lines would have stopped a run."""
    return [
        line.setting for line in lines if line.setting in STOPS and _reaches(line, run.values.get(line.setting, 0.0))
    ]


def _reaches(line: Line, value: float) -> bool:
    # The last turn is left for the final answer: a run of as many turns as the limit is not stopped.
    return value > line.value if line.setting in ("loops.turns", "cost.run_limit_usd") else value >= line.value


def _reason(setting: str, value: float, runs: Sequence[Reached]) -> str:
    line = Line(setting, value, "")
    below = sum(not _reaches(line, run.values.get(setting, 0.0)) for run in runs)
    most = max(run.values.get(setting, 0.0) for run in runs)
    told = f"{below} of {len(runs)} good runs would have gone on; the furthest reached {most:.4g}"
    return f"{told}; {_holds(runs)}" if setting == "cost.run_limit_usd" else told


def _holds(runs: Sequence[Reached]) -> str:
    """What a line for dollars means to a live run, which is stopped when the worst case of its next request does not fit."""
    known = sum(run.holds_known for run in runs)
    spent = f"at most {max((run.cost_usd or 0.0 for run in runs), default=0.0):.4g} spent"
    if known == len(runs):
        return f"{spent}, the rest is held for the worst case of a request"
    missing = len(runs) - known
    return f"{spent}; of {missing} the prices are not known, so what is held before a request is not in theirs and a live run stops earlier"


def _scale(setting: str, runs: Sequence[Reached]) -> float:
    """The value below which most of the runs stay that tell it; never so small that a ratio to it says nothing."""
    unknown = setting in _MEASURES
    values = sorted(run.values.get(setting, 0.0) for run in runs if not unknown or setting in run.values)
    most = values[min(len(values) - 1, math.floor(_SCALE_SHARE * len(values)))] if values else 0.0
    return max(most, _LEAST[setting] if unknown else 1.0)


def _score(run: Reached, scales: Mapping[str, float]) -> float:
    """How many times its scale the run takes of what it takes most of."""
    told = ((setting, run.values.get(setting, 0.0)) for setting in scales)
    return max((v / scales[s] for s, v in told if _reaches(Line(s, _least_line(s), ""), v)), default=0.0)


def _line(scores: Sequence[float], alpha: float) -> float:
    # `needed_runs` sees to it that there are so many.
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - _ROUNDING)
    return sorted(scores)[rank - 1]


def _beyond(setting: str, value: float) -> float:
    """The smallest line that lets `value` through."""
    least = _least_line(setting)
    if setting not in _MEASURES:
        return max(least, math.floor(value + _ROUNDING) + 1.0)
    short = float(f"{value * _BEYOND:.3g}")
    return max(least, short if short > value else value * _BEYOND)


def _least_line(setting: str) -> float:
    # A ladder needs room for its first rung.
    return _LEAST.get(setting, 3.0 if STOPS[setting] else 2.0)


def _number(line: Line) -> str:
    return repr(float(line.value)) if line.setting in _MEASURES else str(int(line.value))
