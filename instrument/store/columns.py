"""Attribute values, column by column.

Each function has a fast form for what producers nearly always write (one type throughout) and a careful one that takes any value; the fast
form gives up, by raising or by a check over the whole column, and the careful one takes over. A test holds the two together.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

import orjson
import pyarrow as pa

from instrument.otlp import TOO_DEEP, AnyValue, plain

Values = Sequence[AnyValue | None]

_STRING: Final = attrgetter("stringValue")
_INT: Final = attrgetter("intValue")
_HEX: Final = "0123456789abcdef"
_INT64: Final = 2**63
_DEEPEST: Final = 200
"""Levels of lists and maps that are written; orjson writes 254."""
LATEST_NS: Final = 4_102_444_800_000_000_000
"""2100-01-01: a time after it is no time."""


def texts(values: Values) -> list[str | None]:
    """Values as text: strings as they are, lists and maps as JSON."""
    try:
        out: list[str | None] = list(map(_STRING, values))
    except AttributeError:
        return [text_of(v) for v in values]
    return out if None not in out else [text_of(v) for v in values]


def text_of(value: AnyValue | None) -> str | None:
    """One value as text."""
    found = plain(value)
    if found is None or isinstance(found, str):
        return found
    return dumps(found)


def dumps(value: Any) -> str:
    """JSON, whatever the value: what JSON cannot hold becomes its `str`."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # an integer beyond 64 bits, a lone surrogate, or lists in lists without end
        return orjson.dumps(_held(value, _DEEPEST), default=str).decode()


def _held(value: Any, levels: int) -> Any:
    """The same, as JSON holds it."""
    if isinstance(value, dict | list | tuple) and not levels:
        return TOO_DEEP
    if isinstance(value, dict):
        return {_held(str(k), 0): _held(v, levels - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_held(v, levels - 1) for v in value]
    if isinstance(value, int) and not -_INT64 <= value < 2 * _INT64:
        return str(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def first_texts(values: Values) -> list[str | None]:
    """Values as text, of a list its first entry (`gen_ai.response.finish_reasons`)."""
    try:
        found: list[str | None] = list(map(_STRING, values))
    except AttributeError:
        found = [None]
    if None in found:
        return [_first(plain(v)) for v in values]
    known = {text: _first(text) for text in set(found)}
    return [known[text] for text in found]


def _first(value: Any) -> str | None:
    if isinstance(value, list):
        return _first(value[0]) if value else None
    if isinstance(value, str):
        return _first(_listed(value)) if value[:2] == '["' and value[-2:] == '"]' else value
    return None if value is None else str(value)


def _listed(text: str) -> list[Any] | None:
    """A list that was written as JSON; None where it only looks like one, so that nothing is known of it."""
    try:
        found: list[Any] = orjson.loads(text)
    except ValueError:
        return None
    return found


def whole(values: Values) -> pa.Array:
    """Values as 64-bit integers; numbers, decimal strings and whole fractions are taken, anything else is NULL."""
    try:
        raw: list[int | str | None] = list(map(_INT, values))
    except AttributeError:
        raw = [None]
    return whole_numbers(raw) if None not in raw else pa.array([int_of(plain(v)) for v in values], pa.int64())


def whole_numbers(raw: Sequence[int | str | None]) -> pa.Array:
    """Numbers or decimal strings as 64-bit integers; what is neither is NULL."""
    try:
        if isinstance(raw[0], str):
            return pa.array(raw, pa.string()).cast(pa.int64())
        return pa.array(raw, pa.int64())
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, IndexError):
        return pa.array([int_of(v) for v in raw], pa.int64())


def int_of(value: Any) -> int | None:
    """A whole number out of whatever was written; None where there is none, or none that fits 64 bits."""
    try:
        number = int(value) if isinstance(value, (int, str)) else _whole_float(value)
    except ValueError:
        try:
            number = _whole_float(float(value))
        except (ValueError, OverflowError):
            return None
    return number if number is not None and -_INT64 <= number < _INT64 else None


def _whole_float(value: Any) -> int | None:
    return int(value) if isinstance(value, float) and math.isfinite(value) else None


def real(values: Values) -> list[float | None]:
    """Values as fractions; NaN and the infinities are no numbers."""
    return [real_of(plain(v)) for v in values]


def real_of(value: Any) -> float | None:
    """A finite fraction out of whatever was written, else None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def flags(values: Values) -> list[bool | None]:
    """Values as true or false; producers that write only strings write "true"."""
    return [_flag(plain(v)) for v in values]


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def times(raw: Sequence[int | str]) -> pa.Array:
    """Nanoseconds since 1970; 0, negative and absurd times are NULL."""
    array = whole_numbers(raw)
    fine = pa.compute.and_(pa.compute.greater(array, 0), pa.compute.less(array, LATEST_NS))
    return pa.compute.if_else(fine, array, pa.scalar(None, pa.int64()))


def ids(raw: list[str], digits: int) -> tuple[list[str], list[int]]:
    """Ids as lowercase hex of `digits` digits, and the rows where one had to be made up from a foreign spelling.

    Base64 (the protobuf way) and UUIDs are converted; anything else is hashed, so that equal ids stay equal.
    """
    if set(map(len, raw)) == {digits} and not "".join(raw).strip(_HEX):
        return raw, []
    made, out = [], []
    for row, one in enumerate(raw):
        hexed = hex_id(one, digits)
        if hexed is None:
            made.append(row)
        out.append(
            hexed if hexed is not None else blake2b(one.encode("utf-8", "replace"), digest_size=digits // 2).hexdigest()
        )
    return out, made


def hex_id(raw: str, digits: int) -> str | None:
    """One id as hex, or None where it is spelled in no way we know."""
    text = raw.strip().lower().removeprefix("0x").replace("-", "")
    if len(text) == digits and not text.strip(_HEX):
        return text
    if len(raw) == -(-digits // 6) * 4:
        try:
            decoded = base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            return None
        return decoded.hex() if len(decoded) == digits // 2 else None
    return None
