"""Every detector's own cases, in every dialect, judged by all detectors together."""

import importlib
from collections import defaultdict

import pytest

from analyzer.cases import DIALECTS, load
from analyzer.detectors import DETECTORS
from analyzer.findings import Finding
from analyzer.run import judge

CASES = {slug: importlib.import_module(f"analyzer.detectors.{slug}.cases").CASES for slug in DETECTORS}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("slug", DETECTORS)
def test_finds_what_the_cases_say_and_nothing_else(slug: str, dialect: str) -> None:
    cases = [case for case in CASES[slug] if dialect in case.only]
    by_trace: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in judge(load(cases, dialect)).findings:
        by_trace[finding.trace_id].append(finding)
    wrong = {}
    for case in cases:
        found = [f for trace in case.trace_ids() for f in by_trace[trace]]
        expected = case.expected()
        right = sorted(f.detector for f in found) == sorted(e.detector for e in expected) and all(
            any(
                f.detector == e.detector
                and e.turns in (None, (f.first_turn, f.last_turn))
                and e.severity in (None, f.severity)
                for f in found
            )
            for e in expected
        )
        if not right:
            wrong[case.name] = [(f.detector, str(f.severity), f.first_turn, f.last_turn, f.message) for f in found]
    assert not wrong


@pytest.mark.parametrize("slug", DETECTORS)
def test_both_sides_are_shown(slug: str) -> None:
    cases = CASES[slug]
    assert len({case.name for case in cases}) == len(cases)
    assert sum(case.name.startswith("quiet: ") for case in cases) >= 3
    assert sum(any(e.detector == slug for e in case.expected()) for case in cases) >= 3
    assert all((not case.finds) == case.name.startswith("quiet: ") for case in cases)
