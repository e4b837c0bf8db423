"""Take it with you: tables as CSV and Parquet, charts as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import polars as pl
import streamlit as st

from analyzer.pages import pieces
from analyzer.report.as_files import as_csv, as_parquet

_SCRIPT: Final = """
const SCALE = 2;  // for screens and slides: a PNG twice as large as the chart
const svgOf = (chart) => new Blob([new XMLSerializer().serializeToString(chart)], { type: "image/svg+xml" });

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function pngOf(chart) {
  const { width, height } = chart.viewBox.baseVal;
  const image = new Image(width * SCALE, height * SCALE);
  image.src = URL.createObjectURL(svgOf(chart));
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: width * SCALE, height: height * SCALE });
  const drawing = canvas.getContext("2d");
  drawing.fillStyle = getComputedStyle(chart).backgroundColor;
  drawing.fillRect(0, 0, canvas.width, canvas.height);
  drawing.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

export default function ({ parentElement, data }) {
  for (const [kind, made] of [["svg", svgOf], ["png", pngOf]])
    parentElement.querySelector("." + kind).onclick = async () => {
      let place = 0;
      for (const chart of document.querySelectorAll("[data-testid=stVegaLiteChart] svg.marks"))
        save(await made(chart), `${data.name}-${++place}.${kind}`);
    };
}
"""
_ICON: Final = (
    '<svg viewBox="0 0 24 24" width="16" height="16" fill="none" stroke="currentColor" stroke-width="2" aria-hidden="true">'
    '<path d="M12 4v11M7.5 10.5 12 15l4.5-4.5M4 15.5V20h16v-4.5"/></svg>'
)
_BUTTONS: Final = "".join(
    f'<button type="button" class="{kind.lower()}">{_ICON}Charts as {kind}</button>' for kind in ("PNG", "SVG")
)
_STYLE: Final = """
button { display: inline-flex; align-items: center; gap: 8px; font: inherit; font-size: 0.875rem; color: var(--st-text-color);
  background: transparent; border: none; border-radius: 6px; padding: 6px 0; margin-right: 16px; cursor: pointer; }
button:hover { color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
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
    """Two buttons that save every chart of the page, as PNG and as SVG; to be called below all of them."""
    _saver()(data={"name": f"flyball-{name}"}, key=f"charts {name}")


def _saver() -> Any:
    # Registered anew on each run of the script, as Streamlit wants it.
    return st.components.v2.component("flyball_charts", html=_BUTTONS, css=_STYLE, js=_SCRIPT)
