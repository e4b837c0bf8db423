"""What OpenHands wrote down of each request beside its history: cost, latency and token counts, each in a list of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from analyzer.readers.agent_runs import reported
from analyzer.readers.loose import amount, count, listing, mapping, moment_ns, text
from instrument import semconv

_LISTS: Final = ("costs", "response_latencies", "token_usages")


class Bills:
    """The lists of one run, and which of their entries belong to which answer.

    Latencies and token counts name the response; costs do not, but stand in the same order. Without names, entries belong to the answers
    in their place where there are as many of both. What belongs to no answer stays in `left`.
    """

    def __init__(self, metrics: dict[str, Any], answers: Iterable[str | None]) -> None:
        found = {name: listing(metrics.get(name)) for name in _LISTS}
        ids = list(answers)
        self._by_id: dict[str, dict[str, Any]] = {}
        self._by_place: list[dict[str, Any]] = []
        self.unassigned = 0
        """Costs that stand beside nothing that names them."""
        named = next((found[n] for n in _LISTS[1:] if found[n] and len(found[n]) == len(found["costs"])), [])
        for name, entries in found.items():
            for place, entry in enumerate(entries):
                key = text(mapping(entry).get("response_id"))
                if name == "costs" and named:
                    key = text(mapping(named[place]).get("response_id"))
                if key:
                    self._by_id.setdefault(key, {})[name] = entry
                elif len(entries) == len(ids):
                    self._place(place)[name] = entry
                else:
                    self.unassigned += name == "costs"
        self.left = [(key, bill) for key, bill in self._by_id.items() if key not in ids]

    def _place(self, place: int) -> dict[str, Any]:
        while len(self._by_place) <= place:
            self._by_place.append({})
        return self._by_place[place]

    def of(self, place: int, response_id: str | None) -> dict[str, Any]:
        """The entries of the answer number `place` (from 0), by the names of their lists."""
        at_place = self._by_place[place] if place < len(self._by_place) else {}
        return {**at_place, **self._by_id.get(response_id or "", {})}


def facts(bill: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a model call that its entries tell."""
    cost, used = bill.get("costs"), mapping(bill.get("token_usages"))
    named = [text(mapping(bill.get(name)).get("model")) for name in _LISTS]
    model = next(filter(None, named), None)
    return {
        **({semconv.REQUEST_MODEL: model} if model else {}),
        **usage(used),
        **reported(amount(cost if not isinstance(cost, dict) else cost.get("cost"))),
    }


def seconds(bill: dict[str, Any]) -> float | None:
    """How long the answer took to come."""
    return amount(mapping(bill.get("response_latencies")).get("latency"))


def paid_ns(bill: dict[str, Any]) -> int | None:
    """When its cost was written down: when the answer was there."""
    return moment_ns(mapping(bill.get("costs")).get("timestamp"))


def usage(found: dict[str, Any]) -> dict[str, Any]:
    """Token counts by our names; OpenHands counts cached tokens inside the input."""
    values = {
        semconv.INPUT_TOKENS: count(found.get("prompt_tokens")),
        semconv.OUTPUT_TOKENS: count(found.get("completion_tokens")),
        semconv.CACHE_READ_TOKENS: count(found.get("cache_read_tokens")),
        semconv.CACHE_WRITE_TOKENS: count(found.get("cache_write_tokens")),
        semconv.REASONING_TOKENS: count(found.get("reasoning_tokens")),
    }
    return {name: value for name, value in values.items() if value is not None}
