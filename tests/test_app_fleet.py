"""The pages over many runs: Overview, Failures, Cost and Tools, by Streamlit's own test runner and in a real Chromium."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from app_database import Run, Turn, a_day, failing, looping, write
from playwright.sync_api import Browser, Page
from streamlit.testing.v1 import AppTest
from test_app_browser import Watched, hostile_runs, watched
from test_app_pages import app, said

from analyzer.baseline import read_baseline
from analyzer.pages import data

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from screenshots import chromium, served, settle

PAGES = ("", "failures?detector=error_cascade", "cost", "tools")
in_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") or os.environ.get("CI")), reason="chromium is not installed"
)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of runs, some of which go wrong, and one without a price."""
    unpriced = Run(50, "guest", [Turn("hello")], model="my-own-model")
    return write(tmp_path_factory.mktemp("fleet") / "day.duckdb", [*a_day(), unpriced])


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No arguments of pytest's reach the app, and no policy of the folder."""
    monkeypatch.setattr("sys.argv", ["app.py"])
    monkeypatch.chdir(tmp_path)


def text(at: AppTest) -> str:
    """Everything on the page, buttons included."""
    return said(at) + "\n".join(button.label for button in at.button)


@pytest.mark.parametrize("page", ["failures", "cost", "tools"])
def test_an_empty_database_says_how_to_fill_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str) -> None:
    at = app(monkeypatch, write(tmp_path / "empty.duckdb", []), page)
    assert not at.exception
    assert "flyball load" in said(at)


@pytest.mark.parametrize("page", ["overview", "failures", "cost", "tools"])
def test_runs_in_which_nothing_was_called_or_found_are_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str
) -> None:
    at = app(monkeypatch, write(tmp_path / "quiet.duckdb", [Run(1, "a", [Turn("hi")], model="my-own")]), page)
    assert not at.exception
    expected = {
        "overview": "Nothing was found",
        "failures": "Nothing was found",
        "cost": "No model call has a known price",
        "tools": "No tool call was recorded",
    }
    assert expected[page] in said(at)


def test_numbers_of_the_overview_lead_to_their_runs(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    page = said(app(monkeypatch, day))
    for address in ("runs?outcome=failed", "runs?agent=support", "runs?detector=", "failures?mode=infinite+loops"):
        assert f'href="{address}' in page
    assert "service.version" in page


def test_failures_show_one_detector_at_a_time_and_keep_it_in_the_address(
    monkeypatch: pytest.MonkeyPatch, day: Path
) -> None:
    at = app(monkeypatch, day, "failures", detector="error_cascade")
    assert not at.exception
    assert at.header[0].value == "One failure after another"
    assert "payments is down" in said(at)
    slugs = at.dataframe[0].value["detector"].tolist()
    at.session_state["detectors"] = {
        "selection": {"rows": [], "columns": [], "cells": [(slugs.index("unknown_tool"), "runs")]}
    }
    at.run()
    assert at.query_params["detector"] in ("unknown_tool", ["unknown_tool"])
    assert "delete_customer" in said(at)


def test_failures_narrow_to_a_mode_an_agent_and_a_tool_that_a_link_asks_for(
    monkeypatch: pytest.MonkeyPatch, day: Path
) -> None:
    at = app(monkeypatch, day, "failures", mode="infinite loops", agent="nobody of that name")
    assert set(at.dataframe[0].value["mode"]) == {"infinite loops"}
    at = app(monkeypatch, day, "failures", tool="refund")
    assert "error_cascade" in at.dataframe[0].value["detector"].tolist()
    at.multiselect[3].set_value(["info"]).run()
    at.multiselect[1].set_value(["support"]).run()
    assert "No finding is like that" in said(at)


def test_what_is_accepted_is_left_out_written_beside_the_database_and_taken_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    db = write(tmp_path / "mine.duckdb", [looping(1), failing(2)])
    at = app(monkeypatch, db, "failures", detector="repeated_call")
    assert "same arguments 12 times" in said(at)
    accept = next(button for button in at.button if button.label == "Accept as known")
    accept.click().run()
    assert not at.exception
    assert "repeated_call" not in at.dataframe[0].value["detector"].tolist()
    assert len(read_baseline(tmp_path / "mine.baseline.json")) == 1
    assert "flyball check mine.duckdb --baseline mine.baseline.json" in said(at)
    next(button for button in at.button if button.label == "Undo all").click().run()
    assert "repeated_call" in at.dataframe[0].value["detector"].tolist()
    assert read_baseline(tmp_path / "mine.baseline.json") == frozenset()


def test_a_file_that_is_no_baseline_is_said_and_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    db = write(tmp_path / "mine.duckdb", [looping(1)])
    (tmp_path / "mine.baseline.json").write_text("notes")
    at = app(monkeypatch, db, "failures")
    assert not at.exception
    assert "is no baseline" in said(at)
    assert "Accept all" not in text(at)
    assert (tmp_path / "mine.baseline.json").read_text() == "notes"


def test_samples_have_no_place_to_accept_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYBALL_DB", raising=False)
    data.judged.clear()
    at = app(monkeypatch, "", "failures")
    assert not at.exception
    assert "Accept all" not in text(at)
    assert "--db FILE" in said(at)


def test_findings_can_be_copied_as_markdown(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "failures", detector="repeated_call")
    copied = [code.value for code in at.code if code.value.startswith("### The same call, again and again")]
    assert len(copied) == 2  # all of them, and the one
    assert looping(41).run_id in copied[0]


@pytest.mark.parametrize("by", ["Agent", "Model", "User", "Day"])
def test_cost_is_grouped_as_one_likes_and_unknown_is_unknown(
    monkeypatch: pytest.MonkeyPatch, day: Path, by: str
) -> None:
    at = app(monkeypatch, day, "cost", by=by.lower())
    assert not at.exception
    groups = at.dataframe[0].value
    assert groups["unpriced_calls"].sum() == 1
    assert groups["calls"].sum() == 172
    assert "my-own-model" in said(at)
    assert "flyball.toml" in said(at)


def test_a_group_leads_to_its_runs(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "cost")
    at.session_state["groups agent_name"] = {"selection": {"rows": [], "columns": [], "cells": [(0, "runs")]}}
    at.run()
    assert at.title[0].value == "Runs"
    assert at.query_params["agent"] in ("support", ["support"])


def test_a_tool_shows_how_it_failed(monkeypatch: pytest.MonkeyPatch, day: Path) -> None:
    at = app(monkeypatch, day, "tools")
    assert not at.exception
    assert "payments is down" in said(at)
    names = at.dataframe[0].value["tool_name"].tolist()
    at.session_state["tools"] = {
        "selection": {"rows": [], "columns": [], "cells": [(names.index("get_order"), "calls")]}
    }
    at.run()
    assert "None of its calls is known to have failed" in said(at)
    assert at.query_params["tool"] in ("get_order", ["get_order"])
    assert "No such tool was called" in said(app(monkeypatch, day, "tools", tool="<b>x</b>"))


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, served over a day of runs some of which are hostile."""
    numbered = [Run(**{**run.__dict__, "number": run.number + 60}) for run in hostile_runs()]
    db = write(tmp_path_factory.mktemp("fleet browser") / "all.duckdb", [*a_day(), *numbered])
    with served(db) as started:
        yield started


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Watched]:
    """A page that asks nobody outside and logs no error."""
    yield from watched(browser, address)


@pytest.mark.browser
@in_chromium
@pytest.mark.parametrize(("scheme", "width", "pages"), [("dark", 1280, PAGES), ("light", 1920, PAGES[2:3])])
def test_every_page_opens_whole_and_hostile_text_stays_text(
    browser: Browser, address: str, scheme: str, width: int, pages: tuple[str, ...]
) -> None:
    for watch in watched(browser, address, scheme, width):
        for path in pages:
            watch.open(path)
            assert watch.page.locator("[data-testid=stException]").count() == 0
            assert watch.page.locator("img[src=x]").count() == 0
            assert watch.page.locator("[data-testid=stMain] strong", has_text="bold").count() == 0
            assert watch.page.evaluate("document.documentElement.scrollWidth") <= width
            assert "<img src=x" in watch.said
            for chart in watch.page.locator("[data-testid=stVegaLiteChart]").all():
                box = chart.bounding_box()
                assert box is not None
                assert box["x"] + box["width"] <= width


@pytest.mark.browser
@in_chromium
def test_a_number_of_the_overview_opens_its_runs_in_the_same_tab(page: Watched) -> None:
    page.open("")
    page.page.locator("a.fb-go", has_text="Failed runs").click()
    page.page.wait_for_url("**/runs?outcome=failed")
    settle(page.page)
    assert page.page.locator("h1").inner_text() == "Runs"
    assert len(page.page.context.pages) == 1


@pytest.mark.browser
@in_chromium
def test_a_part_of_a_column_opens_the_runs_behind_it(page: Watched) -> None:
    page.open("")
    parts = page.page.locator("[data-testid=stVegaLiteChart]").first.locator(".mark-rect path")
    heights = parts.evaluate_all("parts => parts.map(part => part.getBBox().height)")
    parts.nth(heights.index(max(heights))).click()
    page.page.wait_for_url("**/runs?*since=*")
    assert "detector=" in page.page.url
    assert "until=" in page.page.url


@pytest.mark.browser
@in_chromium
def test_tables_and_charts_can_be_taken_away(page: Watched) -> None:
    page.open("tools")
    csv = _download(page.page, "CSV")
    assert csv.startswith(b"tool_name,calls,")
    assert pl.read_parquet(io.BytesIO(_download(page.page, "Parquet")))["calls"].sum() > 0
    with page.page.expect_download() as svg:
        page.page.get_by_role("button", name="Charts as SVG").click()
    picture = Path(svg.value.path()).read_text()
    assert svg.value.suggested_filename.startswith("flyball-tools-")
    assert picture.startswith("<svg")
    assert "search_orders" in picture
    assert "<img" not in picture
    with page.page.expect_download() as png:
        page.page.get_by_role("button", name="Charts as PNG").click()
    assert png.value.suggested_filename.startswith("flyball-tools-")
    drawn = Path(png.value.path()).read_bytes()
    assert drawn.startswith(b"\x89PNG")
    # As the SVG, twice as large (width and height stand at bytes 16 to 24 of a PNG).
    width, height = (float(size) for size in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture).groups())  # type: ignore[union-attr]
    assert struct.unpack(">II", drawn[16:24]) == (int(width * 2), int(height * 2))


def _download(page: Page, label: str) -> bytes:
    with page.expect_download() as file:
        page.get_by_role("button", name=label, exact=True).first.click()
    return Path(file.value.path()).read_bytes()
