"""Every field of the policy does what it says: each that runs read is driven to its effect, with two values that make a difference."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from instrument.guards.facts import Action
from instrument.policy import Policy
from instrument.runner.result import RunResult
from instrument.runner.toolbox import toolbox
from instrument.runner.wants import Arrived, Failed, Reserve, Send
from instrument.testing import delayed, text, together, tool_use
from tests.runner.chaos import Stage
from tests.runner.in_memory import World, made

BY_DETECTORS_ONLY = {
    "context.error_share",
    "context.forecast_turns",
    "context.forecast_share",
    "context.cache_bust_tokens",
    "context.result_share",
    "tool_errors.storm_calls",
    "tool_errors.storm_seconds",
    "stuck.gap_seconds",
    "unknown_tools.calls",
    "invalid_arguments.calls",
    "cost.outlier_deviations",
    "cost.outlier_ratio",
    "cost.outlier_usd",
    "cost.outlier_runs",
    "cost.run_usd",
    "cost.error_ratio",
}
"""What no run reads for what it does: a runner refuses unknown tools and wrong arguments from the first one on."""
SUMMARISING = "memory of an agent"
"""Of the instruction for a summary."""
EFFECTS: dict[str, Callable[[], None]] = {}
Effect = Callable[[], None]


def drives(*fields: str) -> Callable[[Effect], Effect]:
    """Says which fields a function drives to their effect."""

    def keep(effect: Effect) -> Effect:
        EFFECTS.update(dict.fromkeys(fields, effect))
        return effect

    return keep


# --- playing ----------------------------------------------------------------------------------------------------------


def look(q: Any = None) -> str:
    """Looks something up."""
    return "nothing new"


def learn(q: Any = None) -> str:
    """Looks something else up."""
    return f"all about {q}"


def fail(q: Any = None) -> str:
    """Fails."""
    raise LookupError("no such page")


def lose(q: Any = None) -> str:
    """Fails in a way that may pass."""
    raise ConnectionError("connection lost")


def huge(q: Any = None) -> str:
    """Says a lot."""
    return f"{q} " + "lorem ipsum " * 100


TOOLS = toolbox([look, learn, fail, lose, huge])


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": arguments}


def said(*blocks: Any, stop: str | None = None) -> Arrived:
    content = [{"type": "text", "text": b} if isinstance(b, str) else dict(b) for b in blocks]
    uses = [b for b in content if b["type"] == "tool_use"]
    for number, use in enumerate(uses):
        use["id"] = f"toolu_{id(use)}_{number}"
    return Arrived({"content": content, "stop_reason": stop or ("tool_use" if uses else "end_turn")})


def over(error: str, *, temporary: bool = True, **more: Any) -> Failed:
    return Failed(RuntimeError(error), temporary, billed=False, **more)


Answers = Iterable[Arrived | Failed]


def play(answers: Answers, fields: Mapping[str, Any] | None = None, **setup: Any) -> tuple[World, RunResult]:
    """Plays answers, then "Done." for ever; a request that allows no tools is answered in words."""
    rest = iter(answers)

    def model(body: Mapping[str, Any]) -> Arrived | Failed:
        if body.get("tool_choice", {}).get("type") == "none":
            return said("The final answer, such as it is.")
        if SUMMARISING in str(body.get("system")):
            return said("What happened so far.")
        return next(rest, said("Done."))

    world = World(model, **setup.pop("world", {}))
    return world, world.play(made(policy(fields), TOOLS, world, **setup))


def policy(fields: Mapping[str, Any] | None = None) -> Policy:
    tables: dict[str, dict[str, Any]] = {}
    for path, value in (fields or {}).items():
        section, name = path.split(".")
        tables.setdefault(section, {})[name] = value
    return msgspec.convert(tables, Policy)


def turn_of(result: RunResult, guard: str, action: Action) -> int | None:
    """When a guard first did that."""
    return next((a.turn for a in result.actions if (a.guard, a.action) == (guard, action)), None)


def turns(
    answers: Callable[[], Answers], guard: str, action: Action, field: str, *values: Any, **others: Any
) -> list[int | None]:
    """When a guard first did that, for each value of a field."""
    fields = {name.replace("__", "."): value for name, value in others.items()}
    return [turn_of(play(answers(), {**fields, field: value})[1], guard, action) for value in values]


def again(*blocks: Any) -> Callable[[], Answers]:
    return lambda: (said(*blocks) for _ in itertools.count())


def varied(name: str, **more: Any) -> Callable[[], Answers]:
    return lambda: (said(call(name, q=f"/tmp/{n}", **more)) for n in itertools.count())


# --- guards, tool errors, loops ---------------------------------------------------------------------------------------


@drives("guards.mode")
def mode() -> None:
    ran = {
        m: play(again(call("look", q="x"))(), {"guards.mode": m, "loops.turns": 12})
        for m in ("enforce", "observe", "off")
    }
    assert [len(world.ran) for world, _ in ran.values()] == [4, 11, 11]
    assert [any(a.observed for a in result.actions) for _, result in ran.values()] == [False, True, False]


@drives("tool_errors.same_failure_calls")
def same_failure_calls() -> None:
    assert turns(varied("fail"), "error_cascade", Action.NUDGE, "tool_errors.same_failure_calls", 2, 3) == [2, 3]


@drives("tool_errors.failed_calls")
def failed_calls() -> None:
    def mixed() -> Answers:
        return (said(call("fail" if n % 2 else "lose", q=n)) for n in itertools.count())

    assert turns(
        mixed, "error_cascade", Action.NUDGE, "tool_errors.failed_calls", 2, 4, tool_errors__same_failure_calls=9
    ) == [2, 4]


@drives("tool_errors.error_calls")
def error_calls() -> None:
    assert turns(varied("fail"), "error_cascade", Action.STOP, "tool_errors.error_calls", 4, 7) == [4, 7]


@drives("tool_errors.breaker_seconds")
def breaker_seconds() -> None:
    ran = [
        len(play(varied("lose")(), {"tool_errors.breaker_seconds": s, "tool_errors.error_calls": 9})[0].ran)
        for s in (1e-3, 900.0)
    ]
    assert ran[0] > ran[1] == 3


@drives("loops.same_call_repeats")
def same_call_repeats() -> None:
    assert turns(again(call("look", q="x")), "repeated_call", Action.NUDGE, "loops.same_call_repeats", 2, 5) == [2, 5]


@drives("loops.same_call_error_repeats")
def same_call_error_repeats() -> None:
    assert turns(again(call("look", q="x")), "repeated_call", Action.STOP, "loops.same_call_error_repeats", 5, 7) == [
        5,
        7,
    ]


@drives("loops.same_call_gap_turns")
def same_call_gap_turns() -> None:
    def spread() -> Answers:
        for n in itertools.count():
            yield said(call("look", q="x"))
            yield from (said(call("learn", q=(n, m))) for m in range(4))

    assert turns(spread, "repeated_call", Action.NUDGE, "loops.same_call_gap_turns", 3, 8, loops__turns=40) == [
        None,
        16,
    ]


@drives("loops.poll_seconds")
def poll_seconds() -> None:
    def ran(seconds: float) -> int:
        fields = {"loops.poll_seconds": seconds, "loops.turns": 9}
        return len(play(again(call("look", q="x"))(), fields, world={"send_seconds": 5.0})[0].ran)

    assert ran(3.0) > ran(900.0) == 4


def _round(*names: str) -> Callable[[], Answers]:
    return lambda: (said(call(names[n % len(names)], q=names[n % len(names)])) for n in itertools.count())


@drives("loops.cycle_repeats", "loops.cycle_error_repeats")
def cycle_repeats() -> None:
    going = _round("look", "learn")
    assert turns(going, "call_cycle", Action.NUDGE, "loops.cycle_repeats", 2, 3) == [4, 6]
    assert turns(
        going, "call_cycle", Action.STOP, "loops.cycle_error_repeats", 4, 6, loops__same_call_error_repeats=20
    ) == [8, 12]


@drives("loops.cycle_calls")
def cycle_calls() -> None:
    going = _round("look", "learn", "huge")
    assert turns(going, "call_cycle", Action.NUDGE, "loops.cycle_calls", 2, 3, loops__same_call_repeats=99) == [None, 9]


@drives("loops.near_repeats", "loops.near_error_repeats")
def near_repeats() -> None:
    def asking() -> Answers:
        return (said(call("look", q={"about": "refunds", "nonce": n})) for n in itertools.count())

    assert turns(asking, "near_repeat", Action.NUDGE, "loops.near_repeats", 3, 5) == [3, 5]
    assert turns(asking, "near_repeat", Action.STOP, "loops.near_error_repeats", 7, 9) == [7, 9]


@drives("loops.checkpoint_calls")
def checkpoint_calls() -> None:
    assert turns(varied("learn"), "no_progress", Action.NUDGE, "loops.checkpoint_calls", 3, 8) == [3, 8]


@drives("loops.turns")
def most_turns() -> None:
    ended = [play(varied("learn")(), {"loops.turns": n})[1] for n in (1, 4)]
    assert [(r.turns, str(r.stop_reason)) for r in ended] == [(1, "turn_limit"), (4, "turn_limit")]


@drives("loops.tool_calls")
def most_tool_calls() -> None:
    pair = again(call("learn", q=1), call("learn", q=2))
    ended = [play(pair(), {"loops.tool_calls": n}) for n in (1, 3)]
    assert [(len(world.ran), str(r.stop_reason)) for world, r in ended] == [
        (1, "tool_call_limit"),
        (3, "tool_call_limit"),
    ]


@drives("loops.run_seconds")
def run_seconds() -> None:
    ended = [play(varied("learn")(), {"loops.run_seconds": s}, world={"send_seconds": 2.0})[1] for s in (5.0, 20.0)]
    assert [(r.turns, str(r.stop_reason)) for r in ended] == [(3, "time_limit"), (9, "time_limit")]


@drives("loops.final_answer_tokens")
def final_answer_tokens() -> None:
    asked = [
        play(varied("learn")(), {"loops.turns": 2, "loops.final_answer_tokens": n})[0].bodies[-1]["max_tokens"]
        for n in (100, 700)
    ]
    assert asked == [100, 700]


# --- what needs real tools and a real server --------------------------------------------------------------------------


def real(
    answers: Sequence[Any], tools: Sequence[Any], fields: Mapping[str, Any], **settings: Any
) -> tuple[RunResult, float]:
    rest = iter(answers)
    began = time.monotonic()
    with Stage() as stage:
        result = stage.play("run", lambda _: next(rest, text("Done.")), tools=tools, policy=policy(fields), **settings)
    return result, time.monotonic() - began


@drives("tool_errors.tool_timeout_seconds")
def tool_timeout_seconds() -> None:
    waiting = threading.Event()

    def wait() -> str:
        """Waits."""
        waiting.wait(0.4)
        return "waited"

    shown = []
    for seconds in (0.05, 20.0):
        result, _ = real([tool_use("wait")], [wait], {"tool_errors.tool_timeout_seconds": seconds})
        shown.append(result.messages[2]["content"][0].get("is_error", False))
    assert shown == [True, False]


@drives("loops.parallel_tools")
def parallel_tools() -> None:
    def most(limit: int) -> int:
        running, seen, lock = [0], [0], threading.Lock()

        def work(n: int) -> int:
            """Works."""
            with lock:
                running[0] += 1
                seen[0] = max(seen[0], running[0])
            time.sleep(0.03)
            with lock:
                running[0] -= 1
            return n

        real([together(*(tool_use("work", {"n": n}) for n in range(6)))], [work], {"loops.parallel_tools": limit})
        return seen[0]

    assert (most(1), most(3)) == (1, 3)


@drives("model_calls.timeout_seconds")
def timeout_seconds() -> None:
    ended = []
    for seconds in (0.1, 5.0):
        fields = {"model_calls.timeout_seconds": seconds, "model_calls.retries": 0}
        ended.append(str(real([delayed(text("Late."), 0.4)], [], fields)[0].stop_reason))
    assert ended == ["model_error", "completed"]


# --- context ----------------------------------------------------------------------------------------------------------


def _filling() -> Answers:
    return (said(call("huge", q=n)) for n in range(12))


NARROW = {"context.windows": {"claude": 4_000}, "context.compaction": "summary", "loops.checkpoint_calls": 99}


def _context(action: Action, **others: Any) -> int | None:
    fields = {**NARROW, **{name.replace("__", "."): value for name, value in others.items()}}
    return turn_of(play(_filling(), fields)[1], "context", action)


@drives("context.warn_share", "context.compact_share")
def shares() -> None:
    early, late = (_context(Action.WARN, context__warn_share=s, context__compaction="off") for s in (0.3, 0.7))
    assert 0 < (early or 0) < (late or 0)
    early, late = (_context(Action.COMPACT, context__compact_share=s, context__warn_share=0.2) for s in (0.4, 0.8))
    assert 0 < (early or 0) < (late or 0)


@drives("context.windows")
def windows() -> None:
    assert _context(Action.WARN) is not None
    assert _context(Action.WARN, context__windows={"claude": 900_000}) is None
    assert _context(Action.WARN, context__windows={"gpt": 4_000}) is None


@drives("context.compaction")
def compaction() -> None:
    def how(name: str, edits: bool = True) -> tuple[bool, bool]:
        world, _ = play(_filling(), {**NARROW, "context.compaction": name}, world={"edits": edits})
        summaries = [b for b in world.bodies if SUMMARISING in str(b.get("system"))]
        return any("context_management" in b for b in world.bodies), bool(summaries)

    assert [how("edit"), how("summary"), how("off")] == [(True, False), (False, True), (False, False)]
    assert how("auto")[0]
    assert how("auto", edits=False) == (False, True)


def _summary_requests(**others: Any) -> list[dict[str, Any]]:
    world, _ = play(_filling(), {**NARROW, **{name.replace("__", "."): v for name, v in others.items()}})
    return [b for b in world.bodies if SUMMARISING in str(b.get("system"))]


@drives("context.summary_model", "context.summary_tokens")
def summaries() -> None:
    (plain, *_), (cheap, *_) = (
        _summary_requests(),
        _summary_requests(context__summary_model="claude-haiku-4-5", context__summary_tokens=77),
    )
    assert [(b["model"], b["max_tokens"]) for b in (plain, cheap)] == [
        ("claude-sonnet-5-5", 2048),
        ("claude-haiku-4-5", 77),
    ]


@drives("context.keep_turns")
def keep_turns() -> None:
    def kept(turns_kept: int) -> int:
        fields = {**NARROW, "context.keep_turns": turns_kept, "context.compact_share": 0.5, "context.warn_share": 0.4}
        world, _ = play(_filling(), fields)
        at = next(n for n, b in enumerate(world.bodies) if SUMMARISING in str(b.get("system")))
        return sum(m["role"] == "assistant" for m in world.bodies[at + 1]["messages"])

    assert (kept(1), kept(2)) == (1, 2)


@drives("context.result_chars")
def result_chars() -> None:
    lengths = []
    for chars in (300, 50_000):
        _, result = play([said(call("huge", q=1))], {"context.result_chars": chars})
        lengths.append(len(result.messages[2]["content"][0]["content"]))
    assert (lengths[0] < 400, lengths[1] > 1_200) == (True, True)


@drives("context.count_tokens")
def count_tokens() -> None:
    warned = []
    for count in ("never", "near"):
        fields = {**NARROW, "context.count_tokens": count, "context.compaction": "off", "context.warn_share": 0.3}
        _, result = play(_filling(), fields, world={"counts": 0.5})
        warned.append(turn_of(result, "context", Action.WARN))
    assert warned[0] != warned[1]


# --- hallucinated calls, stuck states ---------------------------------------------------------------------------------


@drives("unknown_tools.error_calls")
def unknown_error_calls() -> None:
    assert turns(varied("lok"), "unknown_tool", Action.STOP, "unknown_tools.error_calls", 2, 4) == [2, 4]


@drives("invalid_arguments.error_calls")
def invalid_error_calls() -> None:
    assert turns(varied("look", z=1), "invalid_arguments", Action.STOP, "invalid_arguments.error_calls", 3, 5) == [3, 5]


@drives("stuck.same_output_repeats", "stuck.same_output_error_repeats", "stuck.output_chars")
def same_output() -> None:
    # Only an answer that is not taken as the last one can come again: here `task_complete` is asked for in between.
    def first(action: Action, **fields: Any) -> int | None:
        told = {f"stuck.{name}": value for name, value in {"idle_answers": 99, **fields}.items()}
        return turn_of(
            play(again("I have looked at all of it now.")(), told, task_complete=True)[1], "repeated_output", action
        )

    assert [first(Action.NUDGE, same_output_repeats=n) for n in (2, 4)] == [2, 4]
    assert [first(Action.STOP, same_output_error_repeats=n) for n in (5, 7)] == [5, 7]
    assert [first(Action.NUDGE, output_chars=n) for n in (20, 200)] == [3, None]


@drives("stuck.empty_answers")
def empty_answers() -> None:
    assert turns(again(), "empty_response", Action.STOP, "stuck.empty_answers", 2, 4) == [2, 4]


@drives("stuck.idle_answers")
def idle_answers() -> None:
    ended = [
        play(again("Let me look into the handbook.")(), {"stuck.idle_answers": n, "stuck.output_chars": 900})[1]
        for n in (1, 3)
    ]
    assert [(r.turns, str(r.stop_reason)) for r in ended] == [(1, "completed"), (3, "completed")]


@drives("stuck.null_input_calls", "stuck.null_input_error_calls")
def null_input() -> None:
    def asking() -> Answers:
        return (said(call("learn" if n % 2 else "look", q="")) for n in itertools.count())

    others = {"loops__same_call_repeats": 90, "loops__cycle_repeats": 90}
    nudged = turns(asking, "null_input", Action.NUDGE, "stuck.null_input_calls", 1, 2, **others)
    assert 0 < (nudged[0] or 0) < (nudged[1] or 0)
    stopped = turns(asking, "null_input", Action.STOP, "stuck.null_input_error_calls", 4, 6, **others)
    assert 0 < (stopped[0] or 0) < (stopped[1] or 0)


@drives("stuck.continuations")
def continuations() -> None:
    def cut() -> Answers:
        return (said(f"part {n} ", stop="max_tokens") for n in itertools.count())

    ended = [play(cut(), {"stuck.continuations": n})[1] for n in (1, 3)]
    assert [(r.turns, str(r.stop_reason)) for r in ended] == [(2, "max_tokens"), (4, "max_tokens")]


# --- money, people, failed requests -----------------------------------------------------------------------------------


@drives("cost.run_limit_usd", "cost.user_day_limit_usd")
def limits() -> None:
    for field, stop in (("cost.run_limit_usd", "run_budget"), ("cost.user_day_limit_usd", "user_budget")):
        small, large = (play(varied("learn")(), {field: usd, "loops.turns": 30})[1] for usd in (0.03, 9.0))
        assert (str(small.stop_reason), str(large.stop_reason)) == (stop, "turn_limit")
        assert 0 < small.cost_at_most_usd <= 0.03 < large.cost_at_most_usd


@drives("cost.unknown_price")
def unknown_price() -> None:
    ended = [play([], {"cost.unknown_price": do}, model="claude-of-nobody") for do in ("warn", "refuse")]
    assert [(len(world.bodies), str(r.stop_reason)) for world, r in ended] == [(1, "completed"), (0, "unknown_price")]


@drives("cost.min_output_tokens")
def min_output_tokens() -> None:
    least = [
        min(
            b["max_tokens"]
            for b in play(
                varied("learn")(),
                {"cost.run_limit_usd": 0.03, "cost.min_output_tokens": n, "loops.final_answer_tokens": 1000},
            )[0].bodies[:-1]
        )
        for n in (50, 900)
    ]
    assert 50 <= least[0] < 900 <= least[1]


@drives("cost.reservation_seconds")
def reservation_seconds() -> None:
    held: list[float] = []

    class Noting(World):
        def do(self, want: Any) -> Any:
            if isinstance(want, Reserve):
                held.append(want.hold_seconds)
            if isinstance(want, Send):  # given up before the money for it is given to others
                assert want.deadline == self.clock.now + held[-1]
            return super().do(want)

    for seconds in (30.0, 900.0):
        world = Noting(lambda _: said("Done."))
        world.play(made(policy({"cost.user_day_limit_usd": 1.0, "cost.reservation_seconds": seconds}), TOOLS, world))
    assert held == [30.0, 900.0]


@drives("review.over_usd")
def over_usd() -> None:
    asked = [
        len(
            play(
                varied("learn")(), {"review.over_usd": usd, "loops.turns": 12}, world={"reviewer": lambda _: "approved"}
            )[0].asked
        )
        for usd in (0.005, 0.01, 9.0)
    ]
    assert asked[0] > asked[1] > asked[2] == 0


@drives("review.on_timeout")
def on_timeout() -> None:
    ended = [
        str(
            play([], {"review.over_usd": 0.0001, "review.on_timeout": do}, world={"reviewer": lambda _: None})[
                1
            ].stop_reason
        )
        for do in ("deny", "approve", "pause")
    ]
    assert ended == ["review_denied", "completed", "review_pending"]


@drives("review.timeout_seconds")
def review_timeout_seconds() -> None:
    waited, gone = [], threading.Event()
    for seconds in (0.05, 0.5):
        fields = {"review.over_usd": 0.0001, "review.timeout_seconds": seconds}
        result, took = real([text("Done.")], [], fields, review=lambda _: gone.wait(5))
        waited.append(took)
        assert str(result.stop_reason) == "review_denied"
    gone.set()
    assert waited[0] < 0.5 <= waited[1] < 5


@drives("model_calls.retries")
def retries() -> None:
    ended = [play([over("busy")] * 2, {"model_calls.retries": n})[1] for n in (1, 2)]
    assert [(r.turns, str(r.stop_reason)) for r in ended] == [(2, "model_error"), (3, "completed")]


@drives("model_calls.retry_seconds")
def retry_seconds() -> None:
    clocks = [play([over("busy")] * 2, {"model_calls.retry_seconds": s})[0].clock.now for s in (0.5, 4.0)]
    assert clocks[1] - clocks[0] == pytest.approx((4.0 - 0.5) * (1 + 2))


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted(EFFECTS))
def test_the_field_has_its_effect(field: str) -> None:
    EFFECTS[field]()


def _fields() -> set[str]:
    return {f"{section}.{name}" for section, values in msgspec.to_builtins(Policy()).items() for name in values}


def test_every_field_is_driven_or_belongs_to_the_detectors() -> None:
    of_alerts = {
        field for field in _fields() if field.startswith("alerts.")
    }  # driven in tests/test_alerts_prometheus.py
    assert _fields() - set(EFFECTS) - of_alerts == BY_DETECTORS_ONLY
    assert set(EFFECTS) <= _fields()


@pytest.mark.parametrize("field", sorted(BY_DETECTORS_ONLY))
def test_what_no_run_reads_a_detector_does(field: str) -> None:
    section, name = field.split(".")
    sources = [p.read_text() for p in (Path(__file__).parents[2] / "analyzer").rglob("*.py")]
    reading = re.compile(rf"(?:{section}|params|policy|limits)\.{name}\b")
    assert any(reading.search(source) for source in sources)
