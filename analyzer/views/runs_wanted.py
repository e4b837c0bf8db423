"""Which runs somebody wants to see, and how an address says it: `?agent=support&since=2026-11-22&cost=0.5`.

Every page that links to runs uses these names. A name may be given several times (any of them), an empty one (`?user=`) asks for
runs of which it is not known. What cannot be read is passed over and named, so that nobody takes a filter for working that is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from analyzer.views.runs import OUTCOMES

_Value = TypeVar("_Value")

NAMES: Final = {
    "agent": "agents",
    "model": "models",
    "user": "users",
    "outcome": "outcomes",
    "detector": "detectors",
    "stop": "stops",
}
"""Names in an address that may stand several times -> fields of `Wanted`."""
UNKNOWN: Final = "unknown"
_NUMBERS: Final = re.compile(r"\d{1,19}")
# Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size: any year from 1973 to 2286.
_SCALES: Final = {10: 10**9, 13: 10**6, 16: 10**3, 19: 1}
_LOST_PLUS: Final = re.compile(r"(?<=:\d\d) (\d\d:\d\d)$")
_RANGE: Final = re.compile(r"(?P<low>[^-\s]*)(?P<dash>\s*-\s*)?(?P<high>[^-\s]*)")


def _plain(usd: float) -> str:
    """Without an exponent, whose minus would read as a range."""
    return f"{usd:.12f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a run in US dollars: from `low`, below or at `high` (None: no bound), or of which it is not known."""

    low: float | None = None
    high: float | None = None
    unknown: bool = False

    def __str__(self) -> str:
        if self.unknown:
            return UNKNOWN
        low = "" if self.low is None else _plain(self.low)
        return low if self.high is None else f"{low}-{_plain(self.high)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs to show; an empty field asks for all. A name that is the empty text stands for one that is not known."""

    agents: Sequence[str] = ()
    models: Sequence[str] = ()
    users: Sequence[str] = ()
    since_ns: int | None = None
    """Runs that started then or later, in nanoseconds since 1970."""
    until_ns: int | None = None
    """Runs that started before."""
    outcomes: Sequence[str] = ()
    detectors: Sequence[str] = ()
    """Runs with a finding of any of these."""
    stops: Sequence[str] = ()
    """Stop reasons of guarded runs."""
    cost: Cost | None = None
    text: str = ""
    """Part of the run id, the trace id or the user id."""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) not in ((), None, "", []) for field in fields(self))


def wanted_of(params: Mapping[str, Sequence[str]]) -> tuple[Wanted, tuple[str, ...]]:
    """What an address asks for, and the `name=value` of what it says that means nothing here."""
    many = {field: tuple(dict.fromkeys(params.get(name, ()))) for name, field in NAMES.items()}
    since, bad_since = _one(params, "since", ns_of)
    until, bad_until = _one(params, "until", ns_of)
    cost, bad_cost = _one(params, "cost", cost_of)
    text = (params.get("text") or ("",))[-1]
    strange = tuple(f"outcome={value}" for value in many["outcomes"] if value not in OUTCOMES)
    many["outcomes"] = tuple(value for value in many["outcomes"] if value in OUTCOMES)
    found = Wanted(since_ns=since, until_ns=until, cost=cost, text=text.strip(), **many)
    return found, (*strange, *bad_since, *bad_until, *bad_cost)


def params_of(wanted: Wanted) -> dict[str, list[str]]:
    """The address that asks for these runs; `wanted_of` reads it."""
    params = {name: list(getattr(wanted, field)) for name, field in NAMES.items() if getattr(wanted, field)}
    for name, ns in (("since", wanted.since_ns), ("until", wanted.until_ns)):
        if ns is not None:
            params[name] = [shown_ns(ns)]
    if wanted.cost is not None:
        params["cost"] = [str(wanted.cost)]
    if wanted.text:
        params["text"] = [wanted.text]
    return params


def ns_of(text: str) -> int | None:
    """Nanoseconds since 1970 of a date, a time in ISO 8601 (UTC unless it says otherwise), or a number of seconds, milli-, micro- or
    nanoseconds since then; None where it is none of these.
    """
    given = text.strip()
    if _NUMBERS.fullmatch(given):
        scale = _SCALES.get(len(given))
        return int(given) * scale if scale else None
    try:
        # In an address a plus sign stands for a space.
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"+\1", given))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1_000


def shown_ns(ns: int) -> str:
    """The shortest text that `ns_of` reads as `ns`: `2026-11-22`, `2026-11-22T14:05Z`, or nanoseconds."""
    try:
        moment = datetime.fromtimestamp(ns // 10**9, UTC)
    except (OverflowError, ValueError, OSError):
        return str(ns)
    if ns % (60 * 10**9):
        return str(ns)
    return f"{moment:%Y-%m-%d}" if ns % (86_400 * 10**9) == 0 else f"{moment:%Y-%m-%dT%H:%MZ}"


def cost_of(text: str) -> Cost | None:
    """`0.5` (at least), `0.1-2` (between), `-2` (at most) or `unknown`; None where it is none of these."""
    given = text.strip().replace("$", "")
    if given == UNKNOWN:
        return Cost(unknown=True)
    found = _RANGE.fullmatch(given)
    if found is None:
        return None
    try:
        low, high = (float(found[name]) if found[name] else None for name in ("low", "high"))
    except ValueError:
        return None
    bounds = [bound for bound in (low, high) if bound is not None]
    if not bounds or not all(math.isfinite(bound) for bound in bounds):
        return None
    return Cost(low=low, high=high)


def _one(
    params: Mapping[str, Sequence[str]], name: str, read: Callable[[str], _Value | None]
) -> tuple[_Value | None, tuple[str, ...]]:
    """The last value given under a name, or what was said instead."""
    given = [value for value in params.get(name, ()) if value.strip()]
    if not given:
        return None, ()
    found = read(given[-1])
    return found, () if found is not None else (f"{name}={given[-1]}",)
