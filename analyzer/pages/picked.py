"""Tables whose rows lead somewhere: by a click anywhere in a row, or by Enter on it."""

from __future__ import annotations

import re
from typing import Any, Final

import streamlit as st

_SCRIPT: Final = """
const WAIT_MS = 400;  // the table tells of its selection a little after the click or the key
export default function ({ data, setStateValue, setTriggerValue }) {
  const table = document.querySelector("." + CSS.escape(data.table));
  if (!table) return;
  table.dataset.opens = "";
  const heard = new AbortController();
  const on = (name, act) => table.addEventListener(name, (event) => {
    const grid = event.target.closest?.("[data-testid=stDataFrameResizable]");
    if (grid) act(event, grid);
  }, { capture: true, signal: heard.signal });
  let keys = data.typing, typed = false;
  const byKeys = () => { if (!keys) { keys = true; setStateValue("typing", true); } };
  for (const [name, by] of [["keydown", true], ["pointerdown", false]])
    document.addEventListener(name, () => { typed = by; }, { capture: true, signal: heard.signal });
  on("focusin", () => { if (typed) byKeys(); });
  on("click", (event, grid) => {
    const inRows = event.clientY - grid.getBoundingClientRect().top > data.head_pixels;
    setTimeout(() => { if (keys && inRows) { keys = false; setStateValue("typing", false); } }, WAIT_MS);
  });
  on("keydown", (event) => {
    if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
    byKeys();
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    setTimeout(() => setTriggerValue("open", true), WAIT_MS);
  });
  return () => heard.abort();
}
"""
_HEAD_PIXELS: Final = 36
_NO_CLASS: Final = re.compile("[^a-zA-Z0-9_-]")


def row(event: Any, key: str) -> int | None:
    """The row that was clicked, or that Enter was pressed on, in the table with this key; to be called right below it.

    `event` is what `st.dataframe` gave with `selection_mode="single-cell"`. The table selects a cell as soon as the keyboard reaches
    it: were that a click, nobody could move past its first row without leaving the page.
    """
    name = f"open {key}"
    known: Any = st.session_state.get(name) or {}
    asked = _listener()(
        key=name,
        data={
            "table": f"st-key-{_NO_CLASS.sub('-', key)}",
            "typing": bool(known.get("typing")),
            "head_pixels": _HEAD_PIXELS,
        },
        default={"typing": False},
        on_typing_change=_nothing,
        on_open_change=_nothing,
    )
    cells = event["selection"]["cells"]
    return int(cells[0][0]) if cells and (asked.open or not asked.typing) else None


def _nothing() -> None:
    """Being told is enough: the page is drawn anew."""


def _listener() -> Any:
    # Registered anew on each run of the script, as Streamlit wants it.
    return st.components.v2.component("flyball_rows", js=_SCRIPT)
