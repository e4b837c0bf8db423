"""The app over a million spans, one run of 50,000 and a million runs, in a real Chromium; exits 1 where a page does what none may.

    python benchmarks/app.py [--spans 1000000] [--turns 25000] [--runs 1000000] [--rounds 3] [--keep FOLDER]

Of each page two times, seconds since the browser was told to go there, of a browser and a server that both know the page: until it is
painted (its heading and the first that it says below stand on the screen) and until it is drawn (its script has run, every chart and table
stands). Then what people do on the page of the longest run and in the list of a million runs, from the click until all is drawn again. The
first page is set beside a Streamlit page with one line of text. Of so many `--rounds` the fastest counts: other work on the machine only
ever adds. `--keep` keeps the databases for the next time.

No page may raise, log an error in the browser's console, ask another host, or send a message of 5 MB: each is printed, and the end is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analyzer.pages.serve import FLAGS, command  # noqa: E402 - found by the line above
from benchmarks.generated_runs import build  # noqa: E402
from docs.screenshots import PAGES, SETTLED, chromium, serving  # noqa: E402
from tests.app_watched import Watched, watching  # noqa: E402

GOAL_SECONDS: Final = 2.0
GOAL_OVER_ONE_LINE_SECONDS: Final = 1.5
GOAL_CHART_BYTES: Final = 100_000
WAIT_SECONDS: Final = 120.0
"""For judging a million spans on the first visit."""
QUIET_MS: Final = 100
"""Without a message for so long a page has been told all."""

# Notes when the page stands painted and drawn, in the browser itself: what asking it costs is not counted. A page is drawn when nothing
# is missing in this frame and was not in the one before.
_NOTE: Final = """(() => {
  const seen = (window.flyballSeen = {});
  const parts = ["table", ".fb-tiles", ".fb-story", ".fb-card", "[data-testid=stDataFrame] canvas",
    ...["MultiSelect", "FileUploader", "Slider", "NumberInput", "Radio", "Code", "ButtonGroup", "CaptionContainer", "Text", "Exception"]
      .map((name) => `[data-testid=st${name}]`)].join(",");
  // What is folded away has no place; a table below the window is drawn when it is scrolled to.
  const shown = (e) => e.offsetParent && e.getBoundingClientRect().top < innerHeight;
  const empty = (of, inner) => [...document.querySelectorAll(of)].some((e) => shown(e) && !e.querySelector(inner));
  const missing = () => !document.querySelector("SETTLED") || document.querySelector("[data-testid=stSkeleton], [data-stale=true]")
    || empty("[data-testid=stVegaLiteChart]", "svg, canvas") || empty("[data-testid=stDataFrame]", "canvas");
  let whole = 0;
  const look = () => {
    const main = document.querySelector("[data-testid=stMainBlockContainer]");
    if (seen.painted === undefined && main && main.querySelector("h1") && main.querySelector(parts)) seen.painted = performance.now();
    whole = seen.painted === undefined || missing() ? 0 : whole + 1;
    if (whole > 1 && seen.drawn === undefined) seen.drawn = performance.now();
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()""".replace("SETTLED", SETTLED)


@dataclass
class Told:
    """What was measured, and what went wrong."""

    faults: list[str] = field(default_factory=list)

    def line(self, name: str, painted: float | None, drawn: float, goal: float | None = GOAL_SECONDS) -> None:
        """One measurement; what misses its goal is marked, and fails nothing: a busy machine is no fault of the app."""
        first = drawn if painted is None else painted
        late = "   LATE" if goal is not None and first > goal else ""
        shown = "" if painted is None else f"painted {painted:5.2f} s, "
        print(f"  {name:<34} {shown}drawn {drawn:5.2f} s{late}", flush=True)

    def faulty(self, where: str, watch: Watched) -> None:
        """Takes down what the page did that it should not."""
        self.faults += [f"{where}: {fault}" for fault in watch.faults()]


def seen(page: Page) -> tuple[float, float]:
    """Seconds from the start of the page until it was painted, and until it was drawn."""
    page.wait_for_function("window.flyballSeen?.drawn", timeout=WAIT_SECONDS * 1000, polling=100)
    noted: dict[str, float] = page.evaluate("window.flyballSeen")
    return noted["painted"] / 1000, noted["drawn"] / 1000


def visit(browser: Browser, address: str, path: str, rounds: int, told: Told) -> tuple[float, float, list[int]]:
    """The fastest of `rounds` visits after a first one, and the bytes of each message of the last."""
    with watching(browser, address) as watch:
        watch.page.add_init_script(_NOTE)
        times = []
        for _ in range(rounds + 1):
            watch.messages.clear()
            watch.page.goto(f"{address}/{path}")
            times.append(seen(watch.page))
            told.faulty(path or "overview", watch)
    painted, drawn = (min(column) for column in zip(*times[1:], strict=True))
    return painted, drawn, list(watch.messages)


def act(watch: Watched, told: Told, name: str, *steps: Callable[[Page], object]) -> None:
    """Times each step, from before it until the server has said its last about it; the fastest counts."""
    told.line(name, None, min(took(watch, step) for step in steps))
    told.faulty(name, watch)


def took(watch: Watched, step: Callable[[Page], object]) -> float:
    """Seconds that a step took: it has ended when its answer has come, and nothing more does for a while."""
    said, began = len(watch.messages), time.perf_counter()
    step(watch.page)
    ended = began
    while len(watch.messages) > said or ended == began or not watch.page.locator(SETTLED).count():
        if time.perf_counter() - began > WAIT_SECONDS:
            raise TimeoutError(f"no answer at {watch.page.url}")
        if len(watch.messages) > said:
            said, ended = len(watch.messages), time.perf_counter()
        watch.page.wait_for_timeout(QUIET_MS)
    return ended - began


def against_one_line(db: Path, browser: Browser, rounds: int, told: Told, folder: Path) -> None:
    """The first page beside a page with one line of text, and the bytes of its charts."""
    plain = folder / "plain.py"
    plain.write_text("import streamlit as st\nst.title('one line')\nst.text('of text')\n")
    with serving([sys.executable, "-m", "streamlit", "run", str(plain), *FLAGS]) as address:
        _, base, _ = visit(browser, address, "", rounds, Told())  # a plain server's console is not ours
    with serving(command(db)) as address:
        _, ours, messages = visit(browser, address, "", rounds, told)
    told.line("one line of text", None, base, None)
    told.line("overview", None, ours, None)
    print(f"  {'more than one line of text':<34} {ours - base:+.2f} s (goal: at most {GOAL_OVER_ONE_LINE_SECONDS})")
    print(f"  {'its charts':<34} {chart_bytes(db) / 1000:.1f} KB (goal: at most {GOAL_CHART_BYTES / 1000:.0f})")
    print(f"  {'everything it sends':<34} {sum(messages) / 1000:.1f} KB")


def chart_bytes(db: Path) -> int:
    """Bytes of the messages that carry the overview's charts."""
    from streamlit.testing.v1 import AppTest

    sys.argv = ["app.py", "--db", str(db)]
    at = AppTest.from_file(str(ROOT / "analyzer" / "pages" / "main.py"), default_timeout=WAIT_SECONDS).run()
    if at.exception:
        raise RuntimeError(at.exception[0].message)
    return sum(chart.proto.ByteSize() for chart in at.get("vega_lite_chart"))


def every_page(address: str, browser: Browser, rounds: int, told: Told) -> None:
    """Each page; the run is the worst, and Compare sets it beside another."""
    run = worst_run(address, browser)
    for name in PAGES:
        path = {"overview": "", "run": f"run?run={run}"}.get(name, name)
        painted, drawn, messages = visit(browser, address, path, rounds, told)
        told.line(name, painted, drawn)
        print(f"    largest message {max(messages) / 1000:,.0f} KB, all {sum(messages) / 1000:,.0f} KB")


def worst_run(address: str, browser: Browser) -> str:
    """Id of the run that the overview names first."""
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("a[href*='run?run=']", timeout=WAIT_SECONDS * 1000)
    link = page.locator("a[href*='run?run=']").first.get_attribute("href") or ""
    page.close()
    return link.split("run=", 1)[1].split("&", 1)[0]


@contextlib.contextmanager
def opened(address: str, browser: Browser, path: str) -> Iterator[Watched]:
    """A page, drawn."""
    with watching(browser, address) as watch:
        watch.page.add_init_script(_NOTE)
        watch.page.goto(f"{address}/{path}")
        seen(watch.page)
        yield watch


def long_run(address: str, browser: Browser, rounds: int, told: Told) -> None:
    """What people do with a run of so many spans."""
    run = worst_run(address, browser)
    painted, drawn, messages = visit(browser, address, f"run?run={run}", rounds, told)
    told.line("opens", painted, drawn)
    print(f"    largest message {max(messages) / 1000:,.0f} KB, all {sum(messages) / 1000:,.0f} KB")
    with opened(address, browser, f"run?run={run}") as watch:
        act(watch, told, "turns to the next turns", *[lambda page: _forward(page, -1)] * rounds)
        act(watch, told, "turns to the next spans", *[lambda page: _forward(page, 0)] * rounds)
        findings = watch.page.get_by_role("button", name=_TURN)
        act(watch, told, "goes to a finding", *(partial(_click, at=n) for n in range(min(rounds, findings.count()))))


_TURN: Final = re.compile("Turn [0-9]")


def _click(page: Page, at: int) -> None:
    page.get_by_role("button", name=_TURN).nth(at).click()


def _forward(page: Page, at: int) -> None:
    page.get_by_test_id("stPagination").nth(at).get_by_role("button", name="Next page").click()


def million_runs(address: str, browser: Browser, rounds: int, told: Told) -> None:
    """What people do with the list of all runs."""
    painted, drawn, messages = visit(browser, address, "runs", rounds, told)
    told.line("opens", painted, drawn)
    print(f"    largest message {max(messages) / 1000:,.0f} KB, all {sum(messages) / 1000:,.0f} KB")
    with opened(address, browser, "runs") as watch:
        act(watch, told, "turns the page", *[lambda page: _forward(page, 0)] * rounds)
        act(watch, told, "sorts", *(partial(_sort, by=by) for by in ("Cost", "Duration", "Tokens in")[:rounds]))
        act(watch, told, "filters by an agent", *(partial(_filter, agent=f"coder-{n}") for n in range(2)))
        act(watch, told, "seeks an id", *(partial(_seek, text=f"00f{n}") for n in range(rounds)))


def _sort(page: Page, by: str) -> None:
    page.get_by_test_id("stSelectbox").filter(has_text="Sort by").locator("input").click()
    page.locator("[role=option]").get_by_text(by, exact=True).click()


def _filter(page: Page, agent: str) -> None:
    asked = page.get_by_test_id("stMultiSelect").first.locator("input")
    asked.focus()
    asked.press_sequentially(agent)
    asked.press("Enter")


def _seek(page: Page, text: str) -> None:
    asked = page.get_by_label("Id contains")
    asked.fill(text)
    asked.press("Enter")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=1_000_000, help="of the database that every page is opened on")
    parser.add_argument("--turns", type=int, default=25_000, help="of the long run; twice as many spans")
    parser.add_argument("--runs", type=int, default=1_000_000, help="in the list of runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for the databases")
    given = parser.parse_args()
    told = Told()
    with tempfile.TemporaryDirectory(prefix="flyball-bench-") as temporary, chromium() as browser:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        many = built(folder / "spans.duckdb", given.spans)
        print(f"{given.spans:,} spans")
        against_one_line(many, browser, given.rounds, told, Path(temporary))
        with serving(command(many)) as address:
            every_page(address, browser, given.rounds, told)
        print(f"one run of {2 * given.turns:,} spans")
        with serving(command(built(folder / "long.duckdb", 2 * given.turns, given.turns))) as address:
            long_run(address, browser, given.rounds, told)
        print(f"{given.runs:,} runs")
        with serving(command(built(folder / "runs.duckdb", 2 * given.runs, 1))) as address:
            million_runs(address, browser, given.rounds, told)
    for fault in dict.fromkeys(told.faults):
        print(f"WRONG: {fault}")
    return 1 if told.faults else 0


def built(path: Path, spans: int, turns: int | None = None) -> Path:
    """The database of generated runs at `path`, made where there is none."""
    if not path.exists():
        build(path, spans, turns=turns)
    return path


if __name__ == "__main__":
    sys.exit(main())
