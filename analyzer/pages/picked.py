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
    if (event.target.dataset?.testid === "data-grid-canvas") act(event);
  }, { capture: true, signal: heard.signal });
  let pointing = false, keys = data.keys;
  const byKeys = () => { if (!keys) { keys = true; setStateValue("keys", true); } };
  on("pointerdown", (event) => {
    pointing = true;
    setTimeout(() => {
      pointing = false;
      if (keys && event.offsetY > data.head_pixels) { keys = false; setStateValue("keys", false); }
    }, WAIT_MS);
  });
  on("focusin", (event) => {
    event.target.setAttribute("aria-label", data.label);
    if (!pointing) byKeys();
  });
  on("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return byKeys();
    event.preventDefault();
    event.stopPropagation();
    byKeys();
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
            "keys": bool(known.get("keys")),
            "head_pixels": _HEAD_PIXELS,
            "label": "Table: arrow keys move, Enter opens the row",
        },
        default={"keys": False},
        on_keys_change=_nothing,
        on_open_change=_nothing,
    )
    cells = event["selection"]["cells"]
    return int(cells[0][0]) if cells and (asked.open or not asked.keys) else None


def _nothing() -> None:
    """Being told is enough: the page is drawn anew."""


def _listener() -> Any:
    # Registered anew on each run of the script, as Streamlit wants it.
    return st.components.v2.component("flyball_rows", js=_SCRIPT)
