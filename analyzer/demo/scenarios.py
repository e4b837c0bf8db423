"""What happens in the demonstration: two runs that are well, one for each way an agent fails, and three under a guard."""

from __future__ import annotations

import itertools
from dataclasses import replace

from analyzer.demo.agents import Scenario, Tools
from instrument.policy import Cost, Policy
from instrument.testing import Usage, failing, text, tool_use

SONNET, HAIKU, OPUS = "claude-sonnet-5-5", "claude-haiku-4-5", "claude-opus-5-5"


def on_call() -> Scenario:
    """The live part of `flyball demo`: a restart that fails the same way five times, then the same look at the same dashboard."""
    down = failing("permission denied: role 'agent' may not restart 'checkout'", error=PermissionError)
    tools: Tools = {
        "read_alert": lambda alert: f"{alert}: error rate of checkout is 12 %",
        "restart_service": down(lambda service, reason: f"{service} restarted: {reason}"),
        "dashboard": lambda service: f"{service}: error rate 12 %, latency 800 ms",
    }
    reasons = ["error rate", "high error rate", "error rate 12 %", "alert 17", "users affected"]
    return Scenario(
        "on-call",
        OPUS,
        "Alert 17 is firing. Make it stop.",
        [
            tool_use("read_alert", {"alert": 17}, text="First the alert.", usage=Usage(4_200, 60)),
            *(
                tool_use("restart_service", {"service": "checkout", "reason": r}, usage=Usage(4_500 + 240 * i, 85))
                for i, r in enumerate(reasons)
            ),
            *(
                tool_use(
                    "dashboard",
                    {"service": "checkout"},
                    text=f"Let me look{' again' * i}.",
                    usage=Usage(5_800 + 150 * i, 60),
                )
                for i in range(6)
            ),
            text("The error rate is still at 12 %.", usage=Usage(6_900, 50)),
        ],
        tools,
        user_id="dana",
    )


def healthy_research() -> Scenario:
    """Reads five files, each once, and answers: the same tool five times in a row is no loop."""
    files = ["README.md", "pyproject.toml", "src/app.py", "src/store.py", "tests/test_app.py"]
    tools: Tools = {
        "read_file": lambda path: f"# {path}\n" + f"line of {path}\n" * 30,
        "search": lambda query: f"3 matches for {query}",
    }
    return Scenario(
        "researcher",
        SONNET,
        "How does this project store its data?",
        [
            tool_use("search", {"query": "database"}, text="I look for the database first.", usage=Usage(1_800, 60)),
            *(
                tool_use("read_file", {"path": path}, text=f"Now {path}.", usage=Usage(2_400 + 500 * i, 55))
                for i, path in enumerate(files)
            ),
            text("It keeps everything in one SQLite file that src/store.py opens.", usage=Usage(5_200, 140)),
        ],
        tools,
    )


def healthy_release() -> Scenario:
    """Edits and tests until the tests pass, then polls a build until it is done: the same calls again, with progress each time."""
    failures, progress = itertools.chain([3, 2, 1], itertools.repeat(0)), itertools.count(20, 25)
    tools: Tools = {
        "edit_file": lambda path, change: f"{path}: {change} applied",
        "run_tests": lambda: f"{next(failures)} failed, 40 run",
        "build_status": lambda build: f"build {build}: {min(next(progress), 100)} %",
    }
    cycle = [
        reply
        for i in range(4)
        for reply in (
            tool_use("edit_file", {"path": "src/app.py", "change": f"fix {i + 1}"}, usage=Usage(2_000 + 300 * i, 70)),
            tool_use("run_tests", {}, usage=Usage(2_150 + 300 * i, 30)),
        )
    ]
    polls = [tool_use("build_status", {"build": 71}, usage=Usage(3_400 + 60 * i, 25)) for i in range(4)]
    return Scenario(
        "releaser",
        SONNET,
        "Fix the tests and release.",
        [*cycle, *polls, text("Released build 71.", usage=Usage(3_700, 40))],
        tools,
    )


def loop() -> Scenario:
    """Asks for the same order again and again; the answer never changes, only the thoughts before it do."""
    thoughts = ["Let me check.", "Perhaps it has changed.", "I check once more.", "One moment.", "Still no news, again.", "Trying again.",
                "Maybe now.", "Let me verify that.", "I look it up again."]  # fmt: skip
    return Scenario(
        "support",
        OPUS,
        "Where is my order 4711?",
        [
            tool_use("find_customer", {"email": "kim@example.com"}, usage=Usage(3_100, 60)),
            *(
                tool_use("order_status", {"order": 4711}, text=t, usage=Usage(3_400 + 180 * i, 70))
                for i, t in enumerate(thoughts)
            ),
            text("I could not find out where your order is.", usage=Usage(5_300, 60)),
        ],
        {
            "find_customer": lambda email: f"customer 88, {email}",
            "order_status": lambda order: f"order {order}: awaiting review",
        },
        user_id="kim",
    )


def cascade() -> Scenario:
    """A booking service is down; the agent tries date after date instead of stopping."""
    dates = [f"2026-12-{day:02d}" for day in (3, 4, 5, 8, 9, 10, 11)]
    down = failing("502 Bad Gateway: upstream booking-eu did not answer", error=ConnectionError)
    tools: Tools = {
        "find_flights": lambda city: f"7 flights to {city}",
        "book_flight": down(lambda flight, date: f"{flight} on {date} booked"),
    }
    return Scenario(
        "travel",
        SONNET,
        "Book me a flight to Lisbon in early December.",
        [
            tool_use("find_flights", {"city": "Lisbon"}, usage=Usage(2_600, 60)),
            *(
                tool_use("book_flight", {"flight": "TP 551", "date": d}, usage=Usage(3_000 + 210 * i, 80))
                for i, d in enumerate(dates)
            ),
            text("Booking is not possible at the moment.", usage=Usage(4_700, 60)),
        ],
        tools,
        user_id="lee",
    )


def overflow() -> Scenario:
    """Reads whole log files into its context until hardly anything fits."""
    sizes = [9_000, 31_000, 58_000, 84_000, 113_000, 139_000, 166_000, 189_000]
    tools: Tools = {
        "read_log": lambda name: "\n".join(f"{name} 12:00:{i:02d} request handled in {i} ms" for i in range(60))
    }
    return Scenario(
        "log-analyst",
        HAIKU,
        "Why were we slow on Tuesday?",
        [
            *(tool_use("read_log", {"name": f"web-{i}.log"}, usage=Usage(size, 45)) for i, size in enumerate(sizes)),
            text("The database was slow.", usage=Usage(193_000, 30)),
        ],
        tools,
    )


def hallucination() -> Scenario:
    """Calls a tool that nobody declared, with other arguments each time."""
    tools: Tools = {
        "send_email": lambda to, body: f"sent to {to}: {body}",
        "read_calendar": lambda day: f"nothing on {day}",
    }
    subjects = ["Meeting", "Meeting tomorrow", "Our meeting", "The meeting on Friday"]
    return Scenario(
        "assistant",
        SONNET,
        "Tell Ann that the meeting is moved to Friday.",
        [
            tool_use("read_calendar", {"day": "Friday"}, usage=Usage(2_200, 50)),
            *(
                tool_use(
                    "send_mail",
                    {"recipient": "ann@example.com", "subject": s},
                    text="I send the mail.",
                    usage=Usage(2_500 + 150 * i, 90),
                )
                for i, s in enumerate(subjects)
            ),
            text("I was not able to send the mail.", usage=Usage(3_200, 40)),
        ],
        tools,
    )


def stuck() -> Scenario:
    """Announces what it will do and never does it, whatever it is told."""
    words = "I will now go through the open invoices one by one and reconcile each of them with the bank statement."
    tools: Tools = {"list_invoices": lambda: "12 open invoices"}
    return Scenario(
        "bookkeeper",
        OPUS,
        "Reconcile the open invoices.",
        [
            tool_use("list_invoices", {}, usage=Usage(2_900, 40)),
            *(text(words, usage=Usage(3_000 + 90 * i, 60)) for i in range(6)),
        ],
        tools,
        nudge="Go on.",
    )


def costs() -> list[Scenario]:
    """Fourteen summaries of much the same price, and one that cost many times as much."""

    def summary(document: int, input_tokens: int, output_tokens: int) -> Scenario:
        return Scenario(
            "summariser",
            OPUS,
            f"Summarise document {document}.",
            [
                tool_use("fetch", {"document": document}, usage=Usage(1_500, 40)),
                text(f"Document {document} says what it says.", usage=Usage(input_tokens, output_tokens)),
            ],
            {"fetch": lambda document: f"text of document {document}"},
            user_id=f"user-{document % 3}",
        )

    usual = [summary(i, 5_000 + 370 * (i * 7 % 11), 280 + 25 * (i * 5 % 7)) for i in range(14)]
    return [*usual[:9], summary(99, 148_000, 9_800), *usual[9:]]


def guarded_loop() -> Scenario:
    """The order of `loop`, under a guard: told after four times, refused, then asked for an answer."""
    return replace(
        loop(),
        agent="guarded-support",
        policy=Policy(),
        final=text("Your order 4711 awaits review; I do not know since when.", usage=Usage(5_300, 60)),
    )


def guarded_budget() -> Scenario:
    """Reads on and on, with a budget that ends before the reports do."""
    tools: Tools = {
        "read_report": lambda number: f"report {number}: revenue up {number} %, details on page {number * 7}"
    }
    return Scenario(
        "guarded-analyst",
        OPUS,
        "Compare all reports of this year.",
        [
            tool_use("read_report", {"number": i}, text=f"Report {i} next.", usage=Usage(2_400 + 700 * i, 160))
            for i in range(1, 13)
        ],
        tools,
        user_id="sam",
        policy=Policy(cost=Cost(run_limit_usd=0.15)),
        final=text("The first reports show growth; I could not read the others.", usage=Usage(5_900, 60)),
    )


def guarded_well() -> Scenario:
    """Does its work under a guard that has nothing to do."""
    return replace(healthy_research(), agent="guarded-researcher", policy=Policy())


def scenarios() -> dict[str, list[Scenario]]:
    """Name of a recorded sample -> its runs, made anew: some tools remember what they were asked."""
    return {
        "healthy_research": [healthy_research()],
        "healthy_release": [healthy_release()],
        "loop_repeated_call": [loop()],
        "errors_cascade": [cascade()],
        "context_overflow": [overflow()],
        "hallucinated_tool": [hallucination()],
        "stuck_repeated_output": [stuck()],
        "cost_outlier": costs(),
        "guarded_runs": [guarded_loop(), guarded_budget(), guarded_well()],
    }
