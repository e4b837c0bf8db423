"""Why a run ended."""

from __future__ import annotations

from enum import StrEnum


class StopReason(StrEnum):
    """Exactly one per run. Where a guard stopped it, the guard's slug, which is also that of the detector that finds the same."""

    COMPLETED = "completed"
    """The model gave its answer, or called `task_complete`."""
    MAX_TOKENS = "max_tokens"
    """The answer was cut at its token limit, after the continuations that the policy allows."""
    REFUSED = "refused"
    """The model refused to answer."""
    MODEL_ERROR = "model_error"
    """The model could not be reached, or answered with an error that retries did not cure."""
    CANCELLED = "cancelled"
    """The caller gave up: a cancelled task, an abandoned stream, Ctrl-C."""

    INTERNAL_ERROR = "internal_error"
    """A defect of flyball's; the result's `error` says which."""

    TURN_LIMIT = "turn_limit"
    TOOL_CALL_LIMIT = "tool_call_limit"
    TIME_LIMIT = "time_limit"

    REPEATED_CALL = "repeated_call"
    CALL_CYCLE = "call_cycle"
    NEAR_REPEAT = "near_repeat"
    NO_PROGRESS = "no_progress"
    ERROR_CASCADE = "error_cascade"
    UNKNOWN_TOOL = "unknown_tool"
    INVALID_ARGUMENTS = "invalid_arguments"
    REPEATED_OUTPUT = "repeated_output"
    EMPTY_RESPONSE = "empty_response"
    NULL_INPUT = "null_input"
    CONTEXT_OVERFLOW = "context_overflow"
    """The conversation does not fit the model's window, even compacted."""

    RUN_BUDGET = "run_budget"
    USER_BUDGET = "user_budget"
    UNKNOWN_PRICE = "unknown_price"
    """The policy refuses models whose price is not known."""
    REVIEW_DENIED = "review_denied"
    REVIEW_PENDING = "review_pending"
    """Nobody has answered yet; the run can be resumed when somebody has."""
