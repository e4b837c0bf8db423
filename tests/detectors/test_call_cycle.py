"""Where calls repeat themselves, against the plain definition."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from analyzer.detectors.call_cycle.rounds import periodic

_LONGEST, _ROUNDS = 4, 3


def _plainly(calls: str) -> set[tuple[int, int, int]]:
    """Period, first and last of every longest stretch, by trying them all."""
    found = set()
    for period in range(2, _LONGEST + 1):
        first = 0
        while first < len(calls):
            last = first + period - 1
            while last + 1 < len(calls) and calls[last + 1] == calls[last + 1 - period]:
                last += 1
            stretch = calls[first : last + 1]
            if len(stretch) >= _ROUNDS * period and len(set(stretch)) > 1:
                found.add((period, first, last))
            first = max(first + 1, last - period + 2)
    return {(p, a, b) for p, a, b in found if not any(q < p and c <= a and b <= d for q, c, d in found)}


def _found(calls: str, parts: list[int] | None = None) -> set[tuple[int, int, int]]:
    frame = pl.DataFrame(
        {
            "part": parts or [0] * len(calls),
            "call_key": [ord(c) for c in calls],
            "result_key": [1] * len(calls),
        },
        schema_overrides={"call_key": pl.UInt64, "result_key": pl.UInt64},
    )
    return set(periodic(frame, _LONGEST, _ROUNDS).select("period", "first", "last").iter_rows())


_CALLS = st.lists(st.sampled_from(["a", "b", "ab", "abc", "aab", "abab", "ababab", "abcabcabc", "cc"]), max_size=9).map(
    "".join
)


@given(_CALLS.filter(bool))
def test_every_longest_stretch_is_found_once_with_its_smallest_period(calls: str) -> None:
    assert _found(calls) == _plainly(calls)


def test_a_cycle_does_not_go_on_across_what_breaks_it() -> None:
    calls = "ab" * 4
    assert _found(calls) == {(2, 0, 7)}
    assert _found(calls, [0] * 4 + [1] * 4) == set()


def test_the_result_is_part_of_what_repeats() -> None:
    frame = pl.DataFrame({"part": 0, "call_key": [1, 2] * 4, "result_key": list(range(8))})
    assert periodic(frame.with_columns(pl.all().cast(pl.UInt64)), _LONGEST, _ROUNDS).is_empty()
