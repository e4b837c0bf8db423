"""When a failure is one of the way to a service and not of what was asked of it, as SQL over `spans`."""

from __future__ import annotations

from typing import Final

_SAYS: Final = (
    r"time[ds]?[ _-]?out|deadline.?exceeded"
    r"|rate.?limit|too.?many.?requests|throttl|quota.?exceeded"
    r"|overloaded|(service|temporarily).?(is.?)?unavailable|bad.?gateway|internal.?server.?error|\bapi_error\b|server.?busy"
    r"|connection.?(was.?)?(reset|refused|aborted|closed|error|lost|failed)|connecterror|connect.?timeout|server.?disconnected"
    r"|econn(reset|refused|aborted)|network.?(error|is.?unreachable)|broken.?pipe|remote.?protocol.?error"
    r"|(status|http|code|error)\W{0,4}(code)?\W{0,4}(408|425|429|500|502|503|504|529)\b"
)
"""Answers that ask to come again later (RFC 9110, 8470, 6585; 529 is Anthropic's `overloaded_error`), and connections
that broke.
"""
_STATUS: Final = "(408|425|429|5[0-9][0-9])"

TRANSPORT: Final = (
    f"CASE WHEN failed THEN regexp_full_match(coalesce(error_type, ''), '{_STATUS}') OR regexp_matches("
    f"concat_ws(' ', error_type, coalesce(error_message, failure_kind)), '{_SAYS}', 'i') ELSE false END"
)
"""The failure may pass by itself: a limit, an overload, a time-out, a lost connection."""
