"""Numbers as people read them, and recorded text made safe to show. Everything here gives plain text."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

UNKNOWN: Final = "\u2013"
"""Stands for what was not recorded."""

_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Recorded text with what would act or hide made visible: escape codes, control and direction marks, surrogates.

    Line breaks (CR LF as LF) and tabs stay. Control characters become their pictures (U+2400), the others `\\u202e`.
    """
    return _HIDDEN.sub(_picture, text.replace("\r\n", "\n"))


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\u{code:04x}"


def money(usd: float | None) -> str:
    """`$1,204`, `$3.20`, `$0.0042`, `$0`: about three figures."""
    if usd is None:
        return UNKNOWN
    if usd >= 1_000:
        return f"${usd:,.0f}"
    if usd >= 0.1:
        return f"${usd:.2f}"
    return f"${usd:.2g}" if usd >= 0.0001 else ("$0" if usd <= 0 else "< $0.0001")


def count(number: float | None) -> str:
    """`1,204`, `45.2 k`, `1.31 M`."""
    if number is None:
        return UNKNOWN
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / min(size, 1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """`850 ms`, `12.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    for big, big_unit, small, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= big:
            whole, rest = divmod(int(seconds), big)
            return f"{whole} {big_unit} {rest // small} {small_unit}" if rest // small else f"{whole} {big_unit}"
    raise AssertionError("unreachable: a minute is the smallest")


def share(part: float | None, whole: float | None) -> str:
    """`12 %`; unknown where either is, or where the whole is nothing."""
    return UNKNOWN if part is None or not whole else f"{part / whole:.0%}".replace("%", " %")


def percent(known: float) -> str:
    """`100 %` only where it is the whole: 0.9999 is `99.9 %`."""
    return f"{math.floor(known * 1000) / 10:g} %"


def when(ns: int | None) -> str:
    """`2026-11-22 14:05` in UTC, from nanoseconds since 1970."""
    return UNKNOWN if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")


def plural(number: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def stretch(first: int, last: int) -> str:
    """`turn 4` or `turns 4 to 9`."""
    return f"turn {first}" if first == last else f"turns {first:,} to {last:,}"
