"""Numbers as people read them. None is "unknown" everywhere, and never nought."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "unknown"


def money(usd: float | None) -> str:
    """US dollars: `$38.20`, `$1,204`, `$0.0042`; two digits are always there to compare."""
    if usd is None:
        return UNKNOWN
    if usd >= 1000:
        return f"${usd:,.0f}"
    if usd >= 0.0001:
        return f"${usd:.2f}" if usd >= 0.1 else f"${usd:.3f}" if usd >= 0.01 else f"${usd:.4f}"
    return "$0.00" if usd == 0 else "under $0.0001"


def tokens(count: int | None) -> str:
    """`950`, `12.3k`, `4.1M` tokens."""
    if count is None:
        return UNKNOWN
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size * 0.9995:  # 999,950 reads 1.0M, not 1000.0k
            shown = count / size
            return f"{shown:.0f}{letter}" if shown >= 99.95 else f"{shown:.1f}{letter}"
    return str(count)


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `6 min 3 s`, `2 h 5 min`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def share(part: float) -> str:
    """A share as per cent, over 100 where it is more than all; what is not all never reads 100 %, and what is not nothing never 0 %."""
    if 0 < part < 0.01:
        return "under 1 %"
    return f"{min(part, 0.99) if part < 1 else part:,.0%}".replace("%", " %")


def counted(count: int, noun: str) -> str:
    """`1 run`, `3 runs`, `12,000 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
