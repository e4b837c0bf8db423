"""The tools that a request declares, for loops that run their tools themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from instrument.runner.toolbox import Toolbox, toolbox
from instrument.runner.tools import RunnableTool, Tool


class Declared:
    """What names there are and what arguments fit. Definitions that nobody can make sense of are taken to fit anything."""

    def __init__(self, definitions: Iterable[Any]) -> None:
        self._given = definitions
        self._box: Toolbox = toolbox(_tools(definitions))
        self.names = frozenset(
            str(d.get("name")) for d in definitions if isinstance(d, Mapping) and d.get("name") is not None
        )

    def for_request(self, definitions: Iterable[Any]) -> Declared:
        """These, if the request declares what the last one did; others are read anew."""
        return self if definitions is self._given or definitions == self._given else Declared(definitions)

    def get(self, name: str) -> RunnableTool | None:
        """The tool of that name; one without a schema that we know checks nothing."""
        found = self._box.get(name)
        return found if found is not None or name not in self.names else RunnableTool(name, None, None, False, _never)

    def nearest(self, name: str) -> tuple[str, ...]:
        """Names like this one."""
        return self._box.nearest(name)


def _tools(definitions: Iterable[Any]) -> list[Tool]:
    found: dict[str, Tool] = {}
    for definition in definitions:
        name, schema = (
            (definition.get("name"), definition.get("input_schema")) if isinstance(definition, Mapping) else ("", None)
        )
        if isinstance(name, str) and name and isinstance(schema, Mapping):
            found[name] = Tool(name, str(definition.get("description") or name), schema, _never)
    return list(found.values())


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("declared only: the host runs its tools")
