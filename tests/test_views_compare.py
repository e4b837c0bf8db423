"""Two runs laid beside each other, and two groups of runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from app_database import START_NS, Call, Run, Turn, failing, healthy, looping, write
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.run import judge
from analyzer.views import compare, compare_groups
from analyzer.views import runs as run_views
from analyzer.views.compare import Step, align
from instrument.store.connect import reading


def tool(key: int | None, result: int | None = 0, name: str = "search", loose: int | None = None) -> Step:
    """A tool call; the keys say what is the same."""
    return Step(step=0, turn=0, kind="tool", name=name, call_key=key, loose_call_key=loose, result_key=result)


def model(answer: int | None = 0) -> Step:
    """A model call."""
    return Step(step=0, turn=0, kind="model", name="m", result_key=answer)


def turns(*keys: int) -> list[Step]:
    """A turn with one tool call for each key."""
    return [step for key in keys for step in (model(), tool(key, key))]


def shown(left: Sequence[Step], right: Sequence[Step]) -> str:
    """The statuses of the rows, by their first letter."""
    return "".join(pair.status[0] for pair in align(left, right).pairs)


def test_the_same_runs_are_the_same_throughout() -> None:
    found = align(turns(1, 2, 3), turns(1, 2, 3))
    assert found.counts == {"same": 6}
    assert found.first_difference is None


def test_a_turn_more_moves_the_rest_and_changes_nothing_else() -> None:
    assert shown(turns(1, 2, 3), turns(1, 9, 2, 3)) == "ssrrssss"
    assert shown(turns(1, 2, 3), turns(9, 1, 2, 3)) == "rrssssss"
    assert shown(turns(1, 2, 3), turns(1, 2, 3, 9)) == "ssssssrr"
    assert shown(turns(1, 2, 3, 4), turns(1, 4)) == "ssllllss"


def test_a_call_missing_from_a_turn_stands_alone() -> None:
    assert shown([model(), tool(1), tool(2), model()], [model(), tool(2), model()]) == "slss"


def test_what_differs_is_said_of_each_row() -> None:
    left = [tool(1, 5), tool(2, 5), tool(3, None), tool(None, 5), tool(4, 5, name="a"), model(3)]
    right = [tool(1, 6), tool(7, 5), tool(3, 5), tool(None, 5), tool(4, 5, name="b"), model(4)]
    statuses = [pair.status for pair in align(left, right).pairs]
    assert [s for s in statuses if s not in ("left", "right")] == [
        "result",
        "arguments",
        "unknown",
        "unknown",
        "result",
    ]
    assert sorted(statuses[4:6]) == ["left", "right"]


def test_unknown_arguments_are_never_the_same_call() -> None:
    assert [p.status for p in align([tool(None, 5)], [tool(None, 5)]).pairs] == ["unknown"]
    assert [p.status for p in align([tool(1, 5)], [tool(None, 5)]).pairs] == ["unknown"]


def test_the_same_question_in_other_words_goes_before_another_question() -> None:
    found = align([tool(1, loose=7)], [tool(2, loose=8), tool(3, loose=7)])
    assert [(p.left and p.left.call_key, p.right and p.right.call_key) for p in found.pairs] == [(None, 2), (1, 3)]


def test_a_model_call_never_goes_with_a_tool_call() -> None:
    assert sorted(shown([model()], [tool(1)])) == ["l", "r"]


steps = st.lists(
    st.one_of(
        st.builds(tool, st.none() | st.integers(1, 4), st.none() | st.integers(1, 3), st.sampled_from("ab")),
        st.builds(model, st.none() | st.integers(0, 2)),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps, steps)
def test_every_step_of_both_stands_in_order_and_once(left: list[Step], right: list[Step]) -> None:
    found = align(left, right)
    assert [p.left for p in found.pairs if p.left] == left
    assert [p.right for p in found.pairs if p.right] == right
    assert all(p.left is None or p.right is None or p.left.kind == p.right.kind for p in found.pairs)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True), st.data())
def test_an_insertion_anywhere_leaves_all_others_the_same(keys: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(keys)))
    found = align(turns(*keys), turns(*keys[:at], 10**7, *keys[at:]))
    assert found.counts == {"same": 2 * len(keys), "right": 2}


def test_long_runs_are_aligned_in_bounded_time_and_what_is_left_over_is_counted() -> None:
    left, right = turns(*range(5_000)), turns(*(k for k in range(5_000) if k % 7))
    began = time.perf_counter()
    found = align(left, right)
    assert time.perf_counter() - began < 10
    assert len([p for p in found.pairs if p.left]) + found.left_over == len(left)
    assert len([p for p in found.pairs if p.right]) + found.right_over == len(right)
    assert found.left_over > 0
    assert found.counts["same"] > 1_500
    short = align(turns(*range(20)), turns(*range(1, 20)), most=5)
    assert (len(short.pairs), short.left_over) == (40, 0)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two agents; two that do the same but for a turn more and another result."""
    asked = [Turn("Looking.", [Call("search_orders", {"customer": n}, f"orders: {n}")]) for n in range(1, 4)]
    other = [
        *asked[:1],
        Turn("", [Call("get_order", {"id": 7}, "sent")]),
        *asked[1:2],
        Turn("Looking.", [Call("search_orders", {"customer": 3}, "none")]),
    ]
    pair = [Run(1, "support", asked), Run(2, "support", other)]
    good = [healthy(n, "refunds") for n in range(3, 12)]
    return write(tmp_path_factory.mktemp("compare") / "a.duckdb", [*pair, *good, looping(12), failing(13)])


def key_of(runs: pl.DataFrame, number: int) -> int:
    """Number in the store of the run that a number made."""
    return int(runs.filter(pl.col("run_id").str.starts_with(f"{number:08x}"))["run_key"][0])


def test_recorded_runs_are_aligned_and_say_what_differs(db: Path) -> None:
    with reading(db) as con:
        runs = run_views.summaries(con)
        one, other = key_of(runs, 1), key_of(runs, 2)
        found = align(compare.steps_of(con, one), compare.steps_of(con, other))
        pairs = [p for p in found.pairs if p.right and p.right.kind == "tool"]
        told = compare.told(con, other, [p.right for p in pairs if p.right])
    assert [p.status for p in pairs] == ["same", "right", "same", "result"]
    assert found.counts == {"same": 5, "right": 2, "result": 1}
    last = pairs[-1].right
    assert last is not None
    assert last.step in told
    said = told[last.step]
    assert said.asked is not None
    assert said.got is not None
    assert ('"customer": 3' in said.asked.shown, said.got.shown) == (True, "none")
    frame = compare.table(found)
    assert frame["status"].to_list() == [p.status for p in found.pairs]
    assert frame["right_name"].to_list().count("get_order") == 1


def test_answers_of_a_model_are_told(db: Path) -> None:
    with reading(db) as con:
        runs = run_views.summaries(con)
        found = compare.steps_of(con, key_of(runs, 3))
        told = compare.told(con, key_of(runs, 3), found)
    answers = [told[s.step].got for s in found if s.kind == "model"]
    assert [a.shown for a in answers if a] == [
        "Let me look that up.",
        "Found it.",
        "Your order 301 was sent and arrives tomorrow.",
    ]
    assert {s.tokens for s in found if s.kind == "tool"} == {None}


def test_totals_of_two_runs_are_not_known_where_either_is_not() -> None:
    row = dict.fromkeys((name for name, _ in compare.MEASURES), 2.0)
    found = {d.measure: d.change for d in compare.deltas(row | {"cost_usd": None}, row | {"seconds": 5.0})}
    assert (found["cost_usd"], found["seconds"], found["findings"]) == (None, 3.0, 0.0)


def test_groups_with_an_agent_in_common_are_compared_agent_by_agent(db: Path) -> None:
    with reading(db) as con:
        findings = judge(con).findings
        runs = run_views.with_findings(run_views.summaries(con), findings)
    before, after = compare_groups.halves(runs, START_NS + 8 * 1_800 * 10**9)
    assert (before.height, after.height) == (7, 6)
    found, left_out = compare_groups.compared(before, after, findings)
    assert left_out == 0
    assert {c.agent_name for c in found.changes} == {"support", "refunds"}
    assert {k.detector for k in found.new} >= {"repeated_call", "error_cascade"}


def test_groups_without_one_are_compared_as_a_whole(db: Path) -> None:
    with reading(db) as con:
        findings = judge(con).findings
        runs = run_views.with_findings(run_views.summaries(con), findings)
    assert compare_groups.values(runs, "agent") == ["refunds", "support"]
    left, right = (compare_groups.group(runs, "agent", name) for name in ("refunds", "support"))
    found, _ = compare_groups.compared(left, right, findings)
    assert {c.agent_name for c in found.changes} == {None}
    assert {k.agent_name for k in found.kinds} == {None}
    assert next(c for c in found.changes if c.measure == "model_calls").runs_before == 10
