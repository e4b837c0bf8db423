"""Two runs laid beside each other, step by step: what both did, what each did differently, what only one of them did.

The steps are aligned as a whole (global alignment by dynamic programming: Needleman and Wunsch, "A general method applicable to the
search for similarities in the amino acid sequence of two proteins", 1970; a step without a partner costs nothing), so that one step
more on one side moves the rest and does not make everything after it look different.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from analyzer.views.conversation import CHARS_SHOWN, Text, conversation
from analyzer.views.known_times import KNOWN
from analyzer.views.run import TURN

STEPS_ALIGNED: Final = 2_000
"""Steps of each run, those at both ends that are the same left out, that are aligned; its table of scores takes 4 bytes for each pair."""

Status = Literal["same", "result", "arguments", "unknown", "left", "right"]
"""Of one row: both did the same and got the same; another result (or answer); other arguments of the same tool; not enough was recorded to
tell; only the left, only the right run did it.
"""
# An exact partner is worth more than any number of vague ones that a shift by one would give in its place.
_SAME_CALL: Final = 16
_SAME_ANSWER: Final = 6
_LIKE_CALL: Final = 6
_SAME_TOOL: Final = 2
_MODEL_CALL: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A model call or a tool call; None: not recorded."""

    step: int
    turn: int
    kind: str
    name: str | None
    """Tool or model."""
    call_key: int | None = None
    loose_call_key: int | None = None
    result_key: int | None = None
    """Of a model call that of its answer; 0 where it answered no words."""
    failed: bool | None = None
    seconds: float | None = None
    tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of the comparison; at least one side is there."""

    left: Step | None
    right: Step | None

    @property
    def status(self) -> Status:
        """What the two have in common."""
        if self.right is None:
            return "left"
        if self.left is None:
            return "right"
        return _status(self.left, self.right)


@dataclass(frozen=True, slots=True)
class Alignment:
    """All rows, in order; `left_over` and `right_over` are steps at the end that were too many to align."""

    pairs: tuple[Pair, ...]
    left_over: int = 0
    right_over: int = 0

    @property
    def counts(self) -> Counter[Status]:
        """Rows by what they have in common."""
        return Counter(pair.status for pair in self.pairs)

    @property
    def first_difference(self) -> int | None:
        """Number of the first row, from 0, in which the two did not do the same; None: there is none."""
        return next((n for n, pair in enumerate(self.pairs) if pair.status not in ("same", "unknown")), None)


_STEPS: Final = f"""
SELECT step, {TURN} AS turn, kind::VARCHAR AS kind,
       CASE WHEN kind = 'tool' THEN tool_name ELSE coalesce(response_model, request_model) END AS name, call_key, loose_call_key,
       CASE WHEN kind = 'tool' THEN result_key WHEN output_chars = 0 THEN 0 ELSE output_key END AS result_key, failed,
       CASE WHEN NOT coalesce(inferred, false) AND {KNOWN} THEN (end_ns - start_ns) / 1e9 END AS seconds,
       CASE WHEN kind = 'model' THEN input_tokens + output_tokens END AS tokens, CASE WHEN kind = 'model' THEN cost_usd END AS cost_usd
FROM spans WHERE run_key = $run_key AND duplicate_of IS NULL AND kind IN ('model', 'tool') ORDER BY step
"""


def steps_of(con: duckdb.DuckDBPyConnection, run_key: int, *, lonely: bool = False) -> tuple[Step, ...]:
    """The model and tool calls of a run, in order, each once; for `lonely` see `views.run.turns`."""
    rows = con.sql(_STEPS, params={"run_key": run_key, "lonely": lonely}).pl()
    return tuple(Step(**row) for row in rows.iter_rows(named=True))


def align(left: Sequence[Step], right: Sequence[Step], most: int = STEPS_ALIGNED) -> Alignment:
    """Every step of both, in order, beside its counterpart where it has one.

    A tool call goes with the same call, else with one that asks the same in other words, else with one of the same tool; a model call
    with a model call. Of what differs at most `most` steps of each are aligned, the rest is counted.
    """
    if len(left) == len(right) and all(map(_alike, left, right)):
        return Alignment(tuple(Pair(x, y) for x, y in zip(left, right, strict=True)))
    head = _common(left, right)
    tail = _common(left[head:][::-1], right[head:][::-1])
    a, b = left[head : len(left) - tail], right[head : len(right) - tail]
    over = max(0, len(a) - most), max(0, len(b) - most)
    middle = _aligned(a[:most], b[:most])
    # What comes after a part that is not aligned cannot be said to lie at the same place.
    end = list(zip(left[len(left) - tail :], right[len(right) - tail :], strict=True))
    pairs = [*zip(left[:head], right[:head], strict=True), *middle, *end]
    return Alignment(tuple(Pair(x, y) for x, y in pairs), *over)


def _common(left: Sequence[Step], right: Sequence[Step]) -> int:
    """How many steps at the beginning are the same on both sides."""
    same = 0
    for x, y in zip(left, right, strict=False):
        if not _alike(x, y):
            break
        same += 1
    # A turn stays in one piece: its model call is no better a beginning for another turn than that one's own.
    while same and left[same - 1].kind == "model":
        same -= 1
    return same


def _alike(left: Step, right: Step) -> bool:
    return left.kind == right.kind and _status(left, right) == "same"


def _status(left: Step, right: Step) -> Status:
    if left.kind == "tool" and left.call_key is None and right.call_key is None:
        return "unknown"
    if left.kind == "tool" and left.call_key != right.call_key:
        return "unknown" if None in (left.call_key, right.call_key) else "arguments"
    if left.result_key is None or right.result_key is None:
        return "unknown"
    return "same" if left.result_key == right.result_key else "result"


def _aligned(left: Sequence[Step], right: Sequence[Step]) -> list[tuple[Step | None, Step | None]]:
    worth = _scores(left, right)
    best = np.zeros((len(left) + 1, len(right) + 1), dtype=np.int32)
    for i in range(len(left)):
        # A step without a partner costs nothing, so a row is the running maximum of what a pair in it would give.
        paired = np.where(worth[i] > 0, best[i, :-1] + worth[i], 0)
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], paired))
    return _path(left, right, worth, best)


def _path(
    left: Sequence[Step], right: Sequence[Step], worth: npt.NDArray[np.int32], best: npt.NDArray[np.int32]
) -> list[tuple[Step | None, Step | None]]:
    """From the end to the beginning along the best scores."""
    found: list[tuple[Step | None, Step | None]] = []
    i, j = len(left), len(right)
    while i or j:
        if i and j and worth[i - 1, j - 1] and best[i, j] == best[i - 1, j - 1] + worth[i - 1, j - 1]:
            i, j = i - 1, j - 1
            found.append((left[i], right[j]))
        elif j and (not i or best[i, j] == best[i, j - 1]):
            j -= 1
            found.append((None, right[j]))
        else:
            i -= 1
            found.append((left[i], None))
    return found[::-1]


def _scores(left: Sequence[Step], right: Sequence[Step]) -> npt.NDArray[np.int32]:
    """What each pair is worth; 0: no pair."""
    tool = _equal([s.kind == "tool" for s in left], [s.kind == "tool" for s in right])
    is_tool = np.array([s.kind == "tool" for s in left], dtype=bool)[:, None]
    name = _equal(*_numbered([s.name for s in left], [s.name for s in right]))
    exact = _equal(*_numbered([s.call_key for s in left], [s.call_key for s in right]))
    loose = _equal(*_numbered([s.loose_call_key for s in left], [s.loose_call_key for s in right]))
    answer = _equal(*_numbered([s.result_key for s in left], [s.result_key for s in right]))
    calls = np.select([name & exact, name & loose, name], [_SAME_CALL, _LIKE_CALL, _SAME_TOOL], 0)
    said = np.array([s.result_key != 0 for s in left], dtype=bool)[:, None]
    models = np.where(answer & said, _SAME_ANSWER, _MODEL_CALL)
    return np.where(tool, np.where(is_tool, calls, models), 0).astype(np.int32)


def _numbered(left: Sequence[object], right: Sequence[object]) -> tuple[list[int], list[int]]:
    """Equal values as equal numbers; what is not known has a number of its own each time."""
    numbers: dict[object, int] = {}
    unknown = iter(range(-1, -len(left) - len(right) - 1, -1))
    one, other = (
        [next(unknown) if v is None else numbers.setdefault(v, len(numbers)) for v in side] for side in (left, right)
    )
    return one, other


def _equal(left: Sequence[Any], right: Sequence[Any]) -> npt.NDArray[np.bool_]:
    equal: npt.NDArray[np.bool_] = np.array(left, dtype=np.int64)[:, None] == np.array(right, dtype=np.int64)[None, :]
    return equal


@dataclass(frozen=True, slots=True)
class Told:
    """What a step said at length; None: not recorded."""

    asked: Text | None
    """Arguments of a tool call."""
    got: Text | None
    """Its result or error; the answer of a model call."""


def told(
    con: duckdb.DuckDBPyConnection,
    run_key: int,
    some: Sequence[Step],
    *,
    lonely: bool = False,
    chars: int = CHARS_SHOWN,
) -> dict[int, Told]:
    """What these steps of a run said, by step; texts are cut at `chars`. Meant for the steps of one page."""
    if not some:
        return {}
    turns = [s.turn for s in some]
    found: dict[int, Told] = {}
    by_turn = {s.turn: s.step for s in some if s.kind == "model"}
    for turn in conversation(con, run_key, min(turns), max(turns), lonely=lonely, chars=chars):
        for call in turn.calls:
            found[call.step] = Told(call.arguments, call.result or (Text(call.error) if call.error else None))
        if turn.number in by_turn:
            words = [said.text for said in turn.answered if said.kind == "text"]
            shown = "\n".join(text.shown for text in words)
            left_out = sum(text.left_out_chars for text in words)
            error = Text(turn.error) if turn.error else None
            found[by_turn[turn.number]] = Told(None, error or (Text(shown, left_out) if words else None))
    return found


MEASURES: Final = (
    ("cost_usd", "Cost"), ("seconds", "Duration"), ("model_calls", "Turns"), ("tool_calls", "Tool calls"),
    ("failed_tool_calls", "Failed calls"), ("input_tokens", "Tokens in"), ("output_tokens", "Tokens out"),
    ("peak_input_tokens", "Peak context"), ("findings", "Findings"), ("wasted_usd", "Wasted"),
)  # fmt: skip
"""Columns of `views.runs.with_findings` that two runs are compared by, with what they are called."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One measure of two runs; None: not known."""

    measure: str
    label: str
    left: float | None
    right: float | None

    @property
    def change(self) -> float | None:
        """Right less left; None where either is not known."""
        return None if self.left is None or self.right is None else self.right - self.left


def deltas(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[Delta, ...]:
    """The totals of two rows of `views.runs.with_findings`."""
    return tuple(Delta(name, label, left[name], right[name]) for name, label in MEASURES)


def table(found: Alignment) -> pl.DataFrame:
    """One row is one row of the comparison: `row` (from 1), `status`, and of each side (`left_`, `right_`) the fields of `Step`."""
    fields = ("step", "turn", "kind", "name", "call_key", "result_key", "failed", "seconds", "tokens", "cost_usd")
    types = (
        pl.Int64,
        pl.Int64,
        pl.String,
        pl.String,
        pl.UInt64,
        pl.UInt64,
        pl.Boolean,
        pl.Float64,
        pl.Int64,
        pl.Float64,
    )
    schema: dict[str, Any] = {"row": pl.Int64, "status": pl.String}
    schema |= {f"{side}_{name}": kind for side in ("left", "right") for name, kind in zip(fields, types, strict=True)}
    rows = [
        (n, pair.status, *(None if s is None else getattr(s, name) for s in (pair.left, pair.right) for name in fields))
        for n, pair in enumerate(found.pairs, 1)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")
