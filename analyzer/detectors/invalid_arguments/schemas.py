"""The schemas of declared tools, whoever wrote the declarations, and whether arguments fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson

from analyzer.detectors.invalid_arguments.sieve import OBJECT_WORDS, TELLS_NOTHING

_SCHEMAS: Final = ("parameters", "input_schema", "inputSchema", "json_schema")
_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}


@dataclass(frozen=True)
class Schema:
    """The JSON Schema of one tool's input."""

    body: Mapping[str, Any]

    def problem(self, given: Mapping[str, Any]) -> str | None:
        """What is wrong with `given`, as `instrument.runner.validation.check` says it, or None."""
        if self._surely_fits(given):
            return None
        # Here, because it imports jsonschema, and most stores hold no call that needs it.
        from instrument.runner.validation import check

        return check(self.body, given)

    def _surely_fits(self, given: Mapping[str, Any]) -> bool:
        """A quick yes for what millions of calls are: plain values under known names. Whatever is not plain is left to
        `check`.
        """
        plain = self._plain
        return (
            plain is not None
            and plain.required <= given.keys()
            and all(name in plain.fits and plain.fits[name](value) for name, value in given.items())
        )

    @cached_property
    def _plain(self) -> _Plain | None:
        body = self.body
        properties, required = body.get("properties", {}), body.get("required", [])
        if not (body.keys() <= OBJECT_WORDS and body.get("type", "object") == "object"):
            return None
        if not (
            isinstance(properties, Mapping) and isinstance(required, list) and all(isinstance(r, str) for r in required)
        ):
            return None
        return _Plain(
            frozenset(required), {name: fit for name, p in properties.items() if (fit := _fit(p)) is not None}
        )


@dataclass(frozen=True)
class _Plain:
    required: frozenset[str]
    fits: Mapping[str, Callable[[Any], bool]]
    """By property of one plain type, or of a few words."""


def _fit(schema: Any) -> Callable[[Any], bool] | None:
    if not isinstance(schema, Mapping):
        return None
    words = schema.keys() - TELLS_NOTHING
    allowed = schema.get("enum")
    if words == {"type", "enum"} and schema["type"] == "string" and isinstance(allowed, list):
        return lambda value: isinstance(value, str) and value in allowed
    return _IS.get(schema["type"]) if words == {"type"} and isinstance(schema["type"], str) else None


def schemas_of(definitions: str) -> dict[str, Schema]:
    """Schemas by tool, out of a JSON list of declarations; tools without one, or declared twice in different ways, are
    left out.
    """
    listed = _decoded(definitions)
    found: dict[str, Schema] = {}
    unclear = set()
    for tool in map(_decoded, listed if isinstance(listed, list) else []):
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            continue
        body = next((s for word in _SCHEMAS if isinstance(s := _decoded(inner.get(word)), dict) and s), None)
        if inner["name"] in found and (body is None or found[inner["name"]].body != body):
            unclear.add(inner["name"])
        elif body is not None:
            found[inner["name"]] = Schema(body)
    return {name: schema for name, schema in found.items() if name not in unclear}


def _decoded(value: Any) -> Any:
    """A value that may have been written as JSON text within JSON."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return orjson.loads(value)
    except ValueError:
        return None
