"""Take it with you: tables as CSV and Parquet, charts as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import polars as pl
import streamlit as st

from analyzer.pages import pieces
from analyzer.report.as_files import as_csv, as_parquet

_SVG: Final = """
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  button.onclick = () => {
    document.querySelectorAll("[data-testid=stVegaLiteChart] svg").forEach((chart, place) => {
      const link = document.createElement("a");
      const text = new XMLSerializer().serializeToString(chart);
      link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
      link.download = `${data.name}-${place + 1}.svg`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  };
}
"""
_BUTTON: Final = '<button type="button">Charts as SVG</button>'
_STYLE: Final = """
button { font: inherit; font-size: 0.875rem; color: var(--st-text-color); background: transparent; border: none; padding: 4px 0;
  cursor: pointer; opacity: 0.75; }
button:hover, button:focus-visible { opacity: 1; color: var(--st-primary-color); }
"""


def table(frame: pl.DataFrame | Callable[[], pl.DataFrame], name: str, note: str = "") -> None:
    """Two small buttons that hand `frame` out as `flyball-NAME.csv` and `.parquet`; a function is called only when one is clicked.

    `note` is a remark of ours beside them; plain text.
    """
    whole: Callable[[], pl.DataFrame] = frame if callable(frame) else lambda: frame
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        _file("CSV", "text/csv", name, lambda: as_csv(whole()))
        _file("Parquet", "application/vnd.apache.parquet", name, lambda: as_parquet(whole()))
        if note:
            st.html(pieces.page(f'<p class="fb-cut">{pieces.text(note)}</p>'))


def _file(kind: str, mime: str, name: str, written: Callable[[], bytes]) -> None:
    st.download_button(
        kind,
        written,  # when it is asked for: a page is not held up by files that nobody takes
        file_name=f"flyball-{name}.{kind.lower()}",
        mime=mime,
        key=f"export {name} {kind}",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
        help=f"This table, all rows, as {kind}",
    )


def charts(name: str) -> None:
    """A button that saves every chart of the page as SVG; as PNG each has a button of its own in the toolbar above it."""
    _svg()(data={"name": f"flyball-{name}"}, key=f"svg {name}")


def _svg() -> Any:
    # Registered anew on each run of the script, as Streamlit wants it.
    return st.components.v2.component("flyball_svg", html=_BUTTON, css=_STYLE, js=_SVG)
