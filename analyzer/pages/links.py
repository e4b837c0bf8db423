"""Links among the pages, and pieces of markup that hold some. What comes from a trace is escaped as in `pieces`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlencode

from analyzer.pages import pieces


def to(page: str, **asked: str | Sequence[str] | None) -> str:
    """The address of a page with what it is asked for (`runs?agent=support`); what is None or has no values is left out.

    An empty text asks for what is not known (`views.runs_wanted`).
    """
    known = {name: value for name, value in asked.items() if value is not None and (value == "" or len(value))}
    return f"{page}?{urlencode(known, doseq=True)}" if known else page


def link(label: object, address: str) -> str:
    """A link within the app, in the same tab; `label` is text."""
    return f'<a class="fb-link" target="_self" href="{escape(address)}">{pieces.text(label)}</a>'


def tile(label: str, value: str, note: str, address: str, tone: str = "") -> str:
    """A tile whose whole face leads to `address`."""
    return f'<a class="fb-go" target="_self" href="{escape(address)}">{pieces.tile(label, value, note, tone)}</a>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table whose cells are markup already; the last `numbers` columns are numbers and stand to the right."""
    first = len(heads) - numbers
    head = "".join(f"<th{_side(place, first)}>{pieces.text(name)}</th>" for place, name in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(f'<td{_side(place, first)}>{cell}</td>' for place, cell in enumerate(row))}</tr>" for row in rows
    )
    return pieces.page(f'<table class="fb-table"><tr>{head}</tr>{body}</table>')


def dot(color: str) -> str:
    """A small square of a chart's colour."""
    return f'<span class="fb-dot" style="background:{escape(color)}"></span>'


def bar(share: float | None, color: str) -> str:
    """A share (0..1) as a bar beside its number; nothing where it is not known."""
    if share is None:
        return ""
    width = max(0.0, min(1.0, share)) * 100
    return f'<span class="fb-bar"><span style="width:{width:.1f}%;background:{escape(color)}"></span></span>'


def _side(place: int, first: int) -> str:
    return ' class="fb-number"' if place >= first else ""
