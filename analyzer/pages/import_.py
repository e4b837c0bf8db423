"""Import: trace files of any format, dropped here, and what came of each."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import streamlit as st

from analyzer.pages import exports, layout, opened, pieces, visitors, words
from analyzer.readers.formats import FORMATS
from analyzer.views import imports
from analyzer.views.imports import FileRead, Given
from instrument.errors import FlyballError
from instrument.policy import policy_tables
from instrument.prices import Prices, parse_prices

MOST_MB: Final = 500
"""Of one file: the browser's upload lies in memory until it is read. Larger ones are for `flyball load`."""
ISSUES_SHOWN: Final = 300
NEW, OPEN = "new", "open"

if not visitors.may_import(st.get_option("server.address"), st.context.headers, os.environ):
    st.title("Import", anchor=False)
    st.subheader("Import is off here", anchor=False)
    st.caption(
        "Others than the person at this machine can reach this app, and what one of them imports everybody would see. "
        "Read files into its database where it runs, or start it so that visitors may:"
    )
    st.code(f"flyball load PATH... --db FILE\n{visitors.ALLOW}=allow flyball app --db FILE", language=None)
    st.stop()
asked = layout.started_on()
holder = opened.instead()
st.title("Import", anchor=False)
st.html(
    pieces.muted(
        "Trace files of any of the formats below, zip and tar archives and compressed files of them. They stay on this machine."
    )
)


def writable(db: Path | None) -> bool:
    """Whether more can be read into this database."""
    return db is not None and db.is_file() and os.access(db, os.W_OK) and os.access(db.parent, os.W_OK)


def target(choice: str) -> Path:
    """Where to read into: the open database, or a new one that goes when the server does."""
    current = layout.options().db
    if choice == OPEN and current is not None:
        return current
    folder = tempfile.mkdtemp(prefix="flyball-import-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "imported.duckdb"


def prices() -> Prices:
    """Those of the policy file; ends the page where it cannot be read."""
    try:
        return parse_prices(policy_tables(None)[0])
    except FlyballError as e:
        layout.stop(
            "The policy cannot be read", str(e), "Correct the file, or run `flyball detectors` to see what it may say."
        )


def take(given: Sequence[Given], choice: str) -> None:
    """Reads the files, keeps what came of them, and opens the database if anything did."""
    told = prices()
    db = target(choice)
    sizes = [one.content.seek(0, os.SEEK_END) for one in given]
    for one in given:
        one.content.seek(0)
    bar = st.progress(0.0, "Reading …")
    done = [0]

    def advance(number: int, size: int) -> None:
        done[0] += size
        bar.progress(min(1.0, done[0] / max(1, sum(sizes))), f"Reading file {number + 1} of {len(given)} …")

    try:
        found = imports.read_into(db, given, prices=told, advance=advance)
    except (FlyballError, OSError, duckdb.Error) as e:
        layout.stop(
            "The database cannot be written",
            str(e),
            "Free some space, or read the files with: flyball load PATH... --db FILE",
        )
    bar.empty()
    st.session_state["import results"] = found
    if choice == NEW and any(one.spans for one in found):
        holder.path = db
    # What was uploaded lies in memory; a new uploader lets go of it.
    st.session_state["import round"] = st.session_state.get("import round", 0) + 1
    st.rerun()


def back() -> None:
    """Shows again what the app was started on."""
    holder.path = None


def results(found: Sequence[FileRead]) -> None:
    """What came of the files that were dropped last."""
    sums = imports.totals(found)
    st.header("What was read", anchor=False)
    refused = sums["refused"]
    st.html(
        pieces.tiles(
            [
                pieces.tile(
                    "Files",
                    words.count(sums["files"]),
                    f"{refused:,} not read" if refused else "all read",
                    "warning" if refused else "",
                ),
                pieces.tile("Runs", words.count(sums["runs"])),
                pieces.tile(
                    "New spans",
                    words.count(sums["spans"]),
                    f"{words.count(sums['known_spans'])} known before" if sums["known_spans"] else "",
                ),
                pieces.tile("Cost", words.money(sums["cost_usd"]), "of what has a known price"),
                pieces.tile(
                    "Issues",
                    words.count(sums["issues"]),
                    "told below" if sums["issues"] else "none",
                    "warning" if sums["issues"] else "",
                ),
            ]
        )
    )
    frame = pl.DataFrame([_row(one) for one in found], schema=SCHEMA, orient="row")
    st.dataframe(
        frame, hide_index=True, width="stretch", column_config=COLUMNS, placeholder=words.UNKNOWN, key="import files"
    )
    exports.table(frame, "imported-files")
    refusals = [(words.visible(one.name), words.visible(one.refusal)) for one in found if one.refusal]
    if refusals:
        st.header("Files that could not be read", anchor=False)
        st.html(pieces.table(["File", "Why"], refusals))
    issues = [(one.name, i) for one in found for i in one.issues]
    if issues:
        st.header("What could not be read of the others, or had to be inferred", anchor=False)
        rows = [
            (i.kind, words.visible(i.source), i.line, i.count, words.visible(i.message), words.visible(i.remedy))
            for _, i in issues[:ISSUES_SHOWN]
        ]
        st.dataframe(
            pl.DataFrame(rows, schema=["kind", "file", "line", "count", "what happened", "what to do"], orient="row"),
            hide_index=True, width="stretch", placeholder=words.UNKNOWN, key="import issues",
        )  # fmt: skip
        if len(issues) > ISSUES_SHOWN:
            st.caption(f"and {len(issues) - ISSUES_SHOWN:,} more kinds, in the table `issues` of the database")


def _row(one: FileRead) -> tuple[object, ...]:
    state = "not read" if one.refusal else "read" if one.spans else "known before" if one.known_spans else "no span"
    name = words.visible(one.name)
    return (
        name, state, one.format, ", ".join(one.dialects), one.runs, one.spans, one.known_spans, one.input_tokens, one.output_tokens,
        one.cost_usd, one.unpriced_calls, one.issue_count,
    )  # fmt: skip


SCHEMA: Final = {
    "file": pl.String, "state": pl.String, "format": pl.String, "names": pl.String, "runs": pl.Int64, "spans": pl.Int64, "known": pl.Int64,
    "input_tokens": pl.Int64, "output_tokens": pl.Int64, "cost_usd": pl.Float64, "unpriced_calls": pl.Int64, "issues": pl.Int64,
}  # fmt: skip
COLUMNS: Final = {
    "file": st.column_config.TextColumn("File", width=230),
    "state": st.column_config.TextColumn("", width=90),
    "format": st.column_config.TextColumn("Format", width=150),
    "names": st.column_config.TextColumn("Names of", width=100, help="Whose attribute names the spans have"),
    "runs": st.column_config.NumberColumn("Runs", format="localized", width=60),
    "spans": st.column_config.NumberColumn("New spans", format="localized", width=85),
    "known": st.column_config.NumberColumn(
        "Known", format="localized", width=65, help="Spans that were in the database before"
    ),
    "input_tokens": st.column_config.NumberColumn("Tokens in", format="localized", width=90),
    "output_tokens": st.column_config.NumberColumn("Tokens out", format="localized", width=90),
    "cost_usd": st.column_config.NumberColumn("Cost, $", format="%.4f", width=80),
    "unpriced_calls": st.column_config.NumberColumn(
        "Unpriced", format="localized", width=75, help="Model calls without a known price"
    ),
    "issues": st.column_config.NumberColumn("Issues", format="localized", width=65),
}

if holder.path is not None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown("The app shows what was imported, in every window. It is kept until the server stops.")
        st.button(f"Back to {words.visible(asked.title)}", on_click=back, icon=":material/undo:")
        st.download_button(
            "Keep it", lambda: holder.path.read_bytes() if holder.path else b"", file_name="imported.duckdb", on_click="ignore",
            mime="application/octet-stream", icon=":material/download:", help="The database, for flyball app",
        )  # fmt: skip
files = st.file_uploader(
    "Trace files", accept_multiple_files=True, max_upload_size=MOST_MB, key=f"import files {st.session_state.get('import round', 0)}",
    help=f"At most {MOST_MB} MB each; larger ones: flyball load PATH... --db FILE",
)  # fmt: skip
current = layout.options().db
ways = {NEW: "A new database, which the app then shows"}
if writable(current) and current is not None:
    ways[OPEN] = f"The open one, {words.visible(current.name)}, in which they stay"
choice = st.radio("Read into", [*ways], format_func=ways.__getitem__, key="import target")
if st.button("Import", type="primary", disabled=not files, icon=":material/upload_file:"):
    take([Given(one.name, one) for one in files], choice)
if kept := st.session_state.get("import results"):
    results(kept)
    if any(one.spans for one in kept):
        with st.container(horizontal=True):
            st.page_link(layout.OVERVIEW, label="Overview of what is open now", icon=":material/arrow_forward:")
            st.page_link(layout.RUNS, label="All runs", icon=":material/arrow_forward:")
with st.expander(f"The {len(FORMATS)} formats that are recognised"):
    st.html(pieces.table(["Format", "What writes such files"], [(f.name, f.about) for f in FORMATS]))
    st.caption(
        "By what they are, whatever their files are called. Besides: Parquet files of spans, and whatever plug-ins add."
    )
