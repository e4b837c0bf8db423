"""Values of the host program as text: arguments and results of whatever it calls. Never raises, whatever the value."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Set
from typing import Any, Final

import orjson

LIMIT_CHARS: Final = 100_000
"""Strings longer than this are cut. Ten times what a model is usually shown of one tool result."""
_REPR_CHARS: Final = 1_000
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
# An address differs from call to call; without it the same call looks the same.
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


class Parameters:
    """The names under which a function's arguments are recorded; `self` and `cls` are left out."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        kinds = inspect.Parameter
        try:
            found = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):  # a builtin without a signature: positions have to do
            found = []
        names = [p.name for p in found if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        self._skipped = 1 if names[:1] in (["self"], ["cls"]) else 0
        self._names = names[self._skipped :]
        self._rest = next((p.name for p in found if p.kind is kinds.VAR_POSITIONAL), "args")

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name, as given: defaults are not filled in."""
        if self._skipped:
            args = args[1:]
        values = dict(zip(self._names, args, strict=False))
        if len(args) > len(self._names):
            values[self._rest] = args[len(self._names) :]
        if kwargs:
            values.update(kwargs)
        return values


def as_text(value: Any) -> tuple[str, int]:
    """A result as the model would read it: text as it is, None as `null`, all else as JSON. And how many characters were cut."""
    if isinstance(value, str):
        return (value, 0) if len(value) <= LIMIT_CHARS else (value[:LIMIT_CHARS], len(value) - LIMIT_CHARS)
    return as_json(value)


def as_json(value: Any) -> tuple[str, int]:
    """A value as JSON, and how many characters were cut from its strings. What cannot be JSON is its `repr` in quotes."""
    text = _json(value)
    if len(text) <= LIMIT_CHARS:
        return text, 0
    cut = 0

    def clip(value: Any) -> Any:
        nonlocal cut
        if isinstance(value, str) and len(value) > LIMIT_CHARS:
            cut += len(value) - LIMIT_CHARS
            return value[:LIMIT_CHARS]
        if isinstance(value, list):
            return [clip(v) for v in value]
        return {k: clip(v) for k, v in value.items()} if isinstance(value, dict) else value

    return orjson.dumps(clip(orjson.loads(text))).decode(), cut


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS).decode()
    except Exception:  # noqa: BLE001 - a number of 80 digits, a lone surrogate, a cycle, an object that lies
        return _json_slowly(value)


def _json_slowly(value: Any) -> str:
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False, skipkeys=True)
        return orjson.dumps(orjson.loads(text.encode("utf-8", "replace"))).decode()
    except Exception:  # noqa: BLE001 - the repr is always possible
        return orjson.dumps(described(value)).decode()


def _plain(value: Any) -> Any:
    """What `orjson` has no type for."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted((described(v) if not isinstance(v, str) else v for v in value), key=str)
    if isinstance(value, bytes):
        return value[:_REPR_CHARS].decode("utf-8", "replace")
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):  # pydantic, by its looks
        return dump(mode="json")
    return described(value)


def described(value: Any) -> str:
    """The `repr`, without addresses and never longer than a paragraph; the type's name where there is none."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a repr may do anything
        return f"<{type(value).__name__}>"
    return _ADDRESS.sub("", text)[:_REPR_CHARS].encode("utf-8", "replace").decode()


def message_of(error: BaseException) -> str:
    """The text of an exception, at most `LIMIT_CHARS` long."""
    try:
        return str(error)[:LIMIT_CHARS]
    except Exception:  # noqa: BLE001 - a __str__ may do anything
        return f"<{type(error).__name__}>"


def type_of(error: BaseException) -> str:
    """Name of an exception's class, with its module unless it is a builtin."""
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
