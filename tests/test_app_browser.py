"""The app in a real Chromium: it opens, asks nobody outside, logs no error, and shows hostile text as text."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_database import Call, Run, Turn, a_day, failing, growing, healthy, write
from app_watched import Watched, watching
from playwright.sync_api import Browser
from test_app_pieces import HOSTILE

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from screenshots import chromium, served, settle

pytestmark = pytest.mark.browser
if not (shutil.which("chromium") or os.environ.get("CI")):
    pytest.skip("chromium is not installed", allow_module_level=True)

PAGES = ("", "runs", "run", "failures", "cost", "tools", "policy", "alerts", "reviews", "compare", "import")
LONG_TURNS = 10_000


def hostile_runs() -> list[Run]:
    """Runs that fail, with hostile text wherever text can be."""
    turns = [Turn(HOSTILE, [Call("refund", {HOSTILE: i}, f"Error: {HOSTILE}", True)]) for i in range(8)]
    good = [healthy(n, HOSTILE) for n in range(1, 4)]
    return [Run(9, HOSTILE, turns, asked=HOSTILE, model=HOSTILE, failed=True), *good]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The app, served over an ordinary day and over hostile runs."""
    folder = tmp_path_factory.mktemp("browser")
    with (
        served(write(folder / "day.duckdb", a_day(), broken=True)) as day,
        served(write(folder / "hostile.duckdb", hostile_runs())) as hostile,
    ):
        yield {"day": day, "hostile": hostile}


def watched(browser: Browser, address: str, scheme: str = "light", width: int = 1280) -> Iterator[Watched]:
    """A fresh page that must come to its end without a request to elsewhere, an error or a message that is too large."""
    with watching(browser, address, scheme, width) as watch:
        yield watch
        assert watch.faults() == []


@pytest.fixture
def day(browser: Browser, addresses: dict[str, str]) -> Iterator[Watched]:
    """The ordinary day."""
    yield from watched(browser, addresses["day"])


@pytest.fixture
def hostile(browser: Browser, addresses: dict[str, str]) -> Iterator[Watched]:
    """The hostile runs."""
    yield from watched(browser, addresses["hostile"])


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_without_an_error_or_a_request_to_elsewhere(day: Watched, path: str) -> None:
    day.open(f"run?run={growing(44).run_id}" if path == "run" else path)
    assert day.page.locator("[data-testid=stException]").count() == 0
    assert day.page.locator("h1").count() == 1


@pytest.mark.parametrize("width", [1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(browser: Browser, addresses: dict[str, str], width: int, scheme: str) -> None:
    for watch in watched(browser, addresses["day"], scheme, width):
        for path in ("", f"run?run={growing(44).run_id}"):
            watch.open(path)
            assert watch.page.evaluate("document.documentElement.scrollWidth") <= width
            for chart in watch.page.locator("[data-testid=stVegaLiteChart]").all():
                box = chart.bounding_box()
                assert box is not None
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width


def test_from_the_overview_to_the_offending_call_in_one_click(day: Watched) -> None:
    day.open("")
    card = day.page.locator(".fb-card", has_text="payments is down").filter(has_text="retry_storm")
    index = [c.inner_text() for c in day.page.locator(".fb-card").all()].index(card.inner_text())
    day.page.get_by_role("link", name="Open").nth(index).click()
    day.page.wait_for_selector("h1:has-text('refunds')")
    settle(day.page)
    assert failing(42).run_id in day.page.url
    assert day.page.locator(".fb-turn", has_text="ConnectionError: payments is down").count() > 0


def test_a_click_anywhere_in_a_row_opens_its_run(day: Watched) -> None:
    day.open("runs")
    table = day.page.locator("[data-testid=stDataFrame]").first.bounding_box()
    assert table is not None
    day.page.mouse.click(table["x"] + 260, table["y"] + 52)
    day.page.wait_for_url("**/run?run=*")
    settle(day.page)
    assert "What went wrong" in day.said


def test_pages_of_turns_turn(day: Watched) -> None:
    day.open(f"run?run={growing(44).run_id}")
    first = day.page.locator(".fb-turn b").first
    assert first.inner_text() == "Turn 1"
    day.page.get_by_test_id("stPaginationPage").filter(has_text="3").last.click()
    day.page.wait_for_selector(".fb-turn:has-text('Turn 17')")
    assert first.inner_text() == "Turn 17"


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_stays_text(hostile: Watched, path: str) -> None:
    hostile.open(f"run?run={hostile_runs()[0].run_id}" if path == "run" else path)
    page = hostile.page
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("[data-testid=stMain] strong", has_text="bold").count() == 0
    if path in ("", "run"):
        assert "<img src=x onerror=alert(1)>" in hostile.said
        assert "**bold** {{ 7*7 }}" in hostile.said


def test_hostile_names_in_filters_stay_text(hostile: Watched) -> None:
    hostile.open("runs")
    hostile.page.locator("[data-testid=stMultiSelect]").first.click()
    options = hostile.page.locator("[role=option]")
    options.first.wait_for()
    assert "<img src=x" in " ".join(options.all_inner_texts())
    assert hostile.page.locator("[role=option] img, [role=option] strong").count() == 0


@pytest.mark.parametrize(("host", "status"), [("localhost", 101), ("evil.example", 403)])
def test_only_this_machines_own_names_are_answered(addresses: dict[str, str], host: str, status: int) -> None:
    port = int(addresses["day"].rsplit(":", 1)[1])
    lines = [
        "GET /_stcore/stream HTTP/1.1", f"Host: {host}:{port}", f"Origin: http://{host}:{port}", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall("\r\n".join([*lines, "", ""]).encode())
        assert asking.recv(12) == f"HTTP/1.1 {status}".encode()


@pytest.mark.slow
def test_a_run_of_twenty_thousand_spans_opens(browser: Browser, tmp_path: Path) -> None:
    turns = [Turn("", [Call("get_order", {"id": i}, f"page {i}")]) for i in range(LONG_TURNS)]
    long = Run(1, "support", turns, whole_history=False)
    with served(write(tmp_path / "long.duckdb", [long])) as address:
        for watch in watched(browser, address):
            watch.open(f"run?run={long.run_id}")
            assert "10,000" in watch.said
            assert watch.page.locator(".fb-turn").count() == 8
