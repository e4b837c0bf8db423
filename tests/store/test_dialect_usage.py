"""Every dialect's own way to count tokens, and what it comes to: all input, all output, each once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.store.build import document, loaded, rows, span

CHAT = {
    "gen_ai__operation__name": "chat",
    "gen_ai__provider__name": "anthropic",
    "gen_ai__request__model": "claude-sonnet-4-5",
}
LLM = {"openinference__span__kind": "LLM", "llm__provider": "anthropic", "llm__model_name": "claude-sonnet-4-5"}
LANGFUSE = {"langfuse__observation__type": "generation", "langfuse__observation__model__name": "claude-sonnet-4-5"}
VERCEL = {
    "ai__operationId": "ai.generateText.doGenerate",
    "ai__model__id": "claude-sonnet-4-5",
    "ai__model__provider": "anthropic",
}
CLAUDE_CODE = {"span__type": "llm_request", "model": "claude-sonnet-4-5", "gen_ai__system": "anthropic"}
INSIDE = (1000, 600, 300, 100, 50)
"""A request with 600 + 300 read + 100 written in and 50 out: input, uncached, read, written, output. Each case tells of this one."""


def details(**counts: Any) -> str:
    return orjson.dumps(counts).decode()


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("the SDK, cache inside", "com.anthropic.sdk.python", {
        **CHAT, "gen_ai__usage__input_tokens": 1000, "gen_ai__usage__cache_read__input_tokens": 300,
        "gen_ai__usage__cache_write__input_tokens": 100, "gen_ai__usage__output_tokens": 50}),
    ("conventions before the renaming", "opentelemetry.instrumentation.genai.anthropic", {
        **CHAT, "gen_ai__usage__input_tokens": 1000, "gen_ai__usage__cache_read__input_tokens": 300,
        "gen_ai__usage__cache_creation__input_tokens": 100, "gen_ai__usage__output_tokens": 50}),
    ("OpenLLMetry, old names", "opentelemetry.instrumentation.anthropic", {
        **CHAT, "gen_ai__usage__prompt_tokens": 1000, "gen_ai__usage__cache_read_input_tokens": 300,
        "gen_ai__usage__cache_creation_input_tokens": 100, "gen_ai__usage__completion_tokens": 50}),
    ("OpenInference", "openinference.instrumentation.anthropic", {
        **LLM, "llm__token_count__prompt": 1000, "llm__token_count__prompt_details__cache_read": 300,
        "llm__token_count__prompt_details__cache_write": 100, "llm__token_count__completion": 50}),
    ("pydantic-ai", "pydantic-ai", {
        **CHAT, "gen_ai__usage__input_tokens": 1000, "gen_ai__usage__details__cache_read_input_tokens": 300,
        "gen_ai__usage__details__cache_creation_input_tokens": 100, "gen_ai__usage__output_tokens": 50}),
    ("Vercel AI SDK 6", "ai", {
        **VERCEL, "ai__usage__inputTokens": 1000, "ai__usage__inputTokenDetails__cacheReadTokens": 300,
        "ai__usage__inputTokenDetails__cacheWriteTokens": 100, "ai__usage__outputTokens": 50}),
    ("Claude Code, cache beside", "com.anthropic.claude_code.tracing", {
        **CLAUDE_CODE, "input_tokens": 600, "cache_read_tokens": 300, "cache_creation_tokens": 100, "output_tokens": 50}),
    ("Langfuse, buckets beside one another", "langfuse-sdk", {
        **LANGFUSE, "langfuse__observation__usage_details": details(
            input=600, output=50, cache_read_input_tokens=300, cache_creation_input_tokens=100, total=1050)}),
    ("Langfuse, without a total", "langfuse-sdk", {
        **LANGFUSE, "langfuse__observation__usage_details": details(
            input=600, output=50, cache_read_input_tokens=300, cache_creation_input_tokens=100)}),
    ("Langfuse, reasoning beside the output", "langfuse-sdk", {
        **LANGFUSE, "langfuse__observation__usage_details": details(
            input=600, input_cache_read=300, input_cache_creation=100, output=20, output_reasoning_tokens=30, total=1050)}),
    ("Langfuse, as OpenAI's API counts", "langfuse-sdk", {
        **LANGFUSE, "langfuse__observation__usage_details": details(
            prompt_tokens=1000, completion_tokens=50, total_tokens=1050, prompt_tokens_details={"cached_tokens": 300},
            completion_tokens_details={"reasoning_tokens": 30}, cache_creation_input_tokens=100)}),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "facts"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_same_request_is_the_same_in_every_dialect(scope: str, facts: dict[str, Any]) -> None:
    con = loaded(document(span("m", **facts), scope=scope))
    counted = "input_tokens, uncached_input_tokens, cache_read_tokens, cache_write_tokens, output_tokens"
    assert rows(con, f"SELECT kind, {counted} FROM spans") == [("model", *INSIDE)]
    # 600 at $3, 300 at $0.30, 100 at $3.75 and 50 at $15 a million
    assert rows(con, "SELECT cost_usd FROM spans")[0][0] == pytest.approx(
        0.0018 + 0.00009 + 0.000375 + 0.00075, abs=1e-9
    )


@pytest.mark.parametrize(
    "odd", ["", "[]", "null", "{", '{"input": "many"}', '{"input": -5, "output": null}', '{"input": {"a": {}}}']
)
def test_odd_usage_is_no_usage(odd: str) -> None:
    con = loaded(document(span("m", **LANGFUSE, langfuse__observation__usage_details=odd)))
    assert rows(con, "SELECT input_tokens, output_tokens, usage_state FROM spans") == [(None, None, "missing")]


@pytest.mark.parametrize(
    ("said", "usd"), [('{"input": 0.25, "output": 0.5}', 0.75), ('{"input": 0.25, "total": 0.5}', 0.5)]
)
def test_a_reported_cost_holds_where_no_list_has_the_model(said: str, usd: float) -> None:
    facts = {**LANGFUSE, "langfuse__observation__model__name": "my-own", "langfuse__observation__cost_details": said}
    con = loaded(document(span("m", **facts)))
    assert rows(con, "SELECT cost_usd, price_source FROM spans") == [(usd, "reported")]


ROLL_UPS: list[tuple[str, str, dict[str, Any]]] = [
    ("conventions", "x", {"gen_ai__operation__name": "invoke_agent", "gen_ai__usage__input_tokens": 9000}),
    ("pydantic-ai", "pydantic-ai", {"gen_ai__operation__name": "invoke_agent", "gen_ai__aggregated_usage__input_tokens": 9000}),
    ("Vercel's outer span", "ai", {"ai__operationId": "ai.generateText", "ai__usage__inputTokens": 9000, "ai__model__id": "x"}),
    ("OpenInference chain", "openinference.x", {"openinference__span__kind": "CHAIN", "llm__token_count__prompt": 9000}),
    ("OpenInference agent", "openinference.x", {"openinference__span__kind": "AGENT", "llm__token_count__prompt": 9000}),
    ("Traceloop workflow", "traceloop.x", {"traceloop__span__kind": "workflow", "gen_ai__usage__input_tokens": 9000}),
    ("Langfuse agent", "langfuse-sdk", {
        "langfuse__observation__type": "agent", "langfuse__observation__usage_details": details(input=9000, output=900)}),
    ("Claude Code's turn", "com.anthropic.claude_code.tracing", {"span__type": "interaction", "input_tokens": 9000}),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "facts"), [c[1:] for c in ROLL_UPS], ids=[c[0] for c in ROLL_UPS])
def test_a_roll_up_is_never_added(scope: str, facts: dict[str, Any]) -> None:
    usage = {"gen_ai__usage__input_tokens": 1000, "gen_ai__usage__output_tokens": 50}
    con = loaded(
        document(span("a", lasts=9, **facts), scope=scope), document(span("m", parent="a", at=1, **CHAT, **usage))
    )
    assert rows(con, "SELECT sum(input_tokens), sum(output_tokens), count(cost_usd) FROM spans") == [(1000, 50, 1)]
