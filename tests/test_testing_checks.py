"""The checks of `instrument.testing`: a naive loop fails each of them and is told why, a careful one passes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import anthropic
import pytest
from small_agents import (
    GOOD_ENOUGH,
    INPUT_USD,
    MODEL,
    OUTPUT_USD,
    Careful,
    careful,
    careful_async,
    naive,
    naive_async,
    schema_of,
)

from instrument.policy import Policy, ToolErrors
from instrument.prices import ModelRates, Prices
from instrument.runner.guarded import GuardedRunner
from instrument.testing import (
    FAILURE_MODES,
    TOOL_FAULTS,
    Limits,
    check_all_failure_modes,
    check_ambiguous_tool,
    check_broken_tool,
    check_context_overflow,
    check_cost_limit,
    check_hallucinated_tool,
    check_infinite_loop,
    check_stuck_state,
)
from instrument.testing.sample_arguments import blank_arguments, sample_arguments
from instrument.testing.subject import AgentUnderTest, text_of
from instrument.testing.tools_on_loan import lookup, note, spoilt


def guarded(client: anthropic.Anthropic, prompt: str, tools: Any) -> Any:
    return GuardedRunner(client, model=MODEL, tools=tools).run(prompt)


async def guarded_async(client: anthropic.AsyncAnthropic, prompt: str, tools: Any) -> Any:
    return await GuardedRunner(client, model=MODEL, tools=tools).arun(prompt)


def make_guarded(client: anthropic.Anthropic, tools: Any) -> GuardedRunner:
    return GuardedRunner(client, model="claude-haiku-4-5", tools=tools)


SAID = {
    # what a failed check says of the naive loop: what went wrong, and the field to set
    "broken_tool": ("raised RuntimeError: the disk is full", "tool_errors.same_failure_calls = 3"),
    "ambiguous_tool": ("after 25 model calls it wanted another", "loops.near_repeats = 5"),
    "infinite_loop": ("after 25 model calls it wanted another", "loops.same_call_repeats = 4"),
    "context_overflow": ("prompt is too long: 1000425 tokens > 1000000 maximum", "context.compact_share = 0.8"),
    "hallucinated_tool": ("raised KeyError: 'search_the_whole_web'", "unknown_tools.error_calls = 3"),
    "stuck_state": ("after 25 model calls it wanted another", "stuck.same_output_repeats = 3"),
    "cost_explosion": ("of the $10.0000 it was allowed", "cost.run_limit_usd = 10.0"),
}


def message_of(check: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*args, **options)
    return str(caught.value)


# --- two agents and all the failure modes ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", FAILURE_MODES)
def test_a_naive_loop_fails_and_is_told_what_it_did_and_what_would_have_helped(mode: str) -> None:
    said = message_of(FAILURE_MODES[mode], naive)
    wrong, setting = SAID[mode]
    assert wrong in said
    assert f"policy     {setting}" in said
    headline, model, agent, guard, policy = said.split("\n")
    assert headline.startswith(("check_", f"check_{mode}: the agent "))
    assert model.startswith("  the model  ")
    assert f"model calls ({MODEL}), " in agent
    assert " input and " in agent
    assert "$" in agent
    assert guard.startswith("  a guard    ")
    assert "instrument.GuardedRunner" in policy


@pytest.mark.parametrize("mode", FAILURE_MODES)
@pytest.mark.parametrize("agent", [careful, careful_async, Careful], ids=["function", "coroutine", "object"])
def test_a_careful_loop_passes(agent: Any, mode: str) -> None:
    seen = FAILURE_MODES[mode](agent)
    assert (seen.answer, seen.raised, seen.refusals, seen.overflows) == (GOOD_ENOUGH, None, (), 0)
    assert 1 < seen.model_calls <= 10
    assert seen.cost_usd is not None
    assert seen.cost_usd < 0.5


@pytest.mark.parametrize("mode", FAILURE_MODES)
@pytest.mark.parametrize("agent", [guarded, guarded_async, make_guarded], ids=["run", "arun", "made"])
def test_our_own_runner_passes(agent: Any, mode: str) -> None:
    seen = FAILURE_MODES[mode](agent)
    assert (seen.raised, seen.refusals) == (None, ())
    assert seen.answer.strip() != ""
    if mode not in {"context_overflow", "cost_explosion"}:
        assert seen.model_calls <= 12


@pytest.mark.parametrize("fault", [name for name in TOOL_FAULTS if not name.startswith("hangs")])
@pytest.mark.filterwarnings("ignore:coroutine '_never_awaited' was never awaited:RuntimeWarning")
def test_our_own_runner_copes_with_a_tool_that_is_broken_in_any_way(fault: str) -> None:
    seen = check_broken_tool(guarded, fault=fault)
    assert seen.model_calls <= 12 or fault == "returns_huge_text"


@pytest.mark.parametrize("fault", ["hangs", "hangs_deaf"])
@pytest.mark.parametrize("color", ["plain", "async"])
def test_our_own_runner_gives_up_a_tool_that_hangs(fault: str, color: str) -> None:
    policy = Policy(tool_errors=ToolErrors(tool_timeout_seconds=0.1))

    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> Any:
        return GuardedRunner(client, model=MODEL, tools=tools, policy=policy).run(prompt)

    async def agent_async(client: anthropic.AsyncAnthropic, prompt: str, tools: Any) -> Any:
        return await GuardedRunner(client, model=MODEL, tools=tools, policy=policy).arun(prompt)

    seen = check_broken_tool(agent if color == "plain" else agent_async, fault=fault, limits=Limits(seconds=10))
    assert seen.model_calls <= 12
    assert seen.seconds < 5


def test_all_failure_modes_are_told_at_once() -> None:
    said = message_of(check_all_failure_modes, naive, limits=Limits(model_calls=12))
    assert said.startswith("7 of 7 failure modes hurt the agent\n\ncheck_broken_tool: ")
    assert all(setting.partition(" ")[0] in said for _, setting in SAID.values())
    assert check_all_failure_modes(careful).keys() == FAILURE_MODES.keys()


def test_a_coroutine_agent_is_watched_as_closely() -> None:
    assert "after 25 model calls it wanted another" in message_of(check_infinite_loop, naive_async)
    assert "RuntimeError: the disk is full" in message_of(check_broken_tool, naive_async)


# --- one thing at a time -----------------------------------------------------------------------------------------


def test_the_cost_is_what_the_servers_usage_costs_and_not_a_cent_above_the_limit_may_go() -> None:
    seen = check_cost_limit(careful, 0.5)
    assert seen.cost_usd == pytest.approx(seen.input_tokens * INPUT_USD + seen.output_tokens * OUTPUT_USD)
    assert 0.25 < seen.cost_usd <= 0.5
    said = message_of(check_cost_limit, careful, limit_usd=seen.cost_usd - 0.000_1)
    assert f"spent ${seen.cost_usd:.4f} of the ${seen.cost_usd - 0.000_1:.4f} it was allowed" in said
    assert check_cost_limit(careful, limit_usd=seen.cost_usd).cost_usd == seen.cost_usd


def test_the_limit_on_cost_holds_in_every_check() -> None:
    assert "spent $" in message_of(check_infinite_loop, careful, limits=Limits(cost_usd=0.001))
    check_infinite_loop(careful, limits=Limits(cost_usd=None))


def test_a_price_that_nobody_knows_is_no_proof_of_low_cost() -> None:
    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        message: Any = {"role": "user", "content": prompt}
        client.messages.create(model="our-own-model", max_tokens=500, messages=[message])
        return "done"

    said = message_of(check_cost_limit, agent)
    assert "price is not known (our-own-model): give the check `prices`" in said
    assert "at a price nobody knows" in said
    seen = check_cost_limit(agent, prices=Prices({"our-own-model": ModelRates(input=1_000, output=2_000)}))
    assert seen.cost_usd == pytest.approx(seen.input_tokens * 1e-3 + seen.output_tokens * 2e-3)
    assert check_infinite_loop(agent).cost_usd is None


def test_a_model_that_spends_never_answers_more_than_it_was_allowed() -> None:
    allowed: list[int] = []

    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        for max_tokens in (16, 99, 100, 250, 8_000, 64_000):
            message: Any = {"role": "user", "content": prompt}
            declared: Any = [schema_of(tool) for tool in tools]
            reply = client.messages.create(
                model=MODEL, max_tokens=max_tokens, messages=[message], tools=declared, timeout=9
            )
            assert len(reply.to_json(indent=None)) / 4 < max_tokens + 250
            allowed.append(reply.usage.output_tokens)
        return "done"

    check_cost_limit(agent)
    assert all(used <= most for used, most in zip(allowed, (16, 99, 100, 250, 8_000, 8_000), strict=True))
    assert allowed[-2] > 7_500


def test_a_hanging_tool_is_noticed_in_time() -> None:
    began = time.monotonic()
    said = message_of(check_broken_tool, careful, fault="hangs", limits=Limits(seconds=0.5))
    assert time.monotonic() - began < 4
    assert "the agent was still running after 0.5 s" in said
    assert "still running\n" in said
    assert "tool_errors.tool_timeout_seconds = 120" in said
    for thread in threading.enumerate():  # what was left behind ends, because the tool was woken
        if thread.name == "agent under test":
            thread.join(5)
            assert not thread.is_alive()


def test_a_model_answers_no_more_when_the_agents_time_is_up() -> None:
    began = time.monotonic()
    said = message_of(check_infinite_loop, naive, limits=Limits(model_calls=100_000, seconds=0.3, cost_usd=None))
    assert time.monotonic() - began < 1.5
    assert "the agent was still running after 0.3 s\n" in said


@pytest.mark.parametrize("fault", ["returns_none", "returns_bytes", "raises_unprintable", "returns_cycle"])
def test_any_fault_of_the_catalogue_can_be_put_on_the_tool(fault: str) -> None:
    called: list[str] = []

    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        try:
            called.append(type(tools[0]("what")).__name__)
        except Exception as raised:  # noqa: BLE001 - which one it is, is asserted below
            called.append(type(raised).__name__)
        return "done"

    check_broken_tool(agent, fault=fault)
    check_broken_tool(agent, fault=TOOL_FAULTS[fault])
    kind = {"returns_none": "NoneType", "returns_bytes": "bytes", "returns_cycle": "list"}.get(
        fault, "UnprintableError"
    )
    assert called == [kind, kind]


@pytest.mark.parametrize("fault", ["raises_system_exit", "raises_keyboard_interrupt", "raises_unprintable"])
def test_nothing_that_an_agent_lets_out_gets_out_of_the_check(fault: str) -> None:
    expected = {"raises_system_exit": "SystemExit", "raises_keyboard_interrupt": "KeyboardInterrupt"}
    assert f"the agent raised {expected.get(fault, 'UnprintableError')}" in message_of(
        check_broken_tool, naive, fault=fault
    )


def test_an_exception_may_be_a_proper_end() -> None:
    seen = check_broken_tool(naive, may_raise=(RuntimeError,))
    assert isinstance(seen.raised, RuntimeError)
    assert "raised RuntimeError" in message_of(check_broken_tool, naive, may_raise=(OSError,))


def test_an_agent_has_to_answer() -> None:
    assert "the agent returned no answer" in message_of(check_infinite_loop, lambda client, prompt, tools: None)
    assert "the agent returned no answer" in message_of(check_infinite_loop, lambda client, prompt: "  ")


def test_requests_that_the_api_would_refuse_are_refused_and_named() -> None:
    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        request: Any = {"model": MODEL, "max_tokens": 500, "tools": [schema_of(tool) for tool in tools]}
        messages: list[Any] = [{"role": "user", "content": prompt}]
        messages.append({"role": "assistant", "content": client.messages.create(messages=messages, **request).content})
        messages.append({"role": "user", "content": "No result, but do go on."})
        try:
            client.messages.create(messages=messages, **request)
        except anthropic.BadRequestError:
            return "done"
        return "the API took it"

    said = message_of(check_infinite_loop, agent)
    assert "the agent sent 1 requests that the API refuses (" in said
    assert "answered 'done'" in said


def test_an_overflow_is_refused_and_an_agent_that_copes_passes() -> None:
    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        request: Any = {"model": MODEL, "max_tokens": 500, "tools": [schema_of(tool) for tool in tools]}
        pages = ""
        while True:
            messages: list[Any] = [{"role": "user", "content": prompt + pages}]
            try:
                (call,) = client.messages.create(messages=messages, **request).content
            except anthropic.BadRequestError as refused:
                return str(refused)
            pages += tools[0](**call.input)  # type: ignore[union-attr]

    seen = check_context_overflow(agent)
    assert (seen.overflows, seen.model_calls, seen.refusals) == (1, 6, ())
    assert "> 1000000 maximum" in seen.answer


def test_a_stuck_model_is_stuck_in_four_ways() -> None:
    words: list[str] = []

    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        request: Any = {"model": MODEL, "max_tokens": 500, "tools": [schema_of(tool) for tool in tools]}
        message: Any = {"role": "user", "content": prompt}
        for _ in range(2):
            content = client.messages.create(messages=[message], **request).content
            words.append("+".join(b.type if b.type == "text" else str(b.input) for b in content))  # type: ignore[union-attr]
        last = client.messages.create(messages=[message], **request, tool_choice={"type": "none"})
        return text_of(last) or "nothing"

    check_stuck_state(agent)
    assert words == [
        *("text+{'question': 'sample 1'}", "text+{'question': 'sample 1'}"),
        *("text", "text"),
        *("", ""),
        *("{'question': ''}", "{'question': ''}"),
    ]


def test_a_model_without_tools_says_its_last_words() -> None:
    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        message: Any = {"role": "user", "content": prompt}
        request: Any = {"model": MODEL, "max_tokens": 500, "messages": [message]}
        declared: Any = [schema_of(tool) for tool in tools]
        forbidden = client.messages.create(**request, tools=declared, tool_choice={"type": "none"})
        assert text_of(forbidden) == text_of(client.messages.create(**request))
        return text_of(forbidden)

    for check in (check_broken_tool, check_ambiguous_tool, check_infinite_loop, check_hallucinated_tool):
        assert check(agent).answer == "This is what I could find out: the handbook has a page about it."


# --- how an agent is handed over ---------------------------------------------------------------------------------


def test_an_agent_without_a_parameter_for_tools_cannot_be_given_a_broken_one() -> None:
    def own_tools(client: anthropic.Anthropic, prompt: str) -> str:
        return naive(client, prompt, [lookup])

    for check in (check_broken_tool, check_ambiguous_tool, check_context_overflow):
        with pytest.raises(TypeError, match=r"no parameter `tools`.*function of \(client, prompt, tools\)"):
            check(own_tools)
    assert "after 25 model calls" in message_of(check_infinite_loop, own_tools)


def test_what_is_no_agent_is_refused() -> None:
    with pytest.raises(TypeError, match="is no agent"):
        check_infinite_loop("my agent")
    with pytest.raises(TypeError, match="takes no client"):
        check_infinite_loop(lambda: "done")


def test_an_agent_gets_the_client_of_its_colour() -> None:
    clients: list[str] = []

    class Runs:
        def run(self, client: Any, prompt: str) -> str:
            clients.append(type(client).__name__)
            return "done"

    class Made:
        def __init__(self, client: anthropic.AsyncAnthropic) -> None:
            clients.append(type(client).__name__)

        def run(self, prompt: str) -> str:
            return "not this one"

        async def arun(self, prompt: str) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"content": [{"type": "text", "text": "made"}]}

    async def coroutine(client: Any, prompt: str) -> str:
        clients.append(type(client).__name__)
        return "done"

    class Callable:
        async def __call__(self, client: Any, prompt: str) -> str:
            return await coroutine(client, prompt)

    assert check_infinite_loop(Made).answer == "made"
    for agent in (Runs(), coroutine, Callable()):
        assert check_infinite_loop(agent).answer == "done"
    assert clients == ["AsyncAnthropic", "Anthropic", "AsyncAnthropic", "AsyncAnthropic"]


def test_the_words_of_an_agent_are_found_in_what_it_returns() -> None:
    class Result:
        answer = "42"

    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "4"}, {"type": "thinking"}, {"type": "text", "text": "2"}],
    }
    assert [text_of(each) for each in (None, "42", Result(), message, {"content": "42"}, 42)] == ["", *["42"] * 5]


def test_a_teams_own_tools_are_used_and_one_of_them_breaks() -> None:
    used: list[str] = []

    def search(text: str, limit: int) -> str:
        """Searches."""
        used.append(text)
        return f"{text}: {limit}"

    def agent(client: anthropic.Anthropic, prompt: str, tools: Any) -> str:
        with pytest.raises(RuntimeError, match="disk is full"):
            tools[1](text="a", limit=1)
        return str(tools[0](question="b"))

    seen = check_broken_tool(agent, tools=[lookup, search], broken="search")
    assert "handbook" in seen.answer
    assert used == []
    with pytest.raises(ValueError, match="no tool named 'fetch' to break; there are: lookup, search"):
        check_broken_tool(agent, tools=[lookup, search], broken="fetch")
    with pytest.raises(ValueError, match="there are: none"):
        check_broken_tool(agent, tools=[])


def test_a_tool_of_the_sdk_breaks_too_and_keeps_its_declaration() -> None:
    plain, coroutine = anthropic.beta_tool(lookup), anthropic.beta_async_tool(_search)
    (broken, other), name = spoilt([plain, note], None, TOOL_FAULTS["raises"])
    assert (name, other) == ("lookup", note)
    assert broken.to_dict() == plain.to_dict()
    with pytest.raises(RuntimeError, match="disk is full"):
        broken.call({"question": "what"})
    (broken,), name = spoilt([coroutine], "_search", TOOL_FAULTS["raises"])
    with pytest.raises(RuntimeError, match="disk is full"):
        asyncio.run(broken.call({"question": "what"}))
    with pytest.raises(TypeError, match="neither a function nor"):
        spoilt([object()], None, TOOL_FAULTS["raises"])


async def _search(question: str) -> str:
    """Searches."""
    return question


# --- made-up arguments -------------------------------------------------------------------------------------------


def test_sample_arguments_fit_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = {
        "type": "object",
        "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "share": {"anyOf": [{"type": "null"}, {"type": "number"}]},
            "deep": {"type": "boolean"},
            "unit": {"enum": ["km", "mi"]},
            "kind": {"const": "trip"},
            "nothing": {"type": "null"},
            "places": {"type": "array", "items": {"$ref": "#/$defs/place"}},
            "either": {"type": ["string", "null"]},
            "optional": {"type": "string"},
        },
        "required": ["text", "count", "share", "deep", "unit", "kind", "nothing", "places", "either"],
        "additionalProperties": False,
    }
    samples = [sample_arguments(schema, number) for number in (1, 2, 3)]
    for sample in samples:
        jsonschema.validate(sample, schema)
        assert "optional" not in sample
    assert samples[0]["places"] == [{"city": "sample 1"}]
    assert len({json.dumps(sample) for sample in samples}) == 3
    assert blank_arguments(schema)["text"] == ""
    assert {str(value) for value in blank_arguments(schema).values()} <= {"", "None", "[]", "{}"}


@pytest.mark.parametrize(
    "schema", [{}, {"$ref": "#/nowhere"}, {"properties": {"a": True}}, {"$ref": "#"}, {"type": "string"}], ids=str
)
def test_odd_schemas_give_arguments_too(schema: Any) -> None:
    assert isinstance(sample_arguments(schema), dict)
    assert isinstance(blank_arguments(schema), dict)


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
    sample = sample_arguments({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert 3 < json.dumps(sample).count("next") < 20


def test_every_setting_that_a_lesson_names_is_one_of_the_policy() -> None:
    for _, setting in SAID.values():
        section, field = setting.partition(" ")[0].split(".")
        assert str(getattr(getattr(Policy(), section), field)) in setting


def test_the_parameters_say_what_an_agent_takes() -> None:
    taken = AgentUnderTest.of(Careful)
    assert (taken.takes_prompt, taken.takes_tools, taken.is_async) == (False, True, False)
    taken = AgentUnderTest.of(naive_async)
    assert (taken.takes_prompt, taken.takes_tools, taken.is_async) == (True, True, True)
