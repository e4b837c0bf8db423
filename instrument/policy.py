"""The policy: every threshold of every failure mode, once. Guards, detectors, replay and alerts all read it from here.

A policy is one frozen value. It comes from `flyball.toml` (or `[tool.flyball]` in `pyproject.toml`); what a file leaves out has
the default.
Each field names its unit and says in a sentence what it means; `docs/policy.md` is generated from these.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from instrument.errors import PolicyError

# The upper ends are beyond any use, and keep every threshold exact in the floating point of monitoring systems.
Count = Annotated[int, Meta(ge=1, le=10**9)]
Share = Annotated[float, Meta(gt=0, le=1)]
Money = Annotated[float, Meta(gt=0, le=1e9)]


class ToolErrors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tool errors that cascade."""

    same_failure_calls: Annotated[
        Count,
        Meta(
            description="Calls of one tool failing the same way, with no success of that tool between, that make a cascade."
        ),
    ] = 3
    failed_calls: Annotated[
        Count,
        Meta(description="Failed calls in a row, of whatever tools and for whatever reasons, that make a cascade."),
    ] = 5
    error_calls: Annotated[
        Count,
        Meta(description="Failed turns from which a cascade that nothing ended is an error and no longer a warning."),
    ] = 6


class Loops(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Infinite loops."""

    same_call_repeats: Annotated[
        Count,
        Meta(description="Turns in which one call with the same arguments gave the same result, that make a loop."),
    ] = 4
    same_call_error_repeats: Annotated[
        Count, Meta(description="Repeats from which a loop is an error and no longer a warning.")
    ] = 8
    same_call_gap_turns: Annotated[
        Count, Meta(description="Turns after which asking the same again is no longer part of the same loop.")
    ] = 8


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Context overflow."""

    warn_share: Annotated[
        Share, Meta(description="Share of the model's context window in use from which growth is reported.")
    ] = 0.7
    error_share: Annotated[Share, Meta(description="Share of the window from which the report is an error.")] = 0.9
    forecast_turns: Annotated[
        Count,
        Meta(description="Growth is reported when the window would be full within so many turns at the present rate."),
    ] = 10
    forecast_share: Annotated[
        Share, Meta(description="A forecast is made only above this share of the window: below it any run 'grows'.")
    ] = 0.4
    windows: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        Meta(description="Context windows in tokens by model name, where ours are wrong or missing."),
    ] = {}


class UnknownTools(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hallucinated tool calls."""

    calls: Annotated[
        Count, Meta(description="Calls of one tool that was not declared in the request, from which it is reported.")
    ] = 1
    error_calls: Annotated[
        Count, Meta(description="Calls from which the report is an error: the model does not learn from the refusal.")
    ] = 3


class Stuck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stuck states."""

    same_output_repeats: Annotated[
        Count, Meta(description="Turns with the same or nearly the same answer that make a stuck state.")
    ] = 3
    same_output_error_repeats: Annotated[
        Count, Meta(description="Repeats from which a stuck state is an error and no longer a warning.")
    ] = 6
    output_chars: Annotated[
        Count, Meta(description="Answers shorter than this are not compared: 'Done.' twice is no stuck state.")
    ] = 20


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost explosions."""

    outlier_deviations: Annotated[
        float,
        Meta(
            gt=0,
            le=1e6,
            description="Robust standard deviations (1.4826 MAD of log cost) above the median of its group that make a run an outlier.",
        ),
    ] = 3.5
    outlier_ratio: Annotated[
        float,
        Meta(
            gt=1,
            le=1e6,
            description="An outlier costs at least this many times the median of its group, however even the group is.",
        ),
    ] = 3.0
    outlier_usd: Annotated[
        Money, Meta(description="Cost of one run in US dollars below which it is nobody's concern, however unusual.")
    ] = 0.1
    outlier_runs: Annotated[
        Count, Meta(description="Runs of the same agent and model needed before the group says what is usual.")
    ] = 12
    run_usd: Annotated[
        Money,
        Meta(
            description="Cost of one run in US dollars from which it is reported when there are too few runs to compare."
        ),
    ] = 5.0
    error_ratio: Annotated[
        float,
        Meta(
            gt=1,
            le=1e6,
            description="Times the median (or `run_usd`) from which an expensive run is an error and no longer a warning.",
        ),
    ] = 10.0


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All thresholds. `Policy()` is the default policy."""

    tool_errors: ToolErrors = ToolErrors()
    loops: Loops = Loops()
    context: Context = Context()
    unknown_tools: UnknownTools = UnknownTools()
    stuck: Stuck = Stuck()
    cost: Cost = Cost()


def load_policy(path: Path | None = None, *, start: Path | None = None) -> Policy:
    """The policy at `path`; without one, the nearest `flyball.toml` or `[tool.flyball]` at or above `start` (default: here).

    Raises `PolicyError`, naming file and key, where the file cannot be read, is no TOML, or says something a policy does not have.
    """
    return parse_policy(*policy_tables(path, start=start))


def policy_tables(path: Path | None = None, *, start: Path | None = None) -> tuple[dict[str, Any], Path | None]:
    """The decoded tables of the file that `load_policy` takes, prices included, and that file; `({}, None)` where there is none."""
    found = path or _nearest(start or Path.cwd())
    return (_tables(found), found) if found is not None else ({}, None)


def parse_policy(tables: dict[str, Any], path: Path | None = None) -> Policy:
    """A policy from decoded TOML; the `prices` table belongs to `instrument.prices` and is passed over."""
    try:
        return msgspec.convert({k: v for k, v in tables.items() if k != "prices"}, Policy)
    except msgspec.ValidationError as e:
        raise PolicyError(path, f"{e}; `flyball detectors` and docs/policy.md list what a policy may say") from None


def _nearest(start: Path) -> Path | None:
    for folder in (start.resolve(), *start.resolve().parents):
        if (own := folder / "flyball.toml").is_file():
            return own
        project = folder / "pyproject.toml"
        if project.is_file() and "flyball" in _read(project).get("tool", {}):
            return project
    return None


def _tables(path: Path) -> dict[str, Any]:
    document = _read(path)
    if path.name == "pyproject.toml":
        return dict(document.get("tool", {}).get("flyball", {}))
    return document


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise PolicyError(path, f"cannot be read ({e.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise PolicyError(path, f"is no TOML: {e}") from None
