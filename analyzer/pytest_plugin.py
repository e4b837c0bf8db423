"""Fixtures for testing agents. pytest loads this file in every session, so it imports nothing until a fixture is used.

It stands on the judging side, because `flyball_recording` judges; and `instrument` takes longer to import than a plugin may.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.testing import Recording
    from instrument.testing import ModelServer

_RECORDING = pytest.StashKey["Recording"]()


@pytest.fixture
def model_server() -> Iterator[Callable[..., ModelServer]]:
    """Starts scripted model servers: `server = model_server([tool_use("search"), text("Done.")])`, then `server.url`.

    Takes what `instrument.testing.ModelServer` takes. All of them are closed at the end of the test, and tools that still hang
    on purpose are woken.
    """
    from instrument.testing import ModelServer, release_tools

    with ExitStack() as servers:
        yield lambda script, **options: servers.enter_context(ModelServer(script, **options))
        release_tools()


@pytest.fixture
def flyball_recording(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recording]:
    """Records the test into a database of its own: `.path`, `.rows(sql)`, `.findings()`, `.assert_no_findings()`.

    Ask for it before the client is made. When the test fails, its report shows what `flyball check` says of the run.
    """
    from analyzer.testing import Recording

    recording = request.node.stash[_RECORDING] = Recording.start(tmp_path / "traces.duckdb")
    yield recording
    recording.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what `flyball check` says to the report of a test that failed while it was recorded."""
    report = yield
    recording = item.stash.get(_RECORDING, None)
    if recording is not None and call.when == "call" and report.failed:
        report.sections.append(("flyball check", _in_words(recording, call)))
    return report


def _in_words(recording: Any, call: pytest.CallInfo[None]) -> str:
    from analyzer.testing import in_words

    try:
        words = in_words(recording.report())
    except Exception as failed:  # noqa: BLE001 - a test's own failure must not be hidden by ours
        return f"the recording could not be judged: {failed!r}"
    said = call.excinfo is not None and words in str(call.excinfo.value)
    return "as above" if said else words
