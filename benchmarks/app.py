"""The first page over a million spans against a Streamlit page with one line of text, in a real Chromium.

    python benchmarks/app.py [--spans 1000000] [--db FILE] [--rounds 3]

Both servers are warm: one visit came before. A page counts as usable when its script has run and every chart and table is on
it. Prints the medians and their difference, and the bytes that the charts and the whole page cost on the wire; then the second visit
of every page, and its largest message.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from screenshots import PAGES, SETTLED, chromium, serving  # noqa: E402 - found by the line above

from analyzer.pages.serve import FLAGS, command  # noqa: E402
from benchmarks.detectors import build  # noqa: E402
from instrument.store.schema import META, VERSION  # noqa: E402

GOAL_SECONDS = 1.5
GOAL_CHART_BYTES = 100_000
USABLE = f"{SETTLED} [data-testid=stMainBlockContainer]"


def visit(browser: Browser, address: str, charts: int) -> tuple[float, list[int]]:
    """Seconds until the page is usable for a browser that was here before, and the bytes of each message of its websocket."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(address)
    _usable(page, charts)
    received: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    began = time.perf_counter()
    page.goto(address)
    _usable(page, charts)
    seconds = time.perf_counter() - began
    page.context.close()
    return seconds, received


def _usable(page: Any, charts: int) -> None:
    page.wait_for_selector(USABLE)
    if charts:
        page.wait_for_function(
            "n => document.querySelectorAll('[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg').length >= n",
            arg=charts,
        )


def chart_bytes(db: Path) -> int:
    """Bytes of the messages that carry the overview's charts."""
    from streamlit.testing.v1 import AppTest

    sys.argv = ["app.py", "--db", str(db)]
    at = AppTest.from_file(str(ROOT / "analyzer" / "pages" / "main.py"), default_timeout=120).run()
    if at.exception:
        raise RuntimeError(at.exception[0].message)
    return sum(chart.proto.ByteSize() for chart in at.get("vega_lite_chart"))


def times(line: Sequence[str], charts: int, rounds: int, browser: Browser) -> tuple[float, int]:
    """Median of the visits to a server, its first not counted, and the bytes of one."""
    with serving(line) as address:
        visits = [visit(browser, address, charts) for _ in range(rounds + 1)][1:]
    return median(seconds for seconds, _ in visits), sum(visits[0][1])


def every_page(line: Sequence[str], browser: Browser) -> None:
    """Prints the second visit of each page, and its largest message; the run is the first that the overview names."""
    with serving(line) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("a[href*='run?run=']", timeout=120_000)
        run = (page.locator("a[href*='run?run=']").first.get_attribute("href") or "").split("run?", 1)[1]
        for name in PAGES:
            place = f"{address}/{'' if name == 'overview' else name}{f'?{run}' if name == 'run' else ''}"
            visit(browser, place, 0)
            seconds, messages = visit(browser, place, 0)
            print(
                f"{name:<21} {seconds:6.2f} s (goal: at most 2); largest message {max(messages) / 1000:,.0f} KB (goal: at most 5,000)"
            )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--db", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flyball-bench-") as folder, chromium() as browser:
        db = given.db or Path(folder) / "million.duckdb"
        if not db.exists():
            build(db, given.spans)
            _sign(db)
        plain = Path(folder) / "plain.py"
        plain.write_text("import streamlit as st\nst.text('one line')\n")
        one_line = [sys.executable, "-m", "streamlit", "run", str(plain), *FLAGS]
        base, _ = times(one_line, 0, given.rounds, browser)
        ours, sent = times(command(db), 3, given.rounds, browser)
        sent_for_charts = chart_bytes(db)
        print(f"one line of text      {base:6.2f} s")
        print(f"overview, warm        {ours:6.2f} s   {ours - base:+.2f} s (goal: at most {GOAL_SECONDS})")
        print(f"its charts            {sent_for_charts / 1000:6.1f} KB (goal: at most {GOAL_CHART_BYTES / 1000:.0f})")
        print(f"everything it sends   {sent / 1000:6.1f} KB")
        every_page(command(db), browser)


def _sign(db: Path) -> None:
    with duckdb.connect(str(db)) as con:
        known = con.sql(f"SELECT 1 FROM {META.name} WHERE key = 'schema_version'").fetchall()
        if not known:
            con.execute(f"INSERT INTO {META.name} VALUES ('schema_version', ?)", [str(VERSION)])


if __name__ == "__main__":
    main()
