"""What policies would have done to recorded runs, in words and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from analyzer.replay import Replayed
from analyzer.report.amounts import counted, duration, money, share, tokens
from analyzer.report.clean import one_line
from analyzer.report.layout import Look, drawn, rows, titled

_RUNS_SHOWN: Final = 10


def as_text(replays: Mapping[str, Sequence[Replayed]], look: Look) -> str:
    """One part per policy (by the name it goes by), in lines of at most `look.width` columns."""
    return drawn(_parts(replays, look), look)


def as_json(replays: Mapping[str, Sequence[Replayed]]) -> str:
    """`{"policies": [{"policy", "runs", "stopped", "wrongly_stopped", "known_outcomes", "saved_usd", ..., "stops": [...]}]}`."""
    found = [
        {"policy": name, **totals(runs), "stops": [_stop(r) for r in stopped(runs)]} for name, runs in replays.items()
    ]
    return json.dumps({"policies": found}, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def stopped(runs: Sequence[Replayed]) -> list[Replayed]:
    """Those that the policy would have stopped, the dearest first."""
    return sorted((r for r in runs if r.stop is not None), key=lambda r: -(r.saved_usd or 0.0))


def totals(runs: Sequence[Replayed]) -> dict[str, Any]:
    """Sums over the runs; `saved_*` is of what is known, `unknown_savings` says how many stopped runs are not in it."""
    ended = stopped(runs)
    return {
        "runs": len(runs),
        "stopped": len(ended),
        "wrongly_stopped": sum(r.wrongly_stopped for r in ended),
        "known_outcomes": sum(r.succeeded is not None for r in runs),
        "succeeded": sum(r.succeeded is True for r in runs),
        "saved_usd": sum(r.saved_usd for r in ended if r.saved_usd is not None),
        "saved_tokens": sum(r.saved_tokens for r in ended if r.saved_tokens is not None),
        "saved_seconds": sum(r.saved_seconds for r in ended if r.saved_seconds is not None),
        "unknown_savings": sum(r.saved_usd is None for r in ended),
        "cost_usd": sum(r.cost_usd for r in runs if r.cost_usd is not None),
        "nudges": sum(r.nudges for r in runs),
        "blocks": sum(r.blocks for r in runs),
        "guards": dict(Counter(str(r.stop.guard) for r in ended if r.stop is not None).most_common()),
    }


def _parts(replays: Mapping[str, Sequence[Replayed]], look: Look) -> Iterable[RenderableType]:
    for name, runs in replays.items():
        yield from _policy(one_line(name, 80), runs, look)
    if len(replays) > 1:
        yield titled("Side by side")
        yield _table(replays)


def _policy(name: str, runs: Sequence[Replayed], look: Look) -> Iterable[RenderableType]:
    sums, ended = totals(runs), stopped(runs)
    yield Text(f"{name}, replayed over {counted(len(runs), 'run')} of {money(sums['cost_usd'])}", style="bold")
    guards = ", ".join(f"{guard} {number}" for guard, number in sums["guards"].items())
    yield rows(
        (
            ("stopped", f"{counted(len(ended), 'run')}" + (f": {guards}" if guards else "")),
            ("saved", _saved(sums)),
            ("refused", f"{counted(sums['blocks'], 'call')}; {counted(sums['nudges'], 'nudge')}"),
            ("wrongly", _wrongly(sums)),
        )
    )
    shown = ended if look.everything else ended[:_RUNS_SHOWN]
    for run in shown:
        yield _line(run)
    if len(ended) > len(shown):
        yield Text(f"  and {counted(len(ended) - len(shown), 'run')} more (--all)", style="dim")
    yield Text()


def _saved(sums: Mapping[str, Any]) -> str:
    whole = sums["cost_usd"]
    part = f" ({share(sums['saved_usd'] / whole)} of all)" if whole else ""
    unknown = f"; of {counted(sums['unknown_savings'], 'run')} not known" if sums["unknown_savings"] else ""
    return (
        f"{money(sums['saved_usd'])}{part}, {tokens(sums['saved_tokens'])}, {duration(sums['saved_seconds'])}{unknown}"
    )


def _wrongly(sums: Mapping[str, Any]) -> str:
    if not sums["known_outcomes"]:
        return "not known: no run says whether it succeeded (flyball outcome DB FILE)"
    return (
        f"{sums['wrongly_stopped']} of {counted(sums['succeeded'], 'run')} that had gone on to succeed; "
        f"the outcome of {sums['runs'] - sums['known_outcomes']} is not known"
    )


def _line(run: Replayed) -> RenderableType:
    assert run.stop is not None
    wrong = "  it had gone on to succeed" if run.wrongly_stopped else ""
    text = Text(f"  {one_line(run.run_id, 32)}", style="yellow")
    agent = f"  {one_line(run.agent_name, 40)}" if run.agent_name else ""
    saved = f"  saves {money(run.saved_usd)}" if run.saved_usd is not None else "  saving not known"
    text.append(f"{agent}  {run.stop.guard} at turn {run.stop.turn}{saved}", style="default")
    return text.append(wrong, style="red")


def _table(replays: Mapping[str, Sequence[Replayed]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("policy", "stopped", "wrongly", "saved", "refused"):
        table.add_column(head, justify="left" if head == "policy" else "right")
    for name, runs in replays.items():
        sums = totals(runs)
        table.add_row(
            one_line(name, 40),
            str(sums["stopped"]),
            str(sums["wrongly_stopped"]),
            money(sums["saved_usd"]),
            str(sums["blocks"]),
        )
    return table


def _stop(run: Replayed) -> dict[str, Any]:
    assert run.stop is not None
    return {
        "run_id": run.run_id,
        "trace_id": run.trace_id,
        "agent_name": run.agent_name,
        "guard": str(run.stop.guard),
        "setting": run.stop.setting,
        "turn": run.stop.turn,
        "step": run.step,
        "reason": run.stop.reason,
        "saved_usd": run.saved_usd,
        "saved_tokens": run.saved_tokens,
        "saved_seconds": run.saved_seconds,
        "succeeded": run.succeeded,
    }
