"""Text for benchmarks."""

from __future__ import annotations

import itertools
import random


class Words:
    """Text with the statistics of prose: a few thousand words, few of them frequent (Zipf's law), in sentences."""

    def __init__(self, chance: random.Random) -> None:
        syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ar", "en", "is", "ou")]
        self._words = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 3, 4)))) for _ in range(4_000)]
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, len(self._words) + 1)))
        self._chance = chance

    def text(self, words: int) -> str:
        """A text of so many words."""
        drawn = self._chance.choices(self._words, cum_weights=self._weights, k=words)
        drawn[::11] = [w.capitalize() for w in drawn[::11]]
        drawn[10::11] = [w + "." for w in drawn[10::11]]
        drawn[25::40] = [f"{w}({self._chance.randrange(1000)})" for w in drawn[25::40]]
        return " ".join(drawn)

    def path(self) -> str:
        """A path of a file."""
        return "/src/" + "/".join(self._chance.choices(self._words, k=2)) + ".py"
