"""The examples of docs/testing.md run as they stand, each block as the file that its first line names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_agents import naive

from instrument.testing import API_FAULTS, TOOL_FAULTS, check_broken_tool

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")


def examples() -> dict[str, str]:
    blocks = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return dict(blocks)


def test_the_examples_pass_as_they_stand(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    files = examples()
    assert len(files) == PAGE.count("```python") == 5
    for name, code in files.items():
        (pytester.path / name).write_text(code, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function")
    result = pytester.runpytest_subprocess(*plugin(), "-p", "no:cacheprovider", timeout=200)
    result.assert_outcomes(passed=3 + 7 + 5 + 5 + 1)


def plugin() -> list[str]:
    """What loads the plugin where the installed package does not announce it yet."""
    from importlib.metadata import entry_points

    announced = {entry.name for entry in entry_points(group="pytest11")}
    return [] if "flyball" in announced else ["-p", "analyzer.pytest_plugin"]


def test_the_faults_that_the_page_names_exist() -> None:
    named = re.findall(r'parametrize\("fault", \[(.*?)\]', PAGE)
    tools, api = (set(re.findall(r'"(\w+)"', names)) for names in named)
    assert tools <= TOOL_FAULTS.keys()
    assert api <= API_FAULTS.keys()


def test_the_message_on_the_page_is_the_one_that_a_naive_loop_gets() -> None:
    with pytest.raises(AssertionError) as caught:
        check_broken_tool(naive)
    shown = re.search(r"^```\n(check_broken_tool: .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown is not None

    def timeless(message: str) -> list[str]:
        return [re.sub(r"\d+\.\d s; raised .*", "", line) for line in message.strip().split("\n")]

    assert timeless(shown[1]) == timeless(str(caught.value))
