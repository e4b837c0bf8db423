"""What the user says in the course of a run of decorated functions, as far as the arguments of model calls tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from instrument import genai_messages, sameness
from instrument.capture import as_text

_LAST: Final = 8
"""New messages stand at the end of a request."""


class Words:
    """Tells new words of the user from a prompt that was put together again; the live twin of `analyzer.frames.Frames.questions`.

    Keeps a key for each message of the user, and the texts of those that the last request held.
    """

    def __init__(self) -> None:
        self._seen: set[int | None] = set()
        self._before: dict[int | None, str] | None = None
        """Of the request before, by key; None: there was none."""
        self._acted = False

    def acted(self) -> None:
        """A tool was called."""
        self._acted = True

    def new(self, given: Mapping[str, Any]) -> bool:
        """Whether a model call with these arguments holds a message of the user that is new, other than in the first request."""
        asked = {sameness.output_key(text): text for text in _asked(given)}
        before, acted = self._before, self._acted
        fresh = [text for key, text in asked.items() if key not in self._seen]
        self._seen.update(asked)
        self._before, self._acted = dict(list(asked.items())[-_LAST:]), False
        if before is None:
            return False
        gone = [text for key, text in before.items() if key not in asked] if acted else []
        return any(not any(sameness.retells(text, old) for old in gone) for text in fresh[-_LAST:])


def _asked(given: Mapping[str, Any]) -> list[str]:
    """The texts of the user's messages, as `instrument.call` records them."""
    sent = given.get("messages")
    if isinstance(sent, (list, tuple)):
        users = [m for m in genai_messages.messages(sent) if m["role"] == "user"]
        texts = ("\n".join(str(p.get("content")) for p in m["parts"] if p["type"] == "text") for m in users)
        return [text for text in texts if text]
    prompt = given.get("prompt")
    if isinstance(prompt, str):
        return [prompt]
    rest = {name: value for name, value in given.items() if name not in ("model", "system", "tools")}
    values = list(rest.values())
    return [as_text(values[0] if len(values) == 1 and isinstance(values[0], str) else rest)[0]]
