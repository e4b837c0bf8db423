"""What "the same call", "the same result", "the same failure" and "the same answer" mean. Pure functions, written once.

Every key is a 64-bit number: the first eight bytes of BLAKE2b over a canonical form, so that keys are stable across processes,
machines and versions and can be compared as integers. Two of a million different values share a key with a probability of
about 3e-8 (birthday bound n²/2^65). `None` means "not known" and is never the same as anything, itself included.

Keys are computed once, when a span is recorded or imported; guards and detectors only compare them.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

import orjson

from instrument.failure_words import object_says_failure, reason_of, text_says_failure

_WORD = re.compile(r"\b[^\W\d]++\b")
"""A word that holds no digit."""
_LETTERS = re.compile(r"[^\W\d]+")
_ANY_WORD = re.compile(r"\w+")
_PASSING_NAMED = re.compile(
    r'"(?:[a-z]{1,16}_)?(?:nonce|time_?stamp|ts|request_?id|trace_?id|correlation_?id|idempotency_?key|rid|uuid|attempt|retry|retries|'
    r"random|salt|seed|page|offset|cursor|skip)"
    r'(?:_[a-z]{1,16})?":(?:"[^"]{0,200}"|[-\w.+]+)'
)
_PASSING_VALUES = re.compile(
    r"""
    (?P<kept>"(?:[a-z]{1,24}_)*(?:id|ids|key|keys|path|paths|file|files|url|uri|sha|hash|commit|ref|number|code|name|email|phone)":
      (?:"[^"]{0,300}"|[-\w.+]+|\[[^\]]{0,4000}\]))                            # what names a thing stays
    |
    (?<!\w)(?:
      [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}            # UUIDs
    | \d{4}[-/]\d\d?[-/]\d\d?(?:[t\s]\d\d?:\d\d[\d:.]*(?:z|[-+]\d\d:?\d\d)?)?  # dates, with a time or without
    | \d\d?:\d\d(?::\d\d(?:\.\d+)?)?                                         # times
    | (?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,}                              # hashes
    | \d{10,}(?:\.\d+)?                                                       # seconds since 1970 and finer
    )(?!\w)
    """,
    re.VERBOSE,
)
"""Both: what changes between two askings of one question, in lower-case canonical JSON. Small numbers, names and ids are not in it: a
batch over ten orders is ten questions."""
_DIGIT = re.compile(r"\d")
_FIRST_IS_EMPTY = re.compile(r'\s*+\{\s*+"(?:[^"\\]|\\.)*+"\s*+:\s*+(?:null|""|\[\s*+\]|\{\s*+\})\s*+[,}]', re.DOTALL)
# Order matters: a quoted path is one value, and a number inside a path belongs to the path.
_VALUES = re.compile(
    r"""
      "[^"\n]{1,200}" | '[^'\n]{1,200}' | `[^`\n]{1,200}`      # quoted
    | https?://\S+                                            # addresses
    | (?<!\w)(?:[A-Za-z]:)?[\\/][\w.\-\\/]+                    # paths
    | \b0x[0-9a-fA-F]+\b
    | \b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F][0-9a-fA-F-]{7,}\b      # ids, hashes, dates
    | [-+]?\d[\d.,:_]*                                        # numbers, times
    """,
    re.VERBOSE,
)
_SPACE = re.compile(r"\s+")
KIND_CHARS = 160
"""A failure kind is cut here: enough to tell two errors apart, short enough to group and read."""
_ERROR_READ_CHARS = 2_000


def key_of(canonical: bytes) -> int:
    """The 64-bit key of a canonical form."""
    return int.from_bytes(blake2b(canonical, digest_size=8).digest(), "big")


def canonical(value: Any) -> bytes:
    """One spelling for equal values: JSON with sorted keys, no white space, and 1.0 written as 1.

    `value` is a string as recorded (parsed when it is a JSON object or array, kept as text otherwise) or a decoded JSON value.
    """
    if isinstance(value, str):
        text = value.strip()
        if text[:1] not in ("{", "["):
            return text.encode("utf-8", "replace")
        try:
            value = orjson.loads(text)
        except ValueError:
            return text.encode("utf-8", "replace")
    try:
        out = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError:  # an integer beyond 64 bits, a lone surrogate: rare, and still equal to itself
        return repr(value).encode("utf-8", "replace")
    return orjson.dumps(_whole_floats(value), option=orjson.OPT_SORT_KEYS, default=str) if b".0" in out else out


def _whole_floats(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {str(k): _whole_floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_whole_floats(v) for v in value]
    return value


def call_key(tool: str | None, arguments: Any) -> int | None:
    """The same tool asked the same: name and canonical arguments. None where either was not recorded."""
    return _call_key(tool, canonical(arguments)) if tool and arguments is not None else None


def loose_call_key(tool: str | None, arguments: Any) -> int | None:
    """The same question in other words: nonces, dates, times and pages left out, the words sorted. Names, ids and numbers stay.

    None where tool or arguments were not recorded, and where there was not a word in the arguments.
    """
    return _loose_call_key(tool, canonical(arguments)) if tool and arguments is not None else None


def call_keys(tool: str | None, arguments: Any) -> tuple[int | None, int | None]:
    """`call_key` and `loose_call_key`; the canonical form, most of the work, is made once."""
    if not tool or arguments is None:
        return None, None
    form = canonical(arguments)
    return _call_key(tool, form), _loose_call_key(tool, form)


def _call_key(tool: str, form: bytes) -> int:
    return key_of(tool.encode("utf-8", "replace") + b"\0" + form)


def _loose_call_key(tool: str, form: bytes) -> int | None:
    text = _PASSING_NAMED.sub(" ", form.decode("utf-8", "replace").lower())
    if _DIGIT.search(text):
        text = _PASSING_VALUES.sub(lambda found: found["kept"] or " ", text)
    words = sorted(_ANY_WORD.findall(text))
    # Without a word left, what passed is all that was asked ("page 7"): the tool alone is the question.
    return (
        key_of((tool + "\0" + " ".join(words)).encode("utf-8", "replace"))
        if words or _ANY_WORD.search(form.decode("utf-8", "replace"))
        else None
    )


def is_null_input(arguments: Any) -> bool:
    """There were arguments, and every one of them is empty: null, "", [] or {}.

    `arguments` is a decoded value, or JSON text as recorded; words that are no JSON object are input.
    """
    if isinstance(arguments, str):
        # Hardly any call is one, and the first value shows it.
        if not _FIRST_IS_EMPTY.match(arguments):
            return False
        try:
            arguments = orjson.loads(arguments)
        except ValueError:
            return False
    return (
        isinstance(arguments, dict)
        and bool(arguments)
        and all(v is None or v in ("", [], {}) for v in arguments.values())
    )


def result_text(result: Any) -> str | None:
    """What the model read: the text of a result, whatever it was wrapped in (JSON string, content blocks, bare text)."""
    if result is None:
        return None
    if isinstance(result, str):
        if result[:1] not in ('"', "["):
            return result
        try:
            decoded = orjson.loads(result)
        except ValueError:
            return result
        if isinstance(decoded, str):
            return decoded
        result = decoded
    if (
        isinstance(result, list)
        and result
        and all(isinstance(b, dict) and isinstance(b.get("type"), str) for b in result)
    ):
        return "\n".join(b["text"] if isinstance(b.get("text"), str) else canonical(b).decode() for b in result)
    return canonical(result).decode("utf-8", "replace")


def result_key(result: Any) -> int | None:
    """The same answer from a tool, to the letter, numbers included: a counter that moves is progress. None: not recorded."""
    text = result_text(result)
    return None if text is None else key_of(canonical(text))


def loose_result_key(result: Any) -> int | None:
    """The same words in an answer, in whatever order and number; those that hold a digit (counters, ids, times) left out.

    For calls that write: how long the file is by now is no news. None: not recorded, or not a word in it.
    """
    words = sorted(set(_WORD.findall((result_text(result) or "").lower())))
    return key_of(" ".join(words).encode("utf-8", "replace")) if words else None


def says_error(result: Any) -> bool:
    """Whether a result that nobody flagged reads like a failure: an opening such as "Error:", or JSON that says so.

    A heuristic on purpose narrow (`instrument.failure_words`): text that merely mentions an error somewhere is no failure.
    """
    text = result_text(result)
    if not text:
        return False
    if text[:_ERROR_READ_CHARS].lstrip()[:1] != "{":
        return text_says_failure(text)
    try:
        value = orjson.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and object_says_failure(value)


def failure_kind(error_type: str | None, message: Any) -> str:
    """The same failure: error type and message with quoted values, paths, addresses, ids and numbers left out; of a JSON object, what it
    says of the reason.

    "File '/a/1.txt' not found" and "File '/b.txt' not found" are one kind. At most `KIND_CHARS` characters.
    """
    text = result_text(message) or ""
    text = (_reason(text) or text)[:_ERROR_READ_CHARS]
    if error_type:
        text = text.removeprefix(f"{error_type}:")
    text = _SPACE.sub(" ", _VALUES.sub("…", text)).strip().lower()
    label = f"{error_type}: {text}" if error_type and text else (error_type or text or "unknown error")
    return label[:KIND_CHARS]


def _reason(text: str) -> str | None:
    if text[:1] != "{":
        return None
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    return reason_of(found) if isinstance(found, dict) else None


def output_key(text: str | None) -> int | None:
    """The same answer from the model, white space at the ends aside. None where there was no text."""
    stripped = (text or "").strip()
    return key_of(stripped.encode("utf-8", "replace")) if stripped else None


def loose_output_key(text: str | None) -> int | None:
    """Nearly the same answer: lower case words only, those that hold a digit left out. None where no word is left."""
    words = _WORD.findall((text or "").lower())
    return key_of(" ".join(words).encode("utf-8", "replace")) if words else None


def retells(prompt: str, before: str) -> bool:
    """Whether a prompt says every word of the one before it, and perhaps more: the same task put to the model again, with what happened
    since. Order, repetition and numbers (which count steps) do not matter; another question leaves something out.

    The twin in SQL is in `analyzer.frames`."""
    said, now = set(_LETTERS.findall(before.lower())), set(_LETTERS.findall(prompt.lower()))
    return said <= now and bool(said) >= bool(now)
