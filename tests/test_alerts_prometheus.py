"""What the generated Prometheus files do, asked of the real promtool."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from analyzer.alerts.baselines import SETTINGS, Baseline, Line
from analyzer.alerts.metrics import METRICS, Metric
from analyzer.alerts.prometheus import RECORDED, RULES_FILE, TESTS_FILE, Timing, generate
from analyzer.alerts.rules import rules
from instrument.errors import PolicyError
from instrument.policy import (
    Alerts,
    Context,
    Cost,
    InvalidArguments,
    Loops,
    Policy,
    Stuck,
    ToolErrors,
    UnknownTools,
    parse_policy,
)

PROMTOOL = shutil.which("promtool")
if PROMTOOL is None and os.environ.get("CI"):
    pytest.fail("CI must have promtool (Debian package prometheus)", pytrace=False)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian package prometheus) is not installed")

counts = st.integers(1, 10**9) | st.integers(1, 12)
shares = st.floats(0, 1, exclude_min=True)
money = st.floats(0, 1e9, exclude_min=True) | st.floats(0.01, 100)
ratios = st.floats(1, 1e6, exclude_min=True)
policies = st.builds(
    Policy,
    tool_errors=st.builds(ToolErrors, same_failure_calls=counts, failed_calls=counts),
    loops=st.builds(Loops, same_call_repeats=counts, same_call_error_repeats=counts),
    context=st.builds(
        Context, warn_share=shares, error_share=shares, forecast_turns=counts, forecast_share=shares
    ),
    unknown_tools=st.builds(UnknownTools, calls=counts, error_calls=counts),
    invalid_arguments=st.builds(InvalidArguments, calls=counts, error_calls=counts),
    stuck=st.builds(Stuck, same_output_repeats=counts, output_chars=counts),
    cost=st.builds(
        Cost, outlier_deviations=st.floats(0, 1e6, exclude_min=True), outlier_ratio=ratios, outlier_runs=counts, run_usd=money,
        user_day_limit_usd=st.none() | money,
    ),
    alerts=st.builds(
        Alerts, silent_seconds=st.floats(0.1, 1e6), tool_failure_share=shares, tool_failure_calls=counts, loop_share=shares,
        loop_runs=counts, guard_stops=counts, spike_ratio=ratios, spike_usd=money, day_usd=st.none() | money,
        fast_burn=ratios, slow_burn=ratios,
        user_day_share=shares, review_seconds=st.floats(0.1, 1e6), model_failure_share=shares, model_failure_error_share=shares,
        model_failure_calls=counts, model_refusals=counts, model_retry_ratio=st.floats(0, 1e6, exclude_min=True),
    ),
)  # fmt: skip
HOSTILE = (
    'quo"te', "back\\slash", "new\nline", "{{ .Labels.agent_name }}", "{{ template }}", "{{ end }}{{", "} 1\nup 0", "\x00\x1b[31m",
    "ünï\u2028", "# HELP", "", " ", "'", "`", "%q %s", "$value", "- a: b", "|", "</script>", "\ufeff", "\U0001f600", "\u0301", "[x](y)",
)  # fmt: skip
EVERY_NAME = tuple(
    Baseline(metric, tuple(Line((name,) * len(metric.labels), 0.5, 40, name) for name in HOSTILE))
    for metric in SETTINGS
)
names = st.sampled_from(HOSTILE) | st.text(max_size=12)


def lines_of(metric: Metric) -> st.SearchStrategy[Baseline]:
    """A few lines with hostile names, one of them unknown."""
    values = shares if "share" in metric.name else st.floats(0, 1e9, exclude_min=True)
    labels = st.tuples(*[names] * len(metric.labels))
    line = st.builds(Line, labels, values, st.integers(0, 10**6), names)
    lines = st.lists(line, max_size=6, unique_by=lambda one: one.labels)
    return lines.map(lambda some: Baseline(metric, (*some, Line(("?",) * len(metric.labels), None, 3, "Not known."))))


baselines = st.tuples(*map(lines_of, SETTINGS))
timings = st.builds(
    Timing, st.sampled_from([10, 15, 30, 60]), st.sampled_from([0, 30, 45, 60, 300]), st.sampled_from([0, 100, 300])
)


def promtool(
    folder: Path, policy: Policy, timing: Timing | None = None, lines: Sequence[Baseline] = ()
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """`check rules` and `test rules` over the files of `policy`, written to `folder`."""
    for name, text in generate(policy, timing, baselines=lines).items():
        (folder / name).write_text(text, "utf-8")
    return run(folder, "check", RULES_FILE), run(folder, "test", TESTS_FILE)


def run(folder: Path, verb: str, name: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL
    return subprocess.run([PROMTOOL, verb, "rules", name], cwd=folder, capture_output=True, text=True, check=False)


@needs_promtool
def test_every_rule_of_the_default_policy_fires_and_stays_quiet_as_its_cases_say(tmp_path: Path) -> None:
    check, test = promtool(tmp_path, Policy())
    assert check.returncode == 0, check.stderr
    assert f"{len(rules(Policy())) + len(RECORDED)} rules found" in check.stdout
    assert test.returncode == 0, test.stderr


@needs_promtool
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking would start promtool for minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(Policy(cost=Cost(outlier_deviations=1e6, outlier_ratio=1e6, run_usd=1e9)), Timing(), EVERY_NAME)
@given(policies, timings, baselines)
def test_any_valid_policy_and_any_names_give_rules_that_promtool_accepts_and_that_pass_their_own_tests(
    tmp_path: Path, policy: Policy, timing: Timing, lines: tuple[Baseline, ...]
) -> None:
    assert msgspec.convert(msgspec.to_builtins(policy), Policy) == policy  # the strategy makes valid policies only
    check, test = promtool(tmp_path, policy, timing, lines)
    assert check.returncode == 0, check.stderr
    assert test.returncode == 0, test.stderr


@needs_promtool
def test_a_rule_with_another_threshold_fails_the_tests_of_the_policy(tmp_path: Path) -> None:
    for name, text in generate(Policy()).items():
        (tmp_path / name).write_text(
            text.replace("flyball_repeated_outputs_max >= 3", "flyball_repeated_outputs_max >= 2")
        )
    failed = run(tmp_path, "test", TESTS_FILE)
    assert failed.returncode == 1
    assert "FlyballRepeatedOutput" in failed.stderr


def test_each_failure_mode_has_a_rule_and_each_rule_knows_only_declared_metrics() -> None:
    found = rules(Policy())
    assert {r.detectors[0] for r in found if r.detectors} >= {
        "error_cascade", "repeated_call", "context_growth", "unknown_tool", "repeated_output", "cost_outlier",
    }  # fmt: skip
    assert all(metric in METRICS for rule in found for metric in rule.when.metrics())
    assert all(metric.name in rule.expr for rule in found for metric in rule.fires.samples)
    assert all(set(metric.labels) == set(rule.labels) for rule in found for metric in rule.when.metrics())


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (Policy(loops=Loops(same_call_repeats=7, same_call_error_repeats=23)), "flyball_repeated_calls_max >= 7 < 23"),
        (Policy(tool_errors=ToolErrors(failed_calls=41)), "flyball_failed_calls_max >= 41"),
        (Policy(tool_errors=ToolErrors(same_failure_calls=43)), "flyball_same_failures_max >= 43"),
        (Policy(context=Context(warn_share=0.31, error_share=0.32)), "flyball_context_share_max >= 0.31 < 0.32"),
        (Policy(context=Context(forecast_turns=47)), "flyball_context_turns_left_min <= 47"),
        (Policy(context=Context(forecast_share=0.47)), "flyball_context_share_max >= 0.47"),
        (Policy(unknown_tools=UnknownTools(calls=5, error_calls=53)), "flyball_unknown_tool_calls_max >= 5 < 53"),
        (Policy(stuck=Stuck(same_output_repeats=59)), "flyball_repeated_outputs_max >= 59"),
        (Policy(cost=Cost(run_usd=0.61)), "flyball_run_cost_usd_max >= 0.61"),
        (Policy(cost=Cost(outlier_ratio=6.7)), "6.7 * flyball_group_cost_usd_median"),
        (Policy(cost=Cost(outlier_deviations=7.1)), "7.1 * flyball_group_cost_log_deviation"),
        (Policy(cost=Cost(outlier_runs=73)), "flyball_group_runs >= 73"),
    ],
)  # fmt: skip
def test_thresholds_come_from_the_policy(changed: Policy, expected: str) -> None:
    assert any(expected in rule.expr for rule in rules(changed))
    assert not any(expected in rule.expr for rule in rules(Policy()))


@pytest.mark.parametrize(
    "field", [f.name for f in msgspec.structs.fields(Alerts) if not f.name.startswith("baseline_")]
)  # those are driven in test_alerts_baselines.py
def test_every_line_of_the_alerts_section_moves_a_rule(field: str) -> None:
    spending = Policy(alerts=Alerts(day_usd=240.0), cost=Cost(user_day_limit_usd=100.0))
    doubled = getattr(spending.alerts, field) * 2
    moved = msgspec.structs.replace(spending, alerts=msgspec.structs.replace(spending.alerts, **{field: doubled}))
    assert [r.expr for r in rules(moved)] != [r.expr for r in rules(spending)]


def test_an_error_threshold_below_the_warning_leaves_one_critical_rule() -> None:
    found = [
        r
        for r in rules(Policy(loops=Loops(same_call_repeats=9, same_call_error_repeats=2)))
        if r.alert == "FlyballRepeatedCall"
    ]
    assert [(r.severity, r.expr) for r in found] == [("critical", "flyball_repeated_calls_max >= 9")]


@pytest.mark.parametrize("value", ["1e300", "inf", "-1.0", "nan"])
def test_thresholds_beyond_any_use_are_no_policy(value: str) -> None:
    """The rules' property above holds for every policy that can be written, since these cannot."""
    with pytest.raises(PolicyError, match="run_usd"):
        parse_policy(tomllib.loads(f"[cost]\nrun_usd = {value}"))
