"""A policy to try: its fields as inputs, the file it makes, and what replay says of it beside the policy in force."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
import polars as pl

from analyzer.replay import Replayed
from instrument.errors import PolicyError
from instrument.policy import NOT_SET, Policy, parse_policy

_REPLAYED: Final = {
    "guards": "mode",
    "tool_errors": "same_failure_calls failed_calls error_calls breaker_seconds",
    "loops": "same_call_repeats same_call_error_repeats same_call_gap_turns poll_seconds cycle_repeats cycle_error_repeats cycle_calls "
    "near_repeats near_error_repeats checkpoint_calls turns tool_calls run_seconds",
    "unknown_tools": "calls error_calls",
    "invalid_arguments": "calls error_calls",
    "stuck": "same_output_repeats same_output_error_repeats output_chars empty_answers idle_answers null_input_calls "
    "null_input_error_calls",
    "cost": "run_limit_usd",
}
REPLAYED: Final = frozenset(f"{section}.{name}" for section, names in _REPLAYED.items() for name in names.split())
"""Settings that change what a replay says; the others are about detectors, alerts, or what a record has no trace of."""
RUNS_REPLAYED: Final = 1_000
SPANS_REPLAYED: Final = 100_000
"""Of the newest runs so many are replayed at first, and of their spans: a second or two."""

Kind = Literal["count", "share", "number", "choice", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of the policy as an input."""

    setting: str
    """`section.name`."""
    meaning: str
    kind: Kind
    optional: bool
    """May be empty: there is no such limit then."""
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    replayed: bool

    @property
    def name(self) -> str:
        """Its name within the section."""
        return self.setting.split(".")[1]


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the policy."""

    name: str
    title: str
    fields: tuple[Field, ...]


def sections() -> tuple[Section, ...]:
    """All fields of the policy that can be one input each, in its order; mappings are left to the file."""
    return tuple(_section(f.name, f.type) for f in msgspec.structs.fields(Policy))


def _section(name: str, struct: Any) -> Section:
    hints = get_type_hints(struct, include_extras=True)
    made = [_field(f"{name}.{field.name}", hints[field.name]) for field in msgspec.structs.fields(struct)]
    return Section(
        name,
        (struct.__doc__ or name).strip().split(":")[0].rstrip("."),
        tuple(field for field in made if field is not None),
    )


def _field(setting: str, hint: Any) -> Field | None:
    metas, types = _taken_apart(hint)
    optional = type(None) in types
    base = next((one for one in types if one is not type(None)), str)
    if get_origin(base) is dict:
        return None
    choices = tuple(str(one) for one in get_args(base)) if get_origin(base) is Literal else ()
    bounds = {
        edge: next((v for m in metas if (v := getattr(m, edge)) is not None), None) for edge in ("ge", "gt", "le")
    }
    low = bounds["ge"] if bounds["ge"] is not None else bounds["gt"]
    kind: Kind
    if choices:
        kind = "choice"
    elif base is int:
        kind = "count"
    elif base is float:
        kind = "share" if bounds["le"] == 1 else "number"
    else:
        kind = "text"
    meaning = next((m.description for m in metas if m.description), "")
    return Field(
        setting=setting, meaning=meaning, kind=kind, optional=optional, low=low, high=bounds["le"], choices=choices,
        replayed=setting in REPLAYED,
    )  # fmt: skip


def _taken_apart(hint: Any) -> tuple[list[msgspec.Meta], list[Any]]:
    """The metas of an annotation, the outer ones first, and the types that it is a union of."""
    metas: list[msgspec.Meta] = []
    types: list[Any] = []
    waiting = [hint]
    while waiting:
        one = waiting.pop(0)
        if get_origin(one) is Annotated:
            base, *more = get_args(one)
            metas.extend(m for m in reversed(more) if isinstance(m, msgspec.Meta))
            waiting.append(base)
        elif get_origin(one) in (dict, Literal) or not get_args(one):
            types.append(one)
        else:
            waiting.extend(get_args(one))
    return metas, types


def values_of(policy: Policy) -> dict[str, Any]:
    """Setting -> its value, of every field that is an input."""
    tables = msgspec.to_builtins(policy)
    return {field.setting: tables[section.name][field.name] for section in sections() for field in section.fields}


def policy_with(base: Policy, values: Mapping[str, Any]) -> Policy:
    """`base` with these settings. Raises `PolicyError` where one is beyond what a policy may say."""
    tables = msgspec.to_builtins(base)
    for setting, value in values.items():
        section, name = setting.split(".")
        tables[section][name] = value
    return parse_policy(tables)


def changed(before: Policy, after: Policy) -> dict[str, tuple[Any, Any]]:
    """Setting -> its two values, of all settings in which the two differ."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return {
        f"{section}.{name}": (old[section][name], value)
        for section, fields in new.items()
        for name, value in fields.items()
        if value != old[section][name]
    }


def as_toml(policy: Policy, kept: Mapping[str, Any] | None = None) -> str:
    """A `flyball.toml` that says this policy: every setting that is not the default, with its meaning; and of `kept`, the tables of
    the file in force, what is no part of a policy (the prices). Raises `PolicyError` where a setting of theirs can stand in no file.
    """
    defaults = msgspec.to_builtins(Policy())
    tables = msgspec.to_builtins(policy)
    parts = ["# Thresholds that are not the default. What each means, and all others: docs/policy.md\n"]
    for section in sections():
        meanings = {field.name: field.meaning for field in section.fields}
        lines = []
        for name, value in tables[section.name].items():
            if value == defaults[section.name][name]:
                continue
            lines.extend([f"# {meanings[name]}"] if name in meanings else [])
            lines.append(f"{name} = {_toml(NOT_SET if value is None else value)}")
        if lines:
            parts.append(f"[{section.name}]\n" + "\n".join(lines) + "\n")
    for name, value in (kept or {}).items():
        if name not in tables:
            parts.extend(_table(_key(name), value))
    return "\n".join(parts)


def _table(name: str, value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        body = "\n".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items())
        yield f"[{name}]\n{body}\n"
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        yield "\n".join(
            f"[[{name}]]\n" + "\n".join(f"{_key(k)} = {_toml(v)}" for k, v in item.items()) + "\n" for item in value
        )
    else:
        raise PolicyError(None, f"{name} is no table; move it into one")


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name) else _toml(name)


def _toml(value: Any) -> str:
    """A value in TOML, on one line (https://toml.io/en/v1.0.0)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # Control characters have no other form there.
        escaped = "".join(
            f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else "\\" + c if c in '"\\' else c for c in value
        )
        return f'"{escaped}"'
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return value.isoformat() if isinstance(value, (datetime, date, time)) else str(value)


def newest(runs: pl.DataFrame, most_runs: int = RUNS_REPLAYED, most_spans: int = SPANS_REPLAYED) -> pl.DataFrame:
    """The newest runs, at most so many and of at most so many spans together (but one at least); `runs` from `views.runs.summaries`."""
    likely = runs.sort("start_ns", descending=True, nulls_last=True).head(most_runs)
    fits = (pl.col("spans").cum_sum() <= most_spans) | (pl.int_range(pl.len()) == 0)
    return likely.filter(fits)


def stopped_runs(in_force: Sequence[Replayed], tried: Sequence[Replayed]) -> pl.DataFrame:
    """One row is one run that either policy would have stopped, the dearest saving of the tried one first: `run_id`, `agent_name`,
    `succeeded`, `cost_usd`, and of each policy (`_in_force`, `_tried`) `guard`, `turn` (null: not stopped) and `saved_usd`.
    """
    by_run = {run.run_id: run for run in in_force}
    rows = [
        (
            run.run_id, run.agent_name, run.succeeded, run.cost_usd,
            *_stop(by_run.get(run.run_id)), *_stop(run),
        )
        for run in tried
        if run.stop is not None or (run.run_id in by_run and by_run[run.run_id].stop is not None)
    ]  # fmt: skip
    schema = {
        "run_id": pl.String, "agent_name": pl.String, "succeeded": pl.Boolean, "cost_usd": pl.Float64,
        "guard_in_force": pl.String, "turn_in_force": pl.Int64, "saved_usd_in_force": pl.Float64,
        "guard_tried": pl.String, "turn_tried": pl.Int64, "saved_usd_tried": pl.Float64,
    }  # fmt: skip
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.sort("saved_usd_tried", "cost_usd", "run_id", descending=[True, True, False], nulls_last=True)


def _stop(run: Replayed | None) -> tuple[str | None, int | None, float | None]:
    return (
        (None, None, None) if run is None or run.stop is None else (str(run.stop.guard), run.stop.turn, run.saved_usd)
    )


def by_guard(policies: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
    """One row is one guard and policy: `policy`, `guard` and the `runs` it would have stopped; from `replay_text.totals` by policy."""
    rows = [(name, guard, runs) for name, sums in policies.items() for guard, runs in sums["guards"].items()]
    return pl.DataFrame(rows, schema={"policy": pl.String, "guard": pl.String, "runs": pl.Int64}, orient="row")
