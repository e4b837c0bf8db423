"""The whole loop, guarded: a model that keeps asking the same is nudged, refused, and asked for its best answer."""

import anthropic

import instrument

instrument.record("traces.duckdb")


def order_status(order: int) -> str:
    """Says where an order is.

    Args:
        order: Number of the order.
    """
    return f"Order {order} awaits review."


runner = instrument.GuardedRunner(anthropic.Anthropic(), model="claude-sonnet-5-5", tools=[order_status])
result = runner.run("When does order 4711 arrive?")

print(result.stop_reason, f"after {result.turns} turns, {result.tool_calls} tool calls, ${result.cost_usd:.4f}")
print(result.answer)
for action in result.actions:
    print(f"  {action.action} in turn {action.turn}: {action.reason}")
