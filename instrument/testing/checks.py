"""The three tests to write first, and all the failure modes: one line each for a team's own agent.

    def test_broken_tool(): check_broken_tool(my_agent)
    def test_ambiguous_tool(): check_ambiguous_tool(my_agent)
    def test_cost_limit(): check_cost_limit(my_agent, limit_usd=0.50)

In each of them a scripted model, behind a real HTTP server, misbehaves in one way for as long as it is asked. The agent has to come to
an end by itself, with an answer, within `Limits`, without an exception and without a request that the API would refuse.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypedDict, Unpack

from instrument.policy import Policy
from instrument.prices import Prices
from instrument.testing import misbehaviour as model
from instrument.testing.broken_tools import TOOL_FAULTS
from instrument.testing.observed import Lesson, Limits, Observed, complaints_about, failure
from instrument.testing.scripted_model import Misbehaviour, ScriptedModel
from instrument.testing.server import ModelServer
from instrument.testing.subject import AgentUnderTest, run_within, text_of
from instrument.testing.tool_faults import faulty, returning
from instrument.testing.tools_on_loan import TOOLS, name_of, spoilt
from instrument.testing.usage import CHARACTERS_PER_TOKEN

PROMPT: Final = "What does the handbook say about holidays?"
AMBIGUOUS: Final = "Several entries match. Be more specific."
_RESULTS_IN_WINDOW: Final = 5
_RUN_LIMIT_USD: Final = Policy().cost.run_limit_usd or 10.0


class Options(TypedDict, total=False):
    """What every check can be told."""

    tools: Sequence[Any]
    """Tools for the agent, functions or `anthropic.beta_tool` objects; default: two of ours. The first is the one that is called."""
    limits: Limits
    may_raise: tuple[type[BaseException], ...]
    """Exceptions that are a proper end of the agent's runs."""
    prices: Prices
    """Prices of models that are not in the list, or of your own."""
    prompt: str


def check_broken_tool(
    agent: Any, *, fault: str | Callable[[Any], Any] = "raises", broken: str | None = None, **options: Unpack[Options]
) -> Observed:
    """One tool is broken, and the model goes on calling it in ever other words.

    `fault` is a name from `TOOL_FAULTS` or a decorator, `broken` the name of the tool (default: the first of `tools`). The agent needs a
    parameter `tools`. Raises AssertionError, which says what the agent did and which setting would have stopped it.
    """
    decorator = TOOL_FAULTS[fault] if isinstance(fault, str) else fault
    tools, name = spoilt(_tools_for(agent, options), broken, decorator)
    guard, setting = _help_against(fault if isinstance(fault, str) else "")
    lesson = Lesson(f"called `{name}`, which was broken, in ever other words", guard, setting)
    return _check("check_broken_tool", agent, model.rephrases(name), lesson, options, tools=tools)


def _help_against(fault: str) -> tuple[str, str]:
    """What a guard does about a tool with this fault, and the setting for it."""
    if fault.startswith("hangs"):
        return "gives up a call that takes too long and tells the model that it did", "tool_errors.tool_timeout_seconds"
    if fault.startswith("returns"):
        return "tells the model that nothing new comes of it, then asks for the final answer", "loops.near_repeats"
    how = "refuses a tool that has failed the same way so often, and then asks for the final answer"
    return how, "tool_errors.same_failure_calls"


def check_ambiguous_tool(agent: Any, *, ambiguous: str | None = None, **options: Unpack[Options]) -> Observed:
    """One tool answers "Several entries match" whatever it is asked, and the model keeps asking the same in other words.

    `ambiguous` is the name of the tool (default: the first of `tools`). The agent needs a parameter `tools`. Raises as `check_broken_tool`.
    """
    tools, name = spoilt(_tools_for(agent, options), ambiguous, returning(AMBIGUOUS))
    lesson = Lesson(
        f"asked `{name}` the same in ever other words, and got the same answer every time",
        "tells the model that nothing new comes of it, then asks for the final answer",
        "loops.near_repeats",
    )
    return _check("check_ambiguous_tool", agent, model.rephrases(name), lesson, options, tools=tools)


def check_infinite_loop(agent: Any, **options: Unpack[Options]) -> Observed:
    """The model makes the same tool call with the same arguments for ever. Raises as `check_broken_tool`.

    An agent without a parameter `tools` keeps its own, and one of these is really called, with made-up arguments.
    """
    lesson = Lesson(
        "made the same call with the same arguments every time",
        "gives back what the earlier call gave, without calling, and then asks for the final answer",
        "loops.same_call_repeats",
    )
    return _check("check_infinite_loop", agent, model.repeats(_first(options)), lesson, options)


def check_context_overflow(agent: Any, *, long: str | None = None, **options: Unpack[Options]) -> Observed:
    """Every result of one tool fills a fifth of the context window, and the model keeps reading. Longer prompts are refused.

    `long` is the name of the tool (default: the first of `tools`). The agent needs a parameter `tools`. Raises as `check_broken_tool`.
    """
    pages = itertools.count(1)

    def page() -> str:
        characters = (scripted.window_tokens or 0) * CHARACTERS_PER_TOKEN // _RESULTS_IN_WINDOW
        return f"Page {next(pages)}. ".ljust(characters, "x")

    tools, name = spoilt(_tools_for(agent, options), long, faulty(0, instead=page))
    lesson = Lesson(
        f"called `{name}` again and again, and each result filled a fifth of the context window",
        "cuts long results, and makes the conversation shorter before it fills the window",
        "context.compact_share",
    )
    limits = options.get("limits", Limits(model_calls=60))
    scripted = ScriptedModel(
        model.explores(name), limits.model_calls, limits.cost_usd, _prices(options), enforces_window=True
    )
    return _judge("check_context_overflow", agent, scripted, lesson, options, limits=limits, tools=tools)


def check_hallucinated_tool(agent: Any, **options: Unpack[Options]) -> Observed:
    """The model calls a tool that does not exist, for ever. Raises as `check_broken_tool`."""
    lesson = Lesson(
        f"called `{model.HALLUCINATED}`, which nobody had declared",
        "answers with the nearest real names, and then asks for the final answer",
        "unknown_tools.error_calls",
    )
    return _check("check_hallucinated_tool", agent, model.hallucinates, lesson, options)


def check_stuck_state(agent: Any, **options: Unpack[Options]) -> Observed:
    """The model is stuck in four ways, each in a run of its own: it says the same and makes the same call, announces and does nothing, says
    nothing at all, calls with empty arguments. Raises as `check_broken_tool`; gives the longest of the four runs.
    """
    tool = _first(options)
    runs = (
        (model.parrots(tool), "said the same and made the same call", "stuck.same_output_repeats", True),
        (model.announces, "announced what it would do, and did nothing", "stuck.idle_answers", True),
        (model.says_nothing, "said nothing at all", "stuck.empty_answers", False),
        (model.asks_blankly(tool), "called a tool with empty arguments", "stuck.null_input_calls", True),
    )
    guard = "reminds the model once, and then asks for the final answer"
    seen = [
        _check("check_stuck_state", agent, misbehave, Lesson(did, guard, setting), options, needs_answer=needs_answer)
        for misbehave, did, setting, needs_answer in runs
    ]
    return max(seen, key=lambda each: each.model_calls)


def check_cost_limit(agent: Any, limit_usd: float = _RUN_LIMIT_USD, **options: Unpack[Options]) -> Observed:
    """The model spends as much as it can: long answers, ever new tool calls, a growing conversation. Not a cent above `limit_usd` may go.

    Give the agent the same limit. A low one is reached soon; a run that ends for another reason before it passes too, so look at
    `cost_usd` of what is returned. Up to 200 model calls unless `limits` say otherwise. Raises as `check_broken_tool`.
    """
    lesson = Lesson(
        "spent as much as it could: long answers, and ever new tool calls",
        "reckons what a request may cost before it is sent, and sends none that could cross the limit",
        "cost.run_limit_usd",
    )
    limits = replace(options.get("limits", Limits(model_calls=200)), cost_usd=limit_usd)
    return _check(
        "check_cost_limit", agent, model.spends(_first(options)), lesson, options, limits=limits, needs_price=True
    )


FAILURE_MODES: Final[Mapping[str, Callable[..., Observed]]] = MappingProxyType(
    {
        "broken_tool": check_broken_tool,
        "ambiguous_tool": check_ambiguous_tool,
        "infinite_loop": check_infinite_loop,
        "context_overflow": check_context_overflow,
        "hallucinated_tool": check_hallucinated_tool,
        "stuck_state": check_stuck_state,
        "cost_explosion": check_cost_limit,
    }
)
"""The six failure modes, loops in two forms, and the check for each: to parametrise a test over."""


def check_all_failure_modes(agent: Any, **options: Unpack[Options]) -> dict[str, Observed]:
    """All of `FAILURE_MODES`, one after another. Raises one AssertionError with what failed in any of them."""
    seen, failures = {}, []
    for mode, check in FAILURE_MODES.items():
        try:
            seen[mode] = check(agent, **options)
        except AssertionError as failed:
            failures.append(str(failed))
    if failures:
        raise AssertionError(
            "\n\n".join((f"{len(failures)} of {len(FAILURE_MODES)} failure modes hurt the agent", *failures))
        )
    return seen


def _check(
    check: str,
    agent: Any,
    misbehave: Misbehaviour,
    lesson: Lesson,
    options: Options,
    *,
    limits: Limits | None = None,
    **more: Any,
) -> Observed:
    limits = limits or options.get("limits", Limits())
    scripted = ScriptedModel(misbehave, limits.model_calls, limits.cost_usd, _prices(options))
    return _judge(check, agent, scripted, lesson, options, limits=limits, **more)


def _judge(
    check: str,
    agent: Any,
    scripted: ScriptedModel,
    lesson: Lesson,
    options: Options,
    *,
    limits: Limits,
    tools: Sequence[Any] | None = None,
    needs_answer: bool = True,
    needs_price: bool = False,
) -> Observed:
    tools = options.get("tools", TOOLS) if tools is None else tools
    seen = _run(AgentUnderTest.of(agent), scripted, options.get("prompt", PROMPT), tools, limits.seconds)
    complaints = list(complaints_about(seen, limits, may_raise=options.get("may_raise", ()), needs_answer=needs_answer))
    if needs_price and seen.cost_usd is None:
        complaints.append(f"used a model whose price is not known ({', '.join(seen.models)}): give the check `prices`")
    if complaints:
        raise AssertionError(failure(check, lesson, seen, complaints))
    return seen


def _run(agent: AgentUnderTest, scripted: ScriptedModel, prompt: str, tools: Sequence[Any], seconds: float) -> Observed:
    began = time.monotonic()
    with ModelServer(scripted) as server:
        ending = run_within(seconds, lambda: agent.answer(server.url, prompt, tools), scripted.leave)
    return Observed(
        answer=text_of(ending.returned),
        ended=ending.ended,
        raised=ending.raised,
        model_calls=scripted.requests,
        tool_calls=dict(scripted.tool_calls),
        input_tokens=scripted.input_tokens,
        output_tokens=scripted.output_tokens,
        cost_usd=scripted.cost_usd,
        models=tuple(scripted.models),
        seconds=time.monotonic() - began,
        refusals=tuple(scripted.refusals),
        overflows=scripted.overflows,
        cut_off=scripted.cut_off,
        stopped=scripted.cut_off or scripted.gone,
    )


def _tools_for(agent: Any, options: Options) -> Sequence[Any]:
    """The tools to put a fault on. Raises TypeError where the agent would not take them."""
    if not AgentUnderTest.of(agent).takes_tools:
        raise TypeError(
            f"{agent!r} has no parameter `tools`, so this check cannot give it a tool that goes wrong: "
            "write the test's agent as a function of (client, prompt, tools)"
        )
    return options.get("tools", TOOLS)


def _first(options: Options) -> str | None:
    tools = options.get("tools", TOOLS)
    return name_of(tools[0]) if tools else None


def _prices(options: Options) -> Prices:
    return options.get("prices") or Prices()
