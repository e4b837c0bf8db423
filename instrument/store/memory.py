"""What one load has already worked out: the same values come again and again. Bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from instrument import sameness
from instrument.store.messages import Conversations, Response
from instrument.store.stage import Extras

_REMEMBERED: Final = 100_000
CallFacts = tuple[int | None, int | None, bool | None]
"""`call_key`, `loose_call_key` and `null_input`."""


def remember(memory: dict[Any, Any], key: Any, value: Any, most: int = _REMEMBERED) -> None:
    """Keeps what was worked out; forgets everything rather than growing beyond `most`."""
    if len(memory) >= most:
        memory.clear()
    memory[key] = value


@dataclass
class Memory:
    """Keys of calls, toolsets, attribute sets and messages that one load has seen."""

    conversations: Conversations = field(default_factory=Conversations)
    _attribute_sets: dict[Any, dict[Any, int]] = field(default_factory=dict)
    _calls: dict[tuple[str | None, str | None], CallFacts] = field(default_factory=dict)
    _call_forms: dict[tuple[str | None, str], tuple[int | None, int | None]] = field(default_factory=dict)
    _toolsets: dict[str, tuple[int, frozenset[str]] | None] = field(default_factory=dict)
    _sent_back: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def call_facts(self, tool: str | None, arguments: str | None) -> CallFacts:
        """What tool and arguments alone say of a call."""
        found = self._calls.get((tool, arguments))
        if found is None:
            null = None if arguments is None else sameness.is_null_input(arguments)
            found = (*self._call_keys(tool, arguments), null)
            remember(self._calls, (tool, arguments), found)
        return found

    def _call_keys(self, tool: str | None, arguments: str | None) -> tuple[int | None, int | None]:
        """As `sameness.call_keys`. The model's request and the tool's span often spell the same arguments in two ways."""
        if arguments is None:
            return None, None
        form = sameness.canonical(arguments).decode("utf-8", "replace")
        found = self._call_forms.get((tool, form))
        if found is None:
            found = sameness.call_keys(tool, form)
            remember(self._call_forms, (tool, form), found)
        return found

    def toolset(self, definitions: str, extras: Extras) -> tuple[int, frozenset[str]] | None:
        """Key and names of declared tools; None where the declarations cannot be read."""
        if definitions not in self._toolsets:
            names = tool_names(definitions)
            found = None
            if names is not None:
                found = (sameness.key_of(definitions.encode("utf-8", "replace")), frozenset(names))
                extras.toolsets.append((found[0], names, definitions, len(definitions)))
            remember(self._toolsets, definitions, found)
        return self._toolsets[definitions]

    def sent_back(self, trace_id: str, message_key: int, response: Response) -> None:
        """A result that a message holds: it need not be stored a second time with its tool call."""
        if response.text_hash is not None:
            remember(self._sent_back, (trace_id, response.id, response.text_hash), message_key)

    def message_with(self, trace_id: str, tool_call_id: str, result: str) -> int | None:
        """The message of the trace that holds this very result under this id, if it is known by now."""
        return self._sent_back.get((trace_id, tool_call_id, hash(result)))

    def attribute_sets(self, names: tuple[str, ...], resource: str) -> dict[Any, int]:
        """Keys already given to the values of the attributes `names` of spans of `resource`."""
        if (names, resource) not in self._attribute_sets:
            remember(self._attribute_sets, (names, resource), {})
        return self._attribute_sets[names, resource]


def tool_names(definitions: str) -> list[str] | None:
    """Names of the tools in a JSON list of declarations, OpenAI's nesting under `function` included; None where it is no such list."""
    try:
        tools = orjson.loads(definitions)
    except ValueError:
        return None
    if not isinstance(tools, list):
        return None
    return [name for name in map(_tool_name, tools) if name is not None]


def _tool_name(tool: Any) -> str | None:
    if isinstance(tool, str) and tool[:1] == "{":  # the Vercel AI SDK lists declarations as JSON texts
        try:
            tool = orjson.loads(tool)
        except ValueError:
            return None
    if isinstance(tool, dict):
        inner = tool.get("function")
        tool = tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
    return tool if isinstance(tool, str) else None
