"""When a model call failed because its context was too long, as SQL over `spans`."""

from __future__ import annotations

from typing import Final

_SAYS: Final = (
    r"prompt is too long|context[ _-]?(length|window|limit)|maximum context|too many (input )?tokens"
    r"|input is too long|exceeds? the (model.?s )?(maximum|limit)"
)
_ERROR: Final = "coalesce(error_message, '') || ' ' || coalesce(failure_kind, '')"
OVERFLOWED: Final = f"""(
    kind = 'model' AND (
        coalesce(finish_reason, '') = 'model_context_window_exceeded'
        OR CASE WHEN failed THEN regexp_matches({_ERROR}, '{_SAYS}', 'i') ELSE false END
    )
)"""
"""The provider refused the request, or stopped the answer, because the context was full."""
