"""Traces for `ignored_error`, from both sides."""

from __future__ import annotations

from typing import Any, Final

from analyzer.cases import DIALECTS, Call, Case, Found, agent_run, rejected_call, says, tool_call, turn

_WORDS: Final = frozenset(DIALECTS) - {"hashed"}
"""Dialects that record what the model said."""
_FLAGS: Final = _WORDS - {"messages_only"}
_SPANS: Final = frozenset(DIALECTS) - {"messages_only"}
_BOAST: Final = says("All done: the mail has been sent to Ann.")


def _send(error: str | None = "SmtpError", text: str = "550 mailbox unknown", **arguments: Any) -> Call:
    return tool_call("send_mail", {"to": "ann", **arguments}, text if error else "sent", error=error)


def _read(number: int, error: str | None = None) -> Call:
    return tool_call("read_file", {"path": f"{number}.md"}, f"notes of day {number}", error=error)


def _look(error: str | None = "LookupError") -> Call:
    return tool_call("get_weather", {"city": "Bern"}, "no data for this place", error=error)


CASES: Final = (
    Case(
        "the mail was not sent",
        [_read(1), _send(), _BOAST],
        [Found("ignored_error", turns=(2, 2), severity="warning")],
        only=_WORDS,
    ),
    Case(
        "and nothing is said of it",
        [_read(1), _send(), _read(2), says("The notes of both days speak of the garden.")],
        [Found("ignored_error", turns=(2, 2), severity="warning")],
        only=_WORDS,
    ),
    Case(
        "only the text of the result says so",
        [_read(1), tool_call("send_mail", {"to": "ann"}, "Error: 550 mailbox unknown"), _BOAST],
        [Found("ignored_error", turns=(2, 2), severity="warning")],
        only=_WORDS,
    ),
    Case(
        "tried again in vain",
        [_send(), _send(text="421 try later", to="ann@example.org"), _BOAST],
        [Found("ignored_error", turns=(1, 2), severity="warning")],
        only=_WORDS,
    ),
    Case(
        "a lookup weighs less",
        [_look(), says("It is going to be sunny in Bern, with 24 degrees.")],
        [Found("ignored_error", turns=(1, 1), severity="info")],
        only=_FLAGS,
    ),
    Case(
        "a change by shell",
        [
            tool_call("bash", {"command": "git push origin main"}, "rejected", error="ExitCode"),
            says("I have pushed it. Done."),
        ],
        [Found("ignored_error", turns=(1, 1), severity="warning")],
        only=_WORDS,
    ),
    Case("quiet: it says so", [_send(), says("The mail could not be sent: Ann's mailbox is unknown.")], []),
    Case("quiet: it says so in German", [_send(), says("Die Mail an Ann kam leider zurück.")], []),
    Case("quiet: it says so in Japanese", [_send(), says("メールは送信できませんでした。")], []),
    Case(
        "quiet: it said so on the way",
        [
            _send(),
            turn(_read(1), text="That did not work: the mailbox is unknown."),
            says("The notes speak of the garden."),
        ],
        [],
    ),
    Case("quiet: it worked the second time", [_send(), _send(None), _BOAST], []),
    Case(
        "quiet: another tool made up for it",
        [_send(), tool_call("post_message", {"to": "ann"}, "posted"), says("Ann has been told. Done.")],
        [],
    ),
    Case(
        "quiet: another file could be read",
        [_read(1, "NotFound"), _read(2), says("The notes speak of the garden.")],
        [],
    ),
    Case(
        "quiet: tests that fail are a result",
        [tool_call("run_tests", {}, "FAILED (failures=2)"), says("That is as far as I got today.")],
        [],
    ),
    Case("quiet: refused by a guard", [rejected_call("send_mail", {"to": "ann"}, "refused"), _BOAST], [], only=_SPANS),
    Case(
        "quiet: the run was cut",
        [agent_run([_send(), turn(_read(1), text="Next I am going to read the notes.")], ended=False)],
        [],
    ),
    Case("quiet: nothing failed", [_send(None), _BOAST], []),
)
