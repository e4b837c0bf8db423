"""Traces for `cost_outlier`, from both sides; a turn of a million input tokens costs three dollars and more with the cases' model."""

from __future__ import annotations

from typing import Final

from analyzer.cases import Case, Found, Run, agent_run, tool_call, turn


def _run(thousands: int, *, agent: str | None = None, turns: int = 2, model: str = "claude-sonnet-4-5") -> Run:
    return agent_run(
        [
            *(
                turn(tool_call("read", {"n": n}, f"text {n}"), input_tokens=thousands * 1000 + n, model=model)
                for n in range(turns - 1)
            ),
            turn(text="That is what they say.", input_tokens=thousands * 1000 + turns, model=model),
        ],
        agent=agent,
    )


_USUAL: Final = [_run(20 + n % 5) for n in range(14)]

CASES: Final = (
    Case("one run far above its like", [*_USUAL, _run(130)], [Found("cost_outlier", severity="warning")]),
    Case("fifteen times the median", [*_USUAL, _run(20, turns=34)], [Found("cost_outlier", severity="error")]),
    Case("all others cost the same to the cent", [*[_run(20)] * 14, _run(130)], ["cost_outlier"]),
    Case(
        "too few runs to compare: the line decides", [_run(120, turns=16)], [Found("cost_outlier", severity="warning")]
    ),
    Case("quiet: some cost twice as much", [*_USUAL, _run(45), _run(50)], []),
    Case("quiet: another agent has its own usual", [*_USUAL, *[_run(130, agent="big") for _ in range(13)]], []),
    Case("quiet: cents", [*[_run(1)] * 14, _run(12)], []),
    Case("quiet: few runs, all below the line", [_run(20), _run(120)], []),
    Case("quiet: no price known", [_run(120, turns=16, model="in-house-7")], []),
)
