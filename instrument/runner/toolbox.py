"""The tools of a run, looked up by the names that the model uses."""

from __future__ import annotations

import asyncio
import copy
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from instrument.names import nearest
from instrument.runner import adapters
from instrument.runner.event_loop import ToolLoop
from instrument.runner.tools import RunnableTool, Tool

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""What the Messages API takes for a tool's name."""
_CLIENT_RUN: Final = re.compile(r"(bash|text_editor|computer|memory|browser_toolset|computer_toolset)_\d{8}")
"""Tools that Anthropic defines and the client runs; all others with a type of their own run on the API's side."""


def toolbox(tools: Iterable[Any]) -> Toolbox:
    """The tools of a run, of any kinds: functions, tool objects and toolsets of the SDK, `Tool`, dicts of server tools, and lists of these.

    Raises TypeError for what is no tool or has no schema, ValueError for names that the API refuses and names that two tools share.
    """
    return Toolbox(tools)


class Toolbox:
    """What `toolbox` makes. It closes nothing that it was given: tools that hold something open belong to whoever made them."""

    def __init__(self, tools: Iterable[Any]) -> None:
        self._loop = ToolLoop()
        self._tools: dict[str, RunnableTool] = {}
        self._toolsets: dict[str, Any] = {}
        self._served: list[str] = []
        self._definitions: list[dict[str, Any]] = []
        for tool in _flat(tools):
            self._add(tool)

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The request's `tools`: JSON, a new list of new dicts each time."""
        return copy.deepcopy(self._definitions)

    @property
    def names(self) -> tuple[str, ...]:
        """All declared names: tools that run here, then those of server tools. Members of toolsets are not among them."""
        return (*self._tools, *self._served)

    @property
    def toolsets(self) -> tuple[str, ...]:
        """Families of the toolsets, as `tool_use.toolset_name` has them."""
        return tuple(self._toolsets)

    @property
    def needs_beta(self) -> bool:
        """Whether a definition is of a type that only the beta endpoint takes, as far as the installed SDK knows."""
        return any(definition.get("type", "custom") not in _stable_types() for definition in self._definitions)

    def get(self, name: str, toolset: str | None = None) -> RunnableTool | None:
        """The tool for a `tool_use` block with that `name` and `toolset_name`; None if there is none that runs here."""
        if toolset is None:
            return self._tools.get(name)
        found = self._toolsets.get(toolset)
        return None if found is None else adapters.from_toolset(found, name, self._loop)

    def nearest(self, name: str, toolset: str | None = None) -> tuple[str, ...]:
        """At most three names, of declared tools or of the toolset's members, that the model may have meant; best first."""
        return nearest(name, self.names if toolset is None else adapters.members_of(self._toolsets.get(toolset)))

    def close(self) -> None:
        """Cancels what asynchronous tools have left running in synchronous runs. The toolbox can be used again."""
        self._loop.close()

    async def aclose(self) -> None:
        """As `close`."""
        await asyncio.to_thread(self.close)

    def _add(self, tool: Any) -> None:
        from anthropic.lib.tools import BetaAsyncRunnableToolset, BetaRunnableToolset

        if isinstance(tool, Mapping):
            self._declare(_server_tool(tool))
        elif isinstance(tool, (BetaRunnableToolset, BetaAsyncRunnableToolset)):
            self._free(tool.toolset_name)
            self._toolsets[tool.toolset_name] = tool
            self._declare(tool.to_dict())
        else:
            made = self._runnable(tool)
            # Tools that Anthropic defines have the names they have.
            self._free(made.name)
            self._tools[made.name] = made
            self._declare(made.definition or {})

    def _runnable(self, tool: Any) -> RunnableTool:
        if isinstance(tool, Tool):
            return adapters.from_tool(tool, self._loop)
        if callable(getattr(tool, "to_dict", None)) and callable(getattr(tool, "call", None)):
            return adapters.from_sdk(tool, self._loop)
        return adapters.from_function(tool, self._loop)

    def _free(self, name: object) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name for a tool: the API takes 1 to 128 of a-z, A-Z, 0-9, _ and -; "
                f"give it one with instrument.Tool(name=...) or anthropic.beta_tool(name=...)"
            )
        if name in self._tools or name in self._toolsets or name in self._served:
            raise ValueError(f"two tools are named {name!r}: give one of them another name")

    def _declare(self, definition: Mapping[str, Any]) -> None:
        copied = {k: v for k, v in dict(definition).items() if v is not None}
        if copied.get("type", "custom") != "custom" and copied.get("name") not in self._tools and "name" in copied:
            self._free(copied["name"])
            self._served.append(copied["name"])
        try:
            # What cannot be sent should be known now, and nobody should be able to change it later.
            self._definitions.append(orjson.loads(orjson.dumps(copied)))
        except TypeError as e:
            raise TypeError(
                f"the definition of tool {copied.get('name', copied.get('type'))!r} is not JSON: {e}"
            ) from e


def _flat(tools: Any) -> Iterator[Any]:
    if isinstance(tools, (str, bytes)) or not isinstance(tools, Iterable):
        raise TypeError(f"{tools!r:.80} is no list of tools: pass {adapters.KINDS}")
    for tool in tools:
        if isinstance(tool, Iterable) and not isinstance(tool, (str, bytes, Mapping)) and not hasattr(tool, "to_dict"):
            yield from _flat(tool)
        else:
            yield tool


def _server_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    kind, name = tool.get("type", "custom"), tool.get("name")
    if kind == "custom":
        raise TypeError(
            f"tool {name!r} is a definition that nothing runs: pass instrument.Tool(name, description, input_schema, call)"
        )
    if not isinstance(kind, str) or _CLIENT_RUN.fullmatch(kind):
        raise TypeError(
            f"tool {name or kind!r} ({kind}) has to be run here: pass an object with `to_dict` and `call`, "
            f"such as a subclass of anthropic.lib.tools.BetaBuiltinFunctionTool, or a toolset of anthropic.tools"
        )
    return tool


def _stable_types() -> frozenset[str]:
    """Types of definitions that `client.messages` takes, read from the SDK's own."""
    global _stable  # noqa: PLW0603 - read once
    if _stable is None:
        from anthropic.types import ToolUnionParam

        hints = (typing.get_type_hints(param).get("type") for param in typing.get_args(ToolUnionParam))
        _stable = frozenset(_literals(hints))
    return _stable


def _literals(hints: Iterable[Any]) -> Iterator[str]:
    for hint in hints:
        if isinstance(hint, str):
            yield hint
        else:
            yield from _literals(typing.get_args(hint))


_stable: frozenset[str] | None = None
