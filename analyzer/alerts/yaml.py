"""Writes plain values as YAML that people like to read: block style, quotes where needed, long text as it is."""

from __future__ import annotations

import json
import re
from typing import Final, TypeAlias

Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value]"

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.,/()+ -]*(?<! )|[0-9]+[smh]")
_WORDS_WITH_MEANING: Final = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_BLOCK_TEXT: Final = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]+")


def emit(value: Value) -> str:
    """The YAML document of `value`, newline at its end. Any string survives the way, control characters included."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Value) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _entry(f"{_scalar(key)}:", item)]
    if isinstance(value, list) and value:
        return [line for item in value for line in _item(item)]
    return [_inline(value)]


def _entry(head: str, item: Value) -> list[str]:
    if isinstance(item, str) and _reads_as_block(item):
        return [f"{head} |-", *(f"  {line}" for line in item.split("\n"))]
    if isinstance(item, (dict, list)) and item:
        return [head, *(f"  {line}" for line in _lines(item))]
    return [f"{head} {_inline(item)}"]


def _item(item: Value) -> list[str]:
    first, *rest = _lines(item)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _inline(value: Value) -> str:
    if isinstance(value, str):
        return _scalar(value)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "[]" if isinstance(value, list) else str(value)


def _reads_as_block(text: str) -> bool:
    # A block scalar takes its indentation from the first line and drops newlines at the end: neither may be special.
    return (
        "\n" in text
        and not text.startswith((" ", "\n"))
        and not text.endswith("\n")
        and bool(_BLOCK_TEXT.fullmatch(text))
    )


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_WITH_MEANING:
        return text
    if '"' in text and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
