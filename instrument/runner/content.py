"""What a tool returned, as the model reads it. Never raises, whatever it is, and never needs much more memory than the value itself."""

from __future__ import annotations

import itertools
import json
import math
import reprlib
from collections.abc import AsyncIterable, Callable, Iterator, Mapping, Set
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

import orjson

from instrument import sameness
from instrument.capture import described

Content = str | list[dict[str, Any]]
"""The content of a `tool_result` block."""

NO_OUTPUT: Final = "(no output)"
MAX_ITEMS: Final = 10_000
"""Items taken from a generator; an endless one ends here, or at the tool's time limit."""
MAX_NODES: Final = 1_000_000
"""Values inside one result. A list that holds itself twice, thirty levels deep, is small in memory and 2**30 values as JSON."""
_MAX_AWAITS: Final = 5
_REPR_CHARS: Final = 100_000
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
# Fields without which a dict of that type is somebody's data and no content block of the API.
_BLOCK_FIELDS: Final[dict[str, dict[str, type]]] = {
    "text": {"text": str},
    "image": {"source": dict},
    "document": {"source": dict},
    "search_result": {"source": str, "title": str, "content": list},
    "tool_reference": {"tool_name": str},
    "browser_state": {},
}


def as_content(value: Any) -> tuple[Content, str]:
    """A tool's return value as the content of a `tool_result`, and the text of it.

    Text stays as it is (lone surrogates are replaced), None is "(no output)", content blocks of the API stay blocks, generators are read,
    bytes are text or their number, and everything else is JSON, or its `repr` where there is no JSON of it. In the text an image is its
    type, size and key, so that two different pictures are two different results.
    """
    try:
        return _content(value)
    except Exception as e:  # noqa: BLE001 - a value may raise from anything that is asked of it
        text = f"(a {type(value).__name__} that cannot be shown: {type(e).__name__})"
        return text, text


def well_formed(text: str) -> str:
    """`text` as UTF-8 can hold it: lone surrogates become "?"."""
    text = str.__str__(text)  # a subclass may lie about itself
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def only_text(content: Content, instead: str) -> str:
    """The text of an error's content. The API refuses an error result that is empty or holds anything but text."""
    if not isinstance(content, str):
        content = "\n".join(block["text"] for block in content if block["type"] == "text")
    return content if content.strip() else instead


def _content(value: Any) -> tuple[Content, str]:
    if isinstance(value, str):
        text = well_formed(value)
        return text, text
    if value is None:
        return NO_OUTPUT, NO_OUTPUT
    value = drained(value)
    blocks = _blocks([value] if isinstance(value, dict) else value)
    if blocks is not None:
        return blocks, "\n".join(_text_of(block) for block in blocks)
    text = _text(value)
    return text, text


def drained(value: Any) -> Any:
    """The items of an iterator, up to a limit; any other value as it is. Raises what the iterator raises: then the tool has failed."""
    return _read(value) if isinstance(value, Iterator) else value


def _read(items: Iterator[Any]) -> list[Any]:
    read = list(itertools.islice(items, MAX_ITEMS))
    if len(read) == MAX_ITEMS and (close := getattr(items, "close", None)) is not None:
        read.append(f"(only the first {MAX_ITEMS} items were read)")
        close()
    return read


def is_pending(value: Any) -> bool:
    """Whether the value is yet to come: a coroutine, a future, an asynchronous generator."""
    return hasattr(type(value), "__await__") or hasattr(type(value), "__aiter__")


async def awaited(value: Any) -> Any:
    """The value, when it has come: awaited, and read if it is an asynchronous generator."""
    for _ in range(_MAX_AWAITS):
        if not hasattr(type(value), "__await__"):
            break
        value = await value
    return await _read_async(value) if hasattr(type(value), "__aiter__") else value


async def _read_async(items: AsyncIterable[Any]) -> list[Any]:
    read: list[Any] = []
    async for item in items:
        read.append(item)
        if len(read) == MAX_ITEMS:
            read.append(f"(only the first {MAX_ITEMS} items were read)")
            break
    return read


# --- content blocks ---------------------------------------------------------------------------------------------------


def _blocks(value: Any) -> list[dict[str, Any]] | None:
    """Content blocks as the API takes them, as a copy that the tool cannot change later; None where they are none."""
    if not isinstance(value, (list, tuple)) or not value or not all(_is_block(block) for block in value):
        return None
    try:
        blocks = orjson.loads(orjson.dumps(value))
    except Exception:  # noqa: BLE001 - a lone surrogate; or no JSON, and then no blocks either
        text = _json_slowly(value, default=None)
        if text is None:
            return None
        blocks = orjson.loads(text)
    # The API refuses empty text blocks.
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _is_block(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(kind := value.get("type"), str) or kind not in _BLOCK_FIELDS:
        return False
    return all(isinstance(value.get(name), cls) for name, cls in _BLOCK_FIELDS[kind].items())


def _text_of(block: dict[str, Any]) -> str:
    if block["type"] == "text":
        return str(block["text"])
    form = orjson.dumps(block)
    source = block.get("source")
    data = source.get("data") if isinstance(source, dict) else None
    if isinstance(source, dict) and isinstance(data, str) and source.get("type") == "base64":
        return f"[{block['type']} {source.get('media_type')}, {len(data)} characters of base64, key {sameness.key_of(form):016x}]"
    return form.decode()


# --- everything else --------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _of_bytes(value)
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no word for it, and null would be another answer
    if not _is_bounded(value):
        return _short(value)
    try:
        text = orjson.dumps(value, default=_plain, option=_OPTIONS).decode()
    except Exception:  # noqa: BLE001 - a number of 80 digits, a lone surrogate, a cycle, an object that lies
        text = _json_slowly(value, default=_plain) or _short(value)
    # What the whole value had no JSON for came back as one JSON string.
    if text[:1] == '"' and isinstance(decoded := orjson.loads(text), str):
        return decoded
    return text


def _of_bytes(value: bytes | bytearray | memoryview) -> str:
    data = bytes(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"(binary data, {len(data)} bytes)"


def _is_bounded(value: Any) -> bool:
    """Whether the value, written out, has at most `MAX_NODES` values in it. Cycles have not."""
    stack, around, nodes = [(iter((value,)), 0)], {0}, 0
    while stack:
        for item in stack[-1][0]:
            nodes += 1
            if nodes > MAX_NODES or id(item) in around:
                return False
            if inner := _inside(item):
                stack.append((inner, id(item)))
                around.add(id(item))
                break
        else:
            around.discard(stack.pop()[1])
    return True


def _inside(value: Any) -> Iterator[Any] | None:
    if isinstance(value, (str, int, float)):
        return None
    if isinstance(value, dict):
        return iter(value.values())
    if isinstance(value, (list, tuple)):
        return iter(value)
    if hasattr(type(value), "__dataclass_fields__") or hasattr(type(value), "model_dump"):
        return iter(vars(value).values()) if hasattr(value, "__dict__") else None
    return None


def _json_slowly(value: Any, *, default: Callable[[Any], Any] | None) -> str | None:
    try:
        text = json.dumps(value, default=default, ensure_ascii=False, allow_nan=False, skipkeys=True)
        return text.encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - not JSON in any way: the caller says what it is
        return None


def _plain(value: Any) -> Any:
    """What JSON has no type for."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted((v if isinstance(v, str) else described(v) for v in value), key=str)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _of_bytes(value)
    if isinstance(value, (Decimal, PurePath)):
        return str(value)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):  # pydantic, by its looks
        return dump(mode="json")
    if isinstance(value, Iterator):
        return _read(value)
    return _shown(value)


def _shown(value: Any) -> str:
    """The `repr` of an object, which for a table or an array is what a person would read too."""
    text = described(value)
    if len(text) < 1_000:  # where `described` cuts
        return text
    return well_formed(repr(value)[:_REPR_CHARS])


def _short(value: Any) -> str:
    try:
        return well_formed(f"(too large or circular to be shown whole) {reprlib.repr(value)}"[:_REPR_CHARS])
    except Exception:  # noqa: BLE001 - a repr may do anything
        return f"(a {type(value).__name__} that cannot be shown)"
