"""When a call is one of a tool that does not exist, as SQL over `spans`."""

from __future__ import annotations

from typing import Final

_SAYS: Final = (
    r"(unknown|no ?such|nonexistent|non-existent|unrecognized|unavailable|not an? (valid|known|available)) ?tool"
    r"|\b(unknown_?tool|(no_?such_?)?tool_?not_?found)"
    r"|(^|[^\w/.-])tools?[\s:\x22\x27`(][^:;/]{0,80}(not found|does not exist|doesn.?t exist|is not (defined|registered|recognized))"
)
UNDECLARED: Final = "coalesce(NOT declared OR rejected = 'unknown_tool', false)"
"""The request that asked for the tool did not declare it."""

SAID_UNKNOWN: Final = (
    "CASE WHEN failed AND rejected IS DISTINCT FROM 'blocked' AND NOT (coalesce(failure_inferred, false) "
    "AND NOT contains(lower(error_message), lower(tool_name))) "
    f"THEN regexp_matches(coalesce(failure_kind, ''), '{_SAYS}', 'i') ELSE false END"
)
"""The error says that there is no such tool; what a guard says of a call that it blocked is no error of the tool. Where nobody flagged an
error, the text must name the tool: it may speak of another one, or of a hammer.
"""

# What was declared exists, whatever an error says; and that is nearly every call, and quickly seen.
UNKNOWN: Final = f"(declared IS DISTINCT FROM true AND ({UNDECLARED} OR {SAID_UNKNOWN}))"
