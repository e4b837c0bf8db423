"""Where exported spans go: a file that is there whole or not at all, or standard output."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from analyzer.export.jsonl import write_jsonl
from analyzer.export.parquet import write_parquet
from analyzer.export.stored import Stored
from instrument.errors import FlyballError

STANDARD_OUTPUT: Final = "-"
FORMS: Final[dict[str, Callable[[Iterable[list[Stored]], BinaryIO], None]]] = {
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}


class CannotWrite(FlyballError):
    """`path` cannot be written."""

    def __init__(self, path: str, problem: OSError) -> None:
        self.path = path
        super().__init__(f"{path}: cannot be written ({problem.strerror or problem}); nothing was left there")


def form_of(out: str) -> str:
    """The form that a file's name asks for."""
    return "parquet" if out.lower().endswith((".parquet", ".pq")) else "jsonl"


def write(batches: Iterable[list[Stored]], out: str, form: str) -> None:
    """Writes all of `batches` to `out` (a path, or `-`). Raises `CannotWrite`; then whatever was at that path still is."""
    if out == STANDARD_OUTPUT:
        FORMS[form](batches, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with _whole(Path(out)) as file:
        FORMS[form](batches, file)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place once all is written."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise CannotWrite(str(path), e) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        # mkstemp's files are for their owner alone; this one is to be like any that a program makes.
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except OSError as e:
        raise CannotWrite(str(path), e) from None
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
