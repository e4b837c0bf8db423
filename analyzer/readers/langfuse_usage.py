"""Usage and cost of Langfuse's generations, whatever names and conventions the integration that recorded them followed."""

from __future__ import annotations

from typing import Any

from analyzer.readers.agent_runs import reported
from analyzer.readers.loose import count, mapping, written_number
from analyzer.readers.openai_messages import decoded
from analyzer.readers.token_counts import by_attribute


def usage(found: dict[str, Any]) -> dict[str, Any]:
    """Token counts of one observation by our names, cache inside the input and reasoning inside the output; absent where not known."""
    return by_attribute(_counts(found))


def cost(found: dict[str, Any]) -> dict[str, Any]:
    """What the call cost by Langfuse's account, which is the recording program's where it gave one."""
    details = mapping(decoded(found.get("costDetails")))
    parts = [a for a in map(written_number, details.values()) if a is not None]
    known = [
        written_number(v) for v in (details.get("total"), found.get("totalCost"), found.get("calculatedTotalCost"))
    ]
    return reported(next((v for v in known if v), sum(parts)))


def _counts(found: dict[str, Any]) -> dict[str, int]:
    """The counts of an observation. Nought in and nought out is how Langfuse writes that it knows none."""
    older = {"input": found.get("inputUsage"), "output": found.get("outputUsage"), "total": found.get("totalUsage")}
    oldest = {
        "input": found.get("promptTokens"),
        "output": found.get("completionTokens"),
        "total": found.get("totalTokens"),
    }
    for counts in (found.get("usageDetails"), found.get("usage"), older, oldest):
        kept = {
            name: number
            for name, value in mapping(decoded(counts)).items()
            if (number := count(written_number(value))) is not None
        }
        if any(kept.values()):
            # Only what a program recorded itself says that there was none of something.
            return kept if counts is not older and counts is not oldest else {n: v for n, v in kept.items() if v}
    return {}
