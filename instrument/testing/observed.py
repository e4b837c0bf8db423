"""What an agent may take in a check, what it took, and what to say about it when that was too much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from instrument.policy import Policy
from instrument.testing.scripted_model import ROUNDING_USD

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take at most before its check fails."""

    model_calls: int = 25
    seconds: float = 30.0
    cost_usd: float | None = 10.0
    """None: any amount. The same as the policy's `cost.run_limit_usd`."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What an agent did with a model that misbehaved."""

    answer: str
    """The words in what it returned."""
    ended: bool
    """False: it was still running when its time was up."""
    raised: BaseException | None
    model_calls: int
    """Requests, refused ones included."""
    tool_calls: Mapping[str, int]
    """How often the model asked for each tool."""
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None: the price of a model is not known."""
    models: tuple[str, ...]
    seconds: float
    refusals: tuple[str, ...]
    """Why the API would have refused requests; those for a prompt too long are not among them."""
    overflows: int
    """Requests whose prompt was longer than the context window."""
    cut_off: bool
    """It wanted more model calls than its limits allow."""
    stopped: bool
    """The model answered no more, because the agent had taken more than its limits allow."""

    def __str__(self) -> str:
        tools = ", ".join(f"{name} {count}" for name, count in self.tool_calls.items())
        cost = "at a price nobody knows" if self.cost_usd is None else f"${self.cost_usd:.4f}"
        return (
            f"{self.model_calls} model calls ({', '.join(self.models) or 'none answered'}), "
            f"{sum(self.tool_calls.values())} tool calls{f' ({tools})' if tools else ''}, {self.input_tokens:,} input and "
            f"{self.output_tokens:,} output tokens, {cost}, {self.seconds:.1f} s; {self._ending()}"
        )

    def _ending(self) -> str:
        if not self.ended:
            return "still running"
        if self.stopped:
            return "stopped by this check"
        if self.raised is not None:
            return f"raised {_named(self.raised)}"
        return f"answered {_short(self.answer, 80)!r}" if self.answer.strip() else "returned no answer"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a failed check teaches."""

    model: str
    """What the scripted model did, for ever."""
    guard: str
    """What a guard would have done about it."""
    setting: str
    """The policy's field that decides it."""


def failure(check: str, lesson: Lesson, seen: Observed, complaints: list[str]) -> str:
    """What a failed check says."""
    section, _, field = lesson.setting.partition(".")
    value = getattr(getattr(Policy(), section), field)
    return "\n".join(
        (
            f"{check}: the agent {'; it '.join(complaints)}",
            f"  the model  {lesson.model}",
            f"  the agent  {seen}",
            f"  a guard    {lesson.guard}",
            f"  policy     {lesson.setting} = {value} (the default of instrument.GuardedRunner)",
        )
    )


def complaints_about(
    seen: Observed, limits: Limits, *, may_raise: tuple[type[BaseException], ...], needs_answer: bool
) -> Iterator[str]:
    """What was wrong with the run, each a predicate in the past tense."""
    if not seen.ended:
        yield f"was still running after {limits.seconds:g} s"
    if seen.cut_off:
        yield f"did not stop: after {limits.model_calls} model calls it wanted another"
    elif seen.stopped:
        pass  # what it did after that was not its own doing
    elif seen.raised is not None and not isinstance(seen.raised, may_raise):
        yield f"raised {_named(seen.raised)}"
    elif seen.ended and seen.raised is None and needs_answer and not seen.answer.strip():
        yield "returned no answer"
    if limits.cost_usd is not None and seen.cost_usd is not None and seen.cost_usd > limits.cost_usd + ROUNDING_USD:
        yield f"spent ${seen.cost_usd:.4f} of the ${limits.cost_usd:.4f} it was allowed"
    if seen.refusals:
        yield f"sent {len(seen.refusals)} requests that the API refuses ({_short(seen.refusals[0])})"


def _named(raised: BaseException) -> str:
    try:
        return f"{type(raised).__name__}: {_short(str(raised))}"
    except Exception:  # noqa: BLE001 - some exceptions have no words, on purpose
        return type(raised).__name__


def _short(text: str, characters: int = _SHOWN) -> str:
    return text if len(text) <= characters else f"{text[:characters]}..."
