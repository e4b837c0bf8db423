"""tau2-bench results: one document with many simulations, each a talk between an agent and a simulated user, both of them models.

A simulation becomes two runs of one conversation, because both call models and tools and both were paid for: the agent's, which has the
outcome, and the user's, seen from the other side. Format: github.com/sierra-research/tau2-bench (`Results`, `SimulationRun`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from analyzer.readers import openai_messages
from analyzer.readers.agent_runs import (
    FAILURE,
    OUTCOME,
    OUTCOME_REASON,
    OUTCOME_SCORE,
    REPORTED_COST_USD,
    SUCCESS,
    TASK,
    Message,
    Run,
    Spans,
    answered,
    inferred,
    odd_record,
    reported,
    said,
    words,
    written,
)
