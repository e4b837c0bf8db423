"""The policy: every threshold of every failure mode, once. Guards, detectors, replay and alerts all read it from here.

A policy is one frozen value. It comes from `flyball.toml` (or `[tool.flyball]` in `pyproject.toml`); what a file leaves out has
the default.
Each field names its unit and says in a sentence what it means; `docs/policy.md` is generated from these.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from instrument.errors import PolicyError

# The upper ends are beyond any use, and keep every threshold exact in the floating point of monitoring systems.
Count = Annotated[int, Meta(ge=1, le=10**9)]
Share = Annotated[float, Meta(gt=0, le=1)]
Money = Annotated[float, Meta(gt=0, le=1e9)]
Seconds = Annotated[float, Meta(gt=0, le=1e9)]

NOT_SET: Final = "none"
"""What a file says of a setting that is to have no value though its default is one: TOML has no null."""


class Guards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Live guards."""

    mode: Annotated[
        Literal["enforce", "observe", "off"],
        Meta(
            description="`enforce` the policy while a run goes on, `observe` and record what would have been done, or do nothing "
            "(`off`). Limits, budgets and time-outs hold in any case."
        ),
    ] = "enforce"


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
    storm_calls: Annotated[
        Count, Meta(description="Failed calls of one tool or model within `storm_seconds` that make a retry storm.")
    ] = 5
    storm_seconds: Annotated[Seconds, Meta(description="The time in which these fall.")] = 30.0
    tool_timeout_seconds: Annotated[
        Seconds, Meta(description="A tool call that takes longer is given up, unless the tool has a limit of its own.")
    ] = 120.0
    breaker_seconds: Annotated[
        Seconds,
        Meta(description="How long a tool whose failures look temporary is refused, before one call may try it again."),
    ] = 30.0


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
    poll_seconds: Annotated[
        Seconds,
        Meta(description="A repeated call runs again when it last ran so long ago: its answer may be another by then."),
    ] = 10.0
    cycle_repeats: Annotated[
        Count, Meta(description="Rounds of the same two or more calls with the same results, that make a cycle.")
    ] = 3
    cycle_error_repeats: Annotated[
        Count, Meta(description="Rounds from which a cycle is an error and no longer a warning.")
    ] = 5
    cycle_calls: Annotated[int, Meta(ge=2, le=64, description="Calls in the longest cycle that is looked for.")] = 8
    near_repeats: Annotated[
        Count,
        Meta(
            description="Turns in which one question in other words (another nonce, date, page or order of words) "
            "gave the same result, that make a loop."
        ),
    ] = 5
    near_error_repeats: Annotated[
        Count, Meta(description="Repeats from which such a loop is an error and no longer a warning.")
    ] = 10
    checkpoint_calls: Annotated[
        Count,
        Meta(
            description="After so many tool calls the model is asked for its progress; "
            "if none of them brought a result that was new, the run is stopped."
        ),
    ] = 25
    turns: Annotated[Count, Meta(description="Model calls of one run; the last one is for the final answer.")] = 50
    tool_calls: Annotated[Count, Meta(description="Tool calls of one run.")] = 250
    run_seconds: Annotated[
        Seconds, Meta(description="Wall-clock time of one run, after which the final answer is asked for.")
    ] = 1800.0
    parallel_tools: Annotated[Count, Meta(description="Tool calls of one turn that run at the same time.")] = 8
    final_answer_tokens: Annotated[
        Count, Meta(description="Output tokens for the final answer that is asked for when a guard stops the run.")
    ] = 1024


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
    compact_share: Annotated[
        Share, Meta(description="Share of the window from which the conversation is compacted before it goes on.")
    ] = 0.8
    compaction: Annotated[
        Literal["auto", "edit", "summary", "off"],
        Meta(
            description="How: `edit` by the API's context editing, `summary` by a summary that a model writes, "
            "`auto` by editing where the model has it, `off` not at all."
        ),
    ] = "auto"
    summary_model: Annotated[
        str, Meta(description="Model that writes the summary, a cheaper one for example; empty: the run's own.")
    ] = ""
    summary_tokens: Annotated[Count, Meta(description="Output tokens of a summary at most.")] = 2048
    keep_turns: Annotated[Count, Meta(description="Turns at the end that compaction leaves word for word.")] = 3
    result_chars: Annotated[
        Annotated[int, Meta(ge=200, le=10**9)],
        Meta(
            description="A longer tool result is cut in the middle; the whole of it stays where the agent can fetch it."
        ),
    ] = 50_000
    result_share: Annotated[
        Share, Meta(description="A tool result that takes more than this share of the window is reported.")
    ] = 0.15
    cache_bust_tokens: Annotated[
        Count,
        Meta(
            description="Tokens that were in the prompt cache and were paid for anew, of one run, from which it is reported."
        ),
    ] = 50_000
    count_tokens: Annotated[
        Literal["never", "near"],
        Meta(
            description="Whether the API counts the tokens of a request when our estimate comes near a limit (`near`)."
        ),
    ] = "never"


class UnknownTools(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hallucinated tool calls."""

    calls: Annotated[
        Count, Meta(description="Calls of one tool that was not declared in the request, from which it is reported.")
    ] = 1
    error_calls: Annotated[
        Count, Meta(description="Calls from which the report is an error: the model does not learn from the refusal.")
    ] = 3


class InvalidArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls whose arguments do not fit the tool."""

    calls: Annotated[
        Count,
        Meta(
            description="Turns in which one tool was called with arguments that do not fit its schema, from which it is reported."
        ),
    ] = 2
    error_calls: Annotated[
        Count, Meta(description="Turns from which the report is an error: the model does not learn from the refusal.")
    ] = 4


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
    empty_answers: Annotated[
        Count, Meta(description="Answers in a row with neither words nor a tool call that make a stuck state.")
    ] = 2
    idle_answers: Annotated[
        Count,
        Meta(
            description="Answers in a row that announce an action and take none, after which the last one is taken as it is."
        ),
    ] = 2
    null_input_calls: Annotated[
        Count,
        Meta(
            description="Turns in a row in which a tool was called with nothing but empty values, that make a stuck state."
        ),
    ] = 3
    null_input_error_calls: Annotated[
        Count, Meta(description="Turns from which that is an error and no longer a warning.")
    ] = 5
    gap_seconds: Annotated[
        Seconds,
        Meta(
            description="Time in a run in which nothing was under way and nobody was asked, from which it is reported."
        ),
    ] = 300.0
    continuations: Annotated[
        Count, Meta(description="How often an answer that was cut at its token limit is continued.")
    ] = 2


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

    run_limit_usd: Annotated[
        Money | None,
        Meta(
            description="US dollars that one run may cost, its sub-agents included; no request is sent that could cross it. "
            'In a file `"none"` is no limit.'
        ),
    ] = 10.0
    user_day_limit_usd: Annotated[
        Money | None,
        Meta(description="US dollars that all runs of one user may cost in one UTC day; needs a user and a ledger."),
    ] = None
    unknown_price: Annotated[
        Literal["refuse", "warn"],
        Meta(
            description="What a budget does with a model whose price is not known: `refuse` the call, or `warn` and go on uncounted."
        ),
    ] = "warn"
    min_output_tokens: Annotated[
        Count, Meta(description="A request is not worth sending when less output than this would fit the budget.")
    ] = 256
    reservation_seconds: Annotated[
        Seconds, Meta(description="After this time a reservation whose process has died is released.")
    ] = 900.0


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Human review of expensive requests."""

    over_usd: Annotated[
        Money | None,
        Meta(
            description="A run asks before it spends more than this many US dollars, and again after each further amount of that size."
        ),
    ] = None
    timeout_seconds: Annotated[Seconds, Meta(description="How long a run waits for an answer.")] = 3600.0
    on_timeout: Annotated[
        Literal["deny", "approve", "pause"],
        Meta(
            description="What no answer means; `pause` ends the run so that another process can resume it once there is one."
        ),
    ] = "deny"


class ModelCalls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests to the model that fail."""

    retries: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="How often a request is sent again after an error that may pass (408, 409, 429, 5xx, no connection).",
        ),
    ] = 2
    retry_seconds: Annotated[
        Seconds,
        Meta(
            description="Wait before the first retry, unless the server names one; doubled each time, at most 16 times this."
        ),
    ] = 0.5
    timeout_seconds: Annotated[
        Seconds, Meta(description="A request is given up when the server has been silent for so long.")
    ] = 600.0


class Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines that only alerts have: they are about many runs, or about a run that has not ended."""

    silent_seconds: Annotated[
        Seconds,
        Meta(description="A run in which nothing has begun or ended for so long, and which has not ended, hangs."),
    ] = 900.0
    tool_failure_share: Annotated[
        Share,
        Meta(description="Share of a tool's calls of the last ten minutes that failed, from which it is reported."),
    ] = 0.5
    tool_failure_calls: Annotated[
        Count, Meta(description="Calls of the tool in these ten minutes needed before a share says anything.")
    ] = 10
    model_failure_share: Annotated[
        Share,
        Meta(
            description="Share of the requests to a model of the last ten minutes that failed after all retries, from which it is reported."
        ),
    ] = 0.2
    model_failure_error_share: Annotated[Share, Meta(description="The same share from which somebody is woken.")] = 0.5
    model_failure_calls: Annotated[
        Count, Meta(description="Requests to the model in these ten minutes needed before a share says anything.")
    ] = 5
    model_refusals: Annotated[
        Count,
        Meta(
            description="Requests of these ten minutes that the provider refused for the key, its rights or the account's balance, "
            "from which somebody is woken."
        ),
    ] = 3
    model_retry_ratio: Annotated[
        float,
        Meta(
            gt=0,
            le=1e6,
            description="Times that a request to a model was sent again on average in these ten minutes, from which it is reported.",
        ),
    ] = 0.5
    loop_share: Annotated[
        Share, Meta(description="Share of an agent's runs of the last hour in which a loop was seen.")
    ] = 0.1
    loop_runs: Annotated[Count, Meta(description="Runs in that hour needed before a share says anything.")] = 10
    guard_stops: Annotated[
        Count, Meta(description="Runs of one agent that guards stopped within an hour, from which it is reported.")
    ] = 3
    spike_ratio: Annotated[
        float,
        Meta(
            gt=1,
            le=1e6,
            description="Times what the same hour of the day usually costs, from which the last hour is a spike.",
        ),
    ] = 3.0
    spike_usd: Annotated[
        Money, Meta(description="US dollars that the last hour must have cost at least to be a spike.")
    ] = 5.0
    day_usd: Annotated[
        Money | None,
        Meta(
            description="US dollars that all agents may spend in a day: nothing is stopped, the rate of spending alerts."
        ),
    ] = None
    fast_burn: Annotated[
        float,
        Meta(
            gt=0,
            le=1e6,
            description="Times the even rate (`day_usd` / 24 an hour) at which the last hour and the last 5 minutes spent: page.",
        ),
    ] = 6.0
    slow_burn: Annotated[
        float,
        Meta(gt=0, le=1e6, description="The same for the last 6 hours and the last 30 minutes: a warning."),
    ] = 2.0
    user_day_share: Annotated[
        Share,
        Meta(description="Share of `cost.user_day_limit_usd` that one user has spent, from which it is reported."),
    ] = 0.8
    review_seconds: Annotated[
        Seconds, Meta(description="A request that waits for a person for so long is reported.")
    ] = 600.0
    baseline_runs: Annotated[
        Count,
        Meta(
            description="Recorded runs (of a tool: calls) needed before `flyball alerts generate --db` takes a line from them; "
            "with fewer the line is the one of this policy."
        ),
    ] = 20
    baseline_quantile: Annotated[
        Share, Meta(description="What this share of the healthy runs stays within is usual: for cost and for silence.")
    ] = 0.99
    baseline_ratio: Annotated[
        float, Meta(ge=1, le=1e6, description="Times what is usual, from which cost or silence is reported.")
    ] = 2.0
    baseline_chance: Annotated[
        Share,
        Meta(
            description="A share of failing calls or looping runs is reported where chance alone would bring it about less often than this."
        ),
    ] = 0.001


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All thresholds. `Policy()` is the default policy."""

    guards: Guards = Guards()
    tool_errors: ToolErrors = ToolErrors()
    loops: Loops = Loops()
    context: Context = Context()
    unknown_tools: UnknownTools = UnknownTools()
    invalid_arguments: InvalidArguments = InvalidArguments()
    stuck: Stuck = Stuck()
    cost: Cost = Cost()
    review: Review = Review()
    model_calls: ModelCalls = ModelCalls()
    alerts: Alerts = Alerts()


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
        return msgspec.convert({k: _with_unset(k, v) for k, v in tables.items() if k != "prices"}, Policy)
    except msgspec.ValidationError as e:
        raise PolicyError(path, f"{e}; `flyball detectors` and docs/policy.md list what a policy may say") from None


def _with_unset(section: str, table: Any) -> Any:
    """A table of a file with None where it says `NOT_SET` of a setting that may have no value."""
    if not isinstance(table, dict) or NOT_SET not in table.values():
        return table
    struct = next((field.type for field in msgspec.structs.fields(Policy) if field.name == section), None)
    hints = get_type_hints(struct) if struct else {}
    return {k: None if v == NOT_SET and type(None) in get_args(hints.get(k)) else v for k, v in table.items()}


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
