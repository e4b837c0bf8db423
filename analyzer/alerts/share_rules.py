"""Rules about a share: of enough calls or runs, so many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analyzer.alerts.conditions import AtLeast, Both, Either, Known, ShareAtLeast, Unless
from analyzer.alerts.metrics import Metric
from analyzer.alerts.rule import About, Case, Lined, Rule, Severity, below, share_parts


@dataclass(frozen=True, slots=True)
class Share:
    """`part` of `whole`, where there are at least `least` of them."""

    part: Metric
    whole: Metric
    least: float

    def rule(self, about: About, line: float, *, ceiling: float | None = None, severity: Severity = "warning") -> Rule:
        """Fires from `line`, and below `ceiling` where there is one."""
        when = Both((ShareAtLeast(self.part, self.whole, line, ceiling), AtLeast(self.whole, self.least)))
        return about.rule(when, *self.cases(line, ceiling), severity=severity)

    def lined_rule(self, about: About, line: float, baseline: Metric, setting: str) -> Rule:
        """Fires from the line of `baseline` where there is one for its labels, else from `line`, which is the `setting` of the policy."""
        own = ShareAtLeast(self.part, self.whole, baseline)
        else_policy = Unless(ShareAtLeast(self.part, self.whole, line), Known(baseline))
        when = Both((Either((own, else_policy)), AtLeast(self.whole, self.least)))
        lined = Lined(baseline, f"The policy: {setting} = {line:g}.", lambda own_line: tuple(self.cases(own_line)))
        return about.rule(when, *self.cases(line), lined=lined)

    def cases(self, line: float, ceiling: float | None = None) -> Iterator[Case]:
        """Just reached and just not: the line, the ceiling, and how many there must be."""
        reaches, misses = share_parts(line, self.least)
        yield Case({self.part: reaches, self.whole: self.least}, reaches / self.least)
        yield Case({self.part: misses, self.whole: self.least})
        few = below(self.least)
        yield Case({self.part: share_parts(line, few)[0], self.whole: few})
        if ceiling is not None:
            beyond, last = share_parts(ceiling, self.least)
            yield Case({self.part: last, self.whole: self.least}, last / self.least)
            yield Case({self.part: beyond, self.whole: self.least})
