"""The formats there are, in the order in which they are tried: what says most about itself comes first."""

from __future__ import annotations

from typing import Final

from analyzer.readers.attribute_map import ATTRIBUTE_MAP
from analyzer.readers.chat_messages import CHAT_MESSAGES
from analyzer.readers.claude_code import CLAUDE_CODE
from analyzer.readers.format import Format
from analyzer.readers.js_spans import JS_SPANS
from analyzer.readers.mini_swe_agent import MINI_SWE_AGENT
from analyzer.readers.otlp_json import OTLP_JSON
from analyzer.readers.pi import PI
from analyzer.readers.swe_agent import SWE_AGENT
from analyzer.readers.tau2 import TAU2

FORMATS: Final[tuple[Format, ...]] = (
    OTLP_JSON,
    JS_SPANS,
    ATTRIBUTE_MAP,
    TAU2,
    MINI_SWE_AGENT,
    SWE_AGENT,
    PI,
    CLAUDE_CODE,
    CHAT_MESSAGES,
)


def format_of(head: bytes) -> Format | None:
    """The format whose mark `head` bears; None where it is none of ours."""
    return next((f for f in FORMATS if f.sniff(head)), None)
