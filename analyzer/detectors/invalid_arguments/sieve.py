"""What surely fits its schema, as regular expressions over arguments as recorded, so that the database can pass over millions of calls.

A pattern says yes for plain arguments alone and promises no more than that: what it matches fits the schema, if it is JSON at all.
Everything else is left to the real check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

TELLS_NOTHING: Final = frozenset({"description", "title", "default", "examples", "example", "$comment", "deprecated"})
OBJECT_WORDS: Final = TELLS_NOTHING | {"type", "properties", "required", "additionalProperties", "$schema"}
_SAFE: Final = re.compile(r"[A-Za-z0-9_ .:/@+-]{1,64}", re.ASCII)
"""Names and words that JSON writes in one way only, and that need no care in SQL."""
_MAX_CHARS: Final = 4_000
"""Of a pattern; longer ones are slow to compile."""
_MAX_TOOLS: Final = 200
_MAX_DEPTH: Final = 8
_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_WHOLE: Final = r"-?[0-9]{1,15}"
"""So few digits that every reader of JSON makes a whole number of them."""
_PLAIN: Final[Mapping[str, str]] = {
    "string": _STRING,
    "integer": _WHOLE,
    "number": rf"{_WHOLE}(?:\.[0-9]{{1,15}})?",
    "boolean": "true|false",
    "null": "null",
}
_FROM: Final[Mapping[tuple[str, int], str]] = {
    ("minimum", 0): r"[0-9]{1,15}",
    ("minimum", 1): r"[1-9][0-9]{0,14}",
    ("exclusiveMinimum", 0): r"[1-9][0-9]{0,14}",
}


def fitting(tools: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """SQL over `tool_name` and `arguments`: true where the arguments surely fit each of the schemas that the tool was declared with."""
    cases = []
    for tool, schemas in list(tools.items())[:_MAX_TOOLS]:
        tests = [_test(schema) for schema in schemas]
        if tests and all(tests) and _SAFE.fullmatch(tool):
            cases.append(f"WHEN '{tool}' THEN {' AND '.join(t for t in tests if t)}")
    return f"coalesce(CASE tool_name {' '.join(cases)} ELSE false END, false)" if cases else "false"


def _test(schema: Mapping[str, Any]) -> str | None:
    parts = _members(schema)
    if parts is None:
        return None
    known, required = parts
    # The same name in an object within would be taken for the argument itself.
    if any(name not in known or any(f'"{re.escape(name)}"' in value for value in known.values()) for name in required):
        return None
    members = "|".join(rf'"{re.escape(name)}"\s*:\s*(?:{value})' for name, value in known.items())
    pattern = rf"\s*\{{(?:\s*(?:{members})\s*,?)*\s*\}}\s*" if members else r"\s*\{\s*\}\s*"
    if len(pattern) > _MAX_CHARS:
        return None
    there = (f"""contains(arguments, '"{name}":')""" for name in required)
    return " AND ".join((f"regexp_full_match(arguments, '{pattern}')", *there))


def _members(schema: Mapping[str, Any], depth: int = 0) -> tuple[dict[str, str], list[str]] | None:
    """Of an object's schema the values that surely fit, as patterns by name, and the names that are required; None if it asks for more."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not (schema.keys() <= OBJECT_WORDS and schema.get("type", "object") == "object" and depth <= _MAX_DEPTH):
        return None
    if not (
        isinstance(properties, Mapping) and isinstance(required, list) and all(isinstance(r, str) for r in required)
    ):
        return None
    values = {name: _value(spec, depth + 1) for name, spec in properties.items() if _SAFE.fullmatch(name)}
    return {name: value for name, value in values.items() if value is not None}, required


def _value(spec: Any, depth: int) -> str | None:
    """What values surely fit `spec`, as a pattern; None where that is hard to say."""
    if not isinstance(spec, Mapping) or depth > _MAX_DEPTH:
        return None
    words = {name: spec[name] for name in spec.keys() - TELLS_NOTHING}
    kind = words.pop("type", None)
    match kind, words:
        case str(), {} if not words:
            return _PLAIN.get(kind)
        case None, {"anyOf": [*specs]} if len(words) == 1:
            values = [value for each in specs if (value := _value(each, depth + 1)) is not None]
            return "|".join(values) or None
        case "string", {"enum": [*allowed]} if len(words) == 1:
            safe = [re.escape(word) for word in allowed if isinstance(word, str) and _SAFE.fullmatch(word)]
            return f'"(?:{"|".join(safe)})"' if safe else None
        case "array", {"items": items} if len(words) == 1:
            item = _value(items, depth + 1)
            return rf"\[(?:\s*(?:{item})\s*,?)*\s*\]" if item is not None else None
        case (("integer" | "number"), _) if len(words) == 1:
            ((bound, least),) = words.items()
            return _FROM.get((bound, least)) if type(least) is int else None
        case "object", _:
            return _object(words, depth)
    return None


def _object(words: Mapping[str, Any], depth: int) -> str | None:
    """An object within the arguments: its names in the order of the declaration, each once at most."""
    parts = _members(words, depth)
    if parts is None or not all(name in parts[0] for name in parts[1]):
        return None
    known, required = parts
    members = (
        rf'(?:"{re.escape(name)}"\s*:\s*(?:{value})\s*,?\s*){"" if name in required else "?"}'
        for name, value in known.items()
    )
    return rf"\{{\s*{''.join(members)}\}}"
