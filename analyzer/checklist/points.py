"""The ten points, in the order in which an agent is made ready: what each asks, what proves it, what to do where it is not met."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from analyzer.checklist.seen import Seen
from analyzer.checklist.state import Found, Shown, State
from analyzer.report.amounts import counted, duration, money, share
from instrument.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point with its proof."""

    number: int
    slug: str
    title: str
    state: State
    evidence: tuple[str, ...]
    """What was seen, or what would have to be seen; a sentence each."""
    remedy: str
    """One line of code, configuration or a command that meets it; where it is met, what meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """All ten."""

    points: tuple[Point, ...]
    runs: int | None
    """Runs that were looked at; None: a policy alone was."""

    @property
    def met(self) -> bool:
        """All that can be seen is met, and something can."""
        states = {point.state for point in self.points} - {State.CANNOT_SEE}
        return states == {State.YES}


Graded = tuple[State, str]
"""What a policy does about a point, and its words for it."""


def checked(seen: Seen, shown: Shown) -> Checklist:
    """The checklist for what was seen of runs (or of a policy) and what the user has shown of tests and alerts."""
    found = (
        _tool_errors(seen),
        _by_policy(seen, _step_limit, (), f"the longest run took {counted(seen.longest_turns, 'turn')}"),
        _by_policy(seen, _repeats, ("repeated_call",), _done(seen, _LOOP_GUARDS)),
        _context(seen),
        _validation(seen),
        _budgets(seen),
        _by_policy(seen, _stalls, ("repeated_output",), _done(seen, _STALL_GUARDS), _final_answers(seen)),
        shown.tests,
        shown.alerts,
        _by_policy(seen, _review, ("cost_outlier",), _done(seen, ("review",)), _dearest(seen)),
    )
    points = tuple(
        Point(number=n, slug=slug, title=title, state=state, evidence=evidence, remedy=remedy)
        for n, ((slug, title, remedy), (state, evidence)) in enumerate(zip(_ASKED, found, strict=True), 1)
    )
    return Checklist(points=points, runs=seen.runs)


_RUNNER: Final = "GuardedRunner(client, model=..., tools=...)"
_ASKED: Final = (
    ("tool_errors", "Tool errors are returned to the model as results", f"{_RUNNER} does; it never raises for a tool"),
    ("step_limit", "A run has a hard limit of steps", f"{_RUNNER}; flyball.toml: loops.turns = 50"),
    ("repeated_calls", "Repeated calls are detected", f'{_RUNNER}; flyball.toml: guards.mode = "enforce"'),
    (
        "context",
        "The context is measured, and compacted before it is full",
        f'{_RUNNER}; flyball.toml: context.compaction = "auto"',
    ),
    ("validation", "Tool input is checked before the tool runs", f"{_RUNNER} checks names and JSON Schemas"),
    (
        "budgets",
        "There is a cost budget per run, and per user and day",
        "flyball.toml: cost.run_limit_usd = 1.0, cost.user_day_limit_usd = 20.0; GuardedRunner(..., user_id=..., ledger=...)",
    ),
    (
        "stalls",
        "A stalled agent is noticed and made to answer",
        f'{_RUNNER}; flyball.toml: guards.mode = "enforce"',
    ),
    (
        "failure_tests",
        "All six failure modes are tested",
        "in a test: check_all_failure_modes(my_agent), from instrument.testing; then --tests tests",
    ),
    (
        "alerts",
        "Somebody is told of cost spikes and error rates",
        "flyball alerts generate --out alerts, load it into Prometheus; then --alerts alerts",
    ),
    ("review", "A person reviews expensive requests", "flyball.toml: review.over_usd = 2.0; flyball reviews list"),
)
_LOOP_GUARDS: Final = ("repeated_call", "call_cycle", "near_repeat")
_STALL_GUARDS: Final = ("repeated_output", "empty_response", "null_input", "no_progress", "no_final_answer")


# --- points that a policy meets ---------------------------------------------------------------------------------------


def _by_policy(seen: Seen, grade: Callable[[Policy], Graded], trouble: Iterable[str], *further: str) -> Found:
    """A point that holds where runs were under a policy that meets it; `further` is what else was seen of it in runs."""
    grades = [(grade(policy), runs) for policy, runs in seen.policies if policy is not None]
    if seen.runs is None:
        ((state, words), _) = grades[0]
        return state, (words,)
    told: dict[str, int] = {}
    for (_, words), runs in grades:
        told[words] = told.get(words, 0) + runs
    evidence = [f"{words} (on {runs:,} of {counted(seen.runs, 'run')})" for words, runs in told.items()]
    unsaid = sum(runs for policy, runs in seen.policies if policy is None)
    if unsaid:
        evidence.append(f"the policy of {counted(unsaid, 'guarded run')} is not known")
    bare, hits = seen.runs - seen.guarded, _troubled(seen, trouble)
    if bare:
        evidence.append(f"{counted(bare, 'run')} under no guard{hits}")
    evidence += [words for words in further if words]
    states = {state for (state, _), _ in grades}
    if not grades:
        return State.NO if hits else State.CANNOT_SEE, tuple(evidence)
    if len(states) == 1 and not bare and not unsaid:
        return states.pop(), tuple(evidence)
    return State.NO if states == {State.NO} else State.PARTLY, tuple(evidence)


def _troubled(seen: Seen, detectors: Iterable[str]) -> str:
    """What befell the runs that nobody guarded."""
    hit = [(name, seen.troubled[name]) for name in detectors if seen.troubled.get(name)]
    return "".join(f"; {name} was found in {runs:,} of them" for name, runs in hit)


def _step_limit(policy: Policy) -> Graded:
    loops = policy.loops
    limits = f"{loops.turns:,} turns, {loops.tool_calls:,} tool calls, {duration(loops.run_seconds)}"
    return State.YES, f"limit of {limits}; the last turn is the final answer's"


def _repeats(policy: Policy) -> Graded:
    times = policy.loops.same_call_repeats, policy.loops.same_call_error_repeats
    return _live(policy, f"the same call is refused after {times[0]} times, the run stopped at {times[1]}")


def _stalls(policy: Policy) -> Graded:
    stuck = policy.stuck
    words = f"{stuck.same_output_repeats} equal answers or {stuck.empty_answers} empty ones are a stall, ended by a final answer"
    return _live(policy, words)


def _live(policy: Policy, words: str) -> Graded:
    """What guards do, as far as the policy lets them."""
    mode = policy.guards.mode
    if mode == "enforce":
        return State.YES, words
    if mode == "observe":
        return State.PARTLY, 'guards.mode = "observe": it is noticed, and nothing is done'
    return State.NO, 'guards.mode = "off"'


def _review(policy: Policy) -> Graded:
    review = policy.review
    if review.over_usd is None:
        return State.NO, "review.over_usd is not set: no run asks anybody"
    silence = {"deny": "no", "approve": "yes", "pause": "wait, and resume later"}[review.on_timeout]
    state = State.PARTLY if review.on_timeout == "approve" else State.YES
    return (
        state,
        f"a run asks above {money(review.over_usd)}; no answer in {duration(review.timeout_seconds)} means {silence}",
    )


# --- points that runs prove by themselves -----------------------------------------------------------------------------


def _tool_errors(seen: Seen) -> Found:
    errors = [p.tool_errors for p, _ in seen.policies if p is not None]
    if seen.runs is None:
        return State.YES, (
            f"the runner answers each failure as a result; a tool may take {duration(errors[0].tool_timeout_seconds)}",
        )
    if not seen.failed_calls:
        every = seen.runs > 0 and seen.guarded == seen.runs
        how = "the runner answers failures as results" if every else "so nobody knows what would have happened"
        return State.YES if every else State.CANNOT_SEE, (f"no tool call failed; {how}",)
    failed, lost = counted(seen.failed_calls, "failed tool call"), seen.unanswered_calls
    if not lost:
        return State.YES, (f"{failed}, each followed by another request to the model: none ended its run",)
    state = State.NO if lost == seen.failed_calls else State.PARTLY
    return state, (f"{failed}, of which {lost:,} ended the run: the model never read of it",)


def _context(seen: Seen) -> Found:
    state, evidence = _by_policy(seen, _compaction, ("context_growth",), _done(seen, ("context", "context_overflow")))
    if seen.runs is None:
        return state, evidence
    measured = f"size known of {seen.measured_calls:,} of {counted(seen.model_calls, 'model call')}"
    overflown = [f"{counted(seen.overflows, 'request')} did not fit the window"] if seen.overflows else []
    if state == State.YES and seen.overflows:
        state = State.PARTLY
    return state, (measured, *evidence, *overflown)


def _compaction(policy: Policy) -> Graded:
    context = policy.context
    if context.compaction == "off":
        return State.PARTLY, 'context.compaction = "off": a full context ends the run'
    return State.YES, f"compacted ({context.compaction}) from {share(context.compact_share)} of the window"


def _validation(seen: Seen) -> Found:
    state, evidence = _by_policy(seen, _schemas, (), _refused(seen))
    if seen.unknown_ran:
        ran = f"{counted(seen.unknown_ran, 'call')} of tools that do not exist reached the agent's own code"
        return State.NO if not seen.guarded else State.PARTLY, (*evidence, ran)
    return state, evidence


def _schemas(_: Policy) -> Graded:
    return State.YES, "names and JSON Schemas are checked, in every mode"


def _refused(seen: Seen) -> str:
    wrong = [(n, why.replace("_", " ")) for why, n in sorted(seen.rejected.items()) if why != "blocked"]
    return "refused before they ran: " + ", ".join(f"{n:,} for {why}" for n, why in wrong) if wrong else ""


def _budgets(seen: Seen) -> Found:
    state, evidence = _by_policy(
        seen, _budget, ("cost_outlier",), _done(seen, ("run_budget", "user_budget")), _dearest(seen)
    )
    if seen.runs is None:
        return state, evidence
    unpriced = seen.model_calls - seen.priced_calls
    more = [f"{counted(unpriced, 'model call')} of unknown cost: no budget counts them fully"] if unpriced else []
    by_user = any(p is not None and p.cost.user_day_limit_usd is not None for p, _ in seen.policies)
    if by_user and seen.anonymous:
        more.append(f"{counted(seen.anonymous, 'run')} of no known user")
        state = State.PARTLY if state == State.YES else state
    return state, (*evidence, *more)


def _budget(policy: Policy) -> Graded:
    cost = policy.cost
    limits = {"run": cost.run_limit_usd, "user and day": cost.user_day_limit_usd}
    there = [f"{money(usd)} per {what}" for what, usd in limits.items() if usd is not None]
    missing = [what for what, usd in limits.items() if usd is None]
    state = State.NO if not there else State.PARTLY if missing else State.YES
    words = [", ".join(there)] if there else []
    words += [f"none per {what}" for what in missing]
    if cost.unknown_price == "warn" and there:
        words.append("models of unknown price are not counted")
    return state, "; ".join(words)


# --- what was seen, in words ------------------------------------------------------------------------------------------


def _done(seen: Seen, guards: Iterable[str]) -> str:
    """What these guards did."""
    wanted = set(guards)
    done = [(action, n) for (guard, action), n in sorted(seen.actions.items()) if guard in wanted]
    counts: dict[str, int] = {}
    for action, n in done:
        counts[action] = counts.get(action, 0) + n
    return "guards acted: " + ", ".join(counted(n, action) for action, n in counts.items()) if counts else ""


def _final_answers(seen: Seen) -> str:
    if not seen.stopped:
        return ""
    return f"{counted(seen.stopped, 'run')} stopped, {seen.answered:,} of these asked for a final answer"


def _dearest(seen: Seen) -> str:
    if seen.dearest_run_usd is None:
        return ""
    day = f", the dearest day of one user {money(seen.dearest_day_usd)}" if seen.dearest_day_usd is not None else ""
    return f"the dearest run cost {money(seen.dearest_run_usd)}{day}"
