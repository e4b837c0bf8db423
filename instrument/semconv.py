"""Every attribute name flyball writes, once.

The `gen_ai.*` names follow the OpenTelemetry GenAI conventions as of semantic-conventions-genai, November 2026. They are plain
strings here because the constants of OpenTelemetry's Python package are deprecated ("moved") and the new home has no release.
Names that other producers write are not here but in `instrument.store.dialects`, which maps them to our columns.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "flyball"
"""Instrumentation scope of the spans that our decorators and runner make."""

# --- Kinds of spans -------------------------------------------------------------------------------------------------
OPERATION: Final = "gen_ai.operation.name"
CHAT: Final = "chat"
INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"

# --- Who and what ---------------------------------------------------------------------------------------------------
PROVIDER: Final = "gen_ai.provider.name"
AGENT_NAME: Final = "gen_ai.agent.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
USER_ID: Final = "user.id"
ERROR_TYPE: Final = "error.type"

# --- A model call ---------------------------------------------------------------------------------------------------
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"

INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
"""All input tokens, those read from and written to the prompt cache included."""
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
CACHE_WRITE_5M_TOKENS: Final = "anthropic.usage.cache_creation.ephemeral_5m_input_tokens"
CACHE_WRITE_1H_TOKENS: Final = "anthropic.usage.cache_creation.ephemeral_1h_input_tokens"

# --- A tool call ----------------------------------------------------------------------------------------------------
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"

# --- Ours -----------------------------------------------------------------------------------------------------------
PENDING: Final = "flyball.pending"
"""True on the mark of a span that has started and not ended. The ended span, with the same ids, takes its place."""
RUN_ID: Final = "flyball.run.id"
"""Span id (16 hex digits) of the nearest agent span, the span itself included."""
CONTENT_MODE: Final = "flyball.content.mode"
"""`full`, `hashed` or `none`: what `record(content=...)` allowed to be written on this span."""
CONTENT_REDACTED: Final = "flyball.content.redacted"
"""How many secrets were replaced in the content of this span."""
CONTENT_CLIPPED: Final = "flyball.content.clipped"
"""How many characters of content were cut from this span because they were over the limit."""
CALL_KEY: Final = "flyball.call.key"
"""Identity of a tool call (tool and canonical arguments), 16 hex digits; written where content is `hashed`."""
LOOSE_CALL_KEY: Final = "flyball.call.loose_key"
"""The same with ids, numbers, dates and word order left out."""
RESULT_KEY: Final = "flyball.result.key"
"""Identity of a tool's result, 16 hex digits; written where content is `hashed`."""
RESULT_CHARS: Final = "flyball.result.chars"
"""Length of a tool's result in characters; written where content is `hashed`."""
FAILURE_KIND: Final = "flyball.failure.kind"
"""Error type and a key of the normalised error of a failed tool call; written where content is `hashed`."""
OUTPUT_KEY: Final = "flyball.output.key"
"""Identity of what the model answered, 16 hex digits; written where content is `hashed`."""
LOOSE_OUTPUT_KEY: Final = "flyball.output.loose_key"
"""The same with case, punctuation and numbers left out."""
OUTPUT_CHARS: Final = "flyball.output.chars"
"""Length of the text answered, in characters; written where content is `hashed`."""
DECLARED_TOOLS: Final = "flyball.tools.declared"
"""Names of the tools declared in this request; written where content is `hashed`."""
REQUESTED_TOOLS: Final = "flyball.tools.requested"
"""JSON list of [tool call id, tool name, call key, loose call key] of the calls the model asked for; `hashed` content only."""
REJECTED: Final = "flyball.tool.rejected"
"""Why a tool call never ran: `unknown_tool`, `invalid_arguments` or `blocked`."""
COST_USD: Final = "flyball.cost_usd"
"""Price of one model call in US dollars as the producer of the span knew it."""
WEB_SEARCHES: Final = "flyball.usage.web_searches"
"""Server-side web searches that the provider bills for."""
SPEED: Final = "flyball.response.speed"
"""Anthropic's `usage.speed`: `standard` or `fast`."""
INFERENCE_GEO: Final = "flyball.response.inference_geo"
"""Anthropic's `usage.inference_geo`."""
LOST_SPANS: Final = "flyball.lost.spans"
"""How many spans this process could not write; on a span named `flyball.loss`."""
LOST_REASON: Final = "flyball.lost.reason"
"""Why they could not be written; on a span named `flyball.loss`."""
LOSS_SPAN: Final = "flyball.loss"
"""Name of the span that reports lost spans. It becomes an issue, never a row."""
GUARD_EVENT: Final = "flyball.guard"
"""Name of the span event that a guard's action leaves."""
