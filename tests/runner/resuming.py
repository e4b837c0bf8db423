"""Goes on with a paused run in a process of its own: `python -m tests.runner.resuming URL LEDGER REVIEW_ID`. Prints the result as JSON."""

from __future__ import annotations

import json
import sys

import anthropic

from instrument.runner.guarded import GuardedRunner
from tests.runner.in_memory import MODEL
from tests.runner.playing import policy

FIELDS = {"review.over_usd": 0.008, "review.timeout_seconds": 0.2, "review.on_timeout": "pause"}


def search(q: str) -> str:
    """Searches."""
    return f"found {q}"


def main() -> None:
    url, ledger, review_id = sys.argv[1:]
    with anthropic.Anthropic(api_key="test", base_url=url) as client:
        runner = GuardedRunner(
            client, model=MODEL, tools=[search], policy=policy(FIELDS), max_tokens=200, ledger=ledger
        )
        result = runner.resume(review_id)
    sys.stdout.write(
        json.dumps([result.answer, result.stop_reason, result.turns, result.tool_calls, result.cost_at_most_usd])
    )


if __name__ == "__main__":
    main()
