"""What guards did in a run, and how the run ended: agent spans and events that the guarded runner writes. Rows of two tables."""

from __future__ import annotations

from typing import Any, Final

from instrument import semconv
from instrument.otlp import Event, plain
from instrument.store import columns
from instrument.store.group import Group

_TEXTS: Final = ("stop_reason", "run_status", "policy")
_AMOUNTS: Final = ("run_cost_usd", "run_limit_usd")
_INT32: Final = 2**31


def fill(group: Group) -> None:
    """Adds rows of `guarded_runs` and `guard_actions` to the extras; after the events of the group were read."""
    keys = group.out["span_key"]
    if any(name in group.shape.text for name in _TEXTS) or any(name in group.shape.real for name in _AMOUNTS):
        stop, status, policy = (group.text(name) or group.unknown() for name in _TEXTS)
        cost, limit = (_amounts(group, name) for name in _AMOUNTS)
        group.extras.guarded += zip(keys, stop, status, cost, limit, policy, strict=True)
    if "events" not in group.out:
        return
    for key, span in zip(keys, group.spans, strict=True):
        for position, event in enumerate(span.events):
            if event.name == semconv.GUARD_EVENT:
                group.extras.actions.append((key, position, *_action(event)))


def _amounts(group: Group, name: str) -> list[float | None]:
    position = group.shape.real.get(name)
    return group.unknown() if position is None else columns.real(group.values(position))


def _action(event: Event) -> tuple[Any, ...]:
    """The columns of `schema.ACTIONS` from `at_ns` on. Whoever wrote it may have written anything: what is no such value is NULL."""
    facts = {a.key: plain(a.value) for a in event.attributes}
    turn = columns.int_of(facts.get(semconv.GUARD_TURN))
    observed = facts.get(semconv.GUARD_OBSERVED)
    return (
        columns.int_of(event.timeUnixNano),
        turn if turn is not None and -_INT32 <= turn < _INT32 else None,
        _text(facts.get(semconv.GUARD_NAME)),
        _text(facts.get(semconv.GUARD_ACTION)),
        _text(facts.get(semconv.GUARD_REASON)),
        _text(facts.get(semconv.GUARD_SETTING)),
        columns.real_of(facts.get(semconv.GUARD_THRESHOLD)),
        columns.real_of(facts.get(semconv.GUARD_VALUE)),
        _text(facts.get(semconv.GUARD_TOOL)),
        observed is True,
    )


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else columns.dumps(value)
