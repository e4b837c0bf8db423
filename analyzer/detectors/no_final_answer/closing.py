"""Tool calls with which a run rightly ends: they hand in the answer, or hand over."""

from __future__ import annotations

from typing import Final

CLOSING_TOOLS: Final = (
    r"(?i)^(mcp__\w+?__)?(submit|finish|finali[sz]e|final(_?(answer|result|output|response|report))?|task_?complete[d]?|complete_?task"
    r"|attempt_completion|mark_?(as_)?(done|complete[d]?)|done|exit|quit|terminate|stop|end(_?(conversation|session|call|task|turn|chat|run))?"
    r"|(give|return|provide|send|output|deliver|report)_?(the_)?(final_)?(answer|result|results|response|reply|message)"
    r"|structured_?output|respond(_to_user)?|reply(_to_user)?|answer(_user)?|message_user|ask_?(user|human)\w*|ask_?followup_question"
    r"|(hand_?off|transfer|escalate|delegate)(_\w+)?|exit_?plan_?mode)(_\w{0,12}|_?tool)?$"
)
"""Names of tools after whose call no model need speak again: those of SWE-agent, smolagents, pydantic-ai, Claude Code, Cline, OpenHands,
tau-bench, OpenAI's and LangGraph's handoffs, our own `task_complete`, and what they have in common."""
CLOSING_COMMANDS: Final = r"(?i)COMPLETE_TASK|SUBMIT_FINAL|TASK_COMPLETE|^\W*(command\W+)?(submit|exit|finish)\b"
"""What a shell is told to end the run, in the call's arguments."""
