"""The rules without a Prometheus: what fires now, what is new since the last look and what is resolved; and the message that says so."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl

from analyzer.alerts.baselines import Baseline
from analyzer.alerts.conditions import Grew
from analyzer.alerts.firing import Firing, firings, holding
from analyzer.alerts.gauges import Waiting, gauges, grid
from analyzer.alerts.metrics import LOST_SPANS, NOW_ONLY
from analyzer.alerts.rule import VALUE
from analyzer.alerts.rules import rules
from analyzer.alerts.timing import Timing
from analyzer.alerts.windows import SECOND
from instrument.errors import FlyballError, StoreError
from instrument.policy import Policy

_VERSION: Final = 1
"""Of the file that remembers the last look."""
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""What means something in Slack's text: https://docs.slack.dev/messaging/formatting-message-text#escaping."""
_NAME_CHARS: Final = 80
_SUMMARY_CHARS: Final = 500
_SHOWN: Final = 45
"""Of the 50 blocks that a message may have."""
_FALLBACK_SHOWN, _FALLBACK_CHARS = 5, 120


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that fires, as a plain value."""

    alert: str
    severity: str
    labels: Mapping[str, str]
    summary: str
    since_ns: int

    @property
    def key(self) -> str:
        """The same for the same alert at the next look."""
        return json.dumps([self.alert, self.severity, sorted(self.labels.items())])


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the rules saw."""

    firing: tuple[Alert, ...]
    new: tuple[Alert, ...]
    """Of these, alerts that did not fire at the last look."""
    resolved: tuple[Alert, ...]
    """Alerts of the last look that no longer fire."""


def firing_now(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    now_ns: int,
    timing: Timing,
    waiting: Waiting | None = None,
    lost_before: float | None = None,
    baselines: Sequence[Baseline] = (),
) -> tuple[tuple[Alert, ...], float]:
    """The alerts that fire at `now_ns`, and how many spans have been lost by now.

    How long a condition has held is read from the record, so one look is enough.

    What the record has no time for (waiting reviews) fires at once; lost spans, if there are more than `lost_before`.
    """
    back = 2 * (timing.for_seconds + timing.keep_firing_seconds) + timing.interval_seconds
    past = grid(now_ns - back * SECOND, now_ns, timing.interval_seconds)
    instants = np.unique(np.append(past[past < now_ns], now_ns))
    values = {**gauges(con, policy, instants, waiting), **{b.metric: b.at(instants) for b in baselines}}
    at_once = Timing(timing.interval_seconds, for_seconds=0, keep_firing_seconds=0)
    found: list[Firing] = []
    for rule in rules(policy, baselines):
        held = holding(rule, values)
        timeless = not NOW_ONLY.isdisjoint(rule.when.metrics())
        if isinstance(rule.when, Grew):
            held = held.filter(pl.col("value") > (lost_before or 0.0))
        found += firings([(rule, held)], instants, at_once if timeless else timing)
    return tuple(_alert(f) for f in found if f.resolved_ns is None), float(values[LOST_SPANS]["value"].item())


def _alert(fired: Firing) -> Alert:
    rule = fired.rule
    where = " on ".join(_short(v) for v in fired.labels.values())
    summary = rule.summary.replace(VALUE, rule.unit.shown(fired.value)) + (f" ({where})." if where else ".")
    return Alert(rule.alert, rule.severity, fired.labels, summary, fired.since_ns)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else name[: _NAME_CHARS - 1] + "…"


def compared(now: Sequence[Alert], last: Sequence[Alert]) -> Look:
    """What is new and what is resolved since the last look."""
    before, after = {a.key: a for a in last}, {a.key: a for a in now}
    return Look(
        tuple(now),
        tuple(a for key, a in after.items() if key not in before),
        tuple(a for key, a in before.items() if key not in after),
    )


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the last look left behind for the next one."""

    alerts: tuple[Alert, ...] = ()
    lost_spans: float = 0.0


def remembered(path: Path) -> Remembered:
    """The last look, or none. Raises `StoreError` for a file that is something else."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        if kept["version"] != _VERSION:
            raise ValueError(f"version {kept['version']}")
        return Remembered(tuple(Alert(**alert) for alert in kept["alerts"]), float(kept["lost_spans"]))
    except FileNotFoundError:
        return Remembered()
    except OSError as e:
        raise StoreError(path, f"cannot be read ({e.strerror}); name another place with --state") from None
    except (ValueError, KeyError, TypeError) as e:
        raise StoreError(path, f"does not remember alerts ({e}); remove it, or name another with --state") from None


def remember(path: Path, state: Remembered) -> None:
    """Writes the file whole or not at all. Raises `StoreError`."""
    kept = {"version": _VERSION, "lost_spans": state.lost_spans, "alerts": [asdict(a) for a in state.alerts]}
    try:
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        beside.write_text(json.dumps(kept), "utf-8")
        beside.replace(path)
    except OSError as e:
        raise StoreError(path, f"cannot be written ({e.strerror}); name another place with --state") from None


def payload(look: Look) -> dict[str, Any]:
    """The message about what is new and what is resolved, as Slack and whoever speaks its format takes it.

    `text` is the line of a notification, `blocks` what is read: at most 50, each of at most 3,000 characters
    (https://docs.slack.dev/reference/block-kit/blocks/). `alerts` beside them holds the same as values. Names from traces are escaped, so
    that they neither link nor call anybody.
    """
    head = f"{len(look.new)} firing, {len(look.resolved)} resolved (flyball)"
    said = [f"*{a.severity.upper()}* {a.alert}: {_mrkdwn(a.summary)}" for a in look.new]
    said += [f"_resolved_ {a.alert}: {_mrkdwn(a.summary)}" for a in look.resolved]
    shown = said[:_SHOWN] + ([f"and {len(said) - _SHOWN} more: flyball alerts check"] if len(said) > _SHOWN else [])
    states = [("firing", look.new), ("resolved", look.resolved)]
    return {
        "text": "\n".join(
            [head, *(f"{a.alert}: {_mrkdwn(a.summary, _FALLBACK_CHARS)}" for a in look.new[:_FALLBACK_SHOWN])]
        ),
        "blocks": [_section(f"*{head}*"), *map(_section, shown)],
        "alerts": [{"status": status, **asdict(alert)} for status, alerts in states for alert in alerts],
    }


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _mrkdwn(text: str, chars: int = _SUMMARY_CHARS) -> str:
    """Cut before it is escaped, so that no escape is cut in two; each character becomes five at most."""
    return text[:chars].translate(_ESCAPED)


def as_values(look: Look) -> dict[str, Any]:
    """`{"firing": [...], "new": [...], "resolved": [...]}`."""
    return {name: [asdict(a) for a in getattr(look, name)] for name in ("firing", "new", "resolved")}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message that is posted elsewhere, as a GET without its words, is lost: a redirection is a failure."""

    def redirect_request(self, *_: object) -> None:
        """None: it is raised as the error it is."""
        return


def post(url: str, message: Mapping[str, Any], *, timeout_seconds: float = 10.0) -> None:
    """Posts `message` as JSON. Raises `FlyballError`, which does not name the address: a webhook's address is its password."""
    if not url.startswith(("https://", "http://")):
        raise FlyballError("the webhook is no http or https address")
    body = json.dumps(message).encode()
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310 - looked at above
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_seconds):
            return
    except urllib.error.HTTPError as e:
        problem = f"answered {e.code}"
    except TimeoutError:
        problem = f"did not answer within {timeout_seconds:g} s"
    except (OSError, ValueError, HTTPException) as e:
        # Not the words of the error: those of a malformed address repeat it.
        reason = getattr(e, "reason", None)
        problem = f"could not be reached ({type(reason if isinstance(reason, OSError) else e).__name__})"
    # Raised here: the errors above, which know the address, must not be shown as its cause.
    raise FlyballError(f"the webhook {problem}; what is new stays new for the next look")
