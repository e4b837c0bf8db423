"""Whether a tool's input fits its schema, said so that a model can mend it. Never raises, never fetches, whatever schema and input are.

Where a schema cannot be followed (broken, or with references to somewhere else) the input counts as fitting: the tool will see.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import jsonschema
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema_specifications import REGISTRY

MAX_PROBLEMS: Final = 3
MAX_CHARS: Final = 500
_READ: Final = 50
_NAME_CHARS: Final = 60
_MAX_DEPTH: Final = 100
_LONG_CHARS: Final = 10_000
_LONG_DIGITS: Final = 10**300
_CACHED: Final = 512
# Line breaks, controls and marks that change the direction of text: a name from the model is one word in our sentence.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_JSON_NAMES: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
}


def check(schema: Mapping[str, Any] | None, given: Any) -> str | None:
    """What is wrong with `given` by the JSON Schema (2020-12, or the draft it names), or None.

    At most three problems in 500 characters: what is missing, what does not exist, what has another type, value or range than it may have.
    """
    if schema is None:
        return None
    problems: list[str] = []
    try:
        errors = islice(_validator(schema).iter_errors(_tamed(given)), _READ)
        for problem in _problems(errors):
            if problem not in problems:
                problems.append(problem)
    except Exception:  # noqa: BLE001, S110 - a schema that cannot be followed; what was found until then still holds
        pass
    if not problems:
        return None
    return _joined(problems)


def _joined(problems: list[str]) -> str:
    more = len(problems) - MAX_PROBLEMS
    rest = f"; and {more} more" if more > 0 else ""
    text = "; ".join(problems[:MAX_PROBLEMS])
    room = MAX_CHARS - len(rest)
    return (text if len(text) <= room else text[: room - 1] + "…") + rest


# --- the schema -------------------------------------------------------------------------------------------------------


def _validator(schema: Mapping[str, Any]) -> Validator:
    """Compiled once; by identity, since schemas are no keys. The entry keeps the schema, so its id stays its own."""
    entry = _compiled.get(id(schema))
    if entry is None or entry[0] is not schema:
        if len(_compiled) >= _CACHED:
            _compiled.clear()
        cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        # This registry knows the drafts and retrieves nothing; the default one opens addresses.
        entry = _compiled[id(schema)] = (schema, cls(dict(schema), registry=REGISTRY))
    return entry[1]


_compiled: dict[int, tuple[Mapping[str, Any], Validator]] = {}


# --- the input --------------------------------------------------------------------------------------------------------


class _LongText(str):
    """jsonschema writes the `repr` of what it refuses into its messages, which we do not read."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "…"


class _LongNumber(int):
    __slots__ = ()

    def __repr__(self) -> str:
        return "…"  # Python refuses to write out more than 4,300 digits

    __str__ = __repr__


def _tamed(value: Any, depth: int = 0) -> Any:
    """The input with nothing in it that is costly or impossible to write out; what lies very deep is left out."""
    if isinstance(value, str):
        return value if len(value) < _LONG_CHARS else _LongText(value)
    if type(value) is int:
        return value if -_LONG_DIGITS < value < _LONG_DIGITS else _LongNumber(value)
    if isinstance(value, dict):
        return {str(k): _tamed(v, depth + 1) for k, v in value.items()} if depth < _MAX_DEPTH else {}
    if isinstance(value, (list, tuple)):
        return [_tamed(v, depth + 1) for v in value] if depth < _MAX_DEPTH else []
    return value


# --- the words --------------------------------------------------------------------------------------------------------


def _problems(errors: Iterator[ValidationError]) -> Iterator[str]:
    for error in errors:
        yield from _of_error(error)


def _of_error(error: ValidationError) -> Iterator[str]:
    where, keyword, wanted, given = _where(error), str(error.validator), error.validator_value, error.instance
    if keyword == "required":
        if isinstance(given, dict) and isinstance(wanted, list):
            yield from (f"{_quoted(_inside(where, name))} is missing" for name in wanted if name not in given)
    elif keyword in ("additionalProperties", "unevaluatedProperties") and isinstance(given, dict):
        known = _known(error)
        yield from (_unknown(where, name, known) for name in given if name not in known)
    elif keyword in ("anyOf", "oneOf") and error.context:
        yield from _of_choices(error, where)
    else:
        yield f"{_subject(where)} {_rule(keyword, wanted)}, not {_shown(given)}"


def _of_choices(error: ValidationError, where: str) -> Iterator[str]:
    """Of the branches of a union: all their types if none of them fits by type, else what is wrong with the one that fits best."""
    branches: list[ValidationError] = list(error.context or ())
    types: list[Any] = [b.validator_value for b in branches if b.validator == "type" and not b.relative_path]
    if len(types) == len(branches):
        names = dict.fromkeys(name for t in types for name in ([t] if isinstance(t, str) else t))
        yield f"{_subject(where)} must be {' or '.join(names)}, not {_shown(error.instance)}"
        return
    fitting = [b for b in branches if not (b.validator == "type" and not b.relative_path)]
    yield from _of_error(max(fitting, key=lambda b: len(b.relative_path)))


def _rule(keyword: str, wanted: Any) -> str:
    match keyword:
        case "type":
            return f"must be {wanted if isinstance(wanted, str) else ' or '.join(map(str, wanted))}"
        case "enum" if isinstance(wanted, list):
            return (
                f"must be one of {', '.join(_shown_value(w) for w in wanted[:10])}{', …' if len(wanted) > 10 else ''}"
            )
        case "const":
            return f"must be {_shown_value(wanted)}"
        case "minimum" | "exclusiveMinimum":
            return f"must be {'at least' if keyword == 'minimum' else 'above'} {wanted}"
        case "maximum" | "exclusiveMaximum":
            return f"must be {'at most' if keyword == 'maximum' else 'below'} {wanted}"
        case "minLength" | "maxLength":
            return f"must have {'at least' if keyword == 'minLength' else 'at most'} {wanted} characters"
        case "minItems" | "maxItems":
            return f"must have {'at least' if keyword == 'minItems' else 'at most'} {wanted} items"
        case "pattern":
            return f"must match the pattern {_quoted(wanted)}"
    return f"does not fit {_quoted(keyword)} of the schema"


def _where(error: ValidationError) -> str:
    path = ""
    for step in error.absolute_path:
        path = f"{path}[{step}]" if isinstance(step, int) else _inside(path, step)
    return path


def _inside(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _subject(where: str) -> str:
    return _quoted(where) if where else "the input"


def _known(error: ValidationError) -> list[str]:
    """The properties that an object may have. Not those of patterns: they would have matched."""
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    properties = schema.get("properties")
    known = list(properties) if isinstance(properties, Mapping) else []
    patterns = schema.get("patternProperties")
    if isinstance(patterns, Mapping) and isinstance(error.instance, dict):
        known += [name for name in error.instance if any(re.search(pattern, name) for pattern in patterns)]
    return known


def _unknown(where: str, name: str, known: list[str]) -> str:
    told = ", ".join(_cleaned(k) for k in known[:8]) + (", …" if len(known) > 8 else "")
    return f"{_quoted(_inside(where, name))} does not exist" + (f" (there are: {told})" if known else "")


def _shown(value: Any) -> str:
    """A value with its type: a string "12"."""
    if value is None:
        return "null"
    name = next((name for kind, name in _JSON_NAMES.items() if isinstance(value, kind)), type(value).__name__)
    if isinstance(value, (dict, list)):
        return f"{name} of {len(value)}"
    return f"{name} {_shown_value(value)}"


def _shown_value(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, _LongNumber):
        return "of more than 300 digits"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return _cleaned(str(value))


def _quoted(text: object) -> str:
    return f'"{_cleaned(str(text))}"'


def _cleaned(text: str) -> str:
    text = _UNSAFE.sub(" ", text[: 2 * _NAME_CHARS]).replace('"', "'")
    return text if len(text) <= _NAME_CHARS else text[: _NAME_CHARS - 1] + "…"
