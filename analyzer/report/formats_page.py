"""`docs/formats.md`: what can be read, what it is told by, and what it can and cannot say."""

from __future__ import annotations

import re
from typing import Final

from analyzer.readers.archives import MEMBERS, NESTED, UNPACKED
from analyzer.readers.format import Format
from analyzer.readers.formats import FORMATS
from analyzer.readers.lines import LIMIT
from analyzer.readers.plugins import GROUP

_INTRO: Final = f"""\
# Formats

`flyball check PATH...` reads each file by what it says, never by its name. Folders may mix all formats; a file that holds no trace is
mentioned where it was found in a folder, and refused where it was named. What cannot be read, or had to be worked out, is an issue with
file, line and count.

## What files may be wrapped in

- **Compression**: gzip, zstd, xz and bzip2, several parts in one file, cut off while still being written, up to three layers.
- **Archives**: zip (stored, deflate, bzip2, LZMA, zstd; also Inspect's `.eval`) and tar, compressed or not. Members are read as if they
  lay in a folder and are called `archive.zip!path/of/member`. Archives within archives are opened {NESTED} deep; of one archive {MEMBERS:,}
  members and {UNPACKED >> 30} GB are read. Encrypted and damaged members are issues; nothing is ever written where a member says.
- **Encodings**: UTF-8 and UTF-16, with a byte order mark or without.
- **Standard input** (`-`): all of these, too.
- **Parquet**: each row is read as a line of JSON would be, so every format below that has one object a line may come as Parquet.

One line, or one document that has to be read as a whole, may have {LIMIT >> 20} MB; longer ones are left out and said. Of whatever else
is large, only some megabytes are in memory at once.
"""
_OWN: Final = f"""\
## A format of your own

A package brings a reader as an entry point of the group `{GROUP}`:

```toml
[project.entry-points."{GROUP}"]
mine = "my_package.traces:MINE"
```

```python
from analyzer.readers import Format, Sink, Stream
from instrument.otlp import Span, attributes, one_resource


def read(stream: Stream, sink: Sink) -> None:
    text = b"".join(stream.pieces).decode()
    said = attributes({{"gen_ai.operation.name": "chat", "gen_ai.request.model": text}})
    span = Span("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", name="chat", attributes=said)
    sink.add(one_resource([span], scope="mine"), stream.source)


MINE = Format("my traces", lambda head: head.startswith(b"MINE"), read, about="What `mine` writes.")
```

`sniff` gets the first 64 KB, as text in UTF-8 or (with `binary=True`) as they are; `read` hands over spans under the names of the GenAI
conventions, and an `Issue` for whatever it leaves out. Readers of packages are asked first. One that cannot be loaded, or that fails, is
an issue and stops nothing.
"""


def formats_page() -> str:
    """The page, in Markdown."""
    return "\n".join(
        [_INTRO, "## Formats, in the order in which they are tried\n", _index(), *map(_section, FORMATS), _OWN]
    )


def _index() -> str:
    return "\n".join(f"- [{f.name}](#{_anchor(f.name)})" for f in FORMATS) + "\n"


def _anchor(name: str) -> str:
    """As GitHub makes it from a heading."""
    return re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")


def _section(found: Format) -> str:
    told = [found.about]
    if found.sees:
        told.append(f"**Can see:** {found.sees}")
    if found.cannot_see:
        told.append(f"**Cannot see:** {found.cannot_see}")
    return f"### {found.name}\n\n" + "\n\n".join(text for text in told if text) + "\n"
