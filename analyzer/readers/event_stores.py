"""Stores that keep each event of a conversation in a file of its own, as OpenHands does: the files of a folder, read as one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_EVENT: Final = re.compile(r"event-\d{5,}-[^/]+\.json$")
"""`event-00007-<id>.json`: in the order of their names is in the order in which they happened."""


def stores_in(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The event files among `paths` by the folder they lie in, in order; folders with a single one are left out."""
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        if _EVENT.match(Path(path).name) and Path(path).is_file():
            found.setdefault(str(Path(path).parent), []).append(path)
    return {folder: tuple(files) for folder, files in found.items() if len(files) > 1}


class Joined(io.RawIOBase):
    """Files one after the other, a line break behind each. Raises OSError on reading where one of them cannot be read."""

    def __init__(self, paths: Iterable[str]) -> None:
        super().__init__()
        self._paths, self._rest = iter(paths), memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills the buffer from the file that is being read, or from the next one; 0 after the last."""
        while not self._rest:
            path = next(self._paths, None)
            if path is None:
                return 0
            self._rest = memoryview(Path(path).read_bytes() + b"\n")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
