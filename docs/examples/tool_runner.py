"""The SDK's own loop under guard: here a tool that does not exist is asked for, and the real name is given back."""

import anthropic

import instrument

instrument.record("traces.duckdb")


@anthropic.beta_tool
def send_email(to: str, text: str) -> str:
    """Sends an email.

    Args:
        to: Address of whoever gets it.
        text: What it says.
    """
    return f"Sent to {to}."


runner = instrument.tool_runner(
    anthropic.Anthropic(),
    tools=[send_email],
    model="claude-sonnet-5-5",
    max_tokens=1024,
    messages=[{"role": "user", "content": "Tell ann@example.com that the build is green."}],
)
for message in runner:
    print(message.stop_reason, [block.type for block in message.content])

print(runner.result.stop_reason, f"${runner.result.cost_usd:.4f}")
for action in runner.result.actions:
    print(f"  {action.action} in turn {action.turn}: {action.reason}")
