"""Inputs that are nearly right: one seed with some of it changed, as JSON (what decoders pass on) and as bytes (what they refuse)."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from random import Random
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from benchmarks.fuzzing.seeds import Seed

ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e300, 5e-324, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**40, -(10**40),
    float("nan"), float("inf"), "", " ", "0", "-1", "1e999", "9" * 400, "NaN", "null", "[]", "{}", "[{", '{"role": "user"}', "\0",
    "x\ud83d", "\udfff", "\u2028<b>'\";{{%s", "../../etc", "2026-01-01", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00", "-271821-04-20",
    "2026-13-45T99:99:99+99:99", "a" * 32, "f" * 16, [], [[]], [None], {}, {"": None}, {"type": "text"}, {"type": []},
    {"role": "assistant", "content": []}, [{"type": "tool_use", "id": None, "name": [], "input": 5}], 1_770_132_000, 1_770_132_000_000,
    "1770132000000000000", -62_135_596_801, 253_402_300_800,
)  # fmt: skip
"""What producers never write, and what decoders, clocks, databases and pages stumble over."""
TOKENS: Final = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b"1e999",
    b"-", b"NaN", b"null", b'{"a":', b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PAR1", b"\x0a\xff\xff\xff\xff\x0f",
    b'"resourceSpans":', b'"type":', b'"', b"9" * 30, b"\xff" * 9 + b"\x01",
)  # fmt: skip
_DEEP: Final = "@deep@"
_TWICE: Final = "@twice@"
_DEPTHS: Final = (5, 50, 190, 210, 260, 600, 1_100, 10_000)
_LONG: Final = (300, 2_001, 70_000)


class Mutator:
    """Makes inputs; the same ones for the same `chance` and seeds."""

    def __init__(self, seeds: list[Seed], chance: Random) -> None:
        by_form: dict[str, list[Seed]] = {}
        for seed in seeds:
            by_form.setdefault(seed.form, []).append(seed)
        self._by_form, self._forms, self._chance = by_form, sorted(by_form), chance

    def one(self) -> tuple[Seed, bytes]:
        """A seed (every format as often as any other) and what was made of it."""
        seed = self._seed()
        data = self._structured(seed) if seed.value is not None and self._chance.random() < 0.75 else seed.data
        if data is seed.data or self._chance.random() < 0.15:
            data = self._bytes(data)
        if self._chance.random() < 0.06:
            data = self._wrapped(data, seed)
            if self._chance.random() < 0.5:
                data = self._bytes(data)
        return seed, data

    def _seed(self) -> Seed:
        return self._chance.choice(self._by_form[self._chance.choice(self._forms)])

    # --- JSON ---------------------------------------------------------------------------------------------------------

    def _structured(self, seed: Seed) -> bytes:
        value = seed.value
        for _ in range(self._chance.choice((1, 1, 1, 2, 3, 5))):
            value = self._changed(value)
        if seed.of_lines and isinstance(value, list):
            return b"\n".join(map(self._written, value)) + b"\n"
        return self._written(value)

    def _changed(self, value: Any) -> Any:
        """`value` with one thing in it changed, nearer to the leaves more often than not. Shares what it does not change."""
        if isinstance(value, dict) and value and self._chance.random() < 0.93:
            key = self._chance.choice(list(value))
            return self._key_changed(value, key) if self._chance.random() < 0.1 else self._at(value, key)
        if isinstance(value, list) and value and self._chance.random() < 0.93:
            index = self._chance.randrange(len(value))
            return self._list_changed(value, index) if self._chance.random() < 0.1 else self._at(value, index)
        return self._replaced(value)

    def _at(self, value: Any, place: Any) -> Any:
        copy = value.copy()
        copy[place] = self._changed(value[place])
        return copy

    def _key_changed(self, value: dict[str, Any], key: str) -> dict[str, Any]:
        copy = value.copy()
        how = self._chance.randrange(4)
        if how == 0:
            del copy[key]
        elif how == 1:
            copy[_TWICE + key] = self._chance.choice(ODD)
        elif how == 2:
            copy[self._chance.choice((*value, "", "x\ud83d", "type", "id", key.upper()))] = copy.pop(key)
        else:
            copy[key], copy[other] = copy[other := self._chance.choice(list(value))], copy[key]
        return copy

    def _list_changed(self, value: list[Any], index: int) -> list[Any]:
        how = self._chance.randrange(4)
        if how == 0:
            return value[:index] + value[index + 1 :]
        if how == 1:
            return value[:index] + [value[index]] * self._chance.choice((2, 2, 3, 40)) + value[index + 1 :]
        if how == 2:
            return value[::-1]
        return [*value[: index + 1], self._part_of_another(), *value[index + 1 :]]

    def _replaced(self, value: Any) -> Any:
        how = self._chance.random()
        if how < 0.55:
            return self._chance.choice(ODD)
        if how < 0.65:
            return self._part_of_another()
        if how < 0.7:
            return _DEEP
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float):
            return self._chance.choice((-value, value + 1, str(value), value * 10**9, [value], bool(value)))
        return self._chance.choice(([value], {"value": value}, json.dumps(value), [value, value]))

    def _text(self, value: str) -> Any:
        how = self._chance.randrange(5)
        if how == 0:
            return value[: self._chance.randrange(len(value) + 1)]
        if how == 1:
            return value * 2
        if how == 2:
            return (value or "x") * (self._chance.choice(_LONG) // len(value or "x") + 1)
        return [value] if how == 3 else {"text": value}

    def _part_of_another(self) -> Any:
        value = self._seed().value
        for _ in range(self._chance.randrange(1, 7)):
            if isinstance(value, dict | list) and value:
                value = self._chance.choice(list(value.values()) if isinstance(value, dict) else value)
        return value

    def _written(self, value: Any) -> bytes:
        try:
            text = orjson.dumps(value)
        except TypeError:  # what JSON texts can say and orjson does not
            text = json.dumps(value, ensure_ascii=True).encode()
        text = text.replace(_TWICE.encode(), b"")
        while (mark := f'"{_DEEP}"'.encode()) in text:
            depth = self._chance.choice(_DEPTHS)
            opened, closed = self._chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"content":', b"}]")))
            text = text.replace(mark, opened * depth + b"0" + closed * depth, 1)
        return text

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _bytes(self, data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(self._chance.choice((1, 1, 2, 4, 16))):
            self._byte_change(out)
        return bytes(out)

    def _byte_change(self, out: bytearray) -> None:
        at, size = self._chance.randrange(len(out) + 1), self._chance.choice((1, 2, 4, 16, 200))
        how = self._chance.randrange(8)
        if how == 0 and at < len(out):
            out[at] ^= 1 << self._chance.randrange(8)
        elif how == 1 and at < len(out):
            out[at] = self._chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x12, 0x22, 0x5C))
        elif how == 2:
            del out[at : at + size]
        elif how == 3:
            out[at:at] = out[at : at + size] * self._chance.choice((1, 1, 3))
        elif how == 4:
            out[at:at] = self._chance.choice(TOKENS)
        elif how == 5:
            other = self._seed().data
            start = self._chance.randrange(len(other) + 1)
            out[at : at + size] = other[start : start + size * 4]
        elif how == 6:
            out[at:at] = self._chance.randbytes(size)
        else:
            del out[at if self._chance.random() < 0.3 else len(out) - size :]

    # --- containers ---------------------------------------------------------------------------------------------------

    def _wrapped(self, data: bytes, seed: Seed) -> bytes:
        how = self._chance.randrange(8)
        if how == 0:
            return gzip.compress(data, 1)
        if how == 1:
            return zstandard.compress(data, 1)
        if how == 2:
            return lzma.compress(data, preset=0)
        if how == 3:
            return bz2.compress(data, 1)
        if how == 4:
            return _zipped([data, self._seed().data])
        if how == 5:
            return _tarred([data, self._seed().data])
        if how == 6:
            return gzip.compress(_tarred([_zipped([data])]), 1)
        return self._parquet(seed) or zstandard.compress(gzip.compress(data, 1), 1)

    def _parquet(self, seed: Seed) -> bytes | None:
        """Rows of Parquet out of the seed's records; None where they have no common columns."""
        rows = seed.value if isinstance(seed.value, list) else [seed.value]
        try:
            table = pa.Table.from_pylist([self._changed(row) for row in rows])
            out = io.BytesIO()
            pq.write_table(table, out)
        except (pa.ArrowException, AttributeError, TypeError, ValueError, OverflowError):
            return None  # most values fit no column; the others are enough
        return out.getvalue()


def _zipped(members: list[bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, data in enumerate(members):
            archive.writestr(f"{number}.json", data)
    return out.getvalue()


def _tarred(members: list[bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, data in enumerate(members):
            member = tarfile.TarInfo(f"{number}.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()
