"""The pytest plugin, in test sessions of its own, with warnings as errors."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

import analyzer.testing
from analyzer.findings import Severity
from instrument.errors import FlyballError

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]

AGENT = '''
import anthropic, pytest
import instrument
from instrument.testing import text, tool_use


@instrument.tool
def search(question: str) -> str:
    """Searches."""
    if question == "broken":
        raise RuntimeError("the index is being rebuilt")
    return f"One page about {question}."


def result_of(call):
    try:
        return {"type": "tool_result", "tool_use_id": call.id, "content": search(**call.input)}
    except RuntimeError as failed:
        return {"type": "tool_result", "tool_use_id": call.id, "content": str(failed), "is_error": True}


@instrument.agent
def my_agent(client, prompt, turns):
    messages = [{"role": "user", "content": prompt}]
    for _ in range(turns):
        message = client.messages.create(model="claude-opus-5-5", max_tokens=500, messages=messages)
        call = next((block for block in message.content if block.type == "tool_use"), None)
        if call is None:
            return message.content[0].text
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result_of(call)]}]


def run(server, turns):
    with anthropic.Anthropic(api_key="test", base_url=server.url) as client:
        return my_agent(client, "What is x?", turns)

'''


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project without tests yet, in which the plugin is loaded and any warning is an error."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function")
    return pytester


def run(session: pytest.Pytester, tests: str) -> pytest.RunResult:
    # In a process of its own: a recording installs the process's tracer provider.
    session.makepyfile(AGENT + tests)
    loaded = [] if "flyball" in installed_plugins() else ["-p", "analyzer.pytest_plugin"]
    return session.runpytest_subprocess(*loaded, "-p", "no:cacheprovider", "-q", timeout=120)


def installed_plugins() -> set[str]:
    from importlib.metadata import entry_points

    return {entry.name for entry in entry_points(group="pytest11")}


def test_a_server_is_closed_after_the_test_that_asked_for_it(session: pytest.Pytester) -> None:
    result = run(
        session,
        """
import threading
seen = []

def test_two_servers(model_server):
    one, two = model_server([text("one")]), model_server(lambda body: text("two"), clock=lambda: 0.0)
    assert [run(server, 1) for server in (one, two)] == ["one", "two"]
    seen.append(one)
    assert len(one.requests) == 1

def test_afterwards():
    with pytest.raises(RuntimeError, match="not running"):
        seen[0].url
    assert threading.active_count() == 1
""",
    )
    result.assert_outcomes(passed=2)


def test_a_tool_that_hangs_is_woken_after_the_test(session: pytest.Pytester) -> None:
    began = time.monotonic()
    result = run(
        session,
        """
from concurrent.futures import ThreadPoolExecutor
from instrument.testing import TOOL_FAULTS
pool = ThreadPoolExecutor(1)

def test_hangs(model_server):
    pool.submit(TOOL_FAULTS["hangs"](search), "x")
""",
    )
    result.assert_outcomes(passed=1)
    assert time.monotonic() - began < 25, "the session waited for the tool"


def test_a_recording_gives_rows_and_findings_of_its_own_test_only(session: pytest.Pytester) -> None:
    result = run(
        session,
        """
@pytest.mark.parametrize("turns", [2, 3])
def test_rows(flyball_recording, model_server, turns):
    run(model_server([tool_use("search", {"question": str(n)}) for n in range(turns - 1)] + [text("Done.")]), turns)
    kinds = [row["kind"] for row in flyball_recording.rows()]
    assert kinds == ["agent", "model", *["tool", "model"] * (turns - 1)]
    (row,) = flyball_recording.rows("SELECT count(*) AS calls FROM spans WHERE kind = ?", "model")
    assert row == {"calls": turns}
    assert flyball_recording.findings() == ()
    flyball_recording.assert_no_findings()
    assert flyball_recording.path.exists()

def test_findings(flyball_recording, model_server):
    run(model_server(lambda body: tool_use("search", {"question": "broken"})), 6)
    assert "error_cascade" in {finding.detector for finding in flyball_recording.findings()}
    assert flyball_recording.findings(select=["cost_outlier"]) == ()
    flyball_recording.assert_no_findings(ignore=[f.detector for f in flyball_recording.findings()])
""",
    )
    result.assert_outcomes(passed=3)


def test_a_failed_test_shows_what_flyball_found(session: pytest.Pytester) -> None:
    result = run(
        session,
        """
def test_of_the_agent(flyball_recording, model_server):
    assert run(model_server(lambda body: tool_use("search", {"question": "broken"})), 6) == "Nothing to be found."

def test_of_the_findings(flyball_recording, model_server):
    run(model_server(lambda body: tool_use("search", {"question": "broken"})), 6)
    flyball_recording.assert_no_findings()

def test_of_nothing(flyball_recording):
    flyball_recording.assert_no_findings()
""",
    )
    result.assert_outcomes(failed=3)
    output = result.stdout.str()
    agent, findings, nothing = (
        output.index(f"_ test_of_{name} _") for name in ("the_agent", "the_findings", "nothing")
    )
    assert "flyball check" in output[agent:findings]
    assert "error_cascade" in output[agent:findings]
    assert "findings from warning up: " in output[findings:nothing]
    assert "as above" in output[findings:nothing]
    assert "so nothing could be found" in output[nothing:]


def test_the_plugin_loads_nothing_until_a_fixture_is_used() -> None:
    heavy = [
        "instrument",
        "anthropic",
        "opentelemetry",
        "duckdb",
        "polars",
        "asyncio",
        "analyzer.testing",
        "analyzer.run",
    ]
    code = (
        "import sys, time, pytest; before = set(sys.modules); began = time.perf_counter(); import analyzer.pytest_plugin; "
        "print((time.perf_counter() - began) * 1e3); new = set(sys.modules) - before; "
        f"print(*(name for name in new if name.startswith({tuple(heavy)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    milliseconds, loaded = done.stdout.split("\n")[:2]
    assert loaded == ""
    assert float(milliseconds) < 20


# --- a database or a file of traces ------------------------------------------------------------------------------


def test_findings_in_a_file_are_an_assertion_error_with_the_report() -> None:
    loop = ROOT / "sample_traces" / "loop_repeated_call.otlp.jsonl"
    with pytest.raises(AssertionError, match=r"findings from warning up: .*repeated_call") as caught:
        analyzer.testing.assert_no_findings(loop)
    assert analyzer.testing.in_words(analyzer.testing.judged(loop)) in str(caught.value)
    found = {finding.detector for finding in analyzer.testing.judged(loop).findings}
    report = analyzer.testing.assert_no_findings(loop, ignore=found)
    assert report.totals.spans > 0


@pytest.mark.parametrize(
    ("sample", "passes"),
    [
        ("healthy_release", ["info", "warning", "error"]),
        ("hallucinated_tool", []),
        ("public_openinference", ["info", "warning", "error"]),
        ("loop_repeated_call", []),
    ],
)
def test_severity_decides_what_fails(sample: str, passes: list[str]) -> None:
    passed = []
    for severity in map(str, Severity):
        with contextlib.suppress(AssertionError):
            analyzer.testing.assert_no_findings(ROOT / "sample_traces" / f"{sample}.otlp.jsonl", fail_on=severity)
            passed.append(severity)
    assert passed == passes


def test_a_file_that_is_not_there_or_holds_nothing_is_no_clean_run(tmp_path: Path) -> None:
    with pytest.raises(FlyballError):
        analyzer.testing.assert_no_findings(tmp_path / "gone.jsonl")
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"resourceSpans": []}\n')
    with pytest.raises(AssertionError, match="nothing was recorded"):
        analyzer.testing.assert_no_findings(empty)
