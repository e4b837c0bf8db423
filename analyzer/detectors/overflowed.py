"""When a request did not fit the model's context window, as SQL over `spans`."""

from __future__ import annotations

from typing import Final

import polars as pl

from analyzer.frames import Frames

_ERROR: Final = "coalesce(error_type, '') || ' ' || coalesce(error_message, '') || ' ' || coalesce(failure_kind, '')"
_SAYS: Final = (
    r"prompt is too long|(prompt|input|messages?|request)[^.]{0,60} too (long|large) for"
    r"|context[ _-]?(length|window|limit|size)|maximum (context|model) length|maximum context"
    r"|too many input tokens|input is too long|input (tokens?|length)[^.]{0,80} exceed"
    r"|tokens?[^.]{0,60} exceeds? the (model.?s )?(maximum|limit)|exceeds? the (model.?s )?(maximum|limit)[^.]{0,60} tokens"
    r"|reduce the length of the (messages|prompt|input)"
)
"""How providers say it: Anthropic, OpenAI, Google, Bedrock, Mistral, Groq, vLLM, llama.cpp."""
_RATE: Final = r"rate.?limit|throttl|per.(minute|min|hour|day)\b|quota|please wait"
"""Too many tokens in a minute are not too many for the window."""
_CUT_REASON: Final = "finish_reason = 'model_context_window_exceeded'"
CUT: Final = f"coalesce({_CUT_REASON}, false)"
"""The answer was stopped because the window was full."""
OVERFLOWED: Final = f"""(
    kind = 'model' AND ({CUT} OR CASE WHEN failed THEN
        regexp_matches({_ERROR}, '{_SAYS}', 'i') AND NOT regexp_matches({_ERROR}, '{_RATE}', 'i')
    ELSE false END)
)"""
"""The provider refused the request, or stopped the answer, because it did not fit the context window."""
STATED_TOKENS: Final = r"""list_max(list_transform(
    regexp_extract_all(error_message, '([0-9][0-9,]{2,})\s+(?:input )?tokens', 1), lambda n: TRY_CAST(replace(n, ',', '') AS BIGINT)
))"""
"""The size of the request as the refusal tells it; NULL where it does not."""


def overflowing(frames: Frames) -> pl.Series:
    """Runs (`run_key`, each once) with a call that did not fit."""
    # Each by itself, because then the scan sieves out nearly all rows before it reads a text.
    cut = frames.rows(f"kind = 'model' AND {_CUT_REASON}", [])
    refused = frames.rows(f"kind = 'model' AND failed AND {OVERFLOWED}", [])
    return pl.concat([cut["run_key"], refused["run_key"]]).unique().sort()
