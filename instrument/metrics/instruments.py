"""The instruments, made once for each meter provider."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from instrument import semconv
from instrument.metrics.labels import Labels

_TOKENS: Final = tuple(float(4**n) for n in range(14))
_CLIENT_SECONDS: Final = tuple(round(0.01 * 2**n, 2) for n in range(14))
_AGENT_SECONDS: Final = tuple(round(0.1 * 2**n, 1) for n in range(13))
"""The three by the GenAI conventions (gen-ai-metrics.md): 1 to 67,108,864 tokens; 0.01 to 81.92 s; 0.1 to 409.6 s."""
_USD: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)
_SHARES: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_WAIT_SECONDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 86_400.0)

_USAGE: Final = {
    semconv.INPUT_TOKENS: (semconv.METRIC_INPUT_TOKENS, "Input tokens of model calls, cached ones included."),
    semconv.OUTPUT_TOKENS: (semconv.METRIC_OUTPUT_TOKENS, "Output tokens of model calls, reasoning included."),
    semconv.CACHE_READ_TOKENS: (semconv.METRIC_CACHE_READ_TOKENS, "Input tokens read from the prompt cache."),
    semconv.CACHE_WRITE_TOKENS: (semconv.METRIC_CACHE_WRITE_TOKENS, "Input tokens written to the prompt cache."),
    semconv.REASONING_TOKENS: (semconv.METRIC_REASONING_TOKENS, "Output tokens spent on reasoning."),
}
_PER_CALL: Final = {
    semconv.INPUT_TOKENS: (semconv.METRIC_CALL_INPUT_TOKENS, "Input tokens of one model call."),
    semconv.OUTPUT_TOKENS: (semconv.METRIC_CALL_OUTPUT_TOKENS, "Output tokens of one model call."),
}


class Instruments:
    """All of one meter provider, with the values that its attributes may have."""

    def __init__(self, provider: MeterProvider, lost_spans: Callable[[], int]) -> None:
        meter = provider.get_meter(semconv.SCOPE)
        # The unit of money is written as an annotation, which exporters leave out of the name: it is in the name already.
        counter, histogram = meter.create_counter, meter.create_histogram
        self.usage = {name: counter(metric, "{token}", what) for name, (metric, what) in _USAGE.items()}
        """Counter by the attribute of a span that it adds up."""
        self.call_tokens = {
            name: histogram(metric, "{token}", what, explicit_bucket_boundaries_advisory=_TOKENS)
            for name, (metric, what) in _PER_CALL.items()
        }
        self.inference_seconds = histogram(
            semconv.METRIC_INFERENCE_SECONDS,
            "s",
            "Duration of a call of a model.",
            explicit_bucket_boundaries_advisory=_CLIENT_SECONDS,
        )
        self.tokens = histogram(
            semconv.METRIC_TOKENS,
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.model_seconds = histogram(
            semconv.METRIC_MODEL_SECONDS,
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_CLIENT_SECONDS,
        )
        self.agent_seconds = histogram(
            semconv.METRIC_AGENT_SECONDS,
            "s",
            "Duration of a whole agent run.",
            explicit_bucket_boundaries_advisory=_AGENT_SECONDS,
        )
        self.tool_seconds = histogram(
            semconv.METRIC_TOOL_SECONDS,
            "s",
            "Duration of a tool call that ran.",
            explicit_bucket_boundaries_advisory=_CLIENT_SECONDS,
        )
        self.runs = counter(semconv.METRIC_RUNS, "{run}", "Agent runs that ended, by why they did.")
        self.tool_calls = counter(semconv.METRIC_TOOL_CALLS, "{call}", "Tool calls that ended, by outcome.")
        self.guard_actions = counter(
            semconv.METRIC_GUARD_ACTIONS, "{action}", "What guards did, or would have done where they only observe."
        )
        self.budget_refusals = counter(
            semconv.METRIC_BUDGET_REFUSALS, "{refusal}", "Requests to a model that a budget did not allow."
        )
        self.cost_usd = counter(semconv.METRIC_COST_USD, "{USD}", "US dollars that model calls have cost.")
        self.unpriced_calls = counter(
            semconv.METRIC_UNPRICED_CALLS, "{call}", "Model calls that were answered and whose cost is not known."
        )
        self.run_cost_usd = histogram(
            semconv.METRIC_RUN_COST_USD,
            "{USD}",
            "US dollars that a run has cost, its sub-agents included.",
            explicit_bucket_boundaries_advisory=_USD,
        )
        self.context_share = histogram(
            semconv.METRIC_CONTEXT_SHARE,
            "1",
            "Share (0..1) of the model's context window that the input of a call filled.",
            explicit_bucket_boundaries_advisory=_SHARES,
        )
        self.review_seconds = histogram(
            semconv.METRIC_REVIEW_SECONDS,
            "s",
            "How long a run waited for a person.",
            explicit_bucket_boundaries_advisory=_WAIT_SECONDS,
        )

        def lost(_: CallbackOptions) -> Iterable[Observation]:
            return (Observation(lost_spans()),)

        self.lost_spans = meter.create_observable_counter(
            semconv.METRIC_LOST_SPANS, [lost], "{span}", "Spans that this process could not record."
        )
        self.agents, self.models, self.tools = Labels(), Labels(), Labels()
        self.providers, self.addresses, self.servers, self.errors = Labels(), Labels(), Labels(), Labels()


_made: weakref.WeakKeyDictionary[MeterProvider, Instruments] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def instruments_of(provider: MeterProvider, lost_spans: Callable[[], int]) -> Instruments:
    """Those of `provider`. Raises what it raises."""
    with _lock:
        found = _made.get(provider)
        if found is None:
            found = _made[provider] = Instruments(provider, lost_spans)
        return found


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - the thread that may hold the parent's does not exist here
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)
