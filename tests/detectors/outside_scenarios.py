"""Runs as a stranger would make them, and the alarm (severity warning or higher) each must raise: none, or exactly one.

Written without a look at how detectors or the accuracy suite's injectors work; what was wrong when they were first run stays here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from analyzer.cases import Call, Entry, says, tool_call, turn, user

DONE: Final = says("Done: the report is written, and the numbers in it were checked against the source.")
_SHELL: Final = "/bin/bash: line {}: cd: fastjson/: No such file or directory"


def _each(count: int, name: str, arguments: Any, result: Any, **facts: Any) -> list[Entry]:
    """`count` turns with one call; `arguments` and `result` are values, or functions of the turn's number."""

    def of(value: Any, number: int) -> Any:
        return value(number) if callable(value) else value

    return [tool_call(name, of(arguments, n), of(result, n), **facts) for n in range(count)]


def _pages(count: int, result: Any) -> list[Entry]:
    return _each(count, "list_orders", lambda n: {"page": n + 1}, result)


def _failing(count: int, result: Any) -> list[Entry]:
    """Far enough apart to be no storm."""
    return [
        turn(Call("fetch_url", {"url": f"https://example.org/{n}"}, result), pause_seconds=20) for n in range(count)
    ]


def _looking(count: int, results: Any) -> list[Entry]:
    """Different looks with harmless answers, some of which speak of errors."""
    return _each(count, "search_logs", lambda n: {"query": f"service {n}"}, results)


_A: Final = tool_call("list_files", {"path": "src"}, "main.py\nutil.py")
_B: Final = tool_call("read_file", {"path": "src/main.py"}, "import util\nutil.run()")
_C: Final = tool_call("grep", {"pattern": "run", "path": "src"}, "src/main.py:2:util.run()")

FAILING: Final[dict[str, tuple[str, Sequence[Entry]]]] = {
    # loops
    "the same search ten times": ("repeated_call", [*_each(10, "search", {"q": "refund"}, "no results"), DONE]),
    "arguments in another order of keys": (
        "repeated_call",
        [*_each(6, "f", lambda n: {"a": 1, "b": 2} if n % 2 else {"b": 2, "a": 1}, "nothing"), DONE],
    ),
    "two calls in turn": ("call_cycle", [*[_A, _B] * 6, DONE]),
    "three calls in turn": ("call_cycle", [*[_A, _B, _C] * 5, DONE]),
    "calls in no order, again and again": (
        "repeated_call",
        [*[_A, _B, _C, _B, _A, _C, _C, _A, _B, _A, _C, _B, _B, _C, _A], DONE],
    ),
    "a request id in each": (
        "near_repeat",
        [*_each(10, "search", lambda n: {"q": "refund policy", "request_id": f"r-{n}"}, "no results"), DONE],
    ),
    "the same words in another order": (
        "near_repeat",
        [
            *_each(
                8,
                "search",
                lambda n: {
                    "q": " ".join(
                        ["refund", "policy", "germany", "shop"][n % 4 :]
                        + ["refund", "policy", "germany", "shop"][: n % 4]
                    )
                },
                "no results",
            ),
            DONE,
        ],
    ),
    "pages beyond the end": ("near_repeat", [*_pages(12, "[]"), DONE]),
    "one text written into a file again and again": (
        "repeated_call",
        [
            *_each(
                12,
                "edit_file",
                {"path": "a.py", "insert": "import os", "line": 1},
                lambda n: f"[a.py has {13 + n} lines]\nimport os",
            ),
            DONE,
        ],
    ),
    "one message sent again and again": (
        "repeated_call",
        [
            *_each(
                9, "send_message", {"to": "ops", "text": "please restart"}, lambda n: {"id": f"m{n}17", "sent": True}
            ),
            DONE,
        ],
    ),
    "a shell that edits by its own command": (
        "repeated_call",
        [
            *_each(
                12,
                "bash",
                {"command": "edit 1:1\nimport json\nend_of_edit"},
                lambda n: f"[File: /a.py ({20 + n} lines total)]\n1:import json",
            ),
            DONE,
        ],
    ),
    "a loop before a good end": ("repeated_call", [*_each(6, "search", {"q": "x"}, "none"), _A, _B, _C, DONE]),
    "a loop cut off": ("repeated_call", _each(12, "search", {"q": "x"}, "none")),
    # failures that nobody flagged
    "a shell that counts its lines": (
        "error_cascade",
        [*_each(20, "bash", {"command": "cd fastjson/"}, lambda n: _SHELL.format(13038 + 15 * n)), DONE],
    ),
    "commands that are not there": (
        "error_cascade",
        [*_each(7, "bash", lambda n: {"command": f"mvn test -pl m{n}"}, "bash: mvn: command not found"), DONE],
    ),
    "failed to": ("error_cascade", [*_failing(6, "Failed to fetch: getaddrinfo ENOTFOUND"), DONE]),
    "unable to": ("error_cascade", [*_failing(6, "Unable to connect to the host"), DONE]),
    "success false": ("error_cascade", [*_failing(6, {"success": False, "reason": "quota"}), DONE]),
    "ok false": ("error_cascade", [*_failing(6, {"ok": False, "error": "not_in_channel"}), DONE]),
    "isError": (
        "error_cascade",
        [*_failing(6, {"isError": True, "content": [{"type": "text", "text": "boom"}]}), DONE],
    ),
    "an HTTP status and its reason": ("error_cascade", [*_failing(6, {"status": 503, "message": "upstream"}), DONE]),
    "an HTTP status line": ("error_cascade", [*_failing(6, "HTTP 502 Bad Gateway"), DONE]),
    "a detail alone": ("error_cascade", [*_failing(6, {"detail": "Not authenticated"}), DONE]),
    "an error in a wrapper": ("error_cascade", [*_failing(6, {"result": "Error: timed out"}), DONE]),
    "GraphQL": ("error_cascade", [*_failing(6, {"data": None, "errors": [{"message": "no field"}]}), DONE]),
    "a Lambda": ("error_cascade", [*_failing(6, {"errorType": "KeyError", "errorMessage": "'id'"}), DONE]),
    "a traceback": (
        "error_cascade",
        [*_failing(6, 'Traceback (most recent call last):\n  File "a.py", line 1\nKeyError'), DONE],
    ),
    "German": ("error_cascade", [*_failing(6, "Fehler beim Abrufen der Seite"), DONE]),
    "Spanish": ("error_cascade", [*_failing(6, "Error al conectar con el servidor"), DONE]),
    "French": ("error_cascade", [*_failing(6, "Impossible de se connecter"), DONE]),
    "Portuguese": ("error_cascade", [*_failing(6, "Falha ao abrir o arquivo"), DONE]),
    "Russian": ("error_cascade", [*_failing(6, "Ошибка: соединение разорвано"), DONE]),
    "Chinese": ("error_cascade", [*_failing(6, "请求失败\uff1a连接超时"), DONE]),
    "Japanese": ("error_cascade", [*_failing(6, "エラー\uff1a接続できません"), DONE]),
    "with a sign before it": ("error_cascade", [*_failing(6, "❌ Could not save the page"), DONE]),
    "an editor that refuses": (
        "error_cascade",
        [
            *_each(
                6,
                "str_replace",
                lambda n: {"path": "a.py", "old": f"x{n}"},
                lambda n: f"No replacement was performed, old_str `x{n}` did not appear verbatim",
            ),
            DONE,
        ],
    ),
    # tools and arguments
    "a tool that was made up": (
        "unknown_tool",
        [
            _A,
            *[
                tool_call("fetch_everything", {"n": n}, "Unknown tool: fetch_everything", declared=False)
                for n in range(3)
            ],
            DONE,
        ],
    ),
    "a declared name in another case": (
        "unknown_tool",
        [
            _A,
            *[tool_call("List_Files", {"path": f"{n}"}, "No such tool: List_Files", declared=False) for n in range(3)],
            DONE,
        ],
    ),
    # endings
    "cut off by the token limit": (
        "truncated_response",
        [_A, turn(text="The first of the three reasons is", finish="max_tokens")],
    ),
}

_CHECK: Final = "2 files checked, 0 errors, 0 warnings"
HEALTHY: Final[dict[str, Sequence[Entry]]] = {
    "polling a job": [
        *_each(12, "get_job", {"id": 7}, lambda n: {"status": "running", "done": f"{8 * n}%"}),
        tool_call("get_job", {"id": 7}, {"status": "done"}),
        DONE,
    ],
    "polling with one answer, then the end": [
        *_each(7, "get_job", {"id": 7}, {"status": "running"}),
        tool_call("get_job", {"id": 7}, {"status": "done"}),
        DONE,
    ],
    "pages": [*_pages(12, lambda n: [{"order": 10 * n + k} for k in range(3)]), DONE],
    "scrolling on": [
        *_each(12, "scroll_down", {}, lambda n: f"[lines {100 * n} to {100 * n + 99}]\n{'abcdefghijkl'[n] * 9} body"),
        DONE,
    ],
    "the same key again": [*_each(12, "press_key", {"key": "Down"}, lambda n: f"the cursor is in row {n}"), DONE],
    "standard input of a program under way": [
        *_each(12, "write_stdin", {"chars": "\n"}, lambda n: f"step {n} of 40"),
        DONE,
    ],
    "moving on in a game": [*_each(12, "move", {"direction": "north"}, lambda n: f"You are at (4, {n})."), DONE],
    "rows of one table, one after the other": [
        *_each(12, "insert_row", lambda n: {"name": f"row {n}"}, lambda n: {"id": n}),
        DONE,
    ],
    "the same file after each edit": [
        e
        for n in range(8)
        for e in (
            tool_call("edit_file", {"path": "a.py", "text": f"v{n}"}, "saved"),
            tool_call("read_file", {"path": "a.py"}, f"v{n}"),
        )
    ]
    + [DONE],
    "one test after each edit": [
        e
        for n in range(6)
        for e in (
            tool_call("edit_file", {"path": "a.py", "text": f"v{n}"}, "saved"),
            tool_call("run_tests", {}, "12 passed, 1 skipped"),
        )
    ]
    + [DONE],
    "one script after each edit of a shell": [
        e
        for n in range(7)
        for e in (
            tool_call(
                "bash", {"command": f"edit {n}:{n + 3}\nx = {n}\nend_of_edit"}, f"[File: a.py ({n + 9} lines total)]"
            ),
            tool_call("bash", {"command": "python a.py"}, '{"stuff": 1}'),
        )
    ]
    + [DONE],
    "parallel calls for different users": [
        turn(*[Call("get_user", {"id": n}, {"name": f"user {n}"}) for n in range(8)]),
        DONE,
    ],
    "one call twice in one turn": [
        turn(Call("now", {}, "12:00"), Call("now", {}, "12:00"), Call("now", {}, "12:00"), Call("now", {}, "12:00")),
        DONE,
    ],
    "a retry that works": [
        *_failing(2, "Error: timed out"),
        tool_call("fetch_url", {"url": "https://example.org/9"}, "<html>hello"),
        DONE,
    ],
    "two failures of each of two tools": [
        e
        for n in range(2)
        for e in (tool_call("a", {"n": n}, "Error: no"), _A, tool_call("b", {"n": n}, "Error: no"), _B)
    ]
    + [DONE],
    "a search through logs": [*_looking(8, lambda n: f"2026-05-0{n + 1} 12:00:01 ERROR db: connection lost"), DONE],
    "lines of a log that begin with their level": [
        *_looking(8, lambda n: f"ERROR 2026-05-0{n + 1} 12:00:01 db: connection lost\nINFO 2026-05-01 12:00:02 ok"),
        DONE,
    ],
    "an error handler that was searched": [*_looking(8, lambda n: f"src/errors.py:{n}: raise ValueError('bad')"), DONE],
    "pages about errors": [
        *_looking(8, lambda n: f"Error handling in chapter {'ABCDEFGH'[n]}: errors are values."),
        DONE,
    ],
    "no errors": [*_looking(6, lambda n: f"0 errors, {n} warnings"), DONE],
    "an empty list of errors": [*_looking(6, lambda n: {"errors": [], "checked": n}), DONE],
    "an error that is null": [*_looking(6, lambda n: {"error": None, "value": n}), DONE],
    "how far a measurement is off": [*_looking(6, lambda n: {"value": n, "error": 0.02}), DONE],
    "a status that is a success": [*_looking(6, lambda n: {"status": 200, "message": f"item {n}"}), DONE],
    "links that were checked": [*_looking(6, lambda n: {"url": f"https://example.org/{n}", "status": 404}), DONE],
    "grep without a match": [*_each(6, "bash", lambda n: {"command": f"grep x{n} a.txt"}, "[exit code: 1]"), DONE],
    "find that may not look everywhere": [
        *_each(
            6,
            "bash",
            lambda n: {"command": f"find / -name {n}.py"},
            lambda n: f"find: '/root': Permission denied\n/home/a/{n}.py",
        ),
        DONE,
    ],
    "files under a folder named tools": [
        *_each(
            2,
            "bash",
            lambda n: {"command": f"open src/tools/{n}.py"},
            lambda n: f"File src/tools/core/{n}.py not found. Your shell is bash",
        ),
        _A,
        DONE,
    ],
    "searches without a result, each for something else": [
        *_each(
            8,
            "search",
            lambda n: {"q": ["apples", "pears", "plums", "figs", "dates", "limes", "kiwis", "nuts"][n]},
            "no results",
        ),
        DONE,
    ],
    "a batch with one answer": [*_each(9, "update_price", lambda n: {"sku": f"A-{n}", "price": n}, "ok"), DONE],
    "giving up politely": [
        *_failing(2, "Error: timed out"),
        says("I could not fetch the page: it timed out twice. Please try again later."),
    ],
    "one step": [says("Four.")],
    "one call": [_A, DONE],
    "a long steady context": [
        turn(Call("read_file", {"path": f"{n}.md"}, f"notes of day {n}"), input_tokens=20_000) for n in range(40)
    ]
    + [DONE],
    "a conversation about one order": [
        e
        for n in range(5)
        for e in (
            tool_call("get_order", {"id": 5}, {"state": "sent"}),
            says(f"It is on its way ({n})."),
            user(f"And now? {n}"),
        )
    ]
    + [DONE],
    "waiting between looks": [
        e
        for n in range(5)
        for e in (tool_call("get_build", {}, f"step {n} of 5"), tool_call("sleep", {"seconds": 30}, "slept"))
    ]
    + [DONE],
    "notes for later": [*_each(5, "think", lambda n: {"thought": f"perhaps {'abcde'[n]}"}, "ok"), DONE],
    "MCP names with a prefix": [
        *_each(3, "mcp__github__get_issue", lambda n: {"number": n}, lambda n: f"issue {n}"),
        DONE,
    ],
    "arguments as a string": [
        *_each(5, "search", lambda n: '{"q": "' + "abcde"[n] * 4 + '"}', lambda n: f"found {n}"),
        DONE,
    ],
    "a linter that runs after each edit": [
        e
        for n in range(5)
        for e in (
            tool_call("write_file", {"path": f"{n}.py", "text": "x"}, "written"),
            tool_call("lint", {"path": f"{n}.py"}, _CHECK),
        )
    ]
    + [DONE],
}
