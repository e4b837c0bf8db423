"""What content may be written, decided in one place: secrets leave before anything reaches the disk.

Recording runs in the agent's own thread, so this is built to say "nothing here" quickly: in some 3 ns a byte.
Redaction is a pure function of the text: equal texts stay equal, and keys computed afterwards are the same in every content mode.

Left alone on purpose: page tokens, cache keys and the like. They are no secrets, and they tell one page of results from the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

Replace = Callable[[str], str]
"""A user's own redaction: text in, text out."""

_AT: Final = ord("@")
MARK: Final = b"[redacted]"

# No repetition without an end may fail after it has run: text is hostile, and that takes quadratic time.
# Every pattern begins with its rarest character, which the regex engine looks for with memchr: that is what makes it cheap. The two or
# three letters before it stay in the text and say what kind of secret it was.
_TOKENS: Final = tuple(
    re.compile(p)
    for p in (
        rb"-(?:(?:(?<=sk-)(?:(?<![A-Za-z0-9]sk-)|(?<=\\[bfnrt]sk-))(?=[A-Za-z_-]{0,40}\d)|(?<=xox[a-z]-)|(?<=glpat-))[A-Za-z0-9_-]{10,}"
        rb"|BEGIN [A-Z ]*PRIVATE KEY-----(?:[^\"'\\-]|\\+[nr])*(?:-----END [A-Z ]*PRIVATE KEY)?)",
        rb"_(?=[A-Za-z0-9]{16})(?:(?<=gh[pousr]_)|(?<=github_pat_)|(?<=[sr]k_live_)|(?<=[sr]k_test_))\w+",
        rb"A(?:(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])|Iza[A-Za-z0-9_-]{35})",
        rb"J(?<=eyJ)[\w-]{8,2000}\.eyJ[\w-]{8,20000}\.[\w-]*",
    )
)
_ACCOUNT: Final = re.compile(rb"(?P<lead>://[^\s:/@\"'\\]{0,80}:)[^\s@\"'\\/]{1,200}(?=@)")


def _behind(*spellings: bytes) -> bytes:
    """A group that holds where one of `spellings` has just been read. Each may name alternatives in brackets: `api[_-]key`."""
    return b"(?:" + b"|".join(b"(?<=" + s + b")" for s in spellings) + b")"


_BEFORE_KEY: Final = (b"api", b"access", b"secret", b"private", b"account", b"auth")
_BEFORE_TOKEN: Final = (b"api", b"access", b"secret", b"refresh", b"auth")
# Names that announce a secret, up to their last letter, as they are spelled: api_key, api-key, apiKey, ApiKey, API_KEY.
_NAMES: Final = tuple(
    re.compile(p)
    for p in (
        # The letter before decides most of these: every attribute of a span has a "key", and most count "tokens".
        rb"k(?:(?<=[_i-]k)ey" + _behind(b"apikey", *(n + b"[_-]key" for n in _BEFORE_KEY))
        + rb"|(?<=ok)en(?!s)" + _behind(*(n + b"[_-]token" for n in _BEFORE_TOKEN), *(n[1:] + b"Token" for n in _BEFORE_TOKEN)) + rb")",
        rb"K(?:ey" + _behind(*(n[1:] + b"Key" for n in _BEFORE_KEY), *(n[1:] + b"[_-]Key" for n in _BEFORE_KEY))
        + rb"|EY" + _behind(b"APIKEY", *(n.upper() + b"[_-]KEY" for n in _BEFORE_KEY))
        + rb"|EN" + _behind(*(n.upper() + b"[_-]TOKEN" for n in _BEFORE_TOKEN)) + rb")",
        rb"w(?:(?<=[Pp]assw)(?:or)?d|(?<=[Pp]w)d)",
        rb"W(?:(?<=PASSW)(?:OR)?D|(?<=PW)D|(?<=[Pp]assW)ord)",
        rb"c(?<=ec)ret",
        rb"CRET(?<=SECRET)",
    )
)  # fmt: skip
# What is plainly no secret where a secret would stand: a type, a schema, a variable that is read.
_OPEN = rb"(?!(?i:(?:none|null|true|false|str|string|text)\b|os\.|process\.|self\.|settings\.|config\.|\$|<|\{|\[|\*|\\*[\"']))"
_VALUE: Final = re.compile(
    # Between quotes (escaped ones where the text lies inside JSON) all up to the same quote, else up to a separator.
    rb"(?P<lead>\\*[\"']?\s*[:=]\s*(?P<quote>\\*[\"'])?)"
    + _OPEN
    + rb"(?(quote)(?:(?!(?P=quote)).){1,2000}|[^\s\"'\\,;&<>()]{4,})"
)
_HEADERS: Final = tuple(re.compile(p) for p in (rb"z(?<=uthoriz)ation", rb"Z(?<=UTHORIZ)ATION", rb"Bearer"))
_CREDENTIAL: Final = re.compile(
    rb"(?P<lead>\\*[\"']?\s*[:=]\s*\\*[\"']?(?i:(?:bearer|basic|token)\s+)?|\s+(?=[A-Za-z]*[\d.~+/=_-]))[\w.~+/=-]{12,}"
)


# The first character as a number: looking for it takes a sixth of the time that the same character as bytes takes.
_ALL: Final = tuple((p.pattern[0], p.search) for p in (*_TOKENS, *_NAMES, *_HEADERS))


def suspect(data: bytes) -> bool:
    """Whether a secret may be in `data` (UTF-8). Never False where the default rules would replace something."""
    if _AT in data and _ACCOUNT.search(data):
        return True
    # The look for the first character alone is ten times faster than the search that begins with it, and often enough decides.
    for first, search in _ALL:  # noqa: SIM110 - any() over a generator costs as much again
        if first in data and search(data):
            return True
    return False


def _without_secrets(data: bytes) -> tuple[bytes, int]:
    count = 0
    for pattern in _TOKENS:
        data, found = pattern.subn(MARK, data)
        count += found
    if b"@" in data:
        data, found = _ACCOUNT.subn(rb"\g<lead>" + MARK, data)
        count += found
    for name in _NAMES:
        data, found = _after(name, _VALUE, data)
        count += found
    for name in _HEADERS:
        data, found = _after(name, _CREDENTIAL, data)
        count += found
    return data, count


def _after(name: re.Pattern[bytes], secret: re.Pattern[bytes], data: bytes) -> tuple[bytes, int]:
    """Replaces what matches `secret` right behind `name`."""
    pieces: list[bytes] = []
    done = 0
    for found in name.finditer(data):
        match = secret.match(data, found.end()) if found.end() >= done else None
        if match is not None:
            pieces += (data[done : match.end("lead")], MARK)
            done = match.end()
    return (b"".join((*pieces, data[done:])), len(pieces) // 2) if pieces else (data, 0)


class Redactor:
    """Takes secrets out of text: by the default rules (unless `defaults=False`), then by `patterns` (regular expressions) and `replace`."""

    def __init__(
        self, patterns: Iterable[str | re.Pattern[str]] = (), replace: Replace | None = None, *, defaults: bool = True
    ) -> None:
        self._patterns = tuple(re.compile(p) for p in patterns)
        self._replace = replace
        self._defaults = defaults

    def text(self, text: str) -> tuple[str, int]:
        """`text` without secrets, and how many were replaced. A `replace` that changes the text counts as one."""
        count = 0
        if self._defaults:
            data = text.encode("utf-8", "surrogatepass")
            if suspect(data):
                data, count = _without_secrets(data)
                text = data.decode("utf-8", "surrogatepass") if count else text
        for pattern in self._patterns:
            text, found = pattern.subn(MARK.decode(), text)
            count += found
        if self._replace is not None and (other := self._replace(text)) != text:
            text, count = str(other), count + 1
        return text, count

    def value(self, value: Any) -> tuple[Any, int]:
        """The same for an attribute value: strings, and strings in lists and maps."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (list, tuple)):
            pairs = [self.value(v) for v in value]
            return [v for v, _ in pairs], sum(n for _, n in pairs)
        if isinstance(value, dict):
            items = {k: self.value(v) for k, v in value.items()}
            return {k: v for k, (v, _) in items.items()}, sum(n for _, n in items.values())
        return value, 0


def redactor(redact: Redactor | Replace | Iterable[str | re.Pattern[str]] | bool) -> Redactor:
    """What `record(redact=...)` means: True the default rules, False none, patterns or a function these on top of the default rules."""
    if isinstance(redact, Redactor):
        return redact
    if isinstance(redact, bool):
        return Redactor(defaults=redact)
    return Redactor(replace=redact) if callable(redact) else Redactor(redact)
