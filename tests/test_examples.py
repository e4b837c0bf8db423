"""The examples of docs/examples run as they stand, each in a process of its own, and `flyball check` tells what guards did in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analyzer.cli import main
from instrument.policy import Policy, load_policy
from instrument.runner.stop import StopReason
from instrument.testing import ModelServer, text, tool_use

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
ROOT = EXAMPLES.parents[1]
PAGES = {
    path.name: path.read_text("utf-8")
    for path in (ROOT / "README.md", ROOT / "docs" / "guarding.md", ROOT / "docs" / "budgets.md")
}
LONG = "A governor is a device that keeps the speed of an engine steady. " * 8


@dataclass(frozen=True)
class Example:
    """What the model says in it, what it then prints, and what `flyball check` then says."""

    script: Any
    prints: tuple[str, ...]
    report: tuple[str, ...]


def insisting(name: str, arguments: Callable[[int], dict[str, Any]], last: str, words: str = "") -> Any:
    """A model that wants the same tool for as long as it may."""

    def script(body: Any) -> Any:
        if body.get("tool_choice", {}).get("type") == "none":
            return text(last)
        return tool_use(name, arguments(len(body["messages"])), text=words or None)

    return script


def writer(body: Any) -> Any:
    """Asks its researcher twice, and then writes. The researcher has no tools."""
    if not body.get("tools"):
        return text(LONG)
    return (
        text("The paragraph.")
        if len(body["messages"]) > 4
        else tool_use("research", {"question": "x" * len(body["messages"])})
    )


def hanging(body: Any) -> Any:
    page = "slow" if "slow" in str(body["messages"][0]) else "a"
    if len(body["messages"]) == 1:
        return tool_use("fetch", {"page": page})
    return text(f"As far as I could see: {body['messages'][-1]['content'][0]['content']}")


CASES = {
    "guarded_runner": Example(
        insisting("order_status", lambda _: {"order": 4711}, "It awaits review; nobody can say when it arrives."),
        (
            "repeated_call after 9 turns, 4 tool calls",
            "It awaits review; nobody can say when it arrives.",
            "nudge in turn 4",
            "block in turn 5",
            "stop in turn 8",
        ),
        ("1 of 1 guarded run stopped: 1 nudge, 3 blocks, 1 stop", "stopped in turn 8 (repeated_call)"),
    ),
    "own_loop": Example(
        insisting("read_file", lambda _: {"path": "main.py"}, "There is no main.py."),
        ("error_cascade There is no main.py.",),
        ("1 of 1 guarded run stopped: 1 nudge, 2 blocks, 1 stop", "(error_cascade)"),
    ),
    "tool_runner": Example(
        [
            tool_use("send_emails", {"to": "ann@example.com", "text": "Green."}),
            tool_use("send_email", {"to": "ann@example.com", "text": "Green."}),
            text("I told her."),
        ],
        ("completed", "block in turn 1: `send_emails`, which does not exist"),
        ("0 of 1 guarded run stopped: ", "1 block"),
    ),
    "decorators": Example(
        insisting("weather", lambda _: {"city": "Oslo"}, "I could not find out."),
        ("I could not find out.",),
        ("1 of 1 guarded run stopped: 1 nudge, 1 block, 1 stop", "stopped in turn 4 (error_cascade)"),
    ),
    "budgets": Example(
        insisting("search", lambda n: {"words": f"governor {n}"}, "I did not find it.", LONG),
        ("run_budget, ", "user_budget, ", ": I did not find it.", "ann has spent $0.0", "$0.0000 is put aside"),
        ("3 of 3 guarded runs stopped",),
    ),
    "review": Example(
        lambda body: text("The report."),
        ("review_pending rev_", "completed The report."),
        ("(review_pending)", "1 ask"),
    ),
    "streaming": Example(
        [tool_use("look_up", {"word": "governor"}, text="Let me see."), text("It keeps engines slow.")],
        ("Let me see.", "[look_up {'word': 'governor'}]", "It keeps engines slow.", "completed"),
        ("0 of 1 guarded run stopped; no guard had to act",),
    ),
    "async_agent": Example(
        hanging, ("completed As far as I could see: What is on a.", "0.5 s"), ("0 of 2 guarded runs stopped",)
    ),
    "sub_agents": Example(
        writer, ("completed $0.0", "sub-agents included", "The paragraph."), ("0 of 3 guarded runs stopped",)
    ),
}


def run(folder: Path, file: str, url: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC", "FLYBALL"))},
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "test",
        "PYTHONPATH": str(EXAMPLES.parents[1]),
        "PYTHONWARNINGS": "ignore:Tool 'send_emails' not found:UserWarning",
    }
    return subprocess.run(
        [sys.executable, file], cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def shown_in_readme() -> list[str]:
    """What the README says that the example prints, without what it leaves out."""
    after = PAGES["README.md"].split("# docs/examples/guarded_runner.py")[1]
    return [line for line in after.split("```\n")[2].splitlines() if line.strip() != "..."]


def test_every_example_has_its_case() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_an_example_runs_as_it_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    for file in (f"{name}.py", *(("flyball.toml",) if name == "decorators" else ())):
        shutil.copy(EXAMPLES / file, tmp_path)
    with ModelServer(case.script) as server:
        done = run(tmp_path, f"{name}.py", server.url)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for line in case.prints:
        assert line in done.stdout
    if name == "guarded_runner":
        assert [line for line in shown_in_readme() if line not in done.stdout] == []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["check", "traces.duckdb", "--all", "--fail-on", "never"]) == 0
    report = capsys.readouterr().out
    for line in case.report:
        assert line in report


def test_the_policy_of_the_examples_is_one() -> None:
    policy = load_policy(EXAMPLES / "flyball.toml")
    assert policy != Policy()
    assert policy.cost.run_limit_usd == 2.0


# --- what the pages say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["README.md", "guarding.md", "budgets.md"])
def test_code_on_the_pages_is_that_of_the_examples(page: str) -> None:
    blocks = re.findall(r"^```python\n# docs/examples/(\w+\.py)\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)
    assert blocks
    for name, code in blocks:
        assert code in (EXAMPLES / name).read_text("utf-8")


@pytest.mark.parametrize("page", ["guarding.md", "budgets.md"])
def test_numbers_on_the_pages_are_the_defaults_of_the_policy(page: str) -> None:
    found = re.findall(r"`(\w+)\.(\w+)` = ([\w.]*\w)", PAGES[page])
    assert len(found) >= 6
    for section, name, value in found:
        default = getattr(getattr(Policy(), section), name)
        said = {"none": None, "warn": "warn"}.get(value, value)
        assert default == (float(said) if said not in (None, "warn") else said), f"{section}.{name}"


def test_every_setting_that_the_pages_name_exists() -> None:
    sections = Policy().__struct_fields__
    named = {n for page in ("guarding.md", "budgets.md") for n in re.findall(r"`(\w+)\.(\w+)`", PAGES[page])}
    missing = [f"{s}.{n}" for s, n in named if s in sections and not hasattr(getattr(Policy(), s), n)]
    assert missing == []


def test_every_stop_reason_has_its_row_and_every_guard_too() -> None:
    table = PAGES["guarding.md"].split("## Stop reasons")[1].split("## ")[0]
    rows = [
        reason
        for line in table.splitlines()
        if line.startswith("| `")
        for reason in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert sorted(rows) == sorted(StopReason)
    guards = PAGES["guarding.md"].split("## What each guard does")[1].split("## ")[0]
    watched = list(StopReason)[list(StopReason).index(StopReason.REPEATED_CALL) :]
    slugs = {
        slug
        for line in guards.splitlines()
        if line.startswith("| ")
        for slug in re.findall(r"`(\w+)`", line.split("|")[2])
    }
    assert set(watched) - slugs == {"context_overflow", "unknown_price", "review_denied", "review_pending"}
    assert slugs - set(watched) == {"context", "idle_answer"}
