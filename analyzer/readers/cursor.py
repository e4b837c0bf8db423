"""Pieces of any size, taken by the count of bytes that binary formats go by."""

from __future__ import annotations

from analyzer.readers.compression import Pieces


class Cursor:
    """Where one stands in the pieces; goes forward only."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._held = memoryview(b"")
        self.left = 0
        """Bytes of the current part that were not yet gone through."""

    def take(self, count: int) -> bytes:
        """The next `count` bytes; fewer at the end."""
        self.left = count
        return b"".join(self.rest())

    def rest(self) -> Pieces:
        """What is left of the current part."""
        while self.left:
            if not self._held:
                self._held = memoryview(next(self._pieces, b""))
                if not self._held:
                    return
            piece, self._held = self._held[: self.left], self._held[self.left :]
            self.left -= len(piece)
            yield bytes(piece)

    def skip(self) -> int:
        """Goes to the end of the current part. Returns how many of its bytes are missing."""
        for _ in self.rest():
            pass
        return self.left
