"""The formats there are, in the order in which they are tried: what says most about itself comes first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from analyzer.readers.app_insights import APP_INSIGHTS
from analyzer.readers.atif import ATIF
from analyzer.readers.attribute_map import ATTRIBUTE_MAP
from analyzer.readers.braintrust import BRAINTRUST
from analyzer.readers.chat_messages import CHAT_MESSAGES
from analyzer.readers.claude_code import CLAUDE_CODE
from analyzer.readers.claude_stream import CLAUDE_STREAM
from analyzer.readers.codex import CODEX
from analyzer.readers.codex_exec import CODEX_EXEC
from analyzer.readers.datadog import DATADOG
from analyzer.readers.format import Format
from analyzer.readers.gemini_cli import GEMINI_CLI
from analyzer.readers.gemini_stream import GEMINI_STREAM
from analyzer.readers.group_chat import GROUP_CHAT
from analyzer.readers.inspect_ai import INSPECT
from analyzer.readers.jaeger import JAEGER
from analyzer.readers.js_spans import JS_SPANS
from analyzer.readers.langfuse import LANGFUSE
from analyzer.readers.langsmith import LANGSMITH
from analyzer.readers.logs_protobuf import LOGS_PROTOBUF
from analyzer.readers.mini_swe_agent import MINI_SWE_AGENT
from analyzer.readers.mlflow import MLFLOW
from analyzer.readers.openai_traces import OPENAI_TRACES
from analyzer.readers.openclaw import OPENCLAW
from analyzer.readers.opencode import OPENCODE
from analyzer.readers.openhands import OPENHANDS
from analyzer.readers.openinference import OPENINFERENCE
from analyzer.readers.otlp_json import OTLP_JSON
from analyzer.readers.otlp_logs import OTLP_LOGS
from analyzer.readers.otlp_protobuf import OTLP_PROTOBUF
from analyzer.readers.pi import PI
from analyzer.readers.sdk_spans import SDK_SPANS
from analyzer.readers.span_record import SPAN_RECORD
from analyzer.readers.span_rows import SPAN_ROWS
from analyzer.readers.swe_agent import SWE_AGENT
from analyzer.readers.tau2 import TAU2
from analyzer.readers.weave import WEAVE
from analyzer.readers.wrapped_otlp import WRAPPED_OTLP
from analyzer.readers.zipkin import ZIPKIN

FORMATS: Final[tuple[Format, ...]] = (
    OTLP_PROTOBUF,
    LOGS_PROTOBUF,
    WRAPPED_OTLP,
    OTLP_JSON,
    JAEGER,
    ZIPKIN,
    JS_SPANS,
    OTLP_LOGS,
    LANGFUSE,
    BRAINTRUST,
    LANGSMITH,
    MLFLOW,
    WEAVE,
    OPENAI_TRACES,
    DATADOG,
    APP_INSIGHTS,
    OPENINFERENCE,
    SPAN_RECORD,
    SDK_SPANS,
    SPAN_ROWS,
    ATTRIBUTE_MAP,
    TAU2,
    MINI_SWE_AGENT,
    GROUP_CHAT,
    SWE_AGENT,
    OPENHANDS,
    CODEX,
    CODEX_EXEC,
    GEMINI_CLI,
    GEMINI_STREAM,
    INSPECT,
    ATIF,
    OPENCLAW,
    OPENCODE,
    PI,
    CLAUDE_STREAM,
    CLAUDE_CODE,
    CHAT_MESSAGES,
)


def format_of(head: bytes, formats: Iterable[Format] = FORMATS, *, binary: bool = False) -> Format | None:
    """The format whose mark `head` bears, among the binary ones or the others; None where it is none of `formats`."""
    return next((f for f in formats if f.binary == binary and f.sniff(head)), None)
