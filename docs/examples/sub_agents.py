"""An agent whose tool is another agent: the inner run spends the outer one's money, and is a run of its own in the record."""

import anthropic
import msgspec

import instrument
from instrument.policy import Cost

instrument.record("traces.duckdb")
client = anthropic.Anthropic()
policy = msgspec.structs.replace(instrument.load_policy(), cost=Cost(run_limit_usd=0.05))
researcher = instrument.GuardedRunner(client, model="claude-haiku-4-5", name="researcher", policy=policy)


def research(question: str) -> str:
    """Asks a researcher.

    Args:
        question: What you want to know.
    """
    result = researcher.run(question)
    return result.answer or f"The researcher ended in {result.stop_reason}."


writer = instrument.GuardedRunner(
    client, model="claude-sonnet-5-5", name="writer", tools=[research], policy=policy, max_tokens=1000
)
result = writer.run("Write a paragraph about flyball governors.")
print(result.stop_reason, f"${result.cost_usd:.4f}, sub-agents included")
print(result.answer)
