"""How many tokens a text takes: an estimate, and a bound that the truth does not pass.

Anthropic publishes no tokenizer of its current models. The weights below are a fit to 511 recorded requests with known usage
(`python -m benchmarks.estimates` measures what is left of error).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SAMPLE_CHARS: Final = 16_384
"""A longer text is judged by evenly spaced pieces that are together as long as this, so that the cost is bounded."""
_PIECE_CHARS: Final = 2_048

_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # humps of camelCase count as words
_SHORT_WORD_CHARS: Final = 5
_DIGITS: Final = re.compile(r"[0-9]")
_SYMBOLS: Final = re.compile(r"[!-/:-@\[-`{-~]+")
_LINE_ENDS: Final = re.compile(r"\n+")
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_CJK: Final = re.compile(r"[\u2000-\U0010ffff]")
_UNBROKEN: Final = re.compile(r"[A-Za-z0-9+/=]{64,}")
_CAPITALS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_NOISE_TOKENS_PER_CHAR: Final = 0.8
"""Random letters and digits: 2,152 of them were 1,754 tokens."""
_NEWER_SHARE: Final = 1.3
"""Models from Opus 4.7 on take about 30 % more tokens for the same text (Anthropic's page on token counting)."""


def text_tokens(text: str, *, newer: bool = False) -> float:
    """About how many tokens `text` takes; `newer` for models with the tokenizer that came with Opus 4.7."""
    sample, factor = _sample(text)
    noise = [run for run in _UNBROKEN.findall(sample) if len(_WORDS.findall(run)) * 4 > len(run)]
    for run in noise:
        sample = sample.replace(run, " ", 1)
    tokens = sum(map(len, noise)) * _NOISE_TOKENS_PER_CHAR + _plain(sample)
    return tokens * factor * (_NEWER_SHARE if newer else 1.0)


def text_at_most(text: str) -> int:
    """No more tokens than this: one for each byte of UTF-8, and one more for each capital letter.

    The tokenizers fall back to bytes, so nothing takes more tokens than it has bytes, but for case: a capital can cost a
    mark of its own, and random letters and digits come to 0.8 tokens per byte before the 30 % of newer models.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if not text.isascii():  # some characters grow when composed, and the composed form is what is counted
        raw = max(raw, unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass"), key=len)
    return 2 * len(raw) - len(raw.translate(None, _CAPITALS))


def _sample(text: str) -> tuple[str, float]:
    if len(text) <= _SAMPLE_CHARS:
        return text, 1.0
    pieces = _SAMPLE_CHARS // _PIECE_CHARS
    step = (len(text) - _PIECE_CHARS) / (pieces - 1)
    sample = "".join(text[round(i * step) : round(i * step) + _PIECE_CHARS] for i in range(pieces))
    return sample, len(text) / len(sample)


def _plain(text: str) -> float:
    words, symbols = _WORDS.findall(text), _SYMBOLS.findall(text)
    tokens = (
        0.91 * len(words)
        + 0.155 * sum(len(word) - _SHORT_WORD_CHARS for word in words if len(word) > _SHORT_WORD_CHARS)
        + 0.835 * len(_DIGITS.findall(text))
        + 1.04 * len(symbols)
        + 0.17 * sum(map(len, symbols))
        + 1.235 * len(_LINE_ENDS.findall(text))
    )
    if not text.isascii():
        cjk, others = len(_CJK.findall(text)), len(_BEYOND_ASCII.findall(text))
        tokens += 1.1 * cjk + 1.5 * (others - cjk)
    return tokens
