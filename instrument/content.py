"""What of a span's content is written: all of it, keys in its place, or nothing. See `record(content=...)`.

What counts as content is known by name for every dialect we read; beyond that, any long text is content. So an instrumentation that
nobody has heard of cannot carry a prompt past `hashed` and `none`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import orjson

from instrument import semconv
from instrument.store.dialects import FAMILIES, TEXT

Mode = Literal["full", "hashed", "none"]

_COLUMNS: Final = (
    "arguments",
    "result",
    "system",
    "input_messages",
    "output_messages",
    "tool_definitions",
    "io_input",
    "io_output",
    "error_message",
)
_NAMES: Final = frozenset(name for column in _COLUMNS for name in TEXT[column]) | {
    *(
        "gen_ai.prompt",
        "gen_ai.completion",
        "pydantic_ai.all_messages",
        "model_request_parameters",
        "logfire.msg",
        "metadata",
    ),
    *(
        "llm.invocation_parameters",
        "llm.prompts",
        "llm.completions",
        "exception.message",
        "exception.stacktrace",
        "url.query",
        "url.full",
    ),
}
_FAMILIES: Final = (
    *FAMILIES,
    "ai.prompt",
    "ai.response.",
    "retrieval.documents.",
    "langfuse.trace.",
    "traceloop.association.properties.",
)
LABELS: Final = frozenset(name for column, names in TEXT.items() if column not in _COLUMNS for name in names)
"""Names whose values are ids, models, tools and the like: written in every mode and left alone by redaction."""
_LONGEST_LABEL: Final = 200
"""A string with more characters than this is content, whatever its name."""


def is_content(name: str, value: Any) -> bool:
    """Whether an attribute says what was said, as opposed to who, when, how much."""
    if name in LABELS or isinstance(value, (bool, int, float)):
        return False
    return name in _NAMES or name.startswith(_FAMILIES) or not _is_label(value)


def _is_label(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_LABEL
    if isinstance(value, (list, tuple)):
        return all(map(_is_label, value))
    return value is None or isinstance(value, (bool, int, float))


def without(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that are no content."""
    return {k: v for k, v in attributes.items() if not is_content(k, v)}


def keys_of(
    attributes: Mapping[str, Any], *, failed: bool, error_type: str | None, message: str | None
) -> dict[str, Any]:
    """What stands in the place of content in `hashed` mode: the keys of `instrument.sameness`, as `semconv` names them.

    Computed from the same (redacted) text that `full` would have written, so that both modes give the same findings.
    """
    # Imported here: only this mode needs it, and it loads hashlib.
    from instrument import sameness

    def text(column: str) -> str | None:
        value = next((attributes[n] for n in TEXT[column] if attributes.get(n) is not None), None)
        return value if value is None or isinstance(value, str) else orjson.dumps(value, default=str).decode()

    found: dict[str, Any] = {}
    tool, arguments, result = text("tool_name"), text("arguments"), text("result")
    _put_keys(
        found,
        (semconv.CALL_KEY, sameness.call_key(tool, arguments)),
        (semconv.LOOSE_CALL_KEY, sameness.loose_call_key(tool, arguments)),
    )
    if tool is not None and arguments is not None:
        found[semconv.NULL_INPUT] = sameness.is_null_input(arguments)
    if result is not None:
        read = sameness.result_text(result) or ""
        _put_keys(found, (semconv.RESULT_KEY, sameness.result_key(read)))
        found[semconv.RESULT_CHARS] = len(read)
    if tool is not None and (failed or sameness.says_error(result)):
        kind = sameness.failure_kind(error_type if failed else None, message or result)
        found[semconv.FAILURE_KIND] = _unsaid(error_type if failed else None, kind)
    if (definitions := _decoded(text("tool_definitions"))) is not None:
        found[semconv.DECLARED_TOOLS] = orjson.dumps([n for d in definitions if (n := _tool_name(d))]).decode()
    if (sent := _decoded(text("input_messages"))) is not None:
        _put_keys(found, (semconv.ASKED_KEY, _asked_key(sent)))
    if (answered := _decoded(text("output_messages"))) is not None:
        parts = [p for m in answered if isinstance(m, dict) for p in m.get("parts") or () if isinstance(p, dict)]
        said = "\n".join(str(p.get("content")) for p in parts if p.get("type") == "text")
        _put_keys(
            found,
            (semconv.OUTPUT_KEY, sameness.output_key(said)),
            (semconv.LOOSE_OUTPUT_KEY, sameness.loose_output_key(said)),
        )
        found[semconv.OUTPUT_CHARS] = len(said)
        calls = [_requested(p) for p in parts if p.get("type") == "tool_call"]
        found[semconv.REQUESTED_TOOLS] = orjson.dumps(calls).decode()
    return found


def _asked_key(messages: list[Any]) -> int | None:
    """Key of the last message of the user that holds words."""
    from instrument import sameness

    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            parts = message.get("parts")
            if isinstance(parts, list) and any(isinstance(p, dict) and p.get("type") == "text" for p in parts):
                return sameness.key_of(sameness.canonical(message))
    return None


def _unsaid(error_type: str | None, kind: str) -> str:
    """A failure kind without a word of the error's text: equal kinds stay equal, two others look alike once in four billion times."""
    from instrument import sameness

    label = error_type if error_type and _is_label(error_type) else "error"
    return f"{label} #{sameness.key_of(kind.encode('utf-8', 'replace')) >> 32:08x}"


def _requested(part: dict[str, Any]) -> list[str | bool | None]:
    from instrument import sameness

    name, arguments = part.get("name"), part.get("arguments")
    return [
        part.get("id"),
        name,
        _hex(sameness.call_key(name, arguments)),
        _hex(sameness.loose_call_key(name, arguments)),
        None if arguments is None else sameness.is_null_input(arguments),
    ]


def _tool_name(definition: Any) -> str | None:
    if not isinstance(definition, dict):
        return None
    function = definition.get("function")
    name = definition.get("name") or (function.get("name") if isinstance(function, dict) else None)
    return name if isinstance(name, str) else None


def _decoded(text: str | None) -> list[Any] | None:
    try:
        value = orjson.loads(text) if text is not None else None
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _hex(key: int | None) -> str | None:
    return None if key is None else f"{key:016x}"


def _put_keys(into: dict[str, Any], *pairs: tuple[str, int | None]) -> None:
    into.update({name: f"{key:016x}" for name, key in pairs if key is not None})
