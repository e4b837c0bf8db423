"""Sixteen small traces on which trace analysers commonly fail: six healthy runs, ten that are not."""

import pytest

from analyzer.cases import DIALECTS, Call, Case, Found, load, says, tool_call, turn
from analyzer.run import judge

_DONE = says("That is as far as I got today.")
_SEARCH = tool_call("search", {"q": "refunds"}, "no results")


def _reads(count: int) -> list[Call]:
    return [tool_call("read_file", {"path": f"src/{n}.py"}, f"text of {n}") for n in range(count)]


def _cycle(*names: str, times: int) -> list[Call]:
    return [tool_call(name, {}, f"what {name} says") for name in names] * times


HEALTHY = [
    Case("N1: five reads of five files", [*_reads(5), _DONE], []),
    Case("N2: twelve reads of twelve files", [*_reads(12), _DONE], []),
    Case(
        "N3: polling with progress", [*[tool_call("status", {"job": 7}, f"{n}0 % done") for n in range(7)], _DONE], []
    ),
    Case(
        "N4: edit and test, five times, with progress",
        [
            e
            for n in range(5)
            for e in (
                tool_call("edit", {"file": "a.py", "n": n}),
                tool_call("run_tests", {}, f"FAILED (failures={5 - n})"),
            )
        ]
        + [_DONE],
        [],
    ),
    Case(
        "N5: three attachments, each True",
        [*[tool_call("is_safe", {"attachment": n}, True) for n in range(3)], _DONE],
        [],
    ),
    Case(
        "N6: twelve mixed calls",
        [*[tool_call(["ls", "grep", "read", "edit"][n % 4], {"n": n}, f"result {n}") for n in range(12)], _DONE],
        [],
    ),
]
FAILING = [
    Case("L1: the same call and result five times", [*[_SEARCH] * 5, _DONE], [Found("repeated_call", turns=(1, 5))]),
    Case(
        "L2: the same call failing four times",
        [*[tool_call("fetch", {"u": 1}, "timed out", error="Timeout")] * 4, _DONE],
        [Found("error_cascade", turns=(1, 4))],
    ),
    Case(
        "L3: two calls in turn after a prefix",
        [*_reads(2), *_cycle("a", "b", times=6), _DONE],
        [Found("call_cycle", turns=(3, 14), severity="error")],
    ),
    Case("L4: three calls going round", [*_cycle("a", "b", "c", times=5), _DONE], [Found("call_cycle", turns=(1, 15))]),
    Case(
        "L5: the same call six times, others in between",
        [e for r in _reads(6) for e in (_SEARCH, r)] + [_DONE],
        [Found("repeated_call", turns=(1, 11))],
    ),
    Case(
        "L6: arguments vary, same error twelve times",
        [
            *[
                tool_call("read_file", {"path": f"/tmp/{n}"}, f"no such file: '/tmp/{n}'", error="NotFound")
                for n in range(12)
            ],
            _DONE,
        ],
        [Found("error_cascade", turns=(1, 12), severity="error")],
    ),
    Case(
        "L7: a new thought each time",
        [*[turn(_SEARCH, text=t) for t in ("Let me look.", "Odd. Again.", "Maybe now?", "One more.", "Hm.")], _DONE],
        [Found("repeated_call", turns=(1, 5))],
    ),
    Case(
        "L8: a nonce in the arguments",
        [*[tool_call("search", {"q": "refunds", "nonce": n}, "no results") for n in range(6)], _DONE],
        [Found("near_repeat", turns=(1, 6), severity="warning")],
    ),
    Case(
        "L9: a tool that does not exist, four times",
        [
            _SEARCH,
            *[
                tool_call("serch", {"q": n}, "Error: unknown tool serch", error="ToolNotFound", declared=False)
                for n in range(4)
            ],
            _DONE,
        ],
        [Found("unknown_tool", turns=(2, 5), severity="error")],
    ),
    Case(
        "L10: a loop, then twelve good calls",
        [*[_SEARCH] * 5, *_reads(12), _DONE],
        [Found("repeated_call", turns=(1, 5))],
    ),
]
LATER: list[Case] = []
"""Those whose class no detector claims yet."""


@pytest.mark.parametrize("dialect", DIALECTS)
def test_six_are_healthy_and_ten_are_not(dialect: str) -> None:
    cases = [*HEALTHY, *FAILING, *LATER]
    findings = judge(load(cases, dialect)).findings
    for case in cases:
        found = [f for f in findings if f.trace_id in case.trace_ids()]
        assert [(f.detector, f.first_turn, f.last_turn) for f in found] == [
            (e.detector, *(e.turns or ())) for e in case.expected()
        ], case.name


def test_the_invented_tool_has_its_steps_its_cost_and_the_nearest_name() -> None:
    (case,) = (c for c in FAILING if c.name.startswith("L9"))
    (finding,) = judge(case.load()).findings
    assert (finding.first_step, finding.last_step) == (4, 10)
    con = case.load()
    ((cost, tokens),) = con.execute(
        "SELECT sum(cost_usd), sum(input_tokens + output_tokens) FROM spans WHERE turn BETWEEN 2 AND 5"
    ).fetchall()
    assert finding.wasted_cost_usd == pytest.approx(cost)
    assert finding.wasted_tokens == tokens
    assert finding.evidence["nearest"] == "search"
    assert finding.evidence["calls"] == 4
