"""`docs/formats.md` says of every format what it is told by and what it can say; its example works."""

from __future__ import annotations

import re
from typing import Any

from kept_sink import Kept

from analyzer.readers import Format
from analyzer.readers.formats import FORMATS
from analyzer.readers.streams import Stream
from analyzer.report.formats_page import formats_page


def test_every_format_says_how_it_is_recognised_and_what_it_cannot_see() -> None:
    assert len({f.name for f in FORMATS}) == len(FORMATS)
    for found in FORMATS:
        assert "ecognised" in found.about, found.name
        assert found.sees, found.name
        assert found.cannot_see, found.name
        assert f"\n### {found.name}\n" in formats_page()


def test_links_of_the_index_lead_to_headings() -> None:
    page = formats_page()
    anchors = {
        re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^### (.+)$", page, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) == anchors


def test_the_example_of_a_reader_works() -> None:
    [example] = re.findall(r"```python\n(.*?)```", formats_page(), re.DOTALL)
    made: dict[str, Any] = {}
    exec(compile(example, "formats.md", "exec"), made)
    mine = made["MINE"]
    assert isinstance(mine, Format)
    kept = Kept()
    assert mine.sniff(b"MINE hello")
    mine.read(Stream("f", b"MINE hello", iter([b"MINE ", b"hello"])), kept)
    assert kept.names == ["chat"]
