"""From paths to spans: one small module per format, chosen by what a file says and never by its name.

Formats are listed in `formats.py`; `paths.py` finds the files; `streams.py` and `lines.py` see that memory does not
grow with a file.
"""

from __future__ import annotations

from analyzer.readers.format import Format
from analyzer.readers.loading import load
from analyzer.readers.paths import Inputs, Source, is_database, resolve
from analyzer.readers.reading import Reading, read
from analyzer.readers.sink import Sink
from analyzer.readers.streams import Stream

__all__ = [  # noqa: RUF022 - a table of contents, in the order of use
    # what to read
    "Inputs",
    "Source",
    "is_database",
    "resolve",
    # reading it
    "Reading",
    "Sink",
    "load",
    "read",
    # reading a format of one's own
    "Format",
    "Stream",
]
