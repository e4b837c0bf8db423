"""Asynchronous: several runs at the same time, tools in parallel, and one that hangs is given up at its limit."""

import asyncio

import anthropic

import instrument

instrument.record("traces.duckdb")


async def fetch(page: str) -> str:
    """Fetches a page.

    Args:
        page: Which one.
    """
    await asyncio.sleep(60 if page == "slow" else 0.01)
    return f"What is on {page}."


async def main() -> None:
    async with anthropic.AsyncAnthropic() as client:
        tool = instrument.limited(fetch, timeout_seconds=0.5)
        runner = instrument.GuardedRunner(client, model="claude-sonnet-5-5", tools=[tool])
        questions = ("What is on a and b?", "What is on slow?")
        for result in await asyncio.gather(*(runner.arun(question) for question in questions)):
            print(result.stop_reason, result.answer)


asyncio.run(main())
