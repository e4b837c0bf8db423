"""What may be a tool, and what is refused, with the real SDK."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.lib.tools import BetaAsyncBuiltinFunctionTool, BetaBuiltinFunctionTool
from anthropic.tools import (
    BetaAbstractBrowserToolset20260801,
    BetaAsyncAbstractComputerToolset20260801,
)

import instrument
from instrument.runner.execution import Job, Ran, arun_jobs, run_jobs
from instrument.runner.toolbox import Toolbox, toolbox
from instrument.runner.tools import RunnableTool, Tool, limited
from instrument.runner.validation import check

WEB: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


def add(a: int, b: int = 2) -> str:
    """Adds two numbers.

    Args:
        a: The first of them.
    """
    return str(a + b)


async def fetch(url: str) -> str:
    """Fetches a page."""
    return f"page of {url}"


def ran(box: Toolbox, name: str, given: dict[str, Any], toolset: str | None = None) -> str:
    """Runs it in both drivers, which must agree."""
    tool = box.get(name, toolset)
    assert tool is not None
    block = {"id": "toolu_1", "name": name, "input": given, "toolset_name": toolset}
    [here] = run_jobs([Job(tool, given, 5.0, tool_use=block)], parallel=1)
    [there] = asyncio.run(arun_jobs([Job(tool, given, 5.0, tool_use=block)], parallel=1))
    box.close()
    assert (here.content, here.is_error) == (there.content, there.is_error)
    return ("error: " if here.is_error else "") + here.text


def test_a_function_is_a_tool() -> None:
    box = toolbox([add, fetch])
    assert box.definitions[0] == {
        "name": "add",
        "description": "Adds two numbers.",
        "input_schema": {
            "type": "object",
            "properties": {
                "a": {"title": "A", "type": "integer", "description": "The first of them."},
                "b": {"title": "B", "type": "integer", "default": 2},
            },
            "required": ["a"],
            "additionalProperties": False,
        },
    }
    assert box.names == ("add", "fetch")
    assert [box.get(n).is_async for n in box.names] == [False, True]  # type: ignore[union-attr]
    assert ran(box, "add", {"a": 1}) == "3"
    assert ran(box, "fetch", {"url": "x"}) == "page of x"


def test_generators_are_tools() -> None:
    def lines(n: int) -> Any:
        """Some lines."""
        yield from map(str, range(n))

    @instrument.tool
    async def pages(n: int) -> Any:
        """Some pages."""
        for i in range(n):
            yield {"type": "text", "text": f"page {i}"}

    box = toolbox([lines, pages])
    assert [box.get(n).is_async for n in box.names] == [False, True]  # type: ignore[union-attr]
    assert ran(box, "lines", {"n": 2}) == '["0","1"]'
    assert ran(box, "pages", {"n": 2}) == "page 0\npage 1"


def test_what_the_model_gave_becomes_what_the_signature_says() -> None:
    def size(path: Path) -> str:
        """Of a file."""
        return f"{type(path).__name__} {path.name}"

    assert ran(toolbox([size]), "size", {"path": "/a/b.txt"}) == "PosixPath b.txt"
    assert ran(toolbox([limited(size)]), "size", {"path": "/a/b.txt"}) == "PosixPath b.txt"


def test_methods_are_tools() -> None:
    class Desk:
        def __init__(self) -> None:
            self.name = "desk"

        def named(self, n: int) -> str:
            """Its name."""
            return self.name * n

        @instrument.tool(name="recorded")
        async def under_ours(self, n: int) -> str:
            """Its name."""
            return self.name * n

    desk = Desk()
    box = toolbox([desk.named, desk.under_ours])
    assert ran(box, "named", {"n": 2}) == "deskdesk"
    assert ran(box, "recorded", {"n": 2}) == "deskdesk"


def test_tool_objects_of_the_sdk_are_tools_with_all_they_declare() -> None:
    sync_tool = anthropic.beta_tool(add, name="plus", strict=True, cache_control={"type": "ephemeral"})
    box = toolbox([sync_tool, anthropic.beta_async_tool(fetch)])
    assert box.definitions[0] == sync_tool.to_dict()
    assert ran(box, "plus", {"a": 1, "b": 1}) == "2"
    assert ran(box, "fetch", {"url": "y"}) == "page of y"


def test_builtin_tools_of_the_sdk_are_tools() -> None:
    class Bash(BetaBuiltinFunctionTool):
        def to_dict(self) -> Any:
            return {"type": "bash_20250124", "name": "bash"}

        def call(self, input: Any) -> str:  # noqa: A002 - the SDK's name for it
            return f"ran {input['command']}"

    class Memory(BetaAsyncBuiltinFunctionTool):
        def to_dict(self) -> Any:
            return {"type": "memory_20250818", "name": "memory"}

        async def call(self, input: Any) -> str:  # noqa: A002
            return f"memory {input['command']}"

    box = toolbox([Bash(), Memory()])
    assert box.definitions == [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "memory_20250818", "name": "memory"},
    ]
    assert box.names == ("bash", "memory")
    assert ran(box, "bash", {"command": "ls"}) == "ran ls"
    assert ran(box, "memory", {"command": "view"}) == "memory view"


class Browser(BetaAbstractBrowserToolset20260801):
    def __init__(self) -> None:
        super().__init__()
        self.did: list[str] = []

    def navigate(self, context: Any, input: Any) -> Any:  # noqa: A002
        raise ValueError(f"no network for {context.tool_use.id}")

    def scroll_to(self, context: Any, input: Any) -> None:  # noqa: A002
        self.did.append("scroll_to")

    def key(self, context: Any, input: Any) -> None:  # noqa: A002
        self.did.append(input.text)

    def _browser_state(self, *_: Any) -> Any:
        from anthropic.tools import BetaBrowserState

        return BetaBrowserState(tabs=[])


class Desktop(BetaAsyncAbstractComputerToolset20260801):
    def __init__(self) -> None:
        super().__init__(confirm=lambda context: True)
        self.did: list[str] = []

    async def key(self, context: Any, input: Any) -> None:  # noqa: A002
        self.did.append(input.text)
        if input.text == "F1":
            raise ValueError("no such key")


def test_members_of_a_toolset_are_found_by_its_name_and_theirs() -> None:
    def key(n: int) -> str:
        """A tool with the name of a member."""
        return "mine"

    desktop = Desktop()
    box = toolbox([desktop, key])
    assert box.definitions[0]["type"] == "computer_toolset_20260801"
    assert (box.names, box.toolsets) == (("key",), ("computer",))
    assert ran(box, "key", {"n": 1}) == "mine"
    assert not ran(box, "key", {"text": "Return"}, "computer").startswith("error")
    assert desktop.did == ["Return", "Return"]  # once in each driver
    assert box.get("no_such_member", "computer") is None
    assert box.get("key", "browser") is None
    assert box.nearest("left_clik", "computer")[0] == "left_click"
    assert ran(box, "key", {"text": "F1"}, "computer") == "error: ValueError: no such key"


@pytest.mark.parametrize("drive", [run_jobs, lambda *a, **k: asyncio.run(arun_jobs(*a, **k))], ids=["sync", "async"])
def test_members_run_in_order_and_stop_at_the_first_failure(drive: Callable[..., list[Ran]]) -> None:
    desktop = Desktop()
    box = toolbox([desktop, add])
    member, other = box.get("key", "computer"), box.get("add")
    assert member is not None
    assert other is not None

    def press(text: str) -> Job:
        block = {"id": "toolu_1", "name": "key", "input": {"text": text}, "toolset_name": "computer"}
        return Job(member, {"text": text}, 5.0, tool_use=block)

    outcomes = drive([press("a"), press("b"), press("F1"), press("c"), Job(other, {"a": 1}, 5.0)], parallel=8)
    box.close()
    assert desktop.did == ["a", "b", "F1"]
    assert [r.is_error for r in outcomes] == [False, False, True, True, False]
    assert outcomes[3].text == "key was not run, because an action before it in this turn failed."


def test_a_failing_member_of_a_synchronous_toolset_answers_the_call() -> None:
    browser = Browser()
    box = toolbox([browser])
    assert ran(box, "key", {"text": "Return"}, "browser").startswith("error") is False
    assert "no network for toolu_1" in ran(box, "navigate", {"url": "https://example.com"}, "browser")


def test_a_schema_with_a_callable_is_a_tool() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    box = toolbox([Tool("search", "Searches.", schema, lambda q: q.upper(), timeout_seconds=3.0)])
    assert box.definitions == [{"name": "search", "description": "Searches.", "input_schema": schema}]
    tool = box.get("search")
    assert tool is not None
    assert (tool.timeout_seconds, tool.process) == (3.0, False)
    assert ran(box, "search", {"q": "x"}) == "X"
    # The function has no such parameter, whatever the schema leaves open.
    assert check(tool.schema, {"q": "x", "limit": 3}) == '"limit" does not exist (there are: q)'


def test_a_function_that_takes_anything_is_given_anything() -> None:
    tool = toolbox([Tool("any", "", {"type": "object"}, lambda **given: given)]).get("any")
    assert tool is not None
    assert check(tool.schema, {"x": 1}) is None


def test_callables_of_other_kinds_are_tools_by_a_schema() -> None:
    class Callable_:  # noqa: N801
        async def __call__(self, n: int) -> str:
            return f"object {n}"

    box = toolbox(
        [
            Tool("partial", "", {"type": "object"}, functools.partial(add, b=10)),
            Tool("apartial", "", {"type": "object"}, functools.partial(fetch, "z")),
            Tool("object", "", {"type": "object"}, Callable_()),
            Tool("builtin", "", {"type": "object"}, dict),
        ]
    )
    assert [box.get(n).is_async for n in box.names] == [False, True, True, False]  # type: ignore[union-attr]
    assert [ran(box, n, g) for n, g in zip(box.names, ({"a": 1}, {}, {"n": 1}, {"k": 1}), strict=True)] == [
        "11",
        "page of z",
        "object 1",
        '{"k":1}',
    ]


def test_a_decorated_tool_is_recorded_by_the_runner_alone(tmp_path: Path) -> None:
    calls: list[str] = []

    def logged(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls.append("logged")
            return fn(*args, **kwargs)

        return wrapper

    @instrument.tool(name="plus")
    @logged
    def inner(a: int) -> str:
        """Adds one."""
        return str(a + 1)

    @logged
    @instrument.tool
    def outer(a: int) -> str:
        """Adds two."""
        return str(a + 2)

    @instrument.tool
    async def later(a: int) -> str:
        """Adds three."""
        return str(a + 3)

    sdk = anthropic.beta_tool(instrument.tool(add))
    box = toolbox([inner, outer, later, sdk])
    assert box.names == ("plus", "outer", "later", "add")
    recorder = instrument.record(tmp_path / "t.duckdb")
    try:
        results = [ran(box, n, {"a": 1}) for n in box.names]
    finally:
        stats = recorder.stats
        recorder.close()
    assert results == ["2", "3", "4", "3"]
    assert calls == ["logged"] * 4  # a decorator of somebody else is kept, above ours or below
    assert stats.spans == 2  # of `outer`, where our decorator lies under somebody else's: it ran twice


def test_server_tools_are_declared_and_never_run() -> None:
    box = toolbox([WEB, {"type": "code_execution_20260521", "name": "code_execution"}])
    assert box.definitions == [WEB, {"type": "code_execution_20260521", "name": "code_execution"}]
    assert box.names == ("web_search", "code_execution")
    assert box.get("web_search") is None
    assert box.nearest("search_web") == ("web_search",)


def test_lists_of_tools_may_lie_in_lists() -> None:
    box = toolbox([[add, (fetch,)], (tool for tool in [WEB]), [[]]])
    assert box.names == ("add", "fetch", "web_search")


def test_definitions_are_nobodys_to_change() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    box = toolbox([Tool("t", "", schema, lambda: "")])
    schema["properties"]["x"] = {}
    box.definitions[0]["name"] = "other"
    assert box.definitions == [{"name": "t", "input_schema": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    ("definition", "beta"),
    [
        (WEB, False),
        ({"type": "tool_search_tool_regex", "name": "tool_search_tool_regex"}, False),
        ({"type": "mcp_toolset", "mcp_server_name": "s"}, True),
        ({"type": "advisor_20260301", "name": "advisor", "model": "m"}, True),
        ({"type": "invented_20990101", "name": "invented"}, True),
    ],
)
def test_only_what_the_stable_endpoint_does_not_know_needs_the_beta(definition: dict[str, Any], beta: bool) -> None:
    assert toolbox([add, definition]).needs_beta is beta


def test_toolsets_do_not_need_the_beta() -> None:
    assert toolbox([Desktop()]).needs_beta is False


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("read_files", ("read_file", "write_file")),
        ("file_read", ("read_file", "write_file")),
        ("ReadFile", ("read_file", "write_file")),
        ("ls", ()),
        ("zzz", ()),
        ("", ()),
        ("x" * 100_000, ()),
        ("\ud800\n", ()),
    ],
    ids=range(8),
)
def test_the_nearest_names_are_offered(asked: str, near: tuple[str, ...]) -> None:
    names = ("read_file", "write_file", "search", "get_weather")
    box = toolbox([Tool(n, "", {"type": "object"}, dict) for n in names])
    assert box.nearest(asked)[: len(near)] == near
    assert len(box.nearest(asked)) <= 3
    if not near:
        assert box.nearest(asked) == ()


class Unschemable:
    pass


def strange(x: Unschemable) -> str:
    """Takes what JSON has not."""
    return ""


def positional(x: int, /) -> str:
    """Takes what has no name."""
    return ""


async def coroutine(x: int) -> str:
    """C."""
    return ""


CUSTOM = {"name": "search", "description": "", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("tools", "error", "text"),
    [
        ([add, add], ValueError, "two tools are named 'add': give one of them another name"),
        ([add, limited(add)], ValueError, "two tools are named 'add'"),
        ([WEB, WEB], ValueError, "two tools are named 'web_search'"),
        ([Desktop(), Desktop()], ValueError, "two tools are named 'computer'"),
        ([Desktop(), Tool("computer", "", {"type": "object"}, dict)], ValueError, "two tools are named 'computer'"),
        ([CUSTOM], TypeError, "tool 'search' is a definition that nothing runs: pass instrument.Tool"),
        ([{"type": "bash_20250124", "name": "bash"}], TypeError, "tool 'bash' .* has to be run here"),
        ([{"type": "computer_toolset_20260801"}], TypeError, "tool 'computer_toolset_20260801' .* has to be run here"),
        ([Tool("a b", "", {"type": "object"}, dict)], ValueError, "'a b' is no name for a tool"),
        ([Tool("", "", {"type": "object"}, dict)], ValueError, "'' is no name for a tool"),
        ([Tool("x" * 129, "", {"type": "object"}, dict)], ValueError, "is no name for a tool"),
        ([Tool("t\n", "", {"type": "object"}, dict)], ValueError, "is no name for a tool"),
        ([lambda x: x], ValueError, "'<lambda>' is no name for a tool"),
        ([Tool("t", "", {"type": "array"}, dict)], TypeError, 'tool \'t\': input_schema must be .* "type": "object"'),
        ([Tool("t", "", {"type": "object"}, "x")], TypeError, "tool 't': call must be callable, not str"),  # type: ignore[arg-type]
        ([Tool("t", "", {"type": "object", "x": object()}, dict)], TypeError, "the definition of tool 't' is not JSON"),
        ([Tool("t", "", {"type": "object"}, dict, timeout_seconds=0)], ValueError, "timeout_seconds must be above 0"),
        ([strange], TypeError, "tool 'strange': no schema can be made of its signature"),
        ([positional], TypeError, "tool 'positional'"),
        ([anthropic.beta_tool(coroutine)], TypeError, "use beta_async_tool"),  # type: ignore[arg-type]
        ([Unschemable], TypeError, "'Unschemable' .* is no tool: pass a function"),
        ([functools.partial(add)], TypeError, "is no tool"),
        ([3], TypeError, "'int' .* is no tool"),
        (["add"], TypeError, "'str' .* is no tool"),
        ("add", TypeError, "'add' is no list of tools"),
        (add, TypeError, "is no list of tools"),
        (None, TypeError, "None is no list of tools"),
    ],
    ids=range(27),
)
def test_what_cannot_work_is_refused_with_the_remedy(tools: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        toolbox(tools)


def test_a_runnable_tool_can_stand_alone() -> None:
    tool = RunnableTool("t", None, None, False, lambda given, block: f"{given} {block['id']}")
    assert run_jobs([Job(tool, {}, 1.0, tool_use={"id": "x"})], parallel=1)[0].text == "{} x"
