"""When an error says that the arguments did not fit, as SQL over `spans`."""

from __future__ import annotations

from typing import Final

from analyzer.detectors.unknown_tool.unknown import UNKNOWN

_SAYS: Final = (
    r"(invalid|bad|wrong|malformed).{0,12}(argument|parameter|tool.?input|tool.?call)"
    r"|(missing|required).{0,30}(argument|parameter|property|propert(y|ies)|field)|field required"
    r"|unexpected.{0,10}argument|unknown (argument|parameter)|additional ?propert|extra inputs are not"
    r"|validation errors? for|input.?validation.?error|(not|n.t) (match|fit|conform).{0,20}schema|schema validation"
)
SAID_INVALID: Final = (
    "CASE WHEN failed AND (rejected IS NULL OR rejected = 'invalid_arguments') "
    f"THEN regexp_matches(coalesce(failure_kind, ''), '{_SAYS}', 'i') AND NOT {UNKNOWN} ELSE false END"
)
"""What a guard says of a call that it blocked is no error of the tool, and a tool that does not exist is
`unknown_tool`'s.
"""
