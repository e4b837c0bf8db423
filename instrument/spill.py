"""Tool results that are too long for the context: cut in the middle, the whole of them kept where the agent can fetch it.

Nothing here raises for reasons of the disk. What could not be kept is said in the text that the model sees, and counted in `lost`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_CHUNK_CHARS: Final = 1 << 16
_LEAST_CHARS: Final = 200  # below this a cut text is little more than its note

TOOL: Final[dict[str, Any]] = {
    "name": "fetch_result",
    "description": "Returns a part of a tool result that was too long to be shown whole. The note in the middle of the shortened "
    "result names its id and which characters are missing.",
    "input_schema": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "The id from the note."},
            "start_char": {
                "type": "integer",
                "minimum": 0,
                "description": "The first character wanted, counted from 0.",
            },
            "max_chars": {"type": "integer", "minimum": 1, "description": "How many characters are wanted."},
        },
        "required": ["id"],
        "additionalProperties": False,
    },
}
"""Definition of the tool that `Spill.fetch` answers."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A text that was cut. `id` is what `Spill.fetch` knows the whole by, None where it could not be kept."""

    text: str
    id: str | None
    total_chars: int


@dataclass(frozen=True, slots=True)
class _Kept:
    path: Path
    total_chars: int
    offsets: tuple[int, ...] = field(repr=False)  # where each chunk of characters begins in the file, in bytes


class Spill:
    """Keeps the long results of one run in a private folder, which is removed by `close()` or when the process ends.

    `folder` is where that folder is made, None for the system's place for temporary files; nothing is made before it is needed.
    `fetch_chars` bounds what `fetch` returns at once. Safe to use from several threads.
    """

    def __init__(self, folder: Path | None = None, *, fetch_chars: int = 20_000) -> None:
        self.lost = 0
        """Texts that could not be kept."""
        self._parent = folder
        self._fetch_chars = fetch_chars
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._remove: weakref.finalize[..., Any] | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes what was kept. What is cut from now on is lost."""
        with self._lock:
            self._closed = True
            self._kept.clear()
            if self._remove is not None:
                self._remove()

    def cut(self, text: str, limit_chars: int) -> Cut | None:
        """The text in about `limit_chars` characters, two thirds of them from its start; None where it is not longer."""
        if len(text) <= limit_chars:
            return None
        kept_id = self._keep(text)
        return Cut(middle_cut(text, limit_chars, _where(kept_id)), kept_id, len(text))

    def cut_content(self, content: Any, limit_chars: int) -> tuple[Any, tuple[Cut, ...]]:
        """The content of a tool result, a text or blocks, with no more than about `limit_chars` characters of text, and its cuts.

        Each text is cut to its share of the limit; where there are so many that the shares would be too short to read, they
        become one. Images and all else stay.
        """
        if isinstance(content, str):
            cut = self.cut(content, limit_chars)
            return (cut.text, (cut,)) if cut else (content, ())
        texts = [block["text"] for block in content or () if _is_text(block)]
        total = sum(map(len, texts))
        if total <= limit_chars:
            return content, ()
        if len(texts) * _LEAST_CHARS > limit_chars:
            content, texts = _joined(content, texts), ["\n".join(texts)]
            total = len(texts[0])
        cuts = [self.cut(text, max(_LEAST_CHARS, limit_chars * len(text) // total)) for text in texts]
        shown = iter([cut.text if cut else text for cut, text in zip(cuts, texts, strict=True)])
        shortened = [{**block, "text": next(shown)} if _is_text(block) else block for block in content]
        return shortened, tuple(cut for cut in cuts if cut)

    def fetch(self, id: object, start_char: object = 0, max_chars: object = None) -> str:  # noqa: A002 - the model's words
        """A part of a text that was cut, and what part it is. Arguments come from a model: what makes no sense is told to it."""
        kept = self._kept.get(id) if isinstance(id, str) else None
        if kept is None:
            return "There is no result with this id. The note in the middle of a shortened result names its id."
        start = start_char if isinstance(start_char, int) and start_char > 0 else 0
        if start >= kept.total_chars:
            return f"This result has {kept.total_chars} characters; start_char must be smaller."
        wanted = max_chars if isinstance(max_chars, int) and max_chars > 0 else self._fetch_chars
        end = min(kept.total_chars, start + min(wanted, self._fetch_chars))
        try:
            text = _read(kept, start, end)
        except OSError as gone:
            return f"This result can no longer be read ({gone.strerror})."
        return f"[Characters {start} to {end} of {kept.total_chars}.]\n{_sendable(text)}"

    def _keep(self, text: str) -> str | None:
        new_id = secrets.token_hex(8)
        try:
            path = self._private_folder() / new_id
            offsets = _write(path, text)
        except OSError:  # full, read-only or gone: said in the note, and counted
            with self._lock:
                self.lost += 1
            return None
        with self._lock:
            self._kept[new_id] = _Kept(path, len(text), offsets)
        return new_id

    def _private_folder(self) -> Path:
        with self._lock:
            if self._closed:
                raise OSError("closed")
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="flyball-", dir=self._parent))  # mode 0700
                self._remove = weakref.finalize(self, _remove, self._folder, os.getpid())
            return self._folder


def middle_cut(text: str, limit_chars: int, where: str = "") -> str:
    """The start and the end of a text, two to one, and between them a note of what is missing; `where` ends the note.

    What cannot be encoded (lone surrogates) becomes a question mark, as a request with it could not be sent.
    """
    total = len(text)
    room = max(0, limit_chars - len(_note(total, total, 2 * total, where)))
    tail = room // 3
    head, end = room - tail, total - tail
    return _sendable(text[:head]) + _note(total, head, end, where) + _sendable(text[end:])


def _note(total: int, head: int, end: int, where: str) -> str:
    return f"\n[... {end - head} of {total} characters are missing here, from {head} to {end}.{where}]\n"


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _where(kept_id: str | None) -> str:
    return f' Tool {TOOL["name"]}, id "{kept_id}".' if kept_id else " They are lost: there was no place to keep them."


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)


def _joined(content: Sequence[Any], texts: list[str]) -> list[Any]:
    """The content with all its texts in the first of them."""
    first = next(at for at, block in enumerate(content) if _is_text(block))
    rest = [block for block in content[first:] if not _is_text(block)]
    return [*content[:first], {"type": "text", "text": "\n".join(texts)}, *rest]


def _write(path: Path, text: str) -> tuple[int, ...]:
    """Writes the text in chunks, so that a part of it can be read without the rest; returns where they begin and end."""
    offsets = [0]
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123 - for its mode
            for start in range(0, len(text), _CHUNK_CHARS):
                written = file.write(text[start : start + _CHUNK_CHARS].encode("utf-8", "surrogatepass"))
                offsets.append(offsets[-1] + written)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return tuple(offsets)


def _read(kept: _Kept, start: int, end: int) -> str:
    first, last = start // _CHUNK_CHARS, (end - 1) // _CHUNK_CHARS
    chunks = []
    with kept.path.open("rb") as file:
        file.seek(kept.offsets[first])
        for begin, finish in pairwise(kept.offsets[first : last + 2]):
            chunks.append(file.read(finish - begin).decode("utf-8", "surrogatepass"))
    return "".join(chunks)[start - first * _CHUNK_CHARS : end - first * _CHUNK_CHARS]


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not take it away from its parent
        shutil.rmtree(folder, ignore_errors=True)
