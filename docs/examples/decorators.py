"""Guards through the decorators: the loop stays as it is. `guard(client)` lets them see, and speak in, its requests."""

import anthropic

import instrument

instrument.record("traces.duckdb")
client = instrument.guard(anthropic.Anthropic())
schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@instrument.tool
def weather(city: str) -> str:
    raise ConnectionError("the weather service does not answer")


def result_of(block) -> dict:
    try:
        content, failed = weather(**block.input), False
    except instrument.CallRefused as refused:  # a guard did not let it run; its text is for the model
        content, failed = str(refused), True
    except ConnectionError as e:
        content, failed = f"ConnectionError: {e}", True
    return {"type": "tool_result", "tool_use_id": block.id, "content": content, "is_error": failed}


@instrument.agent(policy="flyball.toml")
def forecast(question: str) -> str:
    messages = [{"role": "user", "content": question}]
    tools = [{"name": "weather", "description": "Says how the weather is.", "input_schema": schema}]
    while True:
        reply = client.messages.create(model="claude-sonnet-5-5", max_tokens=1024, messages=messages, tools=tools)
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in reply.content if block.type == "text")
        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "user", "content": [result_of(block) for block in calls]})


print(forecast("Do I need an umbrella in Oslo?"))
