"""A loop of your own with the guards as explicit calls around it."""

import anthropic

import instrument

instrument.record("traces.duckdb")
client = anthropic.Anthropic()
tools = [
    {
        "name": "read_file",
        "description": "Reads a file.",
        "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    }
]


def read_file(path: str) -> str:
    raise FileNotFoundError(path)


functions = {"read_file": read_file}
messages = [{"role": "user", "content": "What does main.py do?"}]
with instrument.run(name="reader") as run:
    while not run.over:
        # Within the budget, shortened where the context is full, and with what the guards have to say.
        request = run.request(model="claude-sonnet-5-5", max_tokens=1024, messages=messages, tools=tools)
        messages.append(run.answered(client.messages.create(**request)))
        for block in run.tool_uses:
            with run.tool(block) as call:  # an exception in here is the call's result
                if call.allowed:
                    call.result = functions[block["name"]](**block["input"])
        messages += run.results()

print(run.stop_reason, run.result.answer)
