"""Who names what how: the alias table, as data.

Each column lists the attribute names that may hold it, best first; the first one present on a span wins. What the loader knows of attribute
names it knows from here.
"""

from __future__ import annotations

from typing import Final

TEXT: Final[dict[str, tuple[str, ...]]] = {
    "operation": (
        "gen_ai.operation.name",
        "openinference.span.kind",
        "traceloop.span.kind",
        "ai.operationId",
        "span.type",
        "langfuse.observation.type",
        "llm.request.type",
    ),
    "agent_name": ("gen_ai.agent.name", "agent.name", "agent_name", "ai.telemetry.functionId"),
    "conversation_id": (
        "gen_ai.conversation.id",
        "session.id",
        "conversation.id",
        "traceloop.association.properties.session_id",
        "ai.telemetry.metadata.sessionId",
    ),
    "user_id": ("user.id", "enduser.id", "traceloop.association.properties.user_id", "ai.telemetry.metadata.userId"),
    "error_type": ("error.type", "exception.type"),
    "error_message": ("error.message", "langfuse.observation.status_message"),
    "provider": ("gen_ai.provider.name", "llm.provider", "gen_ai.system", "llm.system", "ai.model.provider"),
    "request_model": (
        "gen_ai.request.model",
        "llm.request.model_name",
        "llm.model_name",
        "ai.model.id",
        "langfuse.observation.model.name",
        "model",
    ),
    "response_model": ("gen_ai.response.model", "llm.response.model_name", "ai.response.model"),
    "response_id": ("gen_ai.response.id", "ai.response.id"),
    "request_id": ("anthropic.request.id", "request_id"),
    "finish_reason": (
        "gen_ai.response.finish_reasons",
        "anthropic.message.stop_reason",
        "llm.finish_reason",
        "ai.response.finishReason",
        "stop_reason",
        "llm.response.finish_reason",
        "llm.response.stop_reason",
        "gen_ai.completion.0.finish_reason",
    ),
    "tool_name": ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "tool_name"),
    "tool_call_id": ("gen_ai.tool.call.id", "tool.id", "tool_call.id", "ai.toolCall.id", "tool_use_id"),
    "arguments": (
        "gen_ai.tool.call.arguments",
        "ai.toolCall.args",
        "tool_arguments",
        "gcp.vertex.agent.tool_call_args",
    ),
    "result": (
        "gen_ai.tool.call.result",
        "anthropic.tool_result.content",
        "ai.toolCall.result",
        "tool_response",
        "gcp.vertex.agent.tool_response",
    ),
    "system": ("gen_ai.system_instructions",),
    "input_messages": ("gen_ai.input.messages", "ai.prompt.messages", "gen_ai.prompt"),
    "output_messages": ("gen_ai.output.messages", "gen_ai.completion"),
    "answer_text": ("ai.response.text", "ai.response.object"),
    "answer_calls": ("ai.response.toolCalls",),
    "tool_definitions": ("gen_ai.tool.definitions", "ai.prompt.tools"),
    "io_input": ("input.value", "traceloop.entity.input", "langfuse.observation.input", "input"),
    "io_output": ("output.value", "traceloop.entity.output", "langfuse.observation.output", "output"),
    "entity_name": ("traceloop.entity.name",),
    "run_id": ("flyball.run.id",),
    "content_mode": ("flyball.content.mode",),
    "call_key": ("flyball.call.key",),
    "loose_call_key": ("flyball.call.loose_key",),
    "result_key": ("flyball.result.key",),
    "failure_kind": ("flyball.failure.kind",),
    "output_key": ("flyball.output.key",),
    "loose_output_key": ("flyball.output.loose_key",),
    "asked_key": ("flyball.input.asked_key",),
    "declared_tools": ("flyball.tools.declared",),
    "requested_tools": ("flyball.tools.requested",),
    "rejected": ("flyball.tool.rejected",),
    "stop_reason": ("flyball.stop_reason",),
    "run_status": ("flyball.run.status",),
    "policy": ("flyball.policy",),
    "service_tier": (
        "anthropic.response.service_tier",
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "anthropic.request.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
    ),
    "speed": ("flyball.response.speed", "speed"),
    "inference_geo": ("flyball.response.inference_geo",),
    "usage_json": ("langfuse.observation.usage_details",),
    "cost_json": ("langfuse.observation.cost_details",),
    "cost_source": ("flyball.cost.source",),
    "provider_metadata": ("ai.response.providerMetadata",),
    "inferred_times": ("flyball.times.inferred",),
}
"""Columns that hold text. A value that is a list or a map becomes JSON; of `finish_reason` the first entry is taken."""

WHOLE: Final[dict[str, tuple[str, ...]]] = {
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "llm.token_count.prompt",
        "gen_ai.usage.prompt_tokens",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
        "llm.usage.prompt_tokens",
        "input_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "llm.token_count.completion",
        "gen_ai.usage.completion_tokens",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
        "llm.usage.completion_tokens",
        "output_tokens",
    ),
    "cache_read_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "llm.token_count.prompt_details.cache_read",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.details.cached_tokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "ai.usage.cachedInputTokens",
        "cache_read_tokens",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        "cache_creation_tokens",
    ),
    "cache_write_5m_tokens": ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens",),
    "cache_write_1h_tokens": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "llm.token_count.completion_details.reasoning",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "codex.usage.reasoning_output_tokens",
        "ai.usage.outputTokenDetails.reasoningTokens",
        "ai.usage.reasoningTokens",
    ),
    "compaction_input_tokens": ("anthropic.usage.compaction.input_tokens",),
    "compaction_output_tokens": ("anthropic.usage.compaction.output_tokens",),
    "web_searches": ("flyball.usage.web_searches",),
    "max_tokens": ("gen_ai.request.max_tokens", "llm.request.max_tokens"),
    "retries": ("http.request.resend_count",),
    "result_chars": ("flyball.result.chars",),
    "output_chars": ("flyball.output.chars",),
    "clipped_chars": ("flyball.content.clipped",),
}
"""Columns that hold whole numbers; a producer may write them as numbers or as text."""

REAL: Final[dict[str, tuple[str, ...]]] = {
    "first_token_seconds": ("gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk"),
    "first_token_ms": ("ai.response.msToFirstChunk", "ttft_ms"),
    "cost_usd": ("flyball.cost_usd", "operation.cost", "llm.cost.total", "gen_ai.usage.cost", "cost_usd"),
    "run_cost_usd": ("flyball.run.cost_usd",),
    "run_limit_usd": ("flyball.run.limit_usd",),
}
"""Columns that hold fractions."""

FLAG: Final[dict[str, tuple[str, ...]]] = {
    "pending": ("flyball.pending",),
    "streaming": ("gen_ai.request.stream", "llm.is_streaming", "gen_ai.is_streaming"),
    "truncated": ("anthropic.content.truncated",),
    "null_input": ("flyball.call.null_input",),
}
"""Columns that hold true or false."""

FAMILIES: Final = (
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.tools.",
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "llm.request.functions.",
)
"""Names with running numbers in them (OpenInference, old OpenLLMetry): read together, never one by one."""

OPERATIONS: Final[dict[str, str]] = {
    # OpenTelemetry GenAI and pydantic-ai
    "chat": "model",
    "generate_content": "model",
    "text_completion": "model",
    "invoke_agent": "agent",
    "create_agent": "other",
    "invoke_workflow": "other",
    "execute_tool": "tool",
    "embeddings": "other",
    "retrieval": "other",
    # OpenInference
    "llm": "model",
    "tool": "tool",
    "agent": "agent",
    "chain": "other",
    # Traceloop
    "workflow": "other",
    "task": "other",
    "completion": "model",
    # Langfuse
    "generation": "model",
    "span": "other",
    # Vercel AI SDK: the outer spans repeat the usage of the inner ones
    "ai.generatetext": "agent",
    "ai.streamtext": "agent",
    "ai.generateobject": "agent",
    "ai.streamobject": "agent",
    "ai.generatetext.dogenerate": "model",
    "ai.streamtext.dostream": "model",
    "ai.generateobject.dogenerate": "model",
    "ai.streamobject.dostream": "model",
    "ai.toolcall": "tool",
    # Claude Code
    "interaction": "agent",
    "llm_request": "model",
    # Monocle
    "inference": "model",
    "inference.framework": "model",
    "agentic.invocation": "agent",
    "agentic.tool.invocation": "tool",
    "agentic.mcp.invocation": "tool",
    # Gemini CLI
    "llm_call": "model",
    "tool_call": "tool",
    "agent_call": "agent",
}
"""Value of `operation`, lower case, to the kind of span. Anything else is `other`."""

KINDS_BY_NAME: Final[tuple[tuple[str, str], ...]] = (
    ("pydantic_ai.all_messages", "agent"),
    ("all_messages_events", "agent"),
    ("codex.turn.token_usage.total_tokens", "agent"),
)
"""An attribute that tells the kind of a span without an operation (pydantic-ai before version 1.0, Codex). Their usage is a roll-up."""

SCOPES: Final[tuple[tuple[str, str], ...]] = (
    ("com.anthropic.sdk", "anthropic-sdk"),
    ("com.anthropic.claude-platform", "claude-platform"),
    ("com.anthropic.claude_code", "claude-code"),
    ("claude-code-events", "agent-events"),
    ("codex-events", "agent-events"),
    ("gemini-cli-events", "agent-events"),
    ("flyball.converted", "gen_ai"),
    ("flyball", "flyball"),
    ("openinference", "openinference"),
    ("@arizeai/openinference", "openinference"),
    ("opentelemetry.instrumentation.genai", "otel-genai"),
    ("opentelemetry.util.genai", "otel-genai"),
    ("opentelemetry.instrumentation.openai_v2", "otel-genai"),
    ("opentelemetry.instrumentation.", "openllmetry"),
    ("traceloop", "openllmetry"),
    ("pydantic-ai", "pydantic-ai"),
    ("langfuse", "langfuse"),
    ("ai", "vercel-ai"),
    ("opencode", "vercel-ai"),
)
"""Start of the instrumentation scope's name to the dialect; first match wins. Without one, the names on the span decide."""

MARKS: Final[tuple[tuple[str, str], ...]] = (
    ("openinference.span.kind", "openinference"),
    ("llm.model_name", "openinference"),
    ("traceloop.span.kind", "openllmetry"),
    ("ai.operationId", "vercel-ai"),
    ("langfuse.observation.type", "langfuse"),
    ("monocle_apptrace.version", "monocle"),
    ("span.type", "claude-code"),
    ("gen_ai.operation.name", "gen_ai"),
    ("gen_ai.system", "gen_ai"),
    ("gen_ai.provider.name", "gen_ai"),
)
"""An attribute that gives a dialect away where the scope does not."""

CACHE_BESIDE: Final = frozenset({"claude-code"})
"""Dialects whose input leaves out what was read from and written to the prompt cache, as Anthropic's API counts; all others
include it, as the conventions ask. `costs` sees by itself where an input is smaller than its cache."""

STREAMS_OVERCOUNTED: Final = frozenset({"openllmetry"})
"""Dialects whose output tokens of streamed calls to Anthropic are a few too many: OpenLLMetry (0.62.4) adds the counter that a stream
begins with to the one it ends with, which holds it already. Nothing on the span says how many."""

PREFERENCE: Final = (
    "anthropic-sdk",
    "flyball",
    "otel-genai",
    "pydantic-ai",
    "openinference",
    "openllmetry",
    "vercel-ai",
    "langfuse",
    "gen_ai",
    "claude-code",
)
"""Which report of one call stands for it: the SDK's own first; a dialect not listed comes after these, `claude-platform` last."""
