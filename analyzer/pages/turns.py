"""Turns of a run as HTML: a conversation with its tool calls, what guards did, and findings where they happened.

As in `pieces`: pure functions, and what comes from a trace is escaped. Links lead to pages of this app only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from analyzer.findings import Finding, GuardAction
from analyzer.pages import links, words
from analyzer.pages.pieces import chip, line, page, prose, text
from analyzer.views.conversation import Call, Said, Text, Turn, pretty, said_by_guard
from analyzer.views.conversation_folds import Entry

CALLS_SHOWN: Final = 50
"""Of one turn; the rest are counted. A model that asks for more at once is shown by its first."""
LINES_SHOWN: Final = 14
CHARS_SHOWN: Final = 1_400
"""A text longer than either is folded; its beginning stays."""
_ACTIONS: Final = {"nudge": "warning", "block": "warning", "stop": "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known about a run beside its turns."""

    run_id: str
    findings: Sequence[Finding] = ()
    """Those about a part of it."""
    actions: Sequence[GuardAction] = ()
    started: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Span id -> the sub-agents it started: run id and name."""
    compactions: Mapping[int, str] = field(default_factory=dict)
    """Turn -> how the context was made smaller before it."""
    chosen: str | None = None
    """The span to point out."""


def turn(value: Turn, beside: Beside) -> str:
    """One turn: what the model was told, what it answered, the tools that ran, what guards did about it."""
    named = [f for f in beside.findings if f.first_turn <= value.number <= f.last_turn]
    acted = [a for a in beside.actions if a.turn == value.number]
    worst = max((f.severity for f in named), key=lambda s: s.rank, default=None)
    shown = value.calls[:CALLS_SHOWN]
    more = len(value.calls) - len(shown)
    steps = {call.step for call in shown}
    parts = [
        _head(value, named, beside),
        *(_begins(f) for f in named if f.first_turn == value.number),
        _compacted(beside.compactions.get(value.number)),
        *(_said(said, beside.actions) for said in value.heard),
        *(_said(said) for said in value.answered),
        *(_call(call, beside, [a for a in acted if a.step == call.step]) for call in shown),
        f'<p class="fb-cut">and {words.plural(more, "more call")}</p>' if more else "",
        *(_action(a) for a in acted if a.step not in steps),
        _nothing(value),
    ]
    return page(f'<div class="fb-turn {worst.value if worst else ""}">{"".join(parts)}</div>')


def fold(entry: Entry, beside: Beside, spoken: int = 0) -> str:
    """The head of a stretch of turns that did the same again; `spoken`: messages of users in it."""
    named = [f for f in beside.findings if f.first_turn <= entry.last and f.last_turn >= entry.first]
    worst = max((f.severity for f in named), key=lambda s: s.rank, default=None)
    facts = [
        f"<b>{text(words.stretch(entry.first, entry.last).capitalize())}</b>",
        *(chip(f.detector, f.severity.value) for f in named),
    ]
    also = f'<p class="fb-muted">{text(words.plural(spoken, "message"))} to the model in between</p>' if spoken else ""
    body = f'<p class="fb-said">{prose(folded(entry))}</p>{also}'
    return page(f'<div class="fb-card {worst.value if worst else "plain"}">{line(facts)}{body}</div>')


def folded(entry: Entry) -> str:
    """`This call, 14 times: ...` as prose."""
    if not entry.tools:
        what = "The same answer" if entry.period == 1 else f"The same {entry.period} answers in turn"
        return f"{what}, {entry.times:,} times, and no tool was called."
    names = ", ".join(f"`{words.visible(name).replace('`', chr(0x2BC))}`" for name in entry.tools)
    what = "This call" if entry.period == 1 and len(entry.tools) == 1 else "These calls"
    same = "refused by a guard each time" if entry.blocked else "with the same arguments and the same result"
    return f"{what}, {entry.times:,} times: {names}, {same}{', failing' if entry.failed and not entry.blocked else ''}."


def _head(value: Turn, findings: Sequence[Finding], beside: Beside) -> str:
    name = f"Turn {value.number:,}" if value.number else "Before the first model call"
    took = words.duration(value.seconds) if value.seconds is not None else ""
    facts = [
        f"<b>{name}</b>",
        text(value.model) if value.model else "",
        chip("pending", "info") if value.pending else text(took),
        f"{text(words.count(value.input_tokens))} tokens in" if value.input_tokens is not None else "",
        f"{text(words.count(value.output_tokens))} out" if value.output_tokens is not None else "",
        text(words.money(value.cost_usd)) if value.cost_usd is not None else "",
        f"finish: {text(value.finish_reason)}" if value.finish_reason else "",
        *(chip(f.detector, f.severity.value) for f in findings),
        _permalink(beside.run_id, value.span_id, "span") if value.span_id else "",
    ]
    here = _here(value.span_id, beside)
    failed = f'<div class="fb-part failed">{chip("model call failed", "error")}{_text(Text(value.error or ""), "fb-mono")}</div>'
    return here + line(facts) + (failed if value.error else "")


def _here(span_id: str | None, beside: Beside) -> str:
    """Marks the span that the address names."""
    return '<p class="fb-here">The span that was asked for</p>' if span_id and span_id == beside.chosen else ""


def _permalink(run_id: str, span_id: str, label: str) -> str:
    return links.link(label, links.to("run", run=run_id, span=span_id))


def _begins(finding: Finding) -> str:
    facts = [
        chip(finding.severity.value, finding.severity.value),
        f'<b class="fb-mono">{text(finding.detector)}</b>',
        "begins here",
    ]
    said = f'<p class="fb-said">{prose(finding.message)}</p>'
    return f'<div class="fb-part finding {finding.severity.value}">{line(facts)}{said}</div>'


def _compacted(how: str | None) -> str:
    return f'<div class="fb-part">{line([chip("context made smaller", "info"), text(how)])}</div>' if how else ""


def _said(said: Said, actions: Sequence[GuardAction] = ()) -> str:
    guard = said_by_guard(said.text.shown, actions) if said.role == "user" and said.kind == "text" else None
    label = said.role if said.kind == "text" else f"{said.role} · {said.kind.replace('_', ' ')}"
    name = f'<b class="fb-mono">{text(said.name)}</b>' if said.name else ""
    style = {"text": "", "reasoning": "fb-quiet"}.get(said.kind, "fb-mono")
    tone = "guard" if guard else said.role if said.role in ("assistant", "user") else ""
    by = (
        [chip("guard", "warning"), f'<b class="fb-mono">{text(guard.guard)}</b>', "to the model"]
        if guard
        else [text(label), name]
    )
    return f'<div class="fb-part {tone}">{line(by)}{_text(pretty(said.text), style)}</div>'


def _call(call: Call, beside: Beside, actions: Sequence[GuardAction]) -> str:
    failed = call.failed and call.rejected != "blocked"
    blamed = [f for f in beside.findings if call.span_id in f.span_ids]
    facts = [
        "calls",
        f'<b class="fb-mono">{text(call.tool_name or "unnamed tool")}</b>',
        text(words.duration(call.seconds)) if call.seconds is not None and not call.inferred else "",
        chip("failed" + (" (by its text)" if call.failure_inferred else ""), "error") if failed else "",
        chip("no such tool", "error") if call.declared is False else "",
        chip(call.rejected.replace("_", " "), "warning") if call.rejected else "",
        *(chip(f.detector, f.severity.value) for f in blamed),
        '<span class="fb-muted">known from messages only</span>' if call.inferred else "",
        _permalink(beside.run_id, call.span_id, f"step {call.step:,}"),
        *(_sub_agent(run_id, name) for run_id, name in beside.started.get(call.span_id, ())),
    ]
    return (
        f'<div class="fb-part call {"failed" if failed else ""}">{_here(call.span_id, beside)}{line(facts)}'
        f"{_exchange(call)}{''.join(map(_action, actions))}</div>"
    )


def _sub_agent(run_id: str, name: str) -> str:
    return links.link(f"sub-agent {name}", links.to("run", run=run_id))


def _exchange(call: Call) -> str:
    """Arguments, result and error, each once."""
    error = call.error if call.error and not (call.result and call.error in call.result.shown) else None
    return "".join(
        [
            _text(pretty(call.arguments), "fb-mono") if call.arguments else _unrecorded("arguments"),
            _text(pretty(call.result), "fb-mono fb-result") if call.result else "" if error else _unrecorded("result"),
            _text(Text(error), "fb-mono fb-result") if error else "",
        ]
    )


def _action(action: GuardAction) -> str:
    threshold = "" if action.threshold is None else f" = {action.threshold:,.6g}"
    facts = [
        chip(action.action + (" (observed)" if action.observed else ""), _ACTIONS.get(action.action, "info")),
        f'<b class="fb-mono">{text(action.guard)}</b>',
        "guard",
        f'<span class="fb-mono fb-muted">{text(action.setting)}{threshold}</span>' if action.setting else "",
    ]
    return f'<div class="fb-part guard">{line(facts)}<p class="fb-said">{prose(action.reason or "")}</p></div>'


def _nothing(value: Turn) -> str:
    if value.heard or value.answered or value.calls or value.error or value.pending:
        return ""
    reason = {
        "hashed": "Content was recorded as hashes only.",
        "none": 'Content was not recorded; record(content="full") keeps it.',
    }.get(value.content_state or "", "No messages were recorded for this turn.")
    return f'<p class="fb-muted">{text(reason)}</p>'


def _unrecorded(what: str) -> str:
    return f'<p class="fb-cut">{what} not recorded</p>'


def _text(value: Text, style: str) -> str:
    """A text with its end folded away where it is long, and how much of it is not there."""
    if not value.shown:
        return '<p class="fb-cut">empty</p>'
    start, rest = split(value.shown)
    cut = (
        f'<p class="fb-cut">{value.left_out_chars:,} more characters; “One turn, whole texts” shows them</p>'
        if value.left_out_chars
        else ""
    )
    if not rest:
        return f'<div class="fb-text {style}">{text(start)}</div>{cut}'
    size = f"{words.plural(rest.count(chr(10)) + 1, 'more line')}, {words.plural(len(rest), 'character')}"
    folded_away = f'<div class="fb-text {style}">{text(rest)}</div>{cut}'
    return f'<div class="fb-text {style}">{text(start)}</div><details><summary>{size}</summary>{folded_away}</details>'


def split(value: str) -> tuple[str, str]:
    """A text as what stands there at once and what is folded away: whole lines where they are not too long."""
    lines = value.split("\n")
    if len(value) <= CHARS_SHOWN and len(lines) <= LINES_SHOWN + 2:
        return value, ""
    start = "\n".join(lines[:LINES_SHOWN])[:CHARS_SHOWN]
    whole = start.rfind("\n", CHARS_SHOWN // 2)
    at = whole if len(start) == CHARS_SHOWN and whole > 0 else len(start)
    return value[:at], value[at:].removeprefix("\n")
