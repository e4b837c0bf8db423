"""What a loop of the host's sends, made into what may be sent: shortened, spoken into, lowered to what can be paid."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from instrument import compaction
from instrument.guards.facts import Intervention
from instrument.messages import is_blank
from instrument.runner.asking import Asking
from instrument.runner.calling import failed
from instrument.runner.declared import Declared
from instrument.runner.loop import FINAL
from instrument.runner.money import Held, Money
from instrument.runner.room import Room, full
from instrument.runner.run import Run
from instrument.runner.setup import Setup
from instrument.runner.sizing import Sizing
from instrument.runner.toolbox import toolbox
from instrument.runner.wants import Want
from instrument.sameness import result_text
from instrument.spill import TOOL, Spill
from instrument.windows import window_of

Body = dict[str, Any]
FETCH: Final = str(TOOL["name"])


@dataclass(eq=False, slots=True)
class Sent:
    """A request that may be sent. It is ended once, with an answer or without one."""

    held: Held
    messages: list[Any]
    """The conversation as it goes on from here."""
    final: bool = False
    """It can only be answered in words, and is the last one."""
    inner: bool = False
    """A tool asks: its money and its turn are the run's, what is said is not."""
    advice: list[str] = field(default_factory=list)
    """What the guards had to say in it; said again if it fails."""
    open: bool = True

    @property
    def body(self) -> Body:
        """The request."""
        return dict(self.held.body)


class _Room(Room):
    """The request is the host's and may go to an endpoint that knows no context editing: what is old is taken out here."""

    def _edit(self, share: float) -> Generator[Want, Any, bool]:  # noqa: ARG002 - as in `Room`
        yield from ()
        return False


class Sending:
    """Of one run. `prompt` is for reviewers; empty: the first question that is sent."""

    def __init__(self, run: Run, *, prompt: str, can_ask: bool) -> None:
        self._run = run
        self._given: Body = {}
        self._thinking: dict[str, Any] = {}
        self.spill = Spill()
        self.fetching = False
        """Whether a result was cut, so that the tool which fetches the rest is declared."""
        self.declared = Declared(())
        self.sizing = Sizing(frozenset())
        self._setup = Setup("", toolbox(()), run.policy, self.spill, 0, request=self._thinking)
        self._prompt, self._can_ask = prompt, can_ask
        self._parts: tuple[Money, Room] | None = None
        self._kept: tuple[list[Any], list[Any]] = ([], [])
        """The host's messages up to some point, and what is sent in their place."""
        self._overflowed = False

    @property
    def money(self) -> Money:
        """Of this run; there is a request."""
        assert self._parts is not None
        return self._parts[0]

    def take(self, body: Body) -> list[Any]:
        """Looks at what the host wants to send. Returns its messages, shortened as they were before."""
        run, model = self._run, str(body.get("model") or "")
        messages = plain(body.get("messages") or ())
        self._given = {**body, "messages": messages}
        self._thinking["thinking"] = body.get("thinking")
        if model != run.model:
            run.model, run.window = model, window_of(model, run.policy.context.windows)
        self.sizing.mark(self._given)
        if self._parts is None:
            prompt = self._prompt or (result_text(messages[-1].get("content")) if messages else "") or ""
            money = Money(run, self._setup, self.sizing, prompt)
            asking = Asking(run, self._setup, money, self.sizing)
            self._parts = money, _Room(run, self._setup, asking, self.sizing, self.body, can_ask=self._can_ask)
        replaced, instead = self._kept
        count = len(replaced)
        # Two ends of it are enough to tell this conversation from another one of the same run.
        same = 0 < count <= len(messages) and (messages[0], messages[count - 1]) == (replaced[0], replaced[-1])
        return [*instead, *messages[count:]] if same else messages

    def declare(self) -> None:
        """The tools of this request are those that its answer may call."""
        tools = list(self._given.get("tools") or ())
        self.declared = self.declared.for_request([*tools, TOOL] if self.fetching else tools)

    def room(self, messages: list[Any]) -> Generator[Want, Any, list[Any] | Intervention]:
        """The messages, shorter where there is no room for them; an `Intervention` where they cannot be made to fit."""
        assert self._parts is not None
        room, overflowed, self._overflowed = self._parts[1], self._overflowed, False
        shorter = yield from (room.overflowed if overflowed else room.watch)(messages)
        if shorter is None:
            return full(self._run, "The conversation did not fit the model's context window.")
        if shorter is not messages:
            self._kept = (list(self._given["messages"]), list(shorter))
        return shorter

    def overflow(self) -> None:
        """The API found the last request too long, or its answer did not fit: the next one is made shorter."""
        self._overflowed = True

    def body(self, messages: Iterable[Any]) -> Body:
        """The host's request with these messages."""
        found = {**self._given, "messages": list(messages)}
        if self.fetching:
            found["tools"] = [*(found.get("tools") or ()), TOOL]
        return found

    def final(self, messages: Sequence[Any], stop: Intervention) -> Body:
        """One that can only be answered in words."""
        limit = self._run.policy.loops.final_answer_tokens + self._setup.thinking_tokens
        body = self.body(with_words(messages, [f"{stop.advice} {FINAL}".strip()]))
        body["max_tokens"] = min(int(body.get("max_tokens") or limit), limit)
        if body.get("tools"):
            body["tool_choice"] = {"type": "none"}
        return body

    def settle(self, sent: Sent, reply: Mapping[str, Any]) -> Generator[Want, Any, None]:
        """It was answered."""
        if sent.open:
            sent.open = False
            yield from self.money.settle(sent.held, reply)
            if not sent.inner:
                self.sizing.answered(sent.held.body, reply)

    def drop(self, sent: Sent, error: BaseException | None) -> Generator[Want, Any, None]:
        """It was not answered; whether it may be billed is judged by the error. None: nobody knows what became of it."""
        if sent.open:
            sent.open = False
            billed = failed(error).billed if isinstance(error, Exception) else True
            yield from self.money.settle(sent.held, None, billed=billed)
        if error is not None and compaction.overflow(error):
            self.overflow()


def words(advice: Iterable[str]) -> Body:
    """What guards have to say, once each, as a block."""
    return {"type": "text", "text": "\n".join(dict.fromkeys(advice))}


def with_words(messages: Sequence[Any], advice: Sequence[str]) -> list[Any]:
    """The messages with words of ours at the end, in the user's place."""
    last = messages[-1] if messages else None
    if last is None or last.get("role") != "user":
        return [*messages, {"role": "user", "content": [words(advice)]}]
    content = last.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [*messages[:-1], {**last, "content": [*blocks, words(advice)]}]


def plain(messages: Iterable[Any]) -> list[Any]:
    """The messages with the SDK's own blocks as JSON, so that they can be measured, and without the blank words of the model, which
    the API has sent and refuses."""
    found = (m if _is_plain(m) else _made_plain(m) for m in messages)
    return [m for m in found if m.get("content") or m.get("role") != "assistant"]


def _is_plain(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if not isinstance(content, (list, tuple)):
        return True
    spoken = message.get("role") == "assistant"
    return all(isinstance(b, dict) and not (spoken and is_blank(b)) for b in content)


def _made_plain(message: Mapping[str, Any]) -> dict[str, Any]:
    content = [_dumped(b) for b in message["content"]]
    if message.get("role") == "assistant":
        content = [b for b in content if not (isinstance(b, dict) and is_blank(b))]
    return {**message, "content": content}


def _dumped(block: Any) -> Any:
    return block.model_dump(mode="json", exclude_unset=True) if hasattr(block, "model_dump") else block
