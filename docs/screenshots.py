"""Writes the pictures of docs/: every page over the sample traces, light and dark, in a real Chromium.

python docs/screenshots.py [--db FILE] [--out docs/img] [--widths 1280 1920] [--run RUN_ID]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from analyzer.pages.serve import command
from instrument.ledger import Review, SqliteLedger

SETTLED = "[data-testid='stApp'][data-test-script-state='notRunning']"
START_SECONDS = 30.0
PAGES = (
    "overview", "runs", "run", "failures", "cost", "tools", "policy", "alerts", "reviews", "compare", "import",
)  # fmt: skip


@contextlib.contextmanager
def served(db: Path | None = None, paths: tuple[str, ...] = ()) -> Iterator[str]:
    """The app on a free port of this machine, ready to answer; its address. Stopped at the end."""
    with serving(command(db, paths)) as address:
        yield address


@contextlib.contextmanager
def serving(line: Sequence[str]) -> Iterator[str]:
    """The same for any command line that starts a Streamlit server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "STREAMLIT_SERVER_PORT": str(port)}
    server = subprocess.Popen(line, cwd=root, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603 - our own line
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _wait(address: str, server: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1):  # noqa: S310 - http on this machine
            return
        if server.poll() is not None:
            raise RuntimeError(f"the app ended with {server.returncode}")
        time.sleep(0.05)
    raise TimeoutError(address)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of the system: playwright downloads none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise FileNotFoundError("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


def settle(page: Page, timeout_seconds: float = 60.0) -> None:
    """Waits until the script has run and every chart is drawn."""
    page.wait_for_selector(SETTLED, timeout=timeout_seconds * 1000)
    page.wait_for_function("document.querySelectorAll('[data-testid=stSkeleton]').length === 0")
    page.wait_for_timeout(700)  # charts fade in and tables lay themselves out without telling anybody


def shoot(page: Page, address: str, file: Path, most: int = 9000) -> None:
    """The page at `address`, as high as it is, but at most `most` pixels."""
    page.goto(address)
    settle(page)
    height = page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight")
    size = page.viewport_size or {"width": 1280, "height": 800}
    page.set_viewport_size({"width": size["width"], "height": min(int(height) + 20, most)})
    settle(page)
    page.screenshot(path=file)
    page.set_viewport_size(size)
    # No palette: 256 colours go to the edges of letters, and the few that mean something are lost.
    Image.open(file).convert("RGB").save(file, optimize=True)


@contextlib.contextmanager
def questions() -> Iterator[None]:
    """A ledger in which two runs ask whether they may go on, for whatever is started within."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "runs.ledger"
        with contextlib.closing(SqliteLedger(place)) as ledger:
            for number, (agent, prompt, spent_usd, asked_usd) in enumerate(
                (
                    ("bookkeeper", "Close the books of October for all 14 branches.", 4.18, 1.32),
                    ("log-analyst", "Find out why checkouts failed between 02:00 and 04:00.", 2.07, 0.94),
                )
            ):
                ledger.ask(
                    Review(
                        review_id=f"rev_{number}", run_id=f"run_{number}", agent_name=agent, user_id="kim", model="claude-opus-5-5",
                        reason="", spent_usd=spent_usd, asked_usd=asked_usd, limit_usd=10.0, prompt=prompt, created_at=now,
                        deadline_at=now + timedelta(minutes=20 * (number + 1)),
                    )
                )  # fmt: skip
        before = dict(os.environ)
        os.environ |= {"FLYBALL_LEDGER": str(place), "LOGNAME": "kim"}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ |= before


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "img")
    parser.add_argument("--widths", type=int, nargs="*", default=[1280])
    parser.add_argument("--schemes", nargs="*", default=["light", "dark"])
    parser.add_argument("--pages", nargs="*", default=[*PAGES])
    parser.add_argument("--most", type=int, default=1400, help="height in pixels at which a picture is cut")
    parser.add_argument("--run", help="id of the run to show; default: the first of those to look at")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with questions(), served(given.db) as address, chromium() as browser:
        for width in given.widths:
            for scheme in given.schemes:
                context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page = context.new_page()
                run = given.run or worst_run(page, address)
                for name in given.pages:
                    query = f"?run={run}" if name == "run" else ""
                    suffix = "" if len(given.widths) == 1 else f"-{width}"
                    shoot(
                        page,
                        f"{address}/{'' if name == 'overview' else name}{query}",
                        given.out / f"{name}-{scheme}{suffix}.png",
                        given.most,
                    )
                context.close()


def worst_run(page: Page, address: str) -> str:
    """Id of a run that loops, where the overview shows one; else of the first it shows."""
    page.goto(address)
    settle(page)
    cards = page.locator(".fb-card").all_inner_texts()
    chosen = next((i for i, card in enumerate(cards) if "repeated_call" in card), 0)
    link = page.locator("a[href*='run?run=']").nth(chosen).get_attribute("href") or ""
    return link.split("run=", 1)[1]


if __name__ == "__main__":
    main()
