"""The same finding in many runs, told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analyzer.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one detector about one agent and one tool, the worst first."""

    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Finding:
        """The finding that stands for them."""
        return self.findings[0]

    @property
    def cost_usd(self) -> float | None:
        """Sum of the known; None where none is known. Findings of one detector share no spans: nothing counts twice."""
        known = [usd for f in self.findings if (usd := cost_of(f)) is not None]
        return sum(known) if known else None


def cost_of(finding: Finding) -> float | None:
    """What was wasted in US dollars; where a finding claims no waste, what the run that it is about cost."""
    if finding.wasted_cost_usd is not None:
        return finding.wasted_cost_usd
    cost = finding.evidence.get("cost_usd")
    return float(cost) if isinstance(cost, int | float) else None


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """Findings, given worst and most expensive first, as groups in the same order."""
    groups: dict[tuple[str, Severity, str | None, str], list[Finding]] = {}
    for finding in findings:
        about = str(finding.evidence.get("tool_name"))
        groups.setdefault((finding.detector, finding.severity, finding.agent_name, about), []).append(finding)
    whole = [Group(tuple(found)) for found in groups.values()]
    return sorted(whole, key=lambda g: (-g.worst.severity.rank, -(g.cost_usd or 0.0)))
