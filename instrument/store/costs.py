"""What each staged model call cost: whole columns at a time, with the rates of each condition looked up once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instrument.price_list import has_hours
from instrument.prices import Condition, Prices, Rates
from instrument.store.dialects import CACHE_BESIDE, STREAMS_OVERCOUNTED

Floats = npt.NDArray[np.float64]

_COUNTERS: Final = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "web_searches", "compaction_input_tokens", "compaction_output_tokens",
)  # fmt: skip
_MOST: Final = 2**53
"""A counter from here on is no count, and would not be exact as a fraction."""
_CONDITION: Final = ("provider", "service_tier", "speed", "inference_geo")
"""With the model and the day, what a price depends on."""
_PARTS: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "web_search", "request")
_HALF_HOUR_NS: Final = 1_800_000_000_000
_NOTHING: Final = pa.scalar(None, pa.int64())
_UNKNOWN: Final = "unknown: "
_NO_DAY: Final = f"{_UNKNOWN}no time, and prices change"
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)
"""A day before the first one only keeps the order of calls whose time is not known: they have a price where it never changed."""


def priced(spans: pa.Table, prices: Prices) -> pa.Table:
    """Staged `spans` with token counters put right, and `uncached_input_tokens`, `usage_state`, `cost_usd` and `price_source` beside them.

    Counters stay on model calls only: an agent's are the sum of those.
    """
    is_model = pc.equal(spans["kind"], "model")
    counts = {name: _count(spans[name], is_model) for name in _COUNTERS}
    _complete(counts, spans["dialect"])
    rated = _rated(spans, is_model, prices)
    cost = pc.if_else(is_model, pa.array(_cost_usd(counts, rated), from_pandas=True), None)
    reported = pc.if_else(is_model, spans["reported_usd"], None)
    # The producer's own account of what was billed stands over any price list.
    billed = pc.and_(pc.is_valid(reported), pc.is_valid(spans["cost_source"]))
    cost = pc.if_else(billed, None, cost)
    return _with(
        spans,
        **counts,
        usage_state=_usage_state(spans, is_model, counts),
        cost_usd=pc.coalesce(cost, reported),
        price_source=_price_source(spans, is_model, counts, cost, rated),
    )


def _complete(counts: dict[str, Any], dialect: pa.ChunkedArray) -> None:
    """Makes the counters mean what the columns mean: all input, whichever way the producer counts the cache; all output."""
    by_lifetime = _sum(counts["cache_write_5m_tokens"], counts["cache_write_1h_tokens"])
    counts["cache_write_tokens"] = pc.coalesce(counts["cache_write_tokens"], by_lifetime)
    read, written = pc.fill_null(counts["cache_read_tokens"], 0), pc.fill_null(counts["cache_write_tokens"], 0)
    # Cache tokens above the input mean a producer that counts them beside it (Anthropic's own way), not inside.
    cached = pc.add(read, written)
    beside = pc.or_kleene(pc.greater(cached, counts["input_tokens"]), pc.is_in(dialect, pa.array(sorted(CACHE_BESIDE))))
    counts["input_tokens"] = pc.add(counts["input_tokens"], pc.if_else(pc.fill_null(beside, False), cached, 0))
    counts["uncached_input_tokens"] = pc.subtract(pc.subtract(counts["input_tokens"], read), written)
    # So, too, with reasoning: part of the output by the conventions, beside it where it is more (Gemini's own way).
    reasoning = pc.fill_null(counts["reasoning_tokens"], 0)
    apart = pc.fill_null(pc.greater(reasoning, counts["output_tokens"]), False)
    counts["output_tokens"] = pc.add(counts["output_tokens"], pc.if_else(apart, reasoning, 0))


def _sum(one: Any, other: Any) -> Any:
    """Of two counters what is known of them."""
    return pc.coalesce(pc.add(one, other), one, other)


def _count(column: pa.ChunkedArray, is_model: pa.ChunkedArray) -> pa.ChunkedArray:
    fine = pc.and_(pc.and_(pc.greater_equal(column, 0), pc.less(column, _MOST)), is_model)
    return pc.if_else(fine, column, _NOTHING)


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    kept = table.drop_columns([name for name in columns if name in table.column_names])
    for name, values in columns.items():
        kept = kept.append_column(name, values)
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class _Rated:
    """The rates of every condition that occurs among the rows."""

    code: npt.NDArray[np.int64]
    """For each row the number of its condition."""
    first: npt.NDArray[np.int64]
    """For each condition the number of its lowest step in `steps`; that after the last where there is none."""
    above: list[list[int]]
    """For each condition the whole inputs above which its further steps begin."""
    steps: list[Rates]
    sources: list[str]
    """For each condition where its price comes from, or why there is none."""

    def rates(self, whole: Floats) -> dict[str, Floats]:
        """The rates of each row for a request of so much input, NaN where there is no price."""
        row = self.first[self.code]
        priced = row < len(self.steps)
        for further in range(max(map(len, self.above), default=0)):
            limit = np.array([a[further] if further < len(a) else np.inf for a in self.above])
            row = row + ((whole > limit[self.code]) & priced)
        return {p: np.array([_rate(s, p) for s in self.steps] + [np.nan])[row] for p in _PARTS}


def _rate(step: Rates, part: str) -> float:
    rate = getattr(step, part)
    return np.nan if rate is None else float(rate)


def _cost_usd(counts: dict[str, Any], rated: _Rated) -> Floats:
    """Dollars, NaN where something needed is not known. The same sum as `Prices.cost_usd`."""
    known = {name: values.cast(pa.float64()).to_numpy() for name, values in counts.items()}
    some = {name: np.nan_to_num(values) for name, values in known.items()}
    rate = rated.rates(some["input_tokens"])
    hour = np.minimum(some["cache_write_1h_tokens"], some["cache_write_tokens"])
    searches, shortened = some["web_searches"], some["compaction_input_tokens"] + some["compaction_output_tokens"]
    total: Floats = (
        known["uncached_input_tokens"] * rate["input"]
        + some["cache_read_tokens"] * rate["cache_read"]
        # What is written without a stated life time is kept five minutes, the API's default.
        + (some["cache_write_tokens"] - hour) * rate["cache_write_5m"]
        + hour * rate["cache_write_1h"]
        + known["output_tokens"] * rate["output"]
        + rate["request"]
    )
    if searches.any():  # whose price is not known wherever that of tokens is
        total += np.where(searches > 0, searches * rate["web_search"], 0.0)
    if shortened.any():  # a pass of its own, at the price of its own length
        own = rated.rates(some["compaction_input_tokens"])
        total += some["compaction_input_tokens"] * own["input"] + some["compaction_output_tokens"] * own["output"]
    return total


def _rated(spans: pa.Table, is_model: Any, prices: Prices) -> _Rated:
    """By the model that answered; by the one asked for, where that one is not known by its name."""
    asked = pc.if_else(is_model, spans["request_model"], None)
    model = pc.coalesce(pc.if_else(is_model, spans["response_model"], None), asked)
    day = spans["start_ns"].cast(pa.timestamp("ns")).cast(pa.date32(), safe=False)
    table = spans.select(_CONDITION).append_column("model", model).append_column("day", day)
    table = table.append_column("half_hour", _half_hours(table, spans["start_ns"])).append_column("asked", asked)
    code, conditions = _distinct(table)
    steps: list[Rates] = []
    first, above, sources = [], [], []
    for found in conditions:
        asked_for = found.pop("asked")
        condition = Condition(**found) if found["model"] is not None and found["day"] is not None else None
        if condition is not None and asked_for is not None and not prices.rates(condition):
            condition = replace(condition, model=asked_for)
        rates = prices.rates(condition) if condition is not None else ()
        if condition is not None and condition.day < _FIRST_DAY:
            unchanged = rates == prices.rates(replace(condition, day=_LAST_DAY))
            condition, rates = (condition, rates) if unchanged else (None, ())
        first.append(len(steps) if rates else -1)
        above.append([r.above_input_tokens for r in rates[1:]])
        sources.append(_NO_DAY if condition is None else prices.source(condition))
        steps += rates
    numbers = np.array(first, np.int64)
    return _Rated(code, np.where(numbers < 0, len(steps), numbers), above, steps, sources)


def _half_hours(conditions: pa.Table, start_ns: pa.ChunkedArray) -> Any:
    """Half hours of the UTC day, 0..47, on calls whose price has hours of its own; NULL on all others."""
    code, models = _distinct(conditions.select(("provider", "model")))
    hourly = np.array([m["model"] is not None and has_hours(m["provider"], m["model"]) for m in models], bool)
    if not hourly.any():
        return pa.nulls(len(start_ns), pa.int64())
    whole = pc.divide(start_ns, _HALF_HOUR_NS)
    half = pc.subtract(whole, pc.multiply(pc.divide(whole, 48), 48))
    return pc.if_else(pa.array(hourly[code]), half, pa.scalar(None, pa.int64()))


def _distinct(table: pa.Table) -> tuple[npt.NDArray[np.int64], list[dict[str, Any]]]:
    """For each row the number of its distinct row in the list returned, which is in order of first appearance."""
    code = pa.array(np.zeros(table.num_rows, np.int64))
    for column in table.columns:
        coded = column.combine_chunks().dictionary_encode("encode")
        both = code.to_numpy() * (len(coded.dictionary) + 1) + coded.indices.to_numpy()
        code = pa.array(both).dictionary_encode().indices  # hashed, where numpy's `unique` would sort
    numbers = code.to_numpy().astype(np.int64)
    where = np.zeros(len(code.unique()), np.int64)
    where[numbers[::-1]] = np.arange(table.num_rows)[::-1]  # the last to be written is the first row of its kind
    return numbers, table.take(pa.array(where)).to_pylist()


def _usage_state(spans: pa.Table, is_model: Any, counts: dict[str, Any]) -> Any:
    no_input, no_output = pc.is_null(counts["input_tokens"]), pc.is_null(counts["output_tokens"])
    streamed = pc.fill_null(spans["streaming"], False)
    # A stream that was cut has counters of its beginning.
    cut = pc.and_(streamed, pc.is_null(spans["finish_reason"]))
    overcounting = pc.is_in(spans["dialect"], pa.array(sorted(STREAMS_OVERCOUNTED)))
    at_anthropic = pc.fill_null(pc.match_substring(spans["provider"], "anthropic", ignore_case=True), False)
    wrong = pc.and_(streamed, pc.and_(overcounting, at_anthropic))
    states = (
        (pc.invert(is_model), None),
        (pc.and_(no_input, no_output), "missing"),
        (pc.or_(pc.or_(no_input, no_output), pc.or_(cut, wrong)), "partial"),
    )
    return _first_that_holds(states, "complete")


def _price_source(spans: pa.Table, is_model: Any, counts: dict[str, Any], cost: Any, rated: _Rated) -> Any:
    no_usage = pc.or_(pc.is_null(counts["input_tokens"]), pc.is_null(counts["output_tokens"]))
    no_model = pc.is_null(pc.coalesce(spans["response_model"], spans["request_model"]))
    said = pa.array(rated.sources, pa.string()).take(pa.array(rated.code))
    # The rest: tokens have a price, and what has none is the searches.
    listed = pc.invert(pc.starts_with(said, _UNKNOWN))
    sources = (
        (pc.invert(is_model), None),
        (pc.is_valid(cost), said),
        (pc.is_valid(spans["reported_usd"]), pc.coalesce(spans["cost_source"], "reported")),
        (no_usage, f"{_UNKNOWN}no usage"),
        (no_model, f"{_UNKNOWN}no model"),
        (listed, f"{_UNKNOWN}no price for web searches"),
    )
    return _first_that_holds(sources, said)


def _first_that_holds(cases: Any, otherwise: str) -> Any:
    """SQL's CASE: the value of the first condition that is true."""
    conditions = pc.make_struct(*(c for c, _ in cases), field_names=[str(i) for i in range(len(cases))])
    values = [pa.scalar(v, pa.string()) if v is None or isinstance(v, str) else v for _, v in cases]
    return pc.case_when(conditions, *values, otherwise)
