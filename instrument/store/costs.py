"""What each staged model call cost: whole columns at a time, with the rates of each condition looked up once."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instrument.prices import Condition, Prices, Rates

Floats = npt.NDArray[np.float64]

_COUNTERS: Final = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "web_searches", "compaction_input_tokens", "compaction_output_tokens",
)  # fmt: skip
_MOST: Final = 2**53
"""A counter from here on is no count, and would not be exact as a fraction."""
_CONDITION: Final = ("provider", "service_tier", "speed", "inference_geo")
"""With the model and the day, what a price depends on."""
_PARTS: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "web_search")
_NOTHING: Final = pa.scalar(None, pa.int64())


def priced(spans: pa.Table, prices: Prices) -> pa.Table:
    """Staged `spans` with token counters put right, and `uncached_input_tokens`, `usage_state`, `cost_usd` and `price_source` beside them.

    Counters stay on model calls only: an agent's are the sum of those.
    """
    is_model = pc.equal(spans["kind"], "model")
    counts = {name: _count(spans[name], is_model) for name in _COUNTERS}
    read, written = pc.fill_null(counts["cache_read_tokens"], 0), pc.fill_null(counts["cache_write_tokens"], 0)
    # Cache tokens above the input mean a producer that counts them beside it (Anthropic's own way), not inside.
    cached = pc.add(read, written)
    beside = pc.or_kleene(pc.greater(cached, counts["input_tokens"]), pc.equal(spans["dialect"], "claude-code"))
    beside = pc.fill_null(beside, False)
    counts["input_tokens"] = pc.add(counts["input_tokens"], pc.if_else(beside, cached, 0))
    by_lifetime = pc.add(counts["cache_write_5m_tokens"], counts["cache_write_1h_tokens"])
    counts["cache_write_tokens"] = pc.coalesce(counts["cache_write_tokens"], by_lifetime)
    written = pc.fill_null(counts["cache_write_tokens"], 0)
    counts["uncached_input_tokens"] = pc.subtract(pc.subtract(counts["input_tokens"], read), written)
    step, steps = _steps(spans, is_model, counts["input_tokens"], prices)
    cost = pc.if_else(is_model, pa.array(_cost_usd(counts, step, steps), from_pandas=True), None)
    reported = pc.if_else(is_model, spans["reported_usd"], None)
    # The producer's own account of what was billed stands over any price list.
    billed = pc.and_(pc.is_valid(reported), pc.fill_null(pc.equal(spans["cost_source"], "reported"), False))
    cost = pc.if_else(billed, None, cost)
    return _with(
        spans,
        **counts,
        usage_state=_usage_state(spans, is_model, counts),
        cost_usd=pc.coalesce(cost, reported),
        price_source=_price_source(
            spans, is_model, counts, cost, pa.array([s.source for s in steps] + [None], pa.string()).take(step)
        ),
    )


def _count(column: pa.ChunkedArray, is_model: pa.ChunkedArray) -> pa.ChunkedArray:
    fine = pc.and_(pc.and_(pc.greater_equal(column, 0), pc.less(column, _MOST)), is_model)
    return pc.if_else(fine, column, _NOTHING)


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    kept = table.drop_columns([name for name in columns if name in table.column_names])
    for name, values in columns.items():
        kept = kept.append_column(name, values)
    return kept


def _cost_usd(counts: dict[str, Any], step: pa.Array, steps: list[Rates]) -> Floats:
    """Dollars, NaN where something needed is not known. The same sum as `Prices.cost_usd`."""
    known = {name: values.cast(pa.float64()).to_numpy() for name, values in counts.items()}
    some = {name: np.nan_to_num(values) for name, values in known.items()}
    row = step.to_numpy()
    rate = {p: np.array([getattr(s, p) for s in steps] + [np.nan])[row] for p in _PARTS}
    hour = some["cache_write_1h_tokens"]
    total: Floats = (
        known["uncached_input_tokens"] * rate["input"]
        + some["cache_read_tokens"] * rate["cache_read"]
        # What is written without a stated life time is kept five minutes, the API's default.
        + (some["cache_write_tokens"] - hour) * rate["cache_write_5m"]
        + hour * rate["cache_write_1h"]
        + known["output_tokens"] * rate["output"]
        + some["web_searches"] * rate["web_search"]
        + some["compaction_input_tokens"] * rate["input"]
        + some["compaction_output_tokens"] * rate["output"]
    )
    return total


def _steps(spans: pa.Table, is_model: Any, whole_input: Any, prices: Prices) -> tuple[pa.Array, list[Rates]]:
    """For each span the number of its step of the price in the list returned; the number after the last where there is none."""
    model = pc.if_else(is_model, pc.coalesce(spans["response_model"], spans["request_model"]), None)
    day = spans["start_ns"].cast(pa.timestamp("ns")).cast(pa.date32(), safe=False)
    table = spans.select(_CONDITION).append_column("model", model).append_column("day", day)
    code, conditions = _distinct(table)
    steps: list[Rates] = []
    first, above = np.zeros(len(conditions), np.int64), []
    for number, condition in enumerate(conditions):
        found = (
            prices.rates(Condition(**condition))
            if condition["model"] is not None and condition["day"] is not None
            else ()
        )
        first[number] = len(steps) if found else -1
        above.append([r.above_input_tokens for r in found[1:]])
        steps += found
    whole = np.nan_to_num(whole_input.cast(pa.float64()).to_numpy())
    start = first[code]
    row = np.where(start < 0, len(steps), start)
    for further in range(max(map(len, above), default=0)):
        limit = np.array([a[further] if further < len(a) else np.inf for a in above])
        row += (whole > limit[code]) & (start >= 0)
    return pa.array(row), steps


def _distinct(table: pa.Table) -> tuple[npt.NDArray[np.int64], list[dict[str, Any]]]:
    """For each row the number of its distinct row in the list returned."""
    code = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        coded = column.combine_chunks().dictionary_encode("encode")
        _, code = np.unique(code * (len(coded.dictionary) + 1) + coded.indices.to_numpy(), return_inverse=True)
    _, where = np.unique(code, return_index=True)
    return code, table.take(pa.array(where)).to_pylist()


def _usage_state(spans: pa.Table, is_model: Any, counts: dict[str, Any]) -> Any:
    no_input, no_output = pc.is_null(counts["input_tokens"]), pc.is_null(counts["output_tokens"])
    # A stream that was cut has counters of its beginning.
    cut = pc.and_(pc.fill_null(spans["streaming"], False), pc.is_null(spans["finish_reason"]))
    states = (
        (pc.invert(is_model), None),
        (pc.and_(no_input, no_output), "missing"),
        (pc.or_(pc.or_(no_input, no_output), cut), "partial"),
    )
    return _first_that_holds(states, "complete")


def _price_source(spans: pa.Table, is_model: Any, counts: dict[str, Any], cost: Any, source: Any) -> Any:
    no_usage = pc.or_(pc.is_null(counts["input_tokens"]), pc.is_null(counts["output_tokens"]))
    no_model = pc.is_null(pc.coalesce(spans["response_model"], spans["request_model"]))
    sources = (
        (pc.invert(is_model), None),
        (pc.is_valid(cost), source),
        (pc.is_valid(spans["reported_usd"]), "reported"),
        (no_usage, "unknown: no usage"),
        (no_model, "unknown: no model"),
    )
    return _first_that_holds(sources, "unknown: no price for the model")


def _first_that_holds(cases: Any, otherwise: str) -> Any:
    """SQL's CASE: the value of the first condition that is true."""
    conditions = pc.make_struct(*(c for c, _ in cases), field_names=[str(i) for i in range(len(cases))])
    values = [pa.scalar(v, pa.string()) if v is None or isinstance(v, str) else v for _, v in cases]
    return pc.case_when(conditions, *values, otherwise)
