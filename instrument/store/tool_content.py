"""What tool calls were asked and what they answered. Fills `Group.out`."""

from __future__ import annotations

from collections.abc import Sequence

from instrument import sameness
from instrument.store.clipping import clipped_rows, is_cut
from instrument.store.group import MESSAGE_CHARS, Group
from instrument.store.memory import Memory
from instrument.store.stage import Extras


def fill(group: Group) -> None:
    """Fills arguments, results, their keys, `content_state`, and failures that only the result's own words tell of."""
    out = group.out
    if "tool_name" not in out:
        out["tool_name"] = group.text("entity_name") or [s.name for s in group.spans]
    arguments = out["arguments"] = group.text("arguments") or group.text("io_input")
    results = out["result"] = group.text("result") or group.text("io_output")
    rows = [row for row, kind in enumerate(out["kind"]) if kind == "tool"]
    if arguments is not None:
        _asked(group, rows, arguments)
    if results is not None:
        _answered(group, rows, results)
    _states(group, rows)


def _asked(group: Group, rows: Sequence[int], arguments: Sequence[str | None]) -> None:
    calls, loose, names = group.column("call_key"), group.column("loose_call_key"), group.out["tool_name"]
    null = group.column("null_input")
    for row in rows:
        if arguments[row] is not None:
            calls[row], loose[row], null[row] = group.memory.call_facts(names[row], arguments[row])


def _answered(group: Group, rows: Sequence[int], results: list[str | None]) -> None:
    """Results become the text that the model read."""
    keys, inferred = group.column("result_key"), group.column("failure_inferred")
    counted = "result_chars" in group.out
    chars = group.column("result_chars")
    for row in rows:
        if results[row] is None:
            continue
        text = results[row] = sameness.result_text(results[row]) or ""
        keys[row] = sameness.key_of(sameness.canonical(text))
        inferred[row] = _judged(group, row, text)
        if not counted:
            chars[row] = len(text)


def _judged(group: Group, row: int, text: str) -> bool | None:
    """Whether only the result's own words say that the call failed; completes the failure of a flagged one."""
    flagged = group.out["failed"][row]
    if not flagged and not sameness.says_error(text):
        return None
    told = group.out.get("error_message") is not None and group.out["error_message"][row] is not None
    if flagged and told:
        return False
    group.out["failed"][row] = True
    kind = group.column("error_type")[row] if flagged else None
    group.column("failure_kind")[row] = sameness.failure_kind(kind, text)
    group.complete("error_message", row, text[:MESSAGE_CHARS])
    return not flagged


def _states(group: Group, rows: Sequence[int]) -> None:
    states, arguments, results = group.column("content_state"), group.out["arguments"], group.out["result"]
    modes, clipped = group.text("content_mode"), clipped_rows(group)
    for row in rows:
        asked = arguments[row] if arguments is not None else None
        answered = results[row] if results is not None else None
        recorded = asked is not None or answered is not None
        cut = row in clipped or is_cut(asked) or is_cut(answered)
        states[row] = stated(modes[row] if modes else None, recorded, cut)
        if states[row] == "clipped":
            group.clipped.append(row)


def leave_out_repeats(memory: Memory, extras: Extras) -> None:
    """Results that a message of the same trace holds too are left to the message. What comes later than this batch is stored twice."""
    for position, trace_id, tool_call_id in extras.results:
        span_key, arguments, result, _, *rest = extras.contents[position]
        message_key = memory.message_with(trace_id, tool_call_id, result)
        if message_key is not None:
            extras.contents[position] = (span_key, arguments, None, message_key, *rest)


def stated(mode: str | None, recorded: bool, cut: bool) -> str:
    """`content_state`: what the producer says it did with content, else whether there is any and all of it."""
    return mode if mode in ("hashed", "none") else "none" if not recorded else "clipped" if cut else "full"
