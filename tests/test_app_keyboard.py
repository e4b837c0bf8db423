"""The app without a mouse and without colours: every key is pressed in a real Chromium, every name and contrast is read from it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from app_database import a_day, failing, growing, write
from playwright.sync_api import Page

from instrument.ledger import Review, SqliteLedger

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from screenshots import chromium, served, settle

pytestmark = pytest.mark.browser
if not (shutil.which("chromium") or os.environ.get("CI")):
    pytest.skip("chromium is not installed", allow_module_level=True)

PAGES = ("", "runs", "run", "failures", "cost", "tools", "policy", "alerts", "reviews", "compare", "import")
MOST_STOPS = 160
"""Of one page: more would be a trap."""

# What can be reached or is a picture, and has no name for those who do not see it.
UNNAMED = """() => {
  const found = [];
  const kinds = "a[href], button, input, select, textarea, summary, canvas[tabindex], [tabindex='0'], [role=button], [role=combobox], " +
    "[role=tab], [role=slider], [role=spinbutton], [role=img], img, [role=graphics-document]";
  const look = (root) => root.querySelectorAll("*").forEach((one) => {
    if (one.shadowRoot) look(one.shadowRoot);
    if (!one.matches(kinds) || one.closest("[aria-hidden=true]") || !one.checkVisibility() || one.type === "file") return;
    const by = (one.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "");
    const names = [one.ariaLabel, ...by, ...[...one.labels ?? []].map((label) => label.textContent), one.title, one.alt, one.textContent];
    if (!names.some((name) => name?.trim())) found.push(one.outerHTML.slice(0, 160));
  });
  look(document);
  document.querySelectorAll("[data-testid=stVegaLiteChart]").forEach((chart) => {
    if (!chart.querySelector("[aria-label]:not([aria-label=''])")) found.push("a chart: " + chart.textContent.slice(0, 80));
  });
  return found;
}"""

# Contrast as in WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio), of text in markup of our own, through all it lies on.
FAINT = """() => {
  const parsed = (said) => {
    const parts = said.match(/[-\\d.e]+%?/g).map(Number), share = said.startsWith("color(srgb") ? 255 : 1;
    return [...parts.slice(0, 3).map((part) => part * share), parts[3] ?? 1];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((part, n) => part * a + below[n] * (1 - a));
  const light = (color) => color.map((part) => part / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
  const found = new Set();
  document.querySelectorAll(".fb *").forEach((one) => {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && /[\\p{L}\\p{N}]/u.test(node.data));
    if (!own || !one.checkVisibility()) return;
    const above = [];
    for (let at = one; at; at = at.parentElement) above.unshift(getComputedStyle(at));
    let below = [255, 255, 255], opacity = 1;
    for (const style of above) { below = over(parsed(style.backgroundColor), below); opacity *= Number(style.opacity); }
    const [r, g, b, a] = parsed(getComputedStyle(one).color);
    const [high, low] = [light(over([r, g, b, a * opacity], below)), light(below)].sort((x, y) => y - x);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.add(`${ratio.toFixed(2)} ${one.className} ${one.parentElement.className}: ${one.textContent.slice(0, 30)}`);
  });
  return [...found];
}"""

# Whether the focus can be seen: what it is on, or around, looks otherwise than before and after. Kept from one call to the next.
SEEN = """() => {
  const cell = (one) => one?.closest?.("canvas") ?? one;
  const looks = (one) => { const out = [];
    for (let at = cell(one), n = 0; at && n < 7; at = at.parentElement ?? at.getRootNode().host, n++) {
      const s = getComputedStyle(at);
      out.push([s.outlineStyle === "none" ? "" : s.outline, s.boxShadow, s.borderColor, n < 2 ? s.backgroundColor : ""].join());
    }
    return out.join(";"); };
  document.getAnimations().forEach((one) => one.finish());
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  const before = window.flyballFocus;
  const hidden = before && before.at.isConnected && cell(before.at) !== cell(at) && looks(before.at) === before.looks ? before.at : null;
  window.flyballFocus = at && at !== document.body ? { at, looks: looks(at) } : null;
  return [at === document.body ? "" : at.tagName, hidden && hidden.tagName !== "MAIN" ? hidden.outerHTML.slice(0, 160) : ""];
}"""

FOCUSED = """() => { const at = document.activeElement;
  return { tag: at.tagName, said: (at.ariaLabel ?? at.innerText ?? "").trim(), grid: !!at.closest("canvas") }; }"""


@dataclass
class Opened:
    """A page of the app that is used by its keys."""

    page: Page
    address: str
    ledger: Path

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}/{path}")
        settle(self.page)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def focused(self) -> dict[str, Any]:
        """Where the keyboard is: what it is, and what it says."""
        told: dict[str, Any] = self.page.evaluate(FOCUSED)
        return told

    def follow(self, address: str) -> None:
        """Presses Enter on a link, once the page knows all that the keys told it on the way: a table that was passed tells of it a little
        later, and what the page is then told again takes the place of the change of page.
        """
        self.page.wait_for_timeout(600)
        settle(self.page)
        self.press("Enter")
        self.page.wait_for_url(address)

    def tab_to(self, said: str = "", *, grid: bool = False) -> None:
        """Presses Tab until the focus is on what ends in these words, or in a table."""
        for _ in range(MOST_STOPS):
            self.press("Tab")
            at = self.focused
            if (grid and at["grid"]) or (said and at["said"].endswith(said)):
                return
        raise AssertionError(f"the keyboard does not come to {said or 'a table'}")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The app over an ordinary day, with a question that waits."""
    folder = tmp_path_factory.mktemp("keyboard")
    ledger = folder / "runs.ledger"
    now = datetime.now(UTC)
    with closing(SqliteLedger(ledger)) as made:
        made.ask(
            Review(
                review_id="rev_1", run_id="r1", agent_name="refunds", user_id="u1", model="claude-opus-5-5", reason="It is expensive.",
                spent_usd=1.0, asked_usd=0.5, limit_usd=10.0, prompt="Refund all.", created_at=now, deadline_at=now + timedelta(hours=1),
            )
        )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYBALL_LEDGER", str(ledger))
        with served(write(folder / "day.duckdb", a_day(), broken=True)) as address, chromium() as browser:
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.set_default_timeout(10_000)
            yield Opened(page, address, ledger)


@pytest.mark.parametrize("path", PAGES)
def test_everything_has_a_name_and_text_that_reads_in_both_schemes(app: Opened, path: str) -> None:
    app.page.emulate_media(color_scheme="light")
    app.open(f"run?run={growing(44).run_id}" if path == "run" else path)
    assert app.page.evaluate(UNNAMED) == []
    assert app.page.evaluate(FAINT) == []
    app.page.emulate_media(color_scheme="dark")
    app.page.wait_for_function("getComputedStyle(document.querySelector('[data-testid=stApp]')).colorScheme === 'dark'")
    assert app.page.evaluate(FAINT) == []
    app.page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("path", ["", "runs"])
def test_the_keyboard_comes_to_the_end_of_a_page_and_is_always_seen(app: Opened, path: str) -> None:
    app.open(path)
    unseen, stops = [], 0
    app.press("Tab")
    at, _ = app.page.evaluate(SEEN)
    while at and stops < MOST_STOPS:
        app.press("Tab")
        at, hidden = app.page.evaluate(SEEN)
        stops += 1
        if hidden:
            unseen.append(hidden)
    assert unseen == []
    assert 20 < stops < MOST_STOPS
    app.press("Shift+Tab")
    assert app.focused["tag"] != "BODY"


def test_from_the_overview_to_the_offending_call_by_keys_alone(app: Opened) -> None:
    app.open("")
    app.press("Tab", "Enter")
    assert app.focused["tag"] == "MAIN"  # past the links of the head
    worst = app.page.locator(".fb-card").all_inner_texts()
    app.tab_to("Open")
    for _ in range(next(n for n, card in enumerate(worst) if "retry_storm" in card)):
        app.tab_to("Open")
    app.follow(f"**/run?run={failing(42).run_id}*")
    settle(app.page)
    app.tab_to("Turn 1")
    app.follow("**finding=*")
    settle(app.page)
    call = app.page.locator(".fb-turn", has_text="ConnectionError: payments is down").first
    assert call.is_visible()


def test_a_row_is_opened_by_enter_or_a_click_and_not_by_passing_through(app: Opened) -> None:
    app.open("runs")
    app.tab_to(grid=True)
    app.press("ArrowDown")
    app.page.wait_for_timeout(600)  # longer than the table takes to tell of its selection
    settle(app.page)
    assert "/run?" not in app.page.url
    app.press("ArrowDown", "Enter")
    app.page.wait_for_url("**/run?run=*")
    settle(app.page)
    first = app.page.locator("h1").inner_text()
    app.open("runs")
    app.tab_to(grid=True)
    box = app.page.locator("[data-testid=stDataFrame]").first.bounding_box()
    assert box is not None
    app.page.mouse.click(box["x"] + 260, box["y"] + 36 + 2.5 * 35)
    app.page.wait_for_url("**/run?run=*")
    settle(app.page)
    assert app.page.locator("h1").inner_text() == first


def test_a_question_is_approved_by_keys_alone(app: Opened) -> None:
    app.open("reviews")
    app.tab_to("Note")
    app.page.keyboard.type("It is fine.")
    app.tab_to("Approve")
    app.press("Space")
    app.page.get_by_text("0 questions waiting").wait_for()
    with closing(SqliteLedger(app.ledger)) as ledger:
        (answered,) = ledger.reviews(waiting=None)
    assert (answered.decision, answered.note) == ("approved", "It is fine.")
