"""Every page of the app in a real Chromium over the sample traces and the shared ones; what people take away from it; and where they go:
to the call that failed last night, to a span that a link names, and to a run that begins while they look.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import polars as pl
import pytest
from app_database import START_NS, Call, Run, Turn, failing, growing, healthy, looping, write
from app_watched import Watched, watching
from playwright.sync_api import Browser, Page
from test_app_browser import hostile_runs

from docs.screenshots import PAGES, chromium, served, settle
from instrument.store.connect import reading

pytestmark = pytest.mark.browser
if not (shutil.which("chromium") or os.environ.get("CI")):
    pytest.skip("chromium is not installed", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "traces"
WIDTHS = (1280, 1920)
KINDS_OPENED = 4
"""Runs that are opened of each collection: the longest of each producer, the largest first."""
# What reaches beyond the window, by what it says. Elements without a text or a drawing are only there to act.
STICKS_OUT = """() => [document.documentElement, ...document.querySelectorAll("[data-testid=stMain] [data-testid=stElementContainer]")]
  .filter((e) => e === document.documentElement ? e.scrollWidth > innerWidth : e.getBoundingClientRect().right > innerWidth + 1)
  .filter((e) => e.innerText.trim() || e.querySelector("canvas, svg")).map((e) => `${e.className} ${e.innerText.slice(0, 80)}`)"""
IN_VIEW = """(of) => {
  const { top, bottom } = document.querySelector(of).getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}"""


@dataclass(frozen=True)
class Collection:
    """Traces in one database, served."""

    address: str
    db: Path

    def ask(self, sql: str) -> list[tuple[str, ...]]:
        """Rows of the database."""
        with reading(self.db) as con:
            return con.execute(sql).fetchall()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module", params=["samples", "shared"])
def traces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """All that Flyball reads of a folder of traces, in one database."""
    folder = {"samples": ROOT / "sample_traces", "shared": SHARED}[request.param]
    if not folder.is_dir():
        pytest.skip("the shared traces are not on this machine")
    db = tmp_path_factory.mktemp("everywhere") / f"{request.param}.duckdb"
    line = [sys.executable, "-m", "analyzer.cli", "load", str(folder), "--db", str(db)]
    # 2: some of the shared files are of no format that is known, and none hides another.
    assert subprocess.run(line, cwd=ROOT, capture_output=True, check=False).returncode in (0, 2)
    with served(db) as address:
        yield Collection(address, db)


def well(watch: Watched, path: str) -> None:
    """Opens a page and looks whether all is as it should be, on a laptop and on a wide screen."""
    watch.open(path)
    assert watch.page.locator("h1").count() == 1, path
    for width in WIDTHS:
        watch.page.set_viewport_size({"width": width, "height": 900})
        watch.page.wait_for_timeout(150)
        assert watch.page.evaluate(STICKS_OUT) == [], (path, width)
    assert watch.faults() == [], path


def test_every_page_is_well(browser: Browser, traces: Collection) -> None:
    with watching(browser, traces.address) as watch:
        for page in PAGES:
            well(watch, "" if page == "overview" else page)


def test_runs_of_every_producer_open_and_two_compare(browser: Browser, traces: Collection) -> None:
    longest = "SELECT arg_max(run_id, size), max(size) FROM sizes GROUP BY dialect ORDER BY 2 DESC"
    sizes = "SELECT run_id, any_value(dialect) AS dialect, count(*) AS size FROM spans GROUP BY run_id"
    runs = [run for run, _ in traces.ask(f"WITH sizes AS MATERIALIZED ({sizes}) {longest} LIMIT {KINDS_OPENED}")]
    with watching(browser, traces.address, "dark") as watch:
        for run in runs:
            well(watch, f"run?run={quote(run)}")
        well(watch, f"compare?a={quote(runs[0])}&b={quote(runs[1])}")
        watch.open("failures")
        watch.page.get_by_role("link", name="Open").first.click()
        watch.page.wait_for_url("**/run?*finding=*")
        settle(watch.page)
        assert "What went wrong" in watch.said
        assert watch.faults() == []


# --- what people take away --------------------------------------------------------------------------------------------

ACTING = ("=", "+", "-", "@")
FORMULA = '=HYPERLINK("http://evil.example","+1")'
SHAPES = {"svg", "g", "path", "text", "tspan", "defs", "clipPath", "rect", "title", "linearGradient", "stop", "line"}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app over runs whose names are markup, and runs whose names are formulas."""
    formulas = []
    for number, name in enumerate((FORMULA, "+1", "-1+1", "@SUM(1)"), 20):
        turns = [Turn(name, [Call(name, {name: i}, f"{name} failed", True)]) for i in range(8)]
        formulas.append(Run(number, name, turns, asked=name, model=name, failed=True))
    with served(write(tmp_path_factory.mktemp("hostile") / "hostile.duckdb", [*hostile_runs(), *formulas])) as address:
        yield address


def taken(page: Page, label: str | re.Pattern[str], at: int = 0) -> bytes:
    """The file that a button hands out."""
    with page.expect_download() as file:
        page.get_by_role("button", name=label, exact=isinstance(label, str)).nth(at).click()
    return Path(file.value.path()).read_bytes()


@pytest.mark.parametrize("path", ["", "runs", "run", "failures", "cost", "tools"])
def test_what_is_taken_away_holds_text_and_no_formula(browser: Browser, hostile: str, path: str) -> None:
    with watching(browser, hostile) as watch:
        watch.open(f"run?run={hostile_runs()[0].run_id}" if path == "run" else path)
        tables = watch.page.get_by_role("button", name="CSV", exact=True).count()
        files = [taken(watch.page, "CSV", at).decode() for at in range(tables)]
        cells = {cell for file in files for row in csv.reader(io.StringIO(file)) for cell in row}
        numbers = re.compile(r"-?[\d.]+(e-?\d+)?")
        assert [cell for cell in cells if cell.startswith(ACTING) and not numbers.fullmatch(cell)] == []
        assert any(cell.startswith("'=") or "<img src=x" in cell for cell in cells), "what was recorded is in it"
        assert pl.read_parquet(io.BytesIO(taken(watch.page, "Parquet"))).height > 0
        if charts := watch.page.locator("[data-testid=stVegaLiteChart] svg").count():
            picture = ElementTree.fromstring(taken(watch.page, "Charts as SVG"))
            assert {element.tag.rsplit("}", 1)[-1] for element in picture.iter()} <= SHAPES
            assert taken(watch.page, "Charts as PNG").startswith(b"\x89PNG")
        assert bool(charts) == (path != "runs")
        assert watch.faults() == []


def test_findings_that_are_copied_as_markdown_hold_no_markup(browser: Browser, hostile: str) -> None:
    with watching(browser, hostile) as watch:
        watch.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        watch.open("failures?detector=retry_storm")
        watch.page.get_by_role("button", name="Copy as Markdown").click()
        code = watch.page.locator("[data-testid=stPopoverBody] [data-testid=stCode]")
        code.hover()
        code.get_by_role("button").click()
        copied = watch.page.evaluate("navigator.clipboard.readText()")
        assert "refund" in copied
        # Where markup may be, it stands in code, in which nothing is drawn.
        outside = re.sub(r"(`+)(?:.|\n)*?\1", "", copied)
        assert "<img" not in outside
        assert "<script" not in outside
        assert watch.faults() == []


def test_the_archive_of_alert_rules_is_whole(browser: Browser, hostile: str) -> None:
    with watching(browser, hostile) as watch:
        watch.open("alerts")
        archive = zipfile.ZipFile(io.BytesIO(taken(watch.page, re.compile("Download all"))))
        assert archive.testzip() is None
        assert len(archive.namelist()) > 10
        for name in archive.namelist():
            assert not name.startswith(("/", "."))
            assert "<img" not in archive.read(name).decode()
        assert watch.faults() == []


# --- the ways that people go ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Three hundred healthy runs, old troubles, and one run that failed last night."""
    quiet = [healthy(number) for number in range(100, 400)]
    old = [growing(1), looping(2), replace(failing(3), agent="billing")]
    path = write(tmp_path_factory.mktemp("night") / "night.duckdb", [*old, *quiet, failing(500)])
    with served(path) as address:
        yield Collection(address, path)


def test_from_something_failed_last_night_to_the_offending_call_in_three_clicks(
    browser: Browser, night: Collection
) -> None:
    wanted = failing(500).run_id
    with watching(browser, night.address) as watch:
        page = watch.page
        watch.open("")
        page.locator("a.fb-go", has_text="Failed runs").click()  # 1: 3 of 304
        page.wait_for_url("**/runs?outcome=failed")
        settle(page)
        click_row(page, started(500))  # 2: the one of last night
        page.wait_for_url(f"**/run?run={wanted}*")
        settle(page)
        page.get_by_role("button", name=re.compile("^Turn 1$|arrow_downward")).first.click()  # 3: where it began
        page.wait_for_url("**finding=*")
        settle(page)
        call = page.locator(".fb-part.call", has_text="ConnectionError: payments is down").first
        box = call.bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= 900
        assert watch.faults() == []


def started(number: int) -> str:
    """When a run began, as the table of runs shows it."""
    return f"{datetime.fromtimestamp(START_NS / 1e9 + number * 1_800, UTC):%Y-%m-%d %H:%M}"


def click_row(page: Page, text: str) -> None:
    """Clicks the row of the first table in which a cell says this. Tables are painted; what they say stands in their canvas for those who
    cannot see it.
    """
    cell = page.locator("[data-testid=stDataFrame] canvas [role=gridcell]", has_text=text).first
    row = int((cell.get_attribute("data-testid") or "").rsplit("-", 1)[1])
    table = page.locator("[data-testid=stDataFrame]").first.bounding_box()
    assert table is not None
    page.mouse.click(table["x"] + 160, table["y"] + 35 + 35 * row + 17)


def test_a_link_to_a_span_or_a_finding_brings_it_into_view(browser: Browser, night: Collection) -> None:
    run = growing(1).run_id
    ((span,),) = night.ask(f"SELECT span_id FROM spans WHERE run_id = '{run}' AND turn = 19 AND kind = 'tool'")
    with watching(browser, night.address) as watch:
        watch.open(f"run?run={run}&span={span}")
        watch.page.wait_for_function(IN_VIEW, arg=".fb-here")
        assert "Turn 19" in watch.page.locator(".fb-turn", has=watch.page.locator(".fb-here")).inner_text()
        watch.open("failures?detector=retry_storm")
        link = watch.page.get_by_role("link", name="Open").first.get_attribute("href") or ""
        watch.page.goto(f"{night.address}/{link.lstrip('/')}" if "://" not in link else link)
        settle(watch.page)
        watch.page.wait_for_function(IN_VIEW, arg=".fb-aim")
        assert watch.faults() == []


AGENT = """
import sys, instrument
instrument.record(sys.argv[1])

@instrument.tool
def fetch(page: int) -> str:
    return f"page {page}"

@instrument.agent(name="newcomer")
def work() -> None:
    for page in range(3):
        fetch(page)

work()
"""


def test_a_run_that_begins_while_somebody_looks_appears_by_itself(browser: Browser, tmp_path: Path) -> None:
    db = write(tmp_path / "live.duckdb", [healthy(1)])
    with served(db) as address, watching(browser, address) as watch:
        watch.open("runs")
        loads: list[str] = []
        watch.page.on("load", lambda page: loads.append(page.url))
        tile = watch.page.locator(".fb-tile", has_text="Runs").first
        assert "1" in tile.inner_text().split()
        subprocess.run([sys.executable, "-c", AGENT, str(db)], cwd=ROOT, check=True, timeout=60)
        watch.page.wait_for_function(
            "() => document.querySelector('.fb-tile').innerText.split(/\\s+/).includes('2')", timeout=30_000
        )
        assert loads == []
        assert watch.faults() == []
