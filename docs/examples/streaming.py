"""A guarded run as a stream: words as they come, tools, what guards do, and the result as the last event."""

import anthropic

import instrument
from instrument.runner.events import Acted, Ended, TextDelta, ToolStarted

instrument.record("traces.duckdb")


def look_up(word: str) -> str:
    """Looks a word up.

    Args:
        word: Which.
    """
    return f"{word}: a device that keeps an engine from running away."


runner = instrument.GuardedRunner(anthropic.Anthropic(), model="claude-sonnet-5-5", tools=[look_up])
for event in runner.stream("What is a flyball governor?"):
    match event:
        case TextDelta(text):
            print(text, end="", flush=True)
        case ToolStarted():
            print(f"\n[{event.name} {event.input}]")
        case Acted(action):
            print(f"\n[{action.action}: {action.reason}]")
        case Ended(result):
            print(f"\n{result.stop_reason}")
