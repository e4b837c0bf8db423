"""Every detector's own cases, in every dialect, judged by all detectors together."""

import importlib

import pytest

from analyzer.cases import DIALECTS, Case
from analyzer.detectors import DETECTORS
from analyzer.run import judge

CASES = [(slug, case) for slug in DETECTORS for case in importlib.import_module(f"analyzer.detectors.{slug}.cases").CASES]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("slug", "case"), CASES, ids=[f"{slug}-{case.name}" for slug, case in CASES])
def test_finds_what_the_case_says_and_nothing_else(slug: str, case: Case, dialect: str) -> None:
    if dialect not in case.only:
        return
    findings = judge(case.load(dialect)).findings
    expected = case.expected()
    assert sorted(f.detector for f in findings) == sorted(e.detector for e in expected), [f.message for f in findings]
    for wanted in expected:
        assert any(
            f.detector == wanted.detector
            and wanted.turns in (None, (f.first_turn, f.last_turn))
            and wanted.severity in (None, f.severity)
            for f in findings
        ), [(f.first_turn, f.last_turn, f.severity, f.message) for f in findings]


@pytest.mark.parametrize("slug", DETECTORS)
def test_both_sides_are_shown(slug: str) -> None:
    cases = [case for room, case in CASES if room == slug]
    assert sum(case.name.startswith("quiet: ") for case in cases) >= 3
    assert sum(any(e.detector == slug for e in case.expected()) for case in cases) >= 3
    assert all((not case.finds) == case.name.startswith("quiet: ") for case in cases)
