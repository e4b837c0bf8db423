"""Room in the model's context: watched, and made when it gets narrow."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from instrument import compaction
from instrument.guards.facts import Action, Intervention
from instrument.runner.answers import said
from instrument.runner.asking import Asking
from instrument.runner.run import Run
from instrument.runner.setup import Setup
from instrument.runner.sizing import Sizing
from instrument.runner.stop import StopReason
from instrument.runner.wants import CanEdit, Count, Want
from instrument.summaries import summary_request

_GUARD: Final = "context"
_KEPT_SHARE: Final = 0.5
"""Context editing clears until about this share of its trigger is left, in whole tool uses."""
_TRANSCRIPT_CHARS_PER_TOKEN: Final = 2
"""A transcript of this many characters per token of window surely fits the model that is to summarise it."""
_ASSUMED_WINDOW: Final = 100_000
"""Of a model that summarises and whose window nobody knows; today's are larger."""


class Room:
    """Of one run. `body` makes the request for a list of messages; without `can_ask` there is no client to ask for anything."""

    def __init__(
        self,
        run: Run,
        setup: Setup,
        asking: Asking,
        sizing: Sizing,
        body: Callable[[list[Any]], dict[str, Any]],
        *,
        can_ask: bool = True,
    ) -> None:
        self._can_ask = can_ask
        self._run, self._setup, self._asking, self._sizing, self._body = run, setup, asking, sizing, body
        self._warned = False
        self.edits: dict[str, Any] = {}
        """What goes into each request once the API edits the context for us."""
        self._edited_at = 0
        self._overflows = 0

    def watch(self, messages: list[Any]) -> Generator[Want, Any, list[Any]]:
        """The messages to go on with: as they are, or compacted where the policy says so."""
        run, context = self._run, self._run.policy.context
        window = run.window
        if window is None:
            return messages
        tokens = self._sizing.estimate(self._body(messages))
        if context.count_tokens == "near" and tokens >= context.warn_share * window:
            counted = yield Count(self._body(messages), self._asking.betas)
            tokens = counted or tokens
        share = tokens / window
        if share < context.warn_share:
            self._warned = False
            return messages
        if not self._warned:
            self._warned = True
            said = f"The context held about {tokens:,} of {window:,} tokens."
            run.measure(
                Action.WARN, _GUARD, said, setting="context.warn_share", threshold=context.warn_share, value=share
            )
        if share < context.compact_share or context.compaction == "off":
            return messages
        if (yield from self._edit(share)):
            return messages
        return (yield from self._shorter(messages, tokens, share, "context.compact_share", context.compact_share))

    def overflowed(self, messages: list[Any]) -> Generator[Want, Any, list[Any] | None]:
        """The API has refused the request as too long, or ran out of room: shorter messages to try once more, or None."""
        self._overflows += 1
        if self._overflows > 1 or self._run.policy.context.compaction == "off":
            return None
        shorter = yield from self._shorter(messages, None, None, "", None)
        return None if shorter is messages else shorter

    def rethought(self, messages: list[Any]) -> list[Any]:
        """The messages after something before them has changed: without thinking, where the model would refuse it there."""
        thinking = self._setup.request.get("thinking")
        enabled = isinstance(thinking, Mapping) and thinking.get("type") == "enabled"
        if enabled or not compaction.binds_thinking(self._run.model):
            return messages
        return compaction.without_thinking(messages)

    def _edit(self, share: float) -> Generator[Want, Any, bool]:
        """Whether the API's own context editing takes care of it. It is given one turn to show an effect."""
        run, context = self._run, self._run.policy.context
        if self.edits:
            return run.turns <= self._edited_at + 1
        asks = context.compaction == "auto"
        if context.compaction == "summary" or (asks and not (self._can_ask and (yield CanEdit(run.model)))):
            return False
        assert run.window is not None
        found = compaction.context_edits(
            trigger_tokens=int(run.window * context.warn_share), keep_tool_uses=context.keep_turns
        )
        self.edits, self._edited_at = {"context_management": found["context_management"]}, run.turns
        self._asking.betas = tuple(dict.fromkeys((*(self._asking.betas or ()), *found["betas"])))
        run.measure(
            Action.COMPACT,
            _GUARD,
            "The API was told to clear old tool results from the context.",
            setting="context.compact_share",
            threshold=context.compact_share,
            value=share,
        )
        return True

    def _shorter(
        self, messages: list[Any], tokens: int | None, share: float | None, setting: str, threshold: float | None
    ) -> Generator[Want, Any, list[Any]]:
        """The conversation with its beginning summarised; without a summary, with its old results taken out."""
        run, keep = self._run, self._run.policy.context.keep_turns
        before = tokens or self._sizing.estimate(self._body(messages))
        cut = compaction.cut_at(messages, keep)
        while cut is None and keep > 1:  # a few huge turns: better a short memory than none
            keep -= 1
            cut = compaction.cut_at(messages, keep)
        summary = (yield from self._summary(messages, cut)) if cut is not None else None
        self._sizing.forget()
        how, shorter = "by taking out old tool results", compaction.without_old_results(messages, keep)
        if cut is not None and summary:
            how, shorter = "by a summary of its beginning", compaction.compacted(messages, cut, summary)
        shorter = self.rethought(shorter)
        after = self._sizing.estimate(self._body(shorter))
        if after >= before:
            return messages
        self._warned = False
        run.measure(
            Action.COMPACT,
            _GUARD,
            f"The context was compacted {how}, from about {before:,} to about {after:,} tokens.",
            setting=setting,
            threshold=threshold,
            value=share,
        )
        return shorter

    def _summary(self, messages: list[Any], cut: int) -> Generator[Want, Any, str | None]:
        run, context = self._run, self._run.policy.context
        if context.compaction == "edit" or not self._can_ask:
            return None
        model = context.summary_model or run.model
        window = run.window if model == run.model else None
        body = summary_request(
            messages,
            cut,
            model=model,
            max_tokens=context.summary_tokens,
            limit_chars=(window or _ASSUMED_WINDOW) * _TRANSCRIPT_CHARS_PER_TOKEN,
        )
        message = yield from self._asking.ask(body, shown=False)
        return said(message.get("content") or ()) or None if isinstance(message, dict) else None


def full(run: Run, error: str) -> Intervention:
    """The stop of a run whose conversation does not fit any more."""
    return Intervention(StopReason.CONTEXT_OVERFLOW, Action.STOP, error, turn=run.turns)
