"""Alert rules about one run that fails, by the six failure modes: every line in them is a field of the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from math import exp, inf, isfinite, log, nextafter
from typing import Final

from analyzer.alerts.conditions import (
    AtLeast,
    AtLeastLine,
    AtMost,
    Both,
    DeviatesBy,
    Either,
    Known,
    TimesAtLeast,
    Unless,
)
from analyzer.alerts.metrics import (
    CONTEXT_SHARE,
    CONTEXT_TURNS_LEFT,
    CYCLE_ROUNDS,
    FAILED_CALLS,
    GROUP_COST,
    GROUP_DEVIATION,
    GROUP_RUNS,
    INVALID_CALLS,
    NEAR_REPEATS,
    REPEATED_CALLS,
    REPEATED_OUTPUTS,
    RUN_COST,
    RUN_COST_LINE,
    RUN_SECONDS,
    SAME_FAILURES,
    SILENT_LINE,
    SILENT_SECONDS,
    UNKNOWN_TOOL_CALLS,
    Metric,
)
from analyzer.alerts.rule import COUNT, SECONDS, SHARE, USD, VALUE, About, Case, Lined, Rule, Runbook, below
from instrument.policy import Cost, Policy

_OPEN: Final = "`flyball app --db traces.duckdb`, page Runs, newest first: the run is marked where it happened."
_STOP: Final = "Stop the run if nothing else moves in it."


def error_cascade(policy: Policy) -> Iterator[Rule]:
    """Tool errors that cascade."""
    same, any_kind = policy.tool_errors.same_failure_calls, policy.tool_errors.failed_calls
    yield About(
        alert="FlyballErrorCascade",
        detectors=("error_cascade", "retry_storm"),
        summary=f"Tool calls of a run keep failing: {VALUE} so far",
        description=(
            f"One tool failed the same way {same} times with no success between, or {any_kind} calls in a row failed. "
            "Look at the tool's backend first; a run that goes on calling a broken tool only spends."
        ),
        runbook=Runbook(
            meaning="One tool of an active run failed the same way again and again, or its calls failed in a row.",
            impact="The agent pays for every turn and learns nothing; its answer will be wrong or missing.",
            diagnosis=(
                _OPEN,
                "Read the error text of the first failure, not of the last: later ones are often its consequence.",
                "Does the tool fail for other runs too? Then its backend is down (see FlyballToolFailing).",
            ),
            mitigation=(
                "Mend or switch off the tool; return errors as results, so that the model can take another way.",
                "Guarded runs refuse a tool that keeps failing: `tool_errors.same_failure_calls` and `breaker_seconds`.",
            ),
        ),
        unit=COUNT,
    ).rule(
        Either((AtLeast(SAME_FAILURES, same), AtLeast(FAILED_CALLS, any_kind))),
        Case({SAME_FAILURES: same, FAILED_CALLS: 0}, same),
        Case({SAME_FAILURES: 0, FAILED_CALLS: any_kind}, any_kind),
        Case({SAME_FAILURES: below(same), FAILED_CALLS: below(any_kind)}),
    )


def loops(policy: Policy) -> Iterator[Rule]:
    """Infinite loops: the same call, the same round of calls, the same question in other words."""
    lines = policy.loops
    yield from About(
        alert="FlyballRepeatedCall",
        detectors=("repeated_call",),
        summary=f"A run loops: the same call gave the same result in {VALUE} turns",
        description=(
            "The same tool with the same arguments returned the same result turn after turn, so the run learns "
            f"nothing new. Open its last turns. {_STOP}"
        ),
        runbook=_LOOP,
        unit=COUNT,
    ).levels(REPEATED_CALLS, lines.same_call_repeats, lines.same_call_error_repeats)
    yield from About(
        alert="FlyballCallCycle",
        detectors=("call_cycle",),
        summary=f"A run goes in circles: the same calls gave the same results in {VALUE} rounds",
        description=f"Two or more calls follow each other again and again with the same results. {_STOP}",
        runbook=_LOOP,
        unit=COUNT,
    ).levels(CYCLE_ROUNDS, lines.cycle_repeats, lines.cycle_error_repeats)
    yield from About(
        alert="FlyballNearRepeat",
        detectors=("near_repeat",),
        summary=f"A run asks the same in other words: {VALUE} turns with the same result",
        description=f"The wording changes (a date, a page, the order of words), the result does not. {_STOP}",
        runbook=_LOOP,
        unit=COUNT,
    ).levels(NEAR_REPEATS, lines.near_repeats, lines.near_error_repeats)


_LOOP: Final = Runbook(
    meaning="An active run keeps asking what it has asked before, and gets what it got before.",
    impact="Every turn sends the whole conversation again: the bill grows with the square of the turns.",
    diagnosis=(
        _OPEN,
        "Look at the last result that was new. Does it tell the model what to do next? An empty list without a word often starts a loop.",
        "Is it a poll? Then the tool should wait inside, and say when to come back.",
    ),
    mitigation=(
        'Stop the run. Its guards would: `guards.mode = "enforce"` with the same lines (`[loops]`).',
        "Make the tool's answer say more, for example that there is nothing and will be nothing.",
    ),
)


def context(policy: Policy) -> Iterator[Rule]:
    """Context overflow."""
    lines = policy.context
    yield from About(
        alert="FlyballContextNearFull",
        detectors=("context_growth", "context_overflow"),
        summary=f"The context of a run is {VALUE} full",
        description=(
            "The model's window fills up; the next large tool result may not fit and the run then fails or "
            "forgets. See what fills it: the context chart of the run shows it turn by turn."
        ),
        runbook=_CONTEXT,
        unit=SHARE,
    ).levels(CONTEXT_SHARE, lines.warn_share, lines.error_share)
    turns, share = lines.forecast_turns, lines.forecast_share
    yield About(
        alert="FlyballContextFillsSoon",
        detectors=("context_growth",),
        summary=f"The context of a run is full in {VALUE} turns at the present rate",
        description="Compact the history or cut tool results before it gets there.",
        runbook=_CONTEXT,
        unit=COUNT,
    ).rule(
        Both((AtMost(CONTEXT_TURNS_LEFT, turns), AtLeast(CONTEXT_SHARE, share))),
        Case({CONTEXT_TURNS_LEFT: turns, CONTEXT_SHARE: share}, turns),
        Case({CONTEXT_TURNS_LEFT: nextafter(turns, inf), CONTEXT_SHARE: 1.0}),
        Case({CONTEXT_TURNS_LEFT: turns, CONTEXT_SHARE: below(share)}),
    )


_CONTEXT: Final = Runbook(
    meaning="The largest request of an active run comes near the context window of its model, or will soon.",
    impact="Answers get slower, dearer and worse; then a request is refused, or the run forgets what it knew.",
    diagnosis=(
        f"{_OPEN} The context chart says what fills it: tools, system prompt, results by tool.",
        "One large result, or many small ones? `oversized_tool_result` names the large ones.",
    ),
    mitigation=(
        "Cut tool results (`context.result_chars`) and compact earlier (`context.compact_share`).",
        "If the model's window is larger than we believe, set `context.windows`.",
    ),
)


def hallucinated(policy: Policy) -> Iterator[Rule]:
    """Hallucinated tool calls."""
    tools, arguments = policy.unknown_tools, policy.invalid_arguments
    yield from About(
        alert="FlyballUnknownTool",
        detectors=("unknown_tool",),
        summary=f"A model calls a tool that does not exist, {VALUE} times so far",
        description=(
            "The tool is not among those declared in the request. Name the real tools in the error it gets back; "
            "look for the invented name in the prompt."
        ),
        runbook=_HALLUCINATED,
        unit=COUNT,
    ).levels(UNKNOWN_TOOL_CALLS, tools.calls, tools.error_calls)
    yield from About(
        alert="FlyballInvalidArguments",
        detectors=("invalid_arguments",),
        summary=f"A model calls a tool with arguments that do not fit it, in {VALUE} turns so far",
        description="The arguments do not fit the tool's schema. Say in the error what is wrong and what would fit.",
        runbook=_HALLUCINATED,
        unit=COUNT,
    ).levels(INVALID_CALLS, arguments.calls, arguments.error_calls)


_HALLUCINATED: Final = Runbook(
    meaning="The model asks for a tool that its request does not declare, or with arguments that its schema does not allow.",
    impact="The call cannot run. A model that is not told so clearly asks again, or invents the result.",
    diagnosis=(
        _OPEN,
        "Search the prompt and the tool results for the invented name: it usually stands there.",
        "Did a deploy rename a tool, or change a schema, while conversations went on?",
    ),
    mitigation=(
        "Answer with the nearest real name and the schema (guarded runs do).",
        "Take the old name out of prompts and stored conversations.",
    ),
)


def stuck(policy: Policy, lined: Set[Metric] = frozenset()) -> Iterator[Rule]:
    """Stuck states: the same answer again, nothing at all, or no end."""
    repeats, silent, age = (
        policy.stuck.same_output_repeats,
        policy.alerts.silent_seconds,
        policy.loops.run_seconds,
    )
    yield About(
        alert="FlyballRepeatedOutput",
        detectors=("repeated_output",),
        summary=f"A run is stuck: it gave the same answer in {VALUE} turns",
        description="The model says the same again and again. One nudge may help; after that, stop the run.",
        runbook=_STUCK,
        unit=COUNT,
    ).above(REPEATED_OUTPUTS, repeats)
    hangs = About(
        alert="FlyballRunHangs",
        detectors=("silent_gap", "tool_timeout"),
        summary=f"Nothing has begun or ended in a run for {VALUE}, and it has not ended",
        description="A call hangs without a time-out, or the process is gone. The last span of the run says which call it was.",
        runbook=_STUCK,
        unit=SECONDS,
    ).above(SILENT_SECONDS, silent)
    yield (
        with_line(hangs, SILENT_LINE, f"alerts.silent_seconds = {silent:g}", _at(SILENT_SECONDS))
        if SILENT_LINE in lined
        else hangs
    )
    yield About(
        alert="FlyballRunTooLong",
        summary=f"A run has been going for {VALUE} and has not ended",
        description="It is past the time that one run may take (`loops.run_seconds`).",
        runbook=_STUCK,
        unit=SECONDS,
    ).above(RUN_SECONDS, age)


_STUCK: Final = Runbook(
    meaning="A run neither gets on nor ends.",
    impact="Somebody waits for an answer that does not come; a worker is occupied.",
    diagnosis=(
        f"{_OPEN} A call that hangs is shown as pending.",
        "Is its process alive (`ps`, or your orchestrator)? A killed one leaves its run open, for two hours at most.",
        "A tool that waits for a person, or for a lock?",
    ),
    mitigation=(
        "Give every tool a time-out (`tool_errors.tool_timeout_seconds`) and every run a limit (`loops.run_seconds`).",
        "Stop the run; guarded runs are nudged once and then asked for a final answer.",
    ),
)


def run_cost(policy: Policy, lined: Set[Metric] = frozenset()) -> Iterator[Rule]:
    """Cost explosions of one run."""
    cost = policy.cost
    enough = AtLeast(GROUP_RUNS, cost.outlier_runs)
    description = "Its finished runs usually cost far less. See which turns the money went to, and stop it if it loops."
    yield About(
        alert="FlyballCostOutlier",
        detectors=("cost_outlier",),
        summary=f"A run costs {VALUE}, far more than other runs of this agent and model",
        description=description,
        runbook=_COST,
        unit=USD,
    ).rule(
        Both(
            (
                TimesAtLeast(RUN_COST, cost.outlier_ratio, GROUP_COST),
                DeviatesBy(RUN_COST, GROUP_COST, GROUP_DEVIATION, cost.outlier_deviations),
                AtLeast(RUN_COST, cost.outlier_usd),
                enough,
            )
        ),
        *_outlier_cases(cost),
    )
    high = About(
        alert="FlyballCostHigh",
        detectors=("cost_outlier", "over_budget"),
        summary=f"A run has cost {VALUE} so far, more than a run of its agent should",
        description=(
            "It is above the line that recorded history or the policy (`cost.run_usd`) gives for one run. The policy's holds while fewer "
            f"than {cost.outlier_runs} finished runs of this agent and model have a known cost."
        ),
        runbook=_COST,
        unit=USD,
    ).rule(
        Unless(AtLeast(RUN_COST, cost.run_usd), enough),
        Case({RUN_COST: cost.run_usd, GROUP_RUNS: below(cost.outlier_runs)}, cost.run_usd),
        Case({RUN_COST: below(cost.run_usd), GROUP_RUNS: below(cost.outlier_runs)}),
        Case({RUN_COST: cost.run_usd, GROUP_RUNS: cost.outlier_runs}),
    )
    yield (
        with_line(high, RUN_COST_LINE, f"cost.run_usd = {cost.run_usd:g}", _at(RUN_COST))
        if RUN_COST_LINE in lined
        else high
    )


def _at(metric: Metric) -> Callable[[float], tuple[Case, ...]]:
    """The cases for a line of `metric`."""
    return lambda line: (Case({metric: line}, line), Case({metric: below(line)}))


def with_line(rule: Rule, line: Metric, otherwise: str, cases: Callable[[float], tuple[Case, ...]]) -> Rule:
    """`rule`, about the first of its metrics, with the recorded `line` where there is one for its labels."""
    own = AtLeastLine(next(rule.when.metrics()), line)
    when = Either((own, Unless(rule.when, Known(line))))
    return replace(rule, when=when, lined=Lined(line, f"The policy: {otherwise}.", cases))


def _outlier_cases(cost: Cost) -> Iterator[Case]:
    """For each of its four lines a group in which the other three are safely crossed."""
    runs = {GROUP_RUNS: cost.outlier_runs}
    usual = max(1.0, cost.outlier_usd)  # so that what reaches the ratio is dear enough
    even = {GROUP_COST: usual, GROUP_DEVIATION: 0.0}
    by_ratio = cost.outlier_ratio * usual
    yield Case({RUN_COST: by_ratio, **even, **runs}, by_ratio)
    yield Case({RUN_COST: below(by_ratio), **even, **runs})
    yield Case({RUN_COST: by_ratio, **even, GROUP_RUNS: below(cost.outlier_runs)})
    cheap = {GROUP_COST: cost.outlier_usd / (2 * cost.outlier_ratio), GROUP_DEVIATION: 0.0}
    yield Case({RUN_COST: cost.outlier_usd, **cheap, **runs}, cost.outlier_usd)
    yield Case({RUN_COST: below(cost.outlier_usd), **cheap, **runs})
    far = log(cost.outlier_ratio) + 1
    uneven = {GROUP_COST: usual, GROUP_DEVIATION: far / cost.outlier_deviations}
    if isfinite(uneven[GROUP_DEVIATION]):
        by_deviation = usual * exp(far)
        beyond = by_deviation * (1 + _LOG_ROUNDING)
        yield Case({RUN_COST: beyond, **uneven, **runs}, beyond)
        yield Case({RUN_COST: by_deviation * (1 - _LOG_ROUNDING), **uneven, **runs})


_COST: Final = Runbook(
    meaning="One active run has cost far more than runs of its agent and model do.",
    impact="Money. A handful of such runs is commonly most of a bill.",
    diagnosis=(
        f"{_OPEN} Cost per turn says when it began.",
        "Does it loop, or is its context large? Those have alerts and findings of their own.",
        "Has it simply more to do? Then the line is too low for it: `flyball calibrate traces.duckdb --assume-good` proposes one.",
    ),
    mitigation=(
        "Set a budget per run and per user and day (`cost.run_limit_usd`, `cost.user_day_limit_usd`).",
        "Ask a person above a line (`review.over_usd`).",
    ),
)
_LOG_ROUNDING: Final = 1e-9
"""So close to a line between logarithms nobody can say on which side a value is."""
