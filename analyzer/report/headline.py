"""The whole of a report in five lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from analyzer.findings import Report, Severity, State, Totals
from analyzer.report.amounts import counted, duration, money, share, tokens
from analyzer.report.guard_text import guards_of_all
from analyzer.report.layout import COLOURS, rows


def headline(report: Report) -> Iterable[RenderableType]:
    """The verdict, and the sums over everything that was judged."""
    yield Text()
    yield _verdict(report)
    yield Text()
    yield rows(_sums(report))


def _verdict(report: Report) -> Text:
    where = counted(report.totals.runs, "run")
    counts = Counter(f.severity for f in report.findings)
    if counts:
        parts = [
            counted(counts[s], s.value) if s != Severity.INFO else f"{counts[s]:,} info"
            for s in reversed(Severity)
            if counts[s]
        ]
        colour = COLOURS[max(counts, key=lambda s: s.rank)]
        return Text(f"{counted(len(report.findings), 'finding')} in {where}: {', '.join(parts)}", style=colour)
    short = [o for o in report.outcomes if o.state in (State.PARTIAL, State.BLIND)]
    if not report.totals.spans:
        return Text("Nothing to judge: no spans were read", style="yellow")
    if short:
        return Text(
            f"No findings in {where}, but {counted(len(short), 'detector')} could not see everything", style="yellow"
        )
    return Text(f"No findings in {where}", style="bold green")


def _sums(report: Report) -> Iterable[tuple[str, str]]:
    totals = report.totals
    unfinished = f", {totals.unfinished_runs:,} of them unfinished" if totals.unfinished_runs else ""
    calls = f"{counted(totals.model_calls, 'model call')}, {counted(totals.tool_calls, 'tool call')}"
    yield "runs", f"{counted(totals.runs, 'run')}{unfinished}: {counted(totals.spans, 'span')}, {calls}"
    unmeasured = (
        f"; {counted(totals.unmeasured_calls, 'model call')} without token counts" if totals.unmeasured_calls else ""
    )
    yield "tokens", f"{tokens(totals.input_tokens)} in, {tokens(totals.output_tokens)} out{unmeasured}"
    unpriced = (
        f"; the price of {counted(totals.unpriced_calls, 'model call')} is unknown" if totals.unpriced_calls else ""
    )
    yield "cost", money(totals.cost_usd) + unpriced
    if any((totals.wasted_tokens, totals.wasted_cost_usd, totals.wasted_seconds)):
        yield "waste", _waste_of_all(totals)
    if totals.guarded_runs or totals.guard_actions:
        yield "guards", guards_of_all(totals, report.guard_actions)
    if totals.duplicate_model_calls:
        yield "note", _not_counted_twice(totals)


def _not_counted_twice(totals: Totals) -> str:
    parts = [counted(totals.duplicate_model_calls, "duplicate model call"), f"{tokens(totals.duplicate_tokens)} tokens"]
    parts += [money(totals.duplicate_cost_usd)] if totals.duplicate_cost_usd is not None else []
    return f"removed {', '.join(parts)} not counted twice"


def _waste_of_all(totals: Totals) -> str:
    of_cost = ""
    if totals.wasted_cost_usd and totals.cost_usd:
        of_cost = f" ({share(totals.wasted_cost_usd / totals.cost_usd)} of the cost)"
    return f"{money(totals.wasted_cost_usd)}{of_cost}" + with_waste(totals.wasted_tokens, totals.wasted_seconds)


def with_waste(wasted_tokens: int | None, wasted_seconds: float | None) -> str:
    """What was wasted beside money, to be put behind it."""
    parts = [f"{tokens(wasted_tokens)} tokens"] if wasted_tokens else []
    parts += [duration(wasted_seconds)] if wasted_seconds else []
    return "".join(f", {part}" for part in parts)
