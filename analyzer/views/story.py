"""What happened in a run, in three sentences: what went wrong (or what it did), what came of it, and what it cost.

The same facts give the same sentences; nothing is asked of a model. Names from the trace stand between backticks, without backticks
and line breaks of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from analyzer.findings import Finding, GuardAction, Severity
from analyzer.guarding import COMPLETED
from analyzer.report.amounts import counted, duration, money, share
from analyzer.report.clean import one_line
from analyzer.report.guard_text import NOUNS

_NAME_CHARS: Final = 60
_OTHERS_NAMED: Final = 3
_SENTENCES: Final = re.compile(r"\.\s+(?=[A-Z])")


def story(
    run: Mapping[str, Any],
    findings: Sequence[Finding],
    actions: Sequence[GuardAction] = (),
    *,
    window_tokens: int | None = None,
    dim: Sequence[str] = (),
) -> tuple[str, str, str]:
    """Three sentences about a run (a row of `views.runs.with_findings`), its findings (the worst first) and guard actions in order.

    `window_tokens` is the context window of its model (None: not known), `dim` the detectors that could not see all they need.
    """
    return _what(run, findings), _then(run, findings, actions, dim), _cost(run, findings, window_tokens)


def _what(run: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    agent = quoted(run["agent_name"]) if run["agent_name"] else "An unnamed agent"
    if not findings:
        return f"{agent} {_ended(run)} after {_work(run)}, and nothing was found wrong with it."
    worst = findings[0]
    where = f" in {_turns(worst)}" if worst.first_step > 0 and "turn" not in worst.message else ""
    said = _SENTENCES.split(one_line(worst.message, 400))[0].rstrip(".")
    said = said[:1].lower() + said[1:]
    weight = {Severity.ERROR: "went wrong", Severity.WARNING: "did not go well", Severity.INFO: "is worth a look"}
    return f"The run of {agent} {weight[worst.severity]}{where}: {said}."


def _then(
    run: Mapping[str, Any], findings: Sequence[Finding], actions: Sequence[GuardAction], dim: Sequence[str]
) -> str:
    others = [f.detector for f in findings[1:]]
    parts = [f"{_listed(others)} {'was' if len(others) == 1 else 'were'} found too"] if others else []
    if guarded := _guarded(actions):
        parts.append(guarded)
    if not findings and not parts:
        if why := next((a.reason for a in actions if a.action == "stop" and not a.observed and a.reason), None):
            return f"{one_line(why, 400).rstrip('.')}."
        seen = (
            "every detector could see all it needs"
            if not dim
            else f"{_listed(dim)} could not see all they need in this database"
        )
        return f"{_calls(run)}; {seen}."
    end = _outcome(run, actions)
    sentence = ", ".join([*parts, f"and {end}" if parts else end])
    return f"{sentence[0].upper()}{sentence[1:]}."


def _guarded(actions: Sequence[GuardAction]) -> str:
    """`the guard \\`repeated_call\\` nudged it and refused 3 calls (turns 5 to 8)`; the stop is told with the end."""
    done = Counter(a.action for a in actions if not a.observed and a.action != "stop")
    if not done:
        watched = sum(a.observed for a in actions)
        return f"a guard that only observed would have acted {counted(watched, 'time')}" if watched else ""
    names = list(dict.fromkeys(a.guard for a in actions if not a.observed and a.action != "stop"))
    words = [_did(action, times) for action, times in done.items()]
    return f"the {'guard' if len(names) == 1 else 'guards'} {_listed(names)} {_and(words)}"


def _did(action: str, times: int) -> str:
    if action == "nudge":
        return "nudged it" if times == 1 else f"nudged it {times:,} times"
    if action == "block":
        return f"refused {counted(times, 'call')}"
    word = one_line(action, 20)
    return f"took {times:,} {NOUNS[word]}" if times != 1 and word in NOUNS else f"made {counted(times, word)}"


def _outcome(run: Mapping[str, Any], actions: Sequence[GuardAction]) -> str:
    reason = run["stop_reason"]
    if reason is not None and reason != COMPLETED:
        turn = next((f" in turn {a.turn:,}" for a in actions if a.action == "stop" and not a.observed), "")
        return f"it was stopped{turn} by {quoted(reason)} after {_work(run)}"
    return f"it {_ended(run)} after {_work(run)}"


def _ended(run: Mapping[str, Any]) -> str:
    if run["stop_reason"] not in (None, COMPLETED):
        return f"was stopped by {quoted(run['stop_reason'])}"
    return {"failed": "failed", "unfinished": "has not ended, or was cut off,"}.get(run["outcome"], "ended")


def _work(run: Mapping[str, Any]) -> str:
    calls = counted(run["tool_calls"], "tool call") if run["tool_calls"] else "no tool call"
    failed = f" ({run['failed_tool_calls']:,} failed)" if run["failed_tool_calls"] else ""
    if not run["model_calls"] and not run["tool_calls"]:
        return "no call that was recorded"
    turns = f"{counted(run['model_calls'], 'turn')} with " if run["model_calls"] else ""
    return f"{turns}{calls}{failed}"


def _calls(run: Mapping[str, Any]) -> str:
    if not run["tool_calls"]:
        return "It called no tool"
    failed = run["failed_tool_calls"]
    return (
        f"{failed:,} of its {counted(run['tool_calls'], 'tool call')} failed"
        if failed
        else "None of its tool calls failed"
    )


def _cost(run: Mapping[str, Any], findings: Sequence[Finding], window_tokens: int | None) -> str:
    return f"It {_and([_spent(run), *_wasted(run, findings), *_took(run['seconds']), *_context(run, window_tokens)])}."


def _took(seconds: float | None) -> list[str]:
    """Nothing where no time passed: then no times were recorded."""
    if not seconds:
        return []
    return [f"took {f'{seconds * 1_000:,.0f} ms' if seconds < 1 else duration(seconds)}"]


def _spent(run: Mapping[str, Any]) -> str:
    if run["cost_usd"] is None:
        return "has no known price" if run["model_calls"] else "made no model call that could cost anything"
    unpriced = run["unpriced_calls"]
    rest = f" (without {counted(unpriced, 'call')} of unknown price)" if unpriced else ""
    return f"cost {'at least ' if unpriced else ''}{money(run['cost_usd'])}{rest}"


def _wasted(run: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    wasted, cost = run["wasted_usd"], run["cost_usd"]
    if wasted is not None:
        of_cost = f" ({share(wasted / cost)})" if cost else ""
        return [f"wasted {money(wasted)}{of_cost}"]
    return ["wasted an unknown part of it"] if findings and cost is not None else []


def _context(run: Mapping[str, Any], window_tokens: int | None) -> list[str]:
    peak = run["peak_input_tokens"]
    if not peak:
        return []
    of_window = f" ({share(peak / window_tokens)} of the window)" if window_tokens else ""
    return [f"sent at most {peak:,} tokens in one request{of_window}"]


def _turns(finding: Finding) -> str:
    if finding.first_turn == finding.last_turn:
        return f"turn {finding.first_turn:,}"
    return f"turns {finding.first_turn:,} to {finding.last_turn:,}"


def _listed(names: Iterable[str]) -> str:
    """Distinct names in order, the first few by name, each with how often it is there."""
    counts = Counter(names)
    shown = [quoted(name) + (f" ({times:,} times)" if times > 1 else "") for name, times in counts.items()]
    more = len(shown) - _OTHERS_NAMED
    return _and([*shown[:_OTHERS_NAMED], f"{more:,} more"] if more > 1 else shown)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def quoted(name: object) -> str:
    """A recorded name between backticks, on one line and with none of its own."""
    return f"`{one_line(name, _NAME_CHARS).replace('`', chr(0x2BC))}`"
