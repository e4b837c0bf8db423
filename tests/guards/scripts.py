"""Generated scripts, made of stretches: lone calls would make laws about loops empty."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from analyzer.cases import Entry, Turn, User, says, tool_call, turn, user

TOOLS: Final = ("search", "read", "edit", "fetch")
WORDS: Final = ("I am going to think about this some more now.", "Let me see what else there might be to find.")


@st.composite
def stretches(draw: st.DrawFn, steady: bool = False) -> list[Entry]:
    """One stretch: the same several times, or several things that differ. `steady`: what a call answers depends
    on the call alone, and nothing is waited for."""
    times = draw(st.integers(1, 7))
    tool, number = draw(st.sampled_from(TOOLS)), draw(st.integers(0, 2))
    result = f"{tool} {number}" if steady else draw(st.sampled_from(["none", "some"]))
    call = tool_call(tool, {"q": number}, result)
    failing = tool_call(tool, {"q": number}, "refused", error="Refused")
    kinds: dict[str, list[Entry]] = {
        "loop": [call] * times,
        "batch": [tool_call(tool, {"file": f"f{n}.txt"}, f"result {n}") for n in range(times)],
        "failing": [failing] * times,
        "failing variously": [tool_call(tool, {"n": n}, f"no file '/{n}'", error="Missing") for n in range(times)],
        "failing and mending": [e for n in range(times) for e in (failing, tool_call("edit", {"to": n}))],
        "getting better": [
            e
            for n in range(times)
            for e in (tool_call("run_tests", {}, f"FAILED {9 - n}"), tool_call("edit", {"to": n}))
        ],
        "failing all over": [tool_call(t, {}, f"{t} broke", error=f"{t}Error") for t in TOOLS[:times]],
        "invented": [
            tool_call(f"made_up_{number}", {"n": n}, "Error: unknown tool", error="Unknown", declared=False)
            for n in range(times)
        ],
        "words": [says(draw(st.sampled_from(WORDS)))] * times,
        "parallel": [turn(*[call] * times)] * draw(st.integers(1, 5)),
        "side by side": [turn(call, tool_call("look", {"at": number}, "seen"))] * times,
        "spread": [e for n in range(times) for e in (call, tool_call("look", {"n": f"f{n}"}, f"seen {n}"))],
        "waiting": [e for _ in range(times) for e in (call, tool_call("sleep", {"seconds": 1}, "slept"))],
        "round": [*[call, tool_call("other", {}, "thing")] * times],
        "long round": [*[call, tool_call("look", {}, "a thing"), tool_call("other", {}, "thing")] * times],
        "other words": [tool_call(tool, {"q": number, "nonce": n}, result) for n in range(2 * times)],
        "asked again": [user("Go on."), call],
    }
    if steady:
        del kinds["waiting"]
    return kinds[draw(st.sampled_from(sorted(kinds)))]


def scripts(*, steady: bool = False) -> st.SearchStrategy[list[Entry]]:
    """Runs of a few stretches. No two messages of the user are the same: what was said before is not heard again."""
    return st.lists(stretches(steady), min_size=1, max_size=5).map(
        lambda parts: _numbered([entry for part in parts for entry in part])
    )


def _numbered(script: list[Entry]) -> list[Entry]:
    # A first entry of the user would be part of the run's question, and a last one is never sent.
    named = [user(f"Go on, part {place}.") if isinstance(entry, User) else entry for place, entry in enumerate(script)]
    return [says("Let us begin."), *named, says("That is all.")]


def calls_of(script: list[Entry]) -> int:
    """How many tool calls a script has."""
    return sum(len(e.calls) if isinstance(e, Turn) else 1 for e in script if not isinstance(e, User))
