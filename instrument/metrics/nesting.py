"""Spans that have not ended: what lies around which, and what those inside have told."""

from __future__ import annotations

from typing import Any

from instrument.metrics.facts import Reported


class OpenSpan:
    """A span that has not ended, and what those below it have told of it."""

    __slots__ = ("costs", "inner", "kind", "parent", "scope", "stop", "tool")

    def __init__(self, parent: OpenSpan | None, scope: str, kind: str | None, tool: Any) -> None:
        self.parent, self.scope, self.kind, self.tool = parent, scope, kind, tool
        self.inner: Reported | None = None
        """Of a model call: the last one within it."""
        self.costs: list[float | None] = []
        """Of a run: what each of its calls and sub-agents cost, None where nobody knows."""
        self.stop: Any = None
        """Of a run whose span is not ours: why it ended, as the span of its last request says."""

    def around(self, kind: str) -> OpenSpan | None:
        """The nearest span of that kind around this one."""
        above = self.parent
        while above is not None and above.kind != kind:
            above = above.parent
        return above
