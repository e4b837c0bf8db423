"""What is added up for each ended span, guard action and review: each call and each run once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from instrument import semconv
from instrument.billing import cost_of_span
from instrument.guards.facts import Action, Intervention
from instrument.metrics.facts import Reported, count_of, outcome_of, refused_by_api, reported
from instrument.metrics.instruments import Instruments, instruments_of
from instrument.metrics.labels import OTHER
from instrument.metrics.nesting import OpenSpan
from instrument.prices import Prices
from instrument.windows import window_of

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram

_BUDGETS: Final = frozenset({"run_budget", "user_budget", "unknown_price"})
"""Stop reasons of runs whose next request was not allowed for its price."""
_DAY_NS: Final = 86_400_000_000_000
_NEVER_RAN: Final = frozenset({"rejected", "blocked"})

Facts = Mapping[str, Any]


class Meters:
    """Of one `Measuring`. `failed` is told what goes wrong; nothing is raised by a measurement."""

    def __init__(
        self,
        instruments: Instruments,
        failed: Callable[[Exception], None],
        windows: Callable[[], Mapping[str, int]],
        prices: Prices,
    ) -> None:
        self._made, self._failed, self._windows, self._prices = instruments, failed, windows, prices
        self._window("")  # reads the published windows and prices, for which no call is to wait

    def ended(self, span: ReadableSpan, kind: str, opened: OpenSpan, facts: Facts, agent: str | None) -> None:
        """A span has ended; `facts` are its attributes and what was captured beside them."""
        seconds = max(0, (span.end_time or 0) - (span.start_time or 0)) / 1e9
        failed = span.status.status_code is StatusCode.ERROR
        if kind == semconv.CHAT:
            self._model_call(opened, facts, seconds, _day(span), agent, failed=failed)
        elif kind == semconv.EXECUTE_TOOL:
            self._tool_call(opened, facts, seconds, failed=failed)
        else:
            self._run(opened, facts, seconds, agent, failed=failed)

    # --- model calls --------------------------------------------------------------------------------------------------

    def _model_call(
        self, opened: OpenSpan, facts: Facts, seconds: float, day: date, agent: str | None, *, failed: bool
    ) -> None:
        run = opened.around(semconv.INVOKE_AGENT)
        if run is not None and (stop := facts.get(semconv.STOP_REASON)) is not None:
            run.stop = stop
        made, call, inner = self._made, reported(opened.scope, facts), opened.inner
        again = inner if inner is not None and inner.same(call) else None
        if (outer := opened.around(semconv.CHAT)) is not None:
            outer.inner = again if again is not None and not call.has_usage else call
        if again is None:
            about = self._about(call, facts)
            ended = {**about, semconv.ERROR_TYPE: self._error(facts, failed=failed)}
            self._record(made.inference_seconds, seconds, ended)
            self._record(made.model_seconds, seconds, ended)
        elif again.has_usage or not call.has_usage:
            return  # the span within it has told all of it
        self._usage(call, facts, made.agents.of(agent), failed=failed)
        self._cost(facts, day, made.agents.of(agent), run, failed=failed)

    def _about(self, call: Reported, facts: Facts) -> dict[str, Any]:
        made = self._made
        return {
            semconv.OPERATION: semconv.CHAT,
            semconv.PROVIDER: made.providers.of(facts.get(semconv.PROVIDER)),
            semconv.REQUEST_MODEL: made.models.of(call.model),
            semconv.RESPONSE_MODEL: made.models.of(facts.get(semconv.RESPONSE_MODEL)),
            **_server(made, facts),
        }

    def _usage(self, call: Reported, facts: Facts, agent: str | None, *, failed: bool) -> None:
        made, about = self._made, self._about(call, facts)
        for name, counter in made.usage.items():
            if (tokens := count_of(facts.get(name))) is not None:
                self._add(counter, tokens, {**about, semconv.TOKEN_MODALITY: "unknown"})
        ended = {**about, semconv.ERROR_TYPE: self._error(facts, failed=failed)}
        for name, histogram in made.call_tokens.items():
            if (tokens := count_of(facts.get(name))) is not None:
                self._record(histogram, tokens, ended)
        for kind, count in (("input", call.input_tokens), ("output", call.output_tokens)):
            if count is not None:
                self._record(made.tokens, count, {**about, semconv.TOKEN_TYPE: kind})
        if call.input_tokens is not None and (window := self._window(call.model)) is not None:
            whose = {semconv.AGENT_NAME: agent, semconv.REQUEST_MODEL: about[semconv.REQUEST_MODEL]}
            self._record(made.context_share, call.input_tokens / window, whose)

    def _cost(self, facts: Facts, day: date, agent: str | None, run: OpenSpan | None, *, failed: bool) -> None:
        made, usd = self._made, self._usd(facts, day)
        whose = {semconv.AGENT_NAME: agent, semconv.REQUEST_MODEL: made.models.of(facts.get(semconv.REQUEST_MODEL))}
        if usd is not None:
            self._add(made.cost_usd, usd, whose)
        elif not failed:
            self._add(made.unpriced_calls, 1, whose)
        if run is not None and (usd is not None or not refused_by_api(facts)):
            run.costs.append(usd)

    def _usd(self, facts: Facts, day: date) -> float | None:
        """As `instrument.store.costs` has it: by the price list, and what the function itself says only where that has no price."""
        if semconv.COST_USD not in facts or semconv.COST_SOURCE in facts:
            return cost_of_span(facts, self._prices, day)
        listed = {name: value for name, value in facts.items() if name != semconv.COST_USD}
        usd = cost_of_span(listed, self._prices, day)
        return cost_of_span(facts, self._prices, day) if usd is None else usd

    def _window(self, model: Any) -> int | None:
        return (window_of(model, self._windows()) or None) if isinstance(model, str) else None

    # --- tool calls and runs ------------------------------------------------------------------------------------------

    def _tool_call(self, opened: OpenSpan, facts: Facts, seconds: float, *, failed: bool) -> None:
        made, tool = self._made, facts.get(semconv.TOOL_NAME)
        outer = opened.around(semconv.EXECUTE_TOOL)
        if outer is not None and outer.tool == tool and outer.scope != opened.scope:
            return  # the decorated function of a tool whose call the SDK has a span of
        name, outcome = made.tools.of(tool), outcome_of(facts, failed=failed)
        self._add(made.tool_calls, 1, {semconv.TOOL_NAME: name, semconv.TOOL_OUTCOME: outcome})
        if outcome not in _NEVER_RAN:
            error = self._error(facts, failed=failed)
            self._record(made.tool_seconds, seconds, {semconv.TOOL_NAME: name, semconv.ERROR_TYPE: error})

    def _run(self, opened: OpenSpan, facts: Facts, seconds: float, agent: str | None, *, failed: bool) -> None:
        made, stop = self._made, facts.get(semconv.STOP_REASON, opened.stop)
        whose = {semconv.AGENT_NAME: made.agents.of(agent)}
        ended = {**whose, semconv.ERROR_TYPE: self._error(facts, failed=failed)}
        self._add(made.runs, 1, {**ended, semconv.STOP_REASON: stop if isinstance(stop, str) else None})
        self._record(made.agent_seconds, seconds, ended)
        usd = whole = _whole(opened.costs)
        if semconv.STOP_REASON in facts:  # the runner's own account, which knows the user's prices
            usd = facts.get(semconv.RUN_COST_USD)
        if usd is not None:
            self._record(made.run_cost_usd, usd, whose)
        if opened.costs and (above := opened.around(semconv.INVOKE_AGENT)) is not None:
            above.costs.append(whole)

    def _error(self, facts: Facts, *, failed: bool) -> str | None:
        """`error.type`, which whatever failed has in any case."""
        return self._made.errors.of(facts.get(semconv.ERROR_TYPE)) or ("_OTHER" if failed else None)

    # --- what has no span of its own ----------------------------------------------------------------------------------

    def acted(self, agent: str, act: Intervention) -> None:
        """A guard has acted, or the runner has taken a measure."""
        made = self._made
        whose = {semconv.AGENT_NAME: made.agents.of(agent), semconv.GUARD_NAME: str(act.guard)}
        what = {semconv.GUARD_ACTION: str(act.action), semconv.GUARD_OBSERVED: act.observed}
        self._add(made.guard_actions, 1, {**whose, **what})
        if act.guard in _BUDGETS and act.action is Action.STOP and not act.observed:
            self._add(made.budget_refusals, 1, whose)

    def reviewed(self, agent: str, decision: str | None, seconds: float) -> None:
        """A run has waited for a person; `decision` is None where nobody answered."""
        about = {
            semconv.AGENT_NAME: self._made.agents.of(agent),
            semconv.REVIEW_DECISION: "timed_out" if decision is None else decision,
        }
        self._record(self._made.review_seconds, max(0.0, seconds), about)

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _add(self, counter: Counter, amount: float, attributes: Facts) -> None:
        try:
            counter.add(amount, _known(attributes))
        except Exception as e:  # noqa: BLE001 - the next measurement may work, and the agent must not notice
            self._failed(e)

    def _record(self, histogram: Histogram, value: float, attributes: Facts) -> None:
        try:
            histogram.record(value, _known(attributes))
        except Exception as e:  # noqa: BLE001 - as in `_add`
            self._failed(e)


def meters_for(
    provider: MeterProvider,
    lost_spans: Callable[[], int],
    failed: Callable[[Exception], None],
    windows: Callable[[], Mapping[str, int]],
) -> Meters:
    """Those that tell `provider`. Raises what it raises."""
    return Meters(instruments_of(provider, lost_spans), failed, windows, Prices())


def _known(attributes: Facts) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _day(span: ReadableSpan) -> date:
    return _date((span.start_time or 0) // _DAY_NS)


@lru_cache(maxsize=4)
def _date(days: int) -> date:
    return date(1970, 1, 1) + timedelta(days=days)


def _server(made: Instruments, facts: Facts) -> dict[str, Any]:
    address, port = facts.get(semconv.SERVER_ADDRESS), facts.get(semconv.SERVER_PORT)
    if address is None:
        return {}
    if made.servers.of(f"{address}:{port}") == OTHER:
        return {semconv.SERVER_ADDRESS: OTHER}
    return {semconv.SERVER_ADDRESS: made.addresses.of(address), semconv.SERVER_PORT: port}


def _whole(costs: list[float | None]) -> float | None:
    """The sum; None where there is nothing to sum or a part of it is not known."""
    known = [usd for usd in costs if usd is not None]
    return math.fsum(known) if known and len(known) == len(costs) else None
