"""Issues of accounting: model calls that nobody can price, and such whose token counts are known to be off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import duckdb

from instrument.otlp import Issue
from instrument.price_list import NO_SPEED, NO_TIER
from instrument.store.dialects import STREAMS_OVERCOUNTED

_UNPRICED: Final = """
WITH calls AS MATERIALIZED (
    SELECT coalesce(response_model, request_model) AS model, price_source, source_key, input_tokens, output_tokens
    FROM spans WHERE kind = 'model' AND duplicate_of IS NULL AND cost_usd IS NULL AND starts_with(price_source, 'unknown: no price')
)
SELECT model, price_source, count(*) AS calls, sum(input_tokens)::BIGINT, sum(output_tokens)::BIGINT, min(sources.name),
    count(DISTINCT sources.name)
FROM calls JOIN sources USING (source_key) GROUP BY ALL ORDER BY calls DESC, model, price_source
"""
_MISSING: Final = {
    NO_TIER: " and service_tier = { ... = ... }",
    NO_SPEED: " and speed = { fast = ... }",
    "web searches": " and web_search = ... (per thousand)",
}
"""What a price in the policy file must say beyond input and output, by what is not known."""


def unpriced(con: duckdb.DuckDBPyConnection) -> Iterator[Issue]:
    """Models whose price nobody knows, most used first, with what `flyball.toml` would have to say."""
    for model, why, calls, into, out, source, sources in con.execute(_UNPRICED).fetchall():
        problem = why.removeprefix("unknown: ")
        message = f"`{model}` has {problem}: {into:,} tokens in and {out:,} out are not in the cost"
        missing = next((more for part, more in _MISSING.items() if part in why), "")
        # A TOML key in quotes is written as a JSON string is.
        table = f"[prices.{json.dumps(model)}] with input = ... and output = ...{missing}"
        remedy = f"put {table} into flyball.toml, in US dollars per million tokens"
        yield Issue("unknown_price", _places(source, sources), message, remedy, count=calls, error=False)


_NOT_WHOLE: Final = """
WITH calls AS MATERIALIZED (
    SELECT dialect IN (SELECT unnest($overcounting)) AS overcounted, source_key
    FROM spans WHERE kind = 'model' AND duplicate_of IS NULL AND usage_state = 'partial'
)
SELECT overcounted, count(*) AS calls, min(sources.name), count(DISTINCT sources.name)
FROM calls JOIN sources USING (source_key)
WHERE sources.name NOT IN (SELECT source FROM issues WHERE kind = 'partial_usage') GROUP BY ALL ORDER BY overcounted
"""
_CUT: Final = (
    "the stream of a model call was cut, or some of its counters are missing: its tokens and cost are at least what is said",
    "let streams run to their end: their last event holds the usage",
)
_OVERCOUNTED: Final = (
    "the library that recorded a streamed model call adds its first output counter to the last: a few output tokens are too many",
    "record the provider's own spans as well (`instrument.record`): their counts go before",
)


def not_whole(con: duckdb.DuckDBPyConnection) -> Iterator[Issue]:
    """Calls whose token counts are those of a part, or wrong in a way their library is known for, where no reader has said so."""
    found = con.execute(_NOT_WHOLE, {"overcounting": sorted(STREAMS_OVERCOUNTED)}).fetchall()
    for overcounted, calls, source, sources in found:
        message, remedy = _OVERCOUNTED if overcounted else _CUT
        yield Issue("partial_usage", _places(source, sources), message, remedy, count=calls, error=False)


_ANSWERED: Final = "kind = 'model' AND duplicate_of IS NULL AND response_id IS NOT NULL"
_IN_SEVERAL_TRACES: Final = f"""
WITH calls AS MATERIALIZED (
    SELECT hash(response_id) AS answer, hash(trace_id) AS trace, coalesce(input_tokens, 0) + coalesce(output_tokens, 0) AS tokens, cost_usd,
        source_key
    FROM spans WHERE {_ANSWERED}
), answers AS MATERIALIZED (
    SELECT answer, count(*) - 1 AS more, sum(tokens) - max(tokens) AS tokens, sum(cost_usd) - max(cost_usd) AS cost_usd,
        min(source_key) AS source_key
    FROM calls WHERE answer IN (SELECT answer FROM calls GROUP BY answer HAVING min(trace) <> max(trace)) GROUP BY answer
)
SELECT count(*), sum(more)::BIGINT, sum(tokens)::BIGINT, sum(cost_usd), min(source_key) FROM answers
"""
"""By hashes, which take a tenth of the memory of the ids."""


def in_several_traces(con: duckdb.DuckDBPyConnection) -> Iterator[Issue]:
    """Answers whose id stands in several traces: calls of their own where a test replays them, one call told again where a session
    was exported twice. Nothing in the traces says which."""
    hashes = con.sql(f"SELECT hash(response_id) AS answer FROM spans WHERE {_ANSWERED}").pl()["answer"].sort()
    if not (hashes == hashes.shift()).any():  # the usual case: grouping would take twice the time to find out
        return
    ((answers, more, tokens, usd, source_key),) = con.execute(_IN_SEVERAL_TRACES).fetchall()
    if answers:
        ((source,),) = con.execute("SELECT name FROM sources WHERE source_key = ?", [source_key]).fetchall()
        spent = f"{tokens:,} tokens" + (f" and ${usd:,.4f}" if usd is not None else "")
        message = (
            f"answers with ids that stand in other traces too count in each: {spent} more than if each counted once"
        )
        remedy = "where the traces are copies (a session that was resumed or exported twice, two tracers), leave one of them out"
        yield Issue("answer_in_several_traces", source, message, remedy, count=more, error=False)


def _places(source: str, sources: int) -> str:
    return source if sources == 1 else f"{source} and {sources - 1:,} more"
