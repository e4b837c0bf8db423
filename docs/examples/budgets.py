"""Money: per run, and per user and UTC day. What a request can cost at most is put aside before it is sent."""

import anthropic
import msgspec

import instrument
from instrument.policy import Cost

instrument.record("traces.duckdb")
policy = msgspec.structs.replace(
    instrument.load_policy(),
    cost=Cost(run_limit_usd=0.02, user_day_limit_usd=0.018),
)


def search(words: str) -> str:
    """Searches the archive.

    Args:
        words: What for.
    """
    return f"Nothing about {words}."


runner = instrument.GuardedRunner(
    anthropic.Anthropic(),
    model="claude-sonnet-5-5",
    tools=[search],
    policy=policy,
    max_tokens=1000,
    ledger="budgets.ledger",  # shared by all processes on this machine; redis://... for a fleet
)
for question in ("Who built the first governor?", "And the second?", "And the third?"):
    result = runner.run(question, user_id="ann")
    print(f"{result.stop_reason}, ${result.cost_usd:.4f}: {result.answer}")

ledger = instrument.open_ledger("budgets.ledger")
spent = ledger.spent(ledger.account("ann"))
print(f"ann has spent ${spent.settled_usd:.4f} today, and ${spent.reserved_usd:.4f} is put aside")
