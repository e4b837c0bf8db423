"""What a judgement says beside its findings: outcomes, waste, totals, trust, order."""

from dataclasses import replace
from typing import Any

import pytest

from analyzer.cases import MODEL, Case, Turn, agent_run, load, says, tool_call, turn
from analyzer.detectors import DETECTORS, UnknownDetector, chosen
from analyzer.detectors.changes import Effect, effect_of_command, effect_of_name
from analyzer.detectors.detector import LABELS, SAID
from analyzer.findings import State
from analyzer.run import judge
from instrument.otlp import Issue
from instrument.policy import Cost, Loops, Policy
from instrument.store.connect import in_memory
from instrument.store.load import Loader
from instrument.windows import window_of

_SEARCH = tool_call("search", {"q": "x"}, "nothing")
_LOOP = Case("loop", [*[_SEARCH] * 6, says("That is all there is to say.")], ["repeated_call"])


def _states(case: Case, dialect: str = "gen_ai") -> dict[str, State]:
    return {o.detector: o.state for o in judge(case.load(dialect)).outcomes}


def test_waste_runs_from_the_second_call_to_the_end_of_the_loop() -> None:
    con = _LOOP.load()
    (finding,) = judge(con).findings
    rows = con.execute(
        "SELECT sum(input_tokens + output_tokens), sum(cost_usd), (max(end_ns) - min(start_ns)) / 1e9 "
        "FROM spans WHERE turn BETWEEN 2 AND 6 GROUP BY turn"
    ).fetchall()
    assert finding.wasted_tokens == sum(r[0] for r in rows)
    assert finding.wasted_cost_usd == pytest.approx(sum(r[1] for r in rows))
    assert finding.wasted_seconds == pytest.approx(sum(r[2] for r in rows))


def test_a_turn_that_two_findings_name_is_counted_once() -> None:
    both = [turn(_SEARCH, tool_call("ask", {"n": n}, "refused", error="Refused")) for n in range(6)]
    report = judge(Case("both", [*both, says("That is all there is to say.")], []).load())
    first, second = report.findings
    assert {first.detector, second.detector} == {"repeated_call", "error_cascade"}
    assert report.totals.wasted_tokens == first.wasted_tokens == second.wasted_tokens


def test_waste_of_unknown_price_is_unknown_and_never_nought() -> None:
    calls = [turn(_SEARCH, model="in-house-7") for _ in range(6)]
    report = judge(Case("unpriced", [*calls, says("That is all there is to say.")], []).load())
    (finding,) = report.findings
    assert finding.wasted_cost_usd is None
    assert report.totals.wasted_cost_usd is None
    assert finding.wasted_tokens is not None
    assert report.totals.unpriced_calls == 6


def test_an_empty_store_has_nothing_to_check() -> None:
    report = judge(in_memory())
    assert report.findings == ()
    assert {o.state for o in report.outcomes} <= {State.NOTHING_TO_CHECK}
    assert report.totals.runs == 0
    assert report.totals.wasted_tokens == 0


@pytest.mark.parametrize(
    ("slug", "script"),
    [
        ("truncated_response", [_SEARCH, turn(text="First of all", finish="max_tokens")]),
        ("oversized_tool_result", [turn(tool_call("read_file", {}, "word " * 30_000)), says("A long file, that.")]),
    ],
)
def test_where_tokens_decide_and_were_not_counted_a_detector_says_so(slug: str, script: list[Any]) -> None:
    turns = [entry if isinstance(entry, Turn) else turn(entry) for entry in script]
    assert _states(Case("counted", turns, []))[slug] is State.COMPLETE
    assert _states(Case("not counted", [replace(t, measured=False) for t in turns], []))[slug] is State.PARTIAL


def test_found_nothing_and_could_not_look_are_told_apart() -> None:
    assert _states(Case("told", [_SEARCH, says("There is nothing to be found.")], []))["unknown_tool"] is State.COMPLETE
    assert (
        _states(Case("not told", [_SEARCH, says("There is nothing to be found.")], [], declares=False))["unknown_tool"]
        is State.BLIND
    )
    mixed = [turn(_SEARCH, model="in-house-7"), turn(_SEARCH)]
    assert _states(Case("mixed", mixed, []))["context_growth"] is State.PARTIAL
    assert (
        _states(Case("silent", [says("There is nothing to be found.")], []))["repeated_call"] is State.NOTHING_TO_CHECK
    )


def test_lost_spans_are_told_and_lower_the_confidence() -> None:
    con = in_memory()
    loader = Loader(con)
    loader.add(_LOOP.traces(), "loop")
    loader.add_issue(Issue("lost_spans", "loop", "the disk was full", "make room", count=7))
    loader.finish()
    report, whole = judge(con), judge(_LOOP.load())
    assert report.issues[0].kind == "lost_spans"
    assert report.findings[0].confidence < whole.findings[0].confidence
    assert {o.state for o in report.outcomes if o.known} == {State.PARTIAL}


def test_totals_count_spans_and_not_what_was_inferred() -> None:
    report = judge(_LOOP.load("messages_only"))
    assert (report.totals.runs, report.totals.spans, report.totals.model_calls, report.totals.tool_calls) == (
        1,
        8,
        7,
        6,
    )


def test_a_run_whose_root_is_pending_is_unfinished() -> None:
    runs = [agent_run([_SEARCH]), agent_run([_SEARCH], ended=False)]
    assert judge(Case("cut", runs, []).load()).totals.unfinished_runs == 1


def test_partitions_change_nothing() -> None:
    runs = [agent_run([*[_SEARCH] * n, says("That is all there is to say.")], agent=f"a{n}") for n in range(2, 9)]
    con = Case("parts", runs, []).load()
    whole, parts = judge(con), judge(con, partition_spans=10)
    assert whole == parts
    assert len(whole.findings) == 5


def test_worst_and_most_expensive_first() -> None:
    runs = [agent_run([*[_SEARCH] * n, says("That is all there is to say.")]) for n in (5, 12, 4, 7)]
    findings = judge(Case("order", runs, []).load()).findings
    assert [f.evidence["repeats"] for f in findings] == [12, 7, 5, 4]


def test_fingerprints_are_the_same_in_another_database() -> None:
    other = Case("other", [*[_SEARCH] * 9], [])
    alone = {f.fingerprint for f in judge(_LOOP.load()).findings}
    assert alone < {f.fingerprint for f in judge(load([other, _LOOP])).findings}


def test_the_policy_decides() -> None:
    con = _LOOP.load()
    assert judge(con, Policy(loops=Loops(same_call_repeats=7))).findings == ()
    assert (
        judge(con, Policy(cost=Cost(outlier_usd=0.001, run_usd=0.001)), select=("cost_outlier",)).findings[0].detector
        == "cost_outlier"
    )


def test_tools_without_a_recorded_model_are_judged_by_their_steps() -> None:
    document = _LOOP.traces()
    scope = document.resourceSpans[0].scopeSpans[0]
    scope.spans = [s for s in scope.spans if not s.name.startswith("chat")]
    con = in_memory()
    loader = Loader(con)
    loader.add(document, "tools")
    loader.finish()
    (finding,) = judge(con).findings
    assert finding.evidence["repeats"] == 6
    assert (finding.wasted_tokens, finding.wasted_cost_usd) == (None, None)
    assert finding.wasted_seconds == pytest.approx(2.5)


def test_selection_names_the_detector_that_was_meant() -> None:
    assert [d.slug for d in chosen(("cost_outlier", "repeated_call"), ("cost_outlier",))] == ["repeated_call"]
    with pytest.raises(UnknownDetector) as caught:
        chosen(("repeated_cal",))
    assert caught.value.nearest == "repeated_call"


@pytest.mark.parametrize("slug", DETECTORS)
def test_findings_hold_the_declared_evidence_in_the_declared_order(slug: str) -> None:
    detector = DETECTORS[slug]
    assert all(
        text.strip().endswith(".") for text in (detector.finds, detector.matters, detector.wrong, detector.advice)
    )
    assert hasattr(Policy(), detector.params)
    assert (detector.find is None) != (detector.compare is None)
    assert set(LABELS) & set(SAID) == set()


def test_hostile_names_and_texts_stay_values() -> None:
    name = "x'; DROP TABLE spans; --<script>{{7*7}}"
    case = Case(
        name, [*[tool_call(name, {"q": "\x00'\""}, "<b>nothing</b>")] * 5, says("That is all there is to say.")], []
    )
    (finding,) = judge(case.load()).findings
    assert finding.evidence["tool_name"] == name


def test_published_windows_and_the_users_own() -> None:
    assert window_of(MODEL, {}) == 200_000
    assert window_of("claude-sonnet-4-5-20250929", {"claude-sonnet": 1, "claude-sonnet-4-5": 1_000_000}) == 1_000_000
    assert window_of("in-house-7", {}) is None


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("edit_file", Effect.CHANGES),
        ("MultiEdit", Effect.CHANGES),
        ("str_replace_based_edit_tool", Effect.CHANGES),
        ("get_order_details", Effect.LOOKS),
        ("search", Effect.LOOKS),
        ("wait_for_build", Effect.WAITS),
        ("run_bash", Effect.COMMANDS),
        ("", Effect.LOOKS),
        ("guardar_archivo", Effect.CHANGES),
        ("DateiSpeichern", Effect.CHANGES),
        ("supprimer-fichier", Effect.CHANGES),
        ("enviar_mensagem", Effect.CHANGES),
        ("修改文件", Effect.CHANGES),
        ("メール送信", Effect.CHANGES),
        ("lire_fichier", Effect.LOOKS),
        ("检查状态", Effect.LOOKS),
    ],
)
def test_what_a_tool_does_shows_in_its_name(name: str, effect: Effect) -> None:
    assert effect_of_name(name) is effect


@pytest.mark.parametrize(
    ("command", "effect"),
    [
        ("ls -la 2>/dev/null", Effect.LOOKS),
        ("pytest 2>&1 | tail -5", Effect.LOOKS),
        ('{"command": "sleep 30"}', Effect.WAITS),
        ("sleep 5 && make status", Effect.LOOKS),
        ("cat <<'EOF' > a.py", Effect.CHANGES),
        ("sed -n '1,5p' a.py", Effect.LOOKS),
        ("sed -i 's/a/b/' a.py", Effect.CHANGES),
        ("git status", Effect.LOOKS),
        ("cd x && git commit -m 'y'", Effect.CHANGES),
        (None, Effect.CHANGES),
    ],
)
def test_what_a_command_does_shows_in_it(command: str | None, effect: Effect) -> None:
    assert effect_of_command(command) is effect
