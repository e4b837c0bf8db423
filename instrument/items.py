"""JSON lists of which most items are known from the last time: a model call repeats the whole history, and only its end is new.

So a message is converted, looked through for secrets and quoted for its line once, and a call costs what is new in it. Items are found
again by what they say, never by identity: a program may change a message it has sent. That is cheap for text, whose hash Python keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

import orjson

from instrument import genai_messages
from instrument.otlp_line import dumps
from instrument.redact import Redactor

_KEPT_CHARS: Final = 2_000_000
"""Of the latest items at least these many characters are kept, and at most twice as many: half a million tokens of history."""
_SYSTEM: Final = object()
_TOOLS: Final = object()
_PLAIN: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
"""What has no JSON of its own is not looked up: two of those may look the same and mean different things."""


class Item:
    """One item of a list, as JSON."""

    __slots__ = ("cut", "json", "seen")

    def __init__(self, json: str, cut: int) -> None:
        self.json = json
        self.cut = cut
        """How many characters were cut from it."""
        self.seen: tuple[Redactor | None, bytes, int] = (None, b"", 0)
        """Who last looked for secrets, the item without them as it stands inside a JSON string, and how many were replaced."""

    def look(self, redactor: Redactor) -> tuple[bytes, int]:
        """Makes `seen` that of this redactor, and gives its second and third."""
        text, found = redactor.text(self.json)
        quoted = dumps(text)[1:-1]
        self.seen = (redactor, quoted, found)
        return quoted, found


class Items(tuple[Item, ...]):
    """A JSON list, as the value of an attribute. `str` of it is the JSON."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"[{','.join([item.json for item in self])}]"

    @property
    def cut(self) -> int:
        """How many characters were cut from all of them."""
        return sum([item.cut for item in self])

    def quoted(self, redactor: Redactor) -> tuple[list[bytes], int]:
        """Each item without secrets, as it stands inside a JSON string, and how many secrets were replaced in all."""
        pieces, count = [], 0
        for item in self:
            by, quoted, found = item.seen
            if by is not redactor:
                quoted, found = item.look(redactor)
            pieces.append(quoted)
            count += found
        return pieces, count


class Known:
    """Makes items and remembers the latest. `as_json` gives a value as JSON and how many characters were cut from it."""

    def __init__(self, as_json: Callable[[Any], tuple[str, int]]) -> None:
        self._as_json = as_json
        self._recent: dict[Hashable, Item] = {}
        self._before: dict[Hashable, Item] = {}
        self._chars = 0

    def messages(self, given: Iterable[Any]) -> Items | None:
        """The messages of a request; None where something in it has no role and so is none."""
        field, recent, out = genai_messages.field, self._recent, []
        for m in given:
            role, content = (
                (m.get("role"), m.get("content")) if type(m) is dict else (field(m, "role"), field(m, "content"))
            )
            if role is None:
                return None
            item = recent.get((role, content)) if type(content) is str and type(role) is str else None
            out.append(item or self._item(role, content, self._message))
        return Items(out)

    def system(self, given: Any) -> Items:
        """A system prompt."""
        return Items((self._item(_SYSTEM, given, self._parts),))

    def tools(self, given: Any) -> Items:
        """Declared tools, which hardly ever change: one item for all."""
        return Items((self._item(_TOOLS, given, self._tools),))

    def _item(self, kind: Any, value: Any, convert: Callable[[Any, Any], tuple[str, int]]) -> Item:
        try:
            key = (kind, value if type(value) is str else orjson.dumps(value, option=_PLAIN))
            item = self._recent.get(key)
        except TypeError:
            return Item(*convert(kind, value))
        if item is None:
            item = self._before.get(key) or Item(*convert(kind, value))
            self._keep(key, item)
        return item

    def _keep(self, key: Hashable, item: Item) -> None:
        self._chars += len(item.json)
        if self._chars > _KEPT_CHARS:
            self._before, self._recent, self._chars = self._recent, {}, len(item.json)
        self._recent[key] = item

    def _message(self, role: Any, content: Any) -> tuple[str, int]:
        return self._as_json({"role": role or "user", "parts": genai_messages.parts(content)})

    def _parts(self, _: Any, given: Any) -> tuple[str, int]:
        return self._inside(genai_messages.parts(given))

    def _tools(self, _: Any, given: Any) -> tuple[str, int]:
        return self._inside(genai_messages.tools(given))

    def _inside(self, values: list[Any]) -> tuple[str, int]:
        text, cut = self._as_json(values)
        return (text[1:-1] if text[:1] == "[" else text), cut  # what cannot be JSON is its repr: one odd item
