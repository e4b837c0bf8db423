"""Made-up arguments that fit the JSON Schema of a tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice, permutations
from typing import Any

_WORDS = ("holidays", "handbook", "rules", "pages", "entries")
_DEEPEST = 8  # a schema that refers to itself has to end somewhere


def sample_arguments(schema: Mapping[str, Any], number: int = 1) -> dict[str, Any]:
    """Arguments for the required parameters, or for all where none is; another `number` gives others.

    Knows types, `enum`, `const`, `anyOf`, `oneOf`, `allOf` and local `$ref`; formats, patterns and ranges it does not.
    """
    return _object(schema, number, lambda: f"sample {number}")


def same_in_other_words(schema: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Arguments for the same parameters, whose texts ask the same whatever the `number`: its words in another order."""
    order = next(islice(permutations(_WORDS), number % 120, None))
    return _object(schema, 1, lambda: " ".join(order))


def _object(schema: Mapping[str, Any], number: int, text: Callable[[], str]) -> dict[str, Any]:
    value = _sample(schema, number, text, schema, _DEEPEST)
    return value if isinstance(value, dict) else {}


def blank_arguments(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the same parameters that say nothing: empty texts, lists and objects, null for all else."""
    properties = _resolved(schema, schema).get("properties", {})
    empty: dict[Any, Any] = {"string": "", "array": [], "object": {}}
    return {name: empty.get(_kind(_resolved(properties.get(name, {}), schema))) for name in _wanted(schema, schema)}


def _sample(
    schema: Mapping[str, Any], number: int, text: Callable[[], str], root: Mapping[str, Any], depth: int
) -> Any:
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][number % len(schema["enum"])]
    match _kind(schema):
        case "integer" | "number":
            return number
        case "boolean":
            return number % 2 == 0
        case "null":
            return None
        case "array":
            return [_sample(schema["items"], number, text, root, depth - 1)] if schema.get("items") and depth else []
        case "object":
            properties = schema.get("properties", {})
            names = _wanted(schema, root) if depth else ()
            return {name: _sample(properties.get(name, {}), number, text, root, depth - 1) for name in names}
    return text()


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return str(kind[0] if isinstance(kind, list) else kind)


def _wanted(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[str]:
    schema = _resolved(schema, root)
    return list(schema.get("required") or schema.get("properties", {}))


def _resolved(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema behind references, and one of its alternatives: the first that is not null."""
    for _ in range(_DEEPEST):
        if not isinstance(schema, Mapping):  # `true` allows anything
            return {}
        alternatives = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if "$ref" in schema:
            schema = _referred(str(schema["$ref"]), root)
        elif alternatives:
            schema = next((each for each in alternatives if each.get("type") != "null"), {})
        else:
            break
    return dict(schema)


def _referred(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step, {})
    return found if isinstance(found, Mapping) else {}
