"""What a scripted turn spends: tokens, dollars and seconds, worked out from the script and the price list, past the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from analyzer.cases import Turn
from instrument.prices import Condition, Prices

_DAY: Final = date(2026, 9, 21)
"""That of the scripts (`analyzer.casting`)."""
_PRICES: Final = Prices()
_BETWEEN_SECONDS: Final = 0.001
"""After an answer its first call begins so much later, and each further one again (`analyzer.casting`)."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one turn or several; None: nobody can say."""

    tokens: int | None
    usd: float | None
    seconds: float | None

    @staticmethod
    def sum(parts: Sequence[Spent]) -> Spent:
        """All of them together; what one of them cannot say, the sum cannot."""
        tokens = [p.tokens for p in parts]
        usd, seconds = [p.usd for p in parts], [p.seconds for p in parts]
        return Spent(
            None if None in tokens else sum(filter(None, tokens)),
            None if None in usd else sum(filter(None, usd)),
            None if None in seconds else sum(filter(None, seconds)),
        )


def spent(turn: Turn, *, timed: bool) -> Spent:
    """What a model call and its tools took. `timed`: it is told when tools ran; otherwise nobody can say how long they did."""
    seconds = _seconds(turn) if timed or not any(call.ran for call in turn.calls) else None
    if turn.error or not turn.measured or turn.input_tokens is None:
        return Spent(None, None, seconds)
    read, written = turn.cached or (0, 0)
    usd = _PRICES.cost_usd(
        Condition(None, turn.model, _DAY),
        uncached_input_tokens=turn.input_tokens - read - written,
        output_tokens=turn.output_tokens,
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
    )
    return Spent(turn.input_tokens + turn.output_tokens, usd, seconds)


def lost_from_cache_usd(model: str, tokens: int) -> float | None:
    """What it costs to write so many tokens to the cache instead of reading them from it."""
    costs = [
        _PRICES.cost_usd(Condition(None, model, _DAY), uncached_input_tokens=0, output_tokens=0, **{counter: tokens})
        for counter in ("cache_write_5m_tokens", "cache_read_tokens")
    ]
    written, read = costs
    return None if written is None or read is None else written - read


def _seconds(turn: Turn) -> float | None:
    """From the beginning of the model call to the end of the last tool."""
    ran = [(place, call.seconds) for place, call in enumerate(turn.calls, 1) if call.ran]
    ends = [place * _BETWEEN_SECONDS + seconds for place, seconds in ran if seconds is not None]
    return turn.seconds + max(ends, default=0.0) if len(ends) == len(ran) else None
