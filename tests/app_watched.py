"""A page of the app in a real browser, and all that it does which it should not: for tests and for the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.sync_api import Browser, Page

from docs.screenshots import settle

MOST_BYTES: Final = 5_000_000
"""Of one message to the browser."""


@dataclass
class Watched:
    """A page, and what it did that it should not."""

    page: Page
    address: str
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    """Bytes of each message that came over the websocket."""

    def open(self, path: str) -> None:
        """Opens a page of the app and waits until it is drawn."""
        self.page.goto(f"{self.address}/{path}")
        settle(self.page)

    @property
    def said(self) -> str:
        """All text on the page."""
        return self.page.locator("[data-testid=stMain]").inner_text()

    def faults(self) -> list[str]:
        """Exceptions on the page as it stands, and since it was first opened errors in the console, requests to elsewhere, and messages
        that are too large.
        """
        exceptions = self.page.locator("[data-testid=stException]").all_inner_texts()
        large = [f"a message of {size:,} bytes" for size in self.messages if size >= MOST_BYTES]
        return [*exceptions, *self.errors, *(f"asked {url}" for url in self.outside), *large]

    def _local(self, url: str) -> bool:
        return url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:"))

    def _listen(self, socket: Any) -> None:
        if not self._local(socket.url):
            self.outside.append(socket.url)
        # A text counts in bytes, too.
        socket.on("framereceived", lambda m: self.messages.append(len(m.encode() if isinstance(m, str) else m)))

    def watch(self) -> None:
        """Begins to listen."""
        self.page.on("request", lambda r: None if self._local(r.url) else self.outside.append(r.url))
        self.page.on("websocket", self._listen)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("dialog", lambda d: (self.errors.append(f"dialog: {d.message}"), d.dismiss()))


@contextmanager
def watching(browser: Browser, address: str, scheme: Any = "light", width: int = 1280) -> Iterator[Watched]:
    """A fresh page of the app at `address`, listened to from the start."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    watch = Watched(context.new_page(), address)
    watch.watch()
    try:
        yield watch
    finally:
        context.close()
