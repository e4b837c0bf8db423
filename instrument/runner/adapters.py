"""Whatever may be a tool, as a `RunnableTool`. The SDK is imported inside: only who uses tools pays for it."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from instrument.runner.event_loop import ToolLoop
from instrument.runner.tools import FromSignature, RunnableTool, Tool, is_async, undecorated

_COMBINED: Final = ("$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties", "unevaluatedProperties")
KINDS: Final = "a function, a beta_tool or beta_async_tool, a toolset, an instrument.Tool, the dict of a server tool, or a list of these"


def from_function(fn: Any, loop: ToolLoop) -> RunnableTool:
    """A plain function, or one under `@instrument.tool`."""
    return from_sdk(_sdk_tool(fn), loop)


def from_sdk(tool: Any, loop: ToolLoop) -> RunnableTool:
    """An object of the SDK with `name`, `to_dict()` and `call(input)`, MCP tools among them."""
    definition = dict(tool.to_dict())
    definition = {k: v for k, v in definition.items() if (k, v) != ("description", "")}
    asynchronous = is_async(tool.call)
    if (fn := getattr(tool, "func", None)) is not None:
        if not asynchronous and inspect.iscoroutinefunction(fn):
            raise TypeError(f"tool {tool.name!r} is a coroutine function under beta_tool: use beta_async_tool")
        asynchronous = asynchronous or is_async(fn)  # an asynchronous generator: the SDK calls it like a function
        if (bare := undecorated(fn)[0]) is not fn:
            tool = type(tool)(bare, name=tool.name, description=tool.description, input_schema=tool.input_schema)
    return RunnableTool(
        name=tool.name,
        definition=definition,
        schema=definition.get("input_schema"),
        is_async=asynchronous,
        call=lambda given, _: tool.call(given),
        loop=loop,
    )


def from_tool(tool: Tool, loop: ToolLoop) -> RunnableTool:
    """A schema with a callable. Raises TypeError for what cannot be called, is no schema of an object, or does not fit a process."""
    call = undecorated(tool.call)[0]
    if not callable(call):
        raise TypeError(f"tool {tool.name!r}: call must be callable, not {type(call).__name__}")
    if tool.timeout_seconds is not None and not tool.timeout_seconds > 0:
        raise ValueError(f"tool {tool.name!r}: timeout_seconds must be above 0, not {tool.timeout_seconds}")
    definition = _definition(tool, call)
    return RunnableTool(
        name=tool.name,
        definition=definition,
        schema=_narrowed(definition["input_schema"], call),
        is_async=call.is_async if isinstance(call, FromSignature) else is_async(call),
        call=lambda given, _: call(**given),
        timeout_seconds=tool.timeout_seconds,
        process=tool.process,
        target=_pickled(tool) if tool.process else None,
        loop=loop,
    )


def from_toolset(toolset: Any, member: str, loop: ToolLoop) -> RunnableTool | None:
    """A member of a toolset of the SDK; None if the toolset says which members it has, and this is none of them."""
    members = members_of(toolset)
    if members and member not in members:
        return None
    return RunnableTool(
        name=member,
        definition=None,
        schema=None,
        is_async=inspect.iscoroutinefunction(toolset.call),
        call=partial(_call_member, toolset, member),
        toolset=toolset.toolset_name,
        loop=loop,
    )


def members_of(toolset: Any) -> tuple[str, ...]:
    """The members a toolset knows; empty where it does not say, and then it answers wrong names itself."""
    # Nothing public tells; without it a made-up member is only an error among others.
    registry = getattr(getattr(toolset, "_toolset_options", None), "registry", None)
    return tuple(getattr(registry, "members", ()))


def _call_member(toolset: Any, member: str, given: dict[str, Any], tool_use: Mapping[str, Any]) -> Any:
    from anthropic.tools import BetaToolsetCallContext
    from anthropic.types.beta import BetaToolUseBlock

    block = BetaToolUseBlock.construct(**{"type": "tool_use", **tool_use})
    return toolset.call(BetaToolsetCallContext.construct(tool_use=block), member, given)


def _sdk_tool(fn: Any) -> Any:
    import anthropic

    bare, name = undecorated(fn)
    if not inspect.isroutine(bare):
        raise TypeError(f"{_shown(fn)} is no tool: pass {KINDS}")
    name = name or bare.__name__
    make: Callable[..., Any] = anthropic.beta_async_tool if inspect.iscoroutinefunction(bare) else anthropic.beta_tool
    try:
        tool = make(bare, name=name)
    except Exception as e:
        raise TypeError(
            f"tool {name!r}: no schema can be made of its signature ({type(e).__name__}: {e}); "
            f"annotate its parameters with types that JSON has, or pass an instrument.Tool with a schema"
        ) from e
    if tool.input_schema.get("type") != "object":
        raise TypeError(f"tool {name!r} has parameters without names: the model can only give them by name")
    return tool


def _definition(tool: Tool, call: Any) -> dict[str, Any]:
    if tool.input_schema is None and isinstance(call, FromSignature):
        made = _sdk_tool(call.fn)
        description, schema = made.description, made.input_schema
    else:
        description, schema = tool.description, tool.input_schema
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise TypeError(f'tool {tool.name!r}: input_schema must be a JSON Schema with "type": "object"')
    about = {"description": description} if description else {}
    return {"name": tool.name, **about, "input_schema": dict(schema)}


def _narrowed(schema: Mapping[str, Any], call: Any) -> Mapping[str, Any]:
    """The schema, closed to parameters that the function does not have, where the schema itself leaves it open."""
    if "additionalProperties" in schema or any(word in schema for word in _COMBINED):
        return schema
    try:
        parameters = inspect.signature(call.fn if isinstance(call, FromSignature) else call).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature: nobody knows what it takes
        return schema
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return schema
    return {**schema, "additionalProperties": False}


def _pickled(tool: Tool) -> bytes:
    try:
        return pickle.dumps(tool.call)
    except Exception as e:
        raise TypeError(
            f"tool {tool.name!r} cannot run in a process of its own ({type(e).__name__}: {e}); "
            f"it must be a function at the top of a module, found there under its own name"
        ) from e


def _shown(value: object) -> str:
    return f"{getattr(value, '__name__', None) or str(type(value).__name__)!r} ({type(value).__name__})"
