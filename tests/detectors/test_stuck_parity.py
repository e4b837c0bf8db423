"""What the guards of stuck states say while a run goes on, `empty_response` and `null_input` say of its recording."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.cases import Case, Entry, load, says, tool_call, turn
from analyzer.findings import State
from analyzer.run import judge
from instrument import sameness
from instrument.guards.facts import Action, Answer, Call, Outcome
from instrument.guards.stuck import EmptyResponse, NullInput
from instrument.policy import Policy, Stuck

_SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_DONE = says("That is all there is to say.")
_INPUTS = [{"query": ""}, {"query": ""}, {"query": ""}, {"query": None}, {"query": "x"}, {}]


def _turns_in_which_null_input_stands(script: list[tuple[str, dict[str, object]]]) -> dict[tuple[str, int], int]:
    """By tool and first turn, how many turns the guard counted at most."""
    guard = NullInput(Stuck(null_input_calls=1, null_input_error_calls=1))
    counted: dict[tuple[str, int], int] = {}
    first: dict[str, int] = {}
    for number, (tool, given_) in enumerate(script, 1):
        call = Call(
            number, str(number), tool, sameness.call_key(tool, given_), None, null_input=sameness.is_null_input(given_)
        )
        said = guard.ran(call, Outcome())
        if not call.null_input:
            first.clear()
        elif said is not None and said.value is not None:
            counted[tool, first.setdefault(tool, number)] = int(said.value)
    return counted


@_SLOW
@given(st.lists(st.tuples(st.sampled_from(["search", "read"]), st.sampled_from(_INPUTS)), min_size=1, max_size=14))
def test_null_input_is_counted_alike(script: list[tuple[str, dict[str, object]]]) -> None:
    calls: list[Entry] = [tool_call(tool, given_, f"result {n}") for n, (tool, given_) in enumerate(script)]
    found = judge(load([Case("law", [*calls, _DONE], [])]), select=("null_input",)).findings
    guarded = {k: n for k, n in _turns_in_which_null_input_stands(script).items() if n >= Stuck().null_input_calls}
    seen = {(f.evidence["tool_name"], f.first_turn): f.evidence["in_turns"] for f in found}
    assert seen == guarded


@_SLOW
@given(st.lists(st.sampled_from(["empty", "empty", "thought", "words", "call"]), min_size=1, max_size=12))
def test_empty_answers_are_counted_alike(script: list[str]) -> None:
    entries: dict[str, Entry] = {
        "empty": turn(output_tokens=2),
        "thought": turn(thinking="Hm.", output_tokens=200),
        "words": says("Here is what I know so far."),
        "call": tool_call("read", {}, "text"),
    }
    found = judge(load([Case("law", [*(entries[s] for s in script), _DONE], [])]), select=("empty_response",)).findings
    guard = EmptyResponse(Stuck())
    stopped = []
    for number, what in enumerate(script, 1):
        text = "Here is what I know so far." if what == "words" else ""
        said = guard.answered(
            Answer(number, sameness.output_key(text), sameness.loose_output_key(text), len(text), int(what == "call"))
        )
        if said is not None and said.action is Action.STOP:
            stopped.append(number)
    assert {turn for f in found for turn in range(f.first_turn + 1, f.last_turn + 1)} == set(stopped)


def test_hashed_content_says_whether_there_was_any_input() -> None:
    case = Case("hashed", [*[tool_call("search", {"q": ""}, f"{n}") for n in range(4)], _DONE], [])
    for dialect in ("gen_ai", "hashed"):
        report = judge(case.load(dialect), Policy(), select=("null_input",))
        assert [f.evidence["in_turns"] for f in report.findings] == [4]
        assert [o.state for o in report.outcomes] == [State.COMPLETE]
