"""A progress bar on stderr, and only where somebody watches it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from analyzer.readers import Source

Advance = Callable[[int], object]


@contextlib.contextmanager
def reading_progress(sources: Iterable[Source]) -> Iterator[Advance]:
    """Yields what readers call with the number of bytes read. Where stderr is no terminal, it does nothing."""
    if not sys.stderr.isatty():
        yield lambda _bytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=_size(sources))
        yield lambda count: progress.advance(task, count)


@contextlib.contextmanager
def counting_progress(doing: str, total: int) -> Iterator[Advance]:
    """Yields what is called with how many more of `total` are done. Where stderr is no terminal, it does nothing."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda count: progress.advance(task, count)


def _size(sources: Iterable[Source]) -> int | None:
    """Bytes there are to read; None where standard input is among them."""
    try:
        return sum(Path(source.path).stat().st_size for source in sources)
    except OSError:  # standard input, or a file that has gone: a bar without an end
        return None
