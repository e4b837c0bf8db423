"""Context windows of models, in tokens: the user's own numbers first, then those of the genai-prices data set; unknown stays unknown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache


def window_of(model: str, own: Mapping[str, int]) -> int | None:
    """The context window of `model` in tokens, or None where nobody says.

    `own` (`context.windows` of the policy) names models, or the beginnings of their names; the longest that fits decides.
    """
    fitting = [name for name in own if model.startswith(name)]
    return own[max(fitting, key=len)] if fitting else _published(model)


@cache
def _published(model: str) -> int | None:
    """Window of the model as genai-prices has it (its `context_window`, from the providers' model pages), under
    whatever name a provider gives it."""
    from genai_prices.data_snapshot import get_snapshot  # a third of a second, and only for this

    for name in dict.fromkeys((model, model.rsplit("/", 1)[-1])):
        try:
            _, found = get_snapshot().find_provider_model(name, None, None, None)
        except LookupError:
            continue
        if found.context_window:
            return int(found.context_window)
    return None
