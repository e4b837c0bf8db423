"""What to say of a file that holds no trace we can read."""

from __future__ import annotations

import re
from typing import Final

_BINARY: Final = (
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it, or use zip or tar"),
    (b"Rar!", "is a RAR archive; unpack it, or use zip or tar"),
    (b"BZh", "is compressed more often than flyball unpacks; unpack it first"),
    (b"\xfd7zXZ", "is compressed more often than flyball unpacks; unpack it first"),
    (b"\x1f\x8b", "is compressed more often than flyball unpacks; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed more often than flyball unpacks; unpack it first"),
    (b"SQLite format 3", "is an SQLite database; export the traces as OTLP JSON Lines"),
    (b"%PDF", "is a PDF"),
    (b"\x89PNG", "is a picture"),
    (b"\0", "begins with NUL bytes: the disk may have failed while it was written, or it is no text at all"),
)
_OTHER_SIGNAL: Final = re.compile(rb'"resource(Logs|Metrics)"\s*:')

_INSTEAD: Final = "; send the spans to an OpenTelemetry collector too, or to `flyball serve`, and give what that wrote"
_OF_OTHERS: Final = (
    (
        re.compile(rb'"schemaType"\s*:\s*"ModelInvocationLog"'),
        f"is Amazon Bedrock's log of model invocations, which knows no agents and no tools{_INSTEAD}",
    ),
    (
        re.compile(rb'"(?:helicone|Helicone)[-_A-Za-z]*"\s*:'),
        f"is an export of Helicone, which logs single requests and no runs{_INSTEAD}",
    ),
    (re.compile(rb'"total_estimated_cost"\s*:'), f"is an export of Opik, whose form flyball does not read{_INSTEAD}"),
    (
        re.compile(rb'"timestamps"\s*:\s*\{\s*"(?:started_at|first_token_at|startedAt)"'),
        f"is an export of LangWatch, whose form flyball does not read{_INSTEAD}",
    ),
    (
        re.compile(rb'"Segments"\s*:\s*\[\s*\{\s*"(?:Document|Id)"'),
        "holds AWS X-Ray segments; give the spans of the log group `aws/spans` of CloudWatch instead",
    ),
    (
        re.compile(rb'"messages_display"\s*:'),
        "holds talks as text for display (few-shot examples of tau-bench), which does not say what was called with what; give the results",
    ),
    (
        re.compile(rb'"confirmation_policy"\s*:'),
        "is the state of an OpenHands conversation; give its events instead",
    ),
    (
        re.compile(rb'"say"\s*:\s*"api_req_started"'),
        "is what Cline or Roo Code shows its user (`ui_messages.json`); give `api_conversation_history.json` of the same task, which holds "
        "the messages",
    ),
    (
        re.compile(rb'"type"\s*:\s*"(?:assistant\.message|tool\.execution_start)"'),
        "holds events of GitHub Copilot's command line, which flyball does not read; have it export OpenTelemetry instead",
    ),
    (
        re.compile(rb'"hook_event_name"\s*:'),
        "holds what hooks of a coding agent were told, which has no model calls; give the session file it names as `transcript_path`",
    ),
    (
        re.compile(rb'"sessionID"\s*:\s*"ses_[^"]{0,80}"[^\0]{0,2000}"(?:modelID|messageID)"\s*:'),
        "is one piece of an opencode session; give what `opencode export` writes of the whole session",
    ),
    (
        re.compile(rb'"type"\s*:\s*"(?:response\.\w+\.(?:delta|added|done)|content_block_delta|message_start)"'),
        "is the stream of one model's answer as it came over the network; give what the agent or its instrumentation recorded",
    ),
)
"""Files that lie beside traces, and what they are."""


def refusal(head: bytes) -> str:
    """What a file that begins with `head` seems to be, and what to do."""
    if not head.strip():
        return "is empty: nothing was recorded in it, or nothing yet"
    for start, sentence in _BINARY:
        if head.startswith(start):
            return sentence
    if signal := _OTHER_SIGNAL.search(head):
        kind = signal.group(1).decode().lower()
        return f"holds OpenTelemetry {kind}, not traces; give the file the traces were exported to"
    for mark, sentence in _OF_OTHERS:
        if mark.search(head):
            return sentence
    if head.lstrip()[:1] in (b"{", b"["):
        return "is JSON, but holds no spans in a format flyball knows"
    return "holds no trace"
