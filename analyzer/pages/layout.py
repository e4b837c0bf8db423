"""What every page has in common: its frame, its style, and how it says that something went wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import streamlit as st

from analyzer.pages import opened, words
from analyzer.pages.options import Options, parse

FOLDER = Path(__file__).parent
OVERVIEW, RUNS, RUN, ALERTS, REVIEWS = (
    FOLDER / f"{name}.py" for name in ("overview", "runs", "run", "alerts", "reviews")
)
COMPARE, POLICY, IMPORT = (FOLDER / f"{name}.py" for name in ("compare", "policy", "import_"))
FAILURES, COST, TOOLS = (FOLDER / f"{name}.py" for name in ("failures", "cost", "tools"))


# Tables are drawn on a canvas, which has no name by itself: that of the heading above it. Nor does CSS hear of the focus within one.
_TABLES: Final = """
export default function () {
  const heard = new AbortController();
  const on = (name, act) => document.addEventListener(name, act, { capture: true, signal: heard.signal });
  const grid = (event) => event.target.closest?.("canvas") && event.target.closest("[data-testid=stDataFrameResizable]");
  let typed = false;
  on("keydown", () => { typed = true; });
  on("pointerdown", () => { typed = false; });
  on("focusin", (event) => grid(event)?.toggleAttribute("data-keys", typed));
  on("focusout", (event) => { if (!grid(event)?.contains(event.relatedTarget)) grid(event)?.removeAttribute("data-keys"); });
  const name = () => document.querySelectorAll("[data-testid=data-grid-canvas]:not([aria-label])").forEach((table) => {
    const above = [...document.querySelectorAll("h1, h2")].filter((head) => head.compareDocumentPosition(table) & 4).pop();
    table.setAttribute("aria-label", `Table: ${above?.innerText ?? ""}` + (table.closest("[data-opens]") ? "; Enter opens a row" : ""));
  });
  const watcher = new MutationObserver(name);
  watcher.observe(document.body, { childList: true, subtree: true });
  name();
  return () => { watcher.disconnect(); heard.abort(); };
}
"""


def begin() -> None:
    """Called once per run of the script, before anything is drawn."""
    st.set_page_config(page_title="Flyball", page_icon=FOLDER / "icon.svg", layout="wide")
    st.logo(FOLDER / "mark.svg", size="medium")
    st.html(FOLDER / "style.css")
    _for_tables()(key="tables")


def _for_tables() -> Any:
    # Registered anew on each run of the script, as Streamlit wants it.
    return st.components.v2.component("flyball_tables", js=_TABLES)


def options() -> Options:
    """What this server was asked to open: on its command line, or since then on the page Import."""
    imported = opened.instead().path
    return Options(db=imported) if imported is not None and imported.exists() else started_on()


def started_on() -> Options:
    """What the command line asks for."""
    try:
        return parse(sys.argv[1:], os.environ)
    except SystemExit:
        stop(
            "The app was started with arguments it does not know",
            "See the terminal.",
            "streamlit run app.py -- [--db FILE] [PATH...]",
        )


def stop_without_runs(db: Path) -> NoReturn:
    """Ends a page that has nothing to show, with how to change that."""
    st.subheader("No run is recorded here yet", anchor=False)
    st.caption("Record one with `instrument.record(...)`, or read traces you have:")
    st.code(f"flyball load PATH... --db {db}", language=None)
    st.stop()
    raise AssertionError("unreachable: st.stop raises")


def stop(title: str, problem: str, remedy: str = "") -> NoReturn:
    """Says what is wrong and what to do, and ends the page. `problem` may hold recorded text: it is shown as it is."""
    st.subheader(title, anchor=False)
    st.code(words.visible(problem), language=None, wrap_lines=True)
    if remedy:
        st.caption("What to do")
        st.code(remedy, language=None)
    st.stop()
    raise AssertionError("unreachable: st.stop raises")
