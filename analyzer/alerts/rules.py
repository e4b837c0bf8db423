"""Alert rules for the six failure modes as values: every threshold in them is a field of the policy.

Each rule brings the two cases that test it: samples at its threshold, which must fire, and samples just below, which
must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp, inf, isinf, nextafter
from typing import Final, Literal

from analyzer.alerts.metrics import (
    CONTEXT_SHARE,
    CONTEXT_TURNS_LEFT,
    FAILED_CALLS,
    GROUP_COST,
    GROUP_DEVIATION,
    GROUP_RUNS,
    REPEATED_CALLS,
    REPEATED_OUTPUTS,
    RUN_COST,
    SAME_FAILURES,
    UNKNOWN_TOOL_CALLS,
    Metric,
)
from instrument.policy import Policy

Severity = Literal["warning", "critical"]
Samples = Mapping[Metric, float]

VALUE: Final = "{value}"
"""Stands in a rule's texts where the measured value belongs."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How a value reads: as a Go template for Prometheus, and as the printf format behind it."""

    template: str
    printf: str
    factor: float = 1.0

    def shown(self, value: float) -> str:
        """What Prometheus makes of `value`."""
        if isinf(value):
            return self.printf.split("%")[0] + "+Inf"
        return self.printf % (value * self.factor)


COUNT: Final = Unit('{{ printf "%.0f" $value }}', "%.0f")
USD: Final = Unit('${{ printf "%.2f" $value }}', "$%.2f")
SHARE: Final = Unit("{{ $value | humanizePercentage }}", "%.4g%%", 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert rule."""

    alert: str
    """Name in CamelCase; two rules share one where only their severity differs."""
    detector: str
    """Slug of the detector that reports the same thing afterwards."""
    severity: Severity
    expr: str
    """PromQL."""
    summary: str
    """One sentence, present tense; `VALUE` is the measured value in `unit`."""
    description: str
    unit: Unit
    fires: Samples
    """Samples at the threshold."""
    quiet: Samples
    """Samples just below it."""
    value: float
    """What `$value` is in the case that fires."""


def rules(policy: Policy) -> tuple[Rule, ...]:
    """All rules of `policy`, in the order of the six failure modes."""
    return (
        *_error_cascade(policy),
        *_repeated_call(policy),
        *_context_growth(policy),
        *_unknown_tool(policy),
        *_repeated_output(policy),
        *_cost_outlier(policy),
    )


def number(value: float) -> str:
    """`value` as PromQL writes it: whole numbers without a point, infinity as `Inf`."""
    if isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def _below(value: float) -> float:
    """The largest sample that must not fire: one less for a count, the next smaller float for anything else."""
    return value - 1 if isinstance(value, int) and value < 2**53 else nextafter(value, -inf)


def _levels(metric: Metric, warn: float, error: float) -> Iterator[tuple[Severity, str, Samples, Samples, float]]:
    """A warning from `warn`, a critical alert from `error`, never both; no warning where there is no room for one."""
    critical = max(warn, error)
    if warn < critical:
        expr = f"{metric} >= {number(warn)} < {number(critical)}"
        yield "warning", expr, {metric: warn}, {metric: _below(warn)}, warn
    yield "critical", f"{metric} >= {number(critical)}", {metric: critical}, {metric: _below(critical)}, critical


def _error_cascade(policy: Policy) -> Iterator[Rule]:
    same, any_kind = policy.tool_errors.same_failure_calls, policy.tool_errors.failed_calls
    yield Rule(
        alert="FlyballErrorCascade",
        detector="error_cascade",
        severity="warning",
        expr=f"{SAME_FAILURES} >= {number(same)}\nor\n{FAILED_CALLS} >= {number(any_kind)}",
        summary=f"Tool calls of a run keep failing: {VALUE} so far",
        description=(
            f"One tool failed the same way {same} times with no success between, or {any_kind} calls in a row failed. "
            "Look at the tool's backend first; a run that goes on calling a broken tool only spends."
        ),
        unit=COUNT,
        fires={SAME_FAILURES: same, FAILED_CALLS: 0},
        quiet={SAME_FAILURES: _below(same), FAILED_CALLS: _below(any_kind)},
        value=same,
    )


def _repeated_call(policy: Policy) -> Iterator[Rule]:
    loops = policy.loops
    levels = _levels(REPEATED_CALLS, loops.same_call_repeats, loops.same_call_error_repeats)
    for severity, expr, fires, quiet, value in levels:
        yield Rule(
            alert="FlyballRepeatedCall",
            detector="repeated_call",
            severity=severity,
            expr=expr,
            summary=f"A run loops: the same call gave the same result in {VALUE} turns",
            description=(
                "The same tool with the same arguments returned the same result turn after turn, so the run learns "
                "nothing new. Open its last turns; stop it if nothing else moves."
            ),
            unit=COUNT,
            fires=fires,
            quiet=quiet,
            value=value,
        )


def _context_growth(policy: Policy) -> Iterator[Rule]:
    context = policy.context
    for severity, expr, fires, quiet, value in _levels(CONTEXT_SHARE, context.warn_share, context.error_share):
        yield Rule(
            alert="FlyballContextNearFull",
            detector="context_growth",
            severity=severity,
            expr=expr,
            summary=f"The context of a run is {VALUE} full",
            description=(
                "The model's window fills up; the next large tool result may not fit and the run then fails or "
                "forgets. See what fills it: the context chart of the run shows it turn by turn."
            ),
            unit=SHARE,
            fires=fires,
            quiet=quiet,
            value=value,
        )
    turns, share = context.forecast_turns, context.forecast_share
    yield Rule(
        alert="FlyballContextFillsSoon",
        detector="context_growth",
        severity="warning",
        expr=f"{CONTEXT_TURNS_LEFT} <= {number(turns)}\nand\n{CONTEXT_SHARE} >= {number(share)}",
        summary=f"The context of a run is full in {VALUE} turns at the present rate",
        description="Compact the history or cut tool results before it gets there.",
        unit=COUNT,
        fires={CONTEXT_TURNS_LEFT: turns, CONTEXT_SHARE: share},
        quiet={CONTEXT_TURNS_LEFT: turns, CONTEXT_SHARE: _below(share)},
        value=turns,
    )


def _unknown_tool(policy: Policy) -> Iterator[Rule]:
    tools = policy.unknown_tools
    for severity, expr, fires, quiet, value in _levels(UNKNOWN_TOOL_CALLS, tools.calls, tools.error_calls):
        yield Rule(
            alert="FlyballUnknownTool",
            detector="unknown_tool",
            severity=severity,
            expr=expr,
            summary=f"A model calls a tool that does not exist, {VALUE} times so far",
            description=(
                "The tool is not among those declared in the request. Name the real tools in the error it gets back; "
                "look for the invented name in the prompt."
            ),
            unit=COUNT,
            fires=fires,
            quiet=quiet,
            value=value,
        )


def _repeated_output(policy: Policy) -> Iterator[Rule]:
    repeats = policy.stuck.same_output_repeats
    yield Rule(
        alert="FlyballRepeatedOutput",
        detector="repeated_output",
        severity="warning",
        expr=f"{REPEATED_OUTPUTS} >= {number(repeats)}",
        summary=f"A run is stuck: it gave the same answer in {VALUE} turns",
        description="The model says the same again and again. One nudge may help; after that, stop the run.",
        unit=COUNT,
        fires={REPEATED_OUTPUTS: repeats},
        quiet={REPEATED_OUTPUTS: _below(repeats)},
        value=repeats,
    )


def _cost_outlier(policy: Policy) -> Iterator[Rule]:
    cost = policy.cost
    enough = f"{GROUP_RUNS} >= {number(cost.outlier_runs)}"
    # Twice what either line asks for: safely beyond both, whatever rounding does to the logarithm.
    exponent = cost.outlier_deviations * _TEST_DEVIATION
    outlier = 2 * max(cost.outlier_ratio, exp(exponent) if exponent < _EXP_LIMIT else inf)
    group = {GROUP_COST: 1.0, GROUP_DEVIATION: _TEST_DEVIATION, GROUP_RUNS: cost.outlier_runs}
    description = "Its finished runs usually cost far less. See which turns the money went to, and stop it if it loops."
    yield Rule(
        alert="FlyballCostOutlier",
        detector="cost_outlier",
        severity="warning",
        expr=(
            f"{RUN_COST} >= {number(cost.outlier_ratio)} * {GROUP_COST}\n"
            f"and ln({RUN_COST}) >= ln({GROUP_COST}) + {number(cost.outlier_deviations)} * {GROUP_DEVIATION}\n"
            f"and {enough}"
        ),
        summary=f"A run costs {VALUE}, far more than other runs of this agent and model",
        description=description,
        unit=USD,
        fires={RUN_COST: outlier, **group},
        quiet={RUN_COST: _below(cost.outlier_ratio), **group},
        value=outlier,
    )
    yield Rule(
        alert="FlyballCostHigh",
        detector="cost_outlier",
        severity="warning",
        expr=f"{RUN_COST} >= {number(cost.run_usd)}\nunless\n{enough}",
        summary=f"A run costs {VALUE}, and there are too few other runs to compare it with",
        description=f"Fewer than {cost.outlier_runs} finished runs of this agent and model have a known cost.",
        unit=USD,
        fires={RUN_COST: cost.run_usd, GROUP_RUNS: cost.outlier_runs - 1},
        quiet={RUN_COST: _below(cost.run_usd), GROUP_RUNS: cost.outlier_runs - 1},
        value=cost.run_usd,
    )


_TEST_DEVIATION: Final = 0.01
"""Of the group in the test of the outlier rule: natural-log units, any small number will do."""
_EXP_LIMIT: Final = 700.0
"""`exp` overflows a float just above."""
