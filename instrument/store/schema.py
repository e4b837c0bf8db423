"""Every table and column of the store, a sentence each. `docs/schema.md` is generated from here and a test keeps it so.

One DuckDB file holds everything. `spans` is narrow (what detectors scan), clustered by run; what is long (arguments, results, messages)
lies in `contents` and `messages`, each distinct message once. NULL means "not known" in every column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERSION: Final = 3
"""Of the schema. A database with a higher one is refused, with a lower one migrated on the next write."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its DuckDB type, and what one value means."""

    name: str
    type: str
    meaning: str
    compression: str = ""
    """DuckDB's, where it is not left to DuckDB: long texts take two thirds of the space under ZSTD, at no cost in time."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its name, what one row is, and its columns."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def ddl(self) -> str:
        """`CREATE TABLE IF NOT EXISTS` for this table."""
        body = ", ".join(
            f"{c.name} {c.type}" + (f" USING COMPRESSION {c.compression}" if c.compression else "")
            for c in self.columns
        )
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({body})"


@dataclass(frozen=True, slots=True)
class Macro(Table):
    """A table made when it is asked for: `FROM name('parameter')`, where the parameter names a table."""

    parameter: str
    query: str

    @property
    def ddl(self) -> str:
        """`CREATE OR REPLACE MACRO` for this table."""
        return f"CREATE OR REPLACE MACRO {self.name}({self.parameter}) AS TABLE {self.query}"


KIND: Final = "ENUM('agent', 'model', 'tool', 'other')"
STATUS: Final = "ENUM('unset', 'ok', 'error')"
USAGE: Final = "ENUM('complete', 'partial', 'missing')"
TIMES: Final = "ENUM('start', 'end', 'both')"
CONTENT: Final = "ENUM('full', 'clipped', 'hashed', 'none')"

SPANS: Final = Table(
    "spans",
    "one span, as reported; a row that is derived from messages has `inferred` set",
    (
        Column(
            "span_key", "BIGINT", "Number of the span in order of arrival; joins `contents`. NULL where `inferred`."
        ),
        Column("run_key", "INTEGER", "Number of the run the span belongs to; rows lie clustered by it."),
        Column(
            "step", "INTEGER", "Position in the run, from 0, in order of start; duplicates and pending spans included."
        ),
        Column(
            "turn",
            "INTEGER",
            "How many model calls of the run had started by then, this one included; duplicates not counted.",
        ),
        Column("run_id", "VARCHAR", "Span id of the nearest agent span, else the conversation id, else the trace id."),
        Column("trace_id", "VARCHAR", "Trace, 32 lowercase hex digits."),
        Column("span_id", "VARCHAR", "Span, 16 lowercase hex digits."),
        Column("parent_span_id", "VARCHAR", "Span that caused it; NULL at the root."),
        Column("kind", KIND, "What the span is: an agent run, a model call, a tool call, or anything else."),
        Column("name", "VARCHAR", "Name the producer gave the span."),
        Column("agent_name", "VARCHAR", "Agent that ran, as its spans name it."),
        Column("conversation_id", "VARCHAR", "Dialogue the run belongs to."),
        Column("user_id", "VARCHAR", "User on whose behalf it ran."),
        Column("service_name", "VARCHAR", "Process that made the span (`service.name`)."),
        Column("start_ns", "BIGINT", "Start, nanoseconds since 1970 UTC."),
        Column("end_ns", "BIGINT", "End, nanoseconds since 1970 UTC; NULL while the span is pending or was cut off."),
        Column(
            "inferred_times",
            TIMES,
            "Which of these two were not recorded and were worked out from what came before; NULL where none was.",
        ),
        Column("status", STATUS, "Status as the producer set it."),
        Column(
            "failed", "BOOLEAN", "Whether it failed: flagged by the producer, or inferred from what the result says."
        ),
        Column(
            "failure_inferred", "BOOLEAN", "True where nobody flagged the failure and only the result's text says so."
        ),
        Column("error_type", "VARCHAR", "Class of the error, as reported."),
        Column("error_message", "VARCHAR", "Text of the error, at most 500 characters."),
        Column(
            "failure_kind",
            "VARCHAR",
            "The error with values left out: the same failure has the same kind. NULL unless failed.",
        ),
        Column("provider", "VARCHAR", "Who served the model."),
        Column("request_model", "VARCHAR", "Model asked for."),
        Column("response_model", "VARCHAR", "Model that answered."),
        Column(
            "response_id",
            "VARCHAR",
            "The provider's id of the response; the same call reported twice has the same one.",
        ),
        Column("request_id", "VARCHAR", "The provider's id of the HTTP request; what its support asks for."),
        Column("finish_reason", "VARCHAR", "Why the model stopped, in the producer's word."),
        Column("max_tokens", "BIGINT", "Limit on output tokens in the request."),
        Column("uncached_input_tokens", "BIGINT", "Input tokens neither read from nor written to the prompt cache."),
        Column("cache_read_tokens", "BIGINT", "Input tokens read from the prompt cache."),
        Column("cache_write_tokens", "BIGINT", "Input tokens written to the prompt cache, whatever their life time."),
        Column("cache_write_5m_tokens", "BIGINT", "Of these, kept five minutes."),
        Column("cache_write_1h_tokens", "BIGINT", "Of these, kept an hour."),
        Column("input_tokens", "BIGINT", "All input tokens: uncached, read and written."),
        Column("output_tokens", "BIGINT", "Output tokens, reasoning included."),
        Column("reasoning_tokens", "BIGINT", "Output tokens spent on reasoning."),
        Column("web_searches", "BIGINT", "Server-side web searches billed."),
        Column(
            "compaction_input_tokens",
            "BIGINT",
            "Input tokens of the passes that shortened the conversation for this call: billed with it, and not in `input_tokens`.",
        ),
        Column("compaction_output_tokens", "BIGINT", "Output tokens of these passes, not in `output_tokens`."),
        Column("usage_state", USAGE, "Whether the token counts are whole; NULL on spans that are no model calls."),
        Column(
            "cost_usd", "DOUBLE", "Price of the model call in US dollars; NULL where the price or the usage is unknown."
        ),
        Column(
            "price_source",
            "VARCHAR",
            "Where the price comes from: `genai-prices <version>` (and what was added to it), `user`, `reported`; else `unknown:` and why.",
        ),
        Column("time_to_first_token_ns", "BIGINT", "From the request to the first piece of the answer, nanoseconds."),
        Column("retries", "INTEGER", "How often the client sent the request again."),
        Column("tool_name", "VARCHAR", "Tool that was called."),
        Column("tool_call_id", "VARCHAR", "Id the model gave the call."),
        Column("declared", "BOOLEAN", "Whether the tool was among those declared in the request that asked for it."),
        Column("rejected", "VARCHAR", "Why the call never ran: `unknown_tool`, `invalid_arguments`, `blocked`."),
        Column("call_key", "UBIGINT", "Same tool and arguments, same key."),
        Column("loose_call_key", "UBIGINT", "Same tool and words, same key: nonces, dates, pages and order left out."),
        Column(
            "null_input",
            "BOOLEAN",
            "Whether there were arguments and every one of them was empty (null, no text, no entries); NULL where not recorded.",
        ),
        Column("result_key", "UBIGINT", "Same result, same key."),
        Column("result_chars", "BIGINT", "Length of the result in characters."),
        Column("output_key", "UBIGINT", "Same text answered by the model, same key; NULL where it answered no text."),
        Column("loose_output_key", "UBIGINT", "The same with case, punctuation and numbers left out."),
        Column("output_chars", "BIGINT", "Length of the text answered, in characters."),
        Column(
            "asked_key",
            "UBIGINT",
            "What the user had said last in the request, same words, same key; set only where keys stand for the messages.",
        ),
        Column("requested_calls", "INTEGER", "How many tool calls the model asked for in this answer."),
        Column(
            "toolset_key",
            "UBIGINT",
            "The tools declared in the request (`toolsets`); NULL where they were not recorded.",
        ),
        Column("content_state", CONTENT, "What was recorded of arguments, results or messages."),
        Column(
            "duplicate_of",
            "VARCHAR",
            "Span id of the row that stands for this call; set on the other reports of the same call.",
        ),
        Column("inferred", "BOOLEAN", "True on a tool call known only from the messages around it; it was no span."),
        Column("attributes_key", "UBIGINT", "Attributes without a column (`attribute_sets`)."),
        Column("dialect", "VARCHAR", "Whose names the attributes had."),
        Column("source_key", "INTEGER", "Where it came from (`sources`)."),
    ),
)

CONTENTS: Final = Table(
    "contents",
    "what a span said at length",
    (
        Column("span_key", "BIGINT", "The span."),
        Column(
            "arguments",
            "VARCHAR",
            "Arguments of a tool call, as recorded (usually JSON); of an agent or other span what it was given.",
            "ZSTD",
        ),
        Column(
            "result",
            "VARCHAR",
            "Result of a tool call, as the model read it; NULL where `result_message_key` is set.",
            "ZSTD",
        ),
        Column(
            "result_message_key",
            "UBIGINT",
            "The message that sent this very result back to the model (`messages`), under the same `tool_call_id`.",
        ),
        Column("system_key", "UBIGINT", "System instructions of a model call (`messages`)."),
        Column("input_keys", "UBIGINT[]", "Messages sent to the model, in order (`messages`)."),
        Column("output_keys", "UBIGINT[]", "Messages the model answered with (`messages`)."),
        Column("events", "VARCHAR", "Span events as a JSON list of {name, time_ns, attributes}.", "ZSTD"),
    ),
)

ATTRIBUTES: Final = Table(
    "attribute_sets",
    "one distinct set of the attributes that have no column of their own; thousands of spans share one",
    (
        Column("attributes_key", "UBIGINT", "Key of the set."),
        Column(
            "attributes", "VARIANT", "Name to value, as recorded; what the process said of itself under `resource`."
        ),
    ),
)

MESSAGES: Final = Table(
    "messages",
    "one distinct message, however many requests repeated it",
    (
        Column("message_key", "UBIGINT", "Key of role and parts."),
        Column("role", "VARCHAR", "`system`, `user`, `assistant` or `tool`."),
        Column("body", "VARCHAR", "The message as JSON in GenAI conventions: {role, parts: [...]}.", "ZSTD"),
        Column("chars", "BIGINT", "Length of the text in it, in characters."),
    ),
)

TOOLSETS: Final = Table(
    "toolsets",
    "one distinct set of declared tools",
    (
        Column("toolset_key", "UBIGINT", "Key of the set."),
        Column("names", "VARCHAR[]", "Names of the tools."),
        Column("definitions", "VARCHAR", "The declarations as JSON; NULL where only the names were recorded.", "ZSTD"),
        Column("chars", "BIGINT", "Length of the declarations in characters."),
    ),
)

REQUESTS: Final = Table(
    "tool_requests",
    "one tool call a model asked for",
    (
        Column("span_key", "BIGINT", "The model call that asked."),
        Column("trace_id", "VARCHAR", "Its trace."),
        Column("span_id", "VARCHAR", "Its span."),
        Column("position", "INTEGER", "Position among the calls of that answer, from 0."),
        Column("tool_call_id", "VARCHAR", "Id the model gave the call."),
        Column("tool_name", "VARCHAR", "Tool asked for."),
        Column("call_key", "UBIGINT", "See `spans`."),
        Column("loose_call_key", "UBIGINT", "See `spans`."),
        Column("arguments", "VARCHAR", "Arguments as JSON."),
        Column(
            "declared",
            "BOOLEAN",
            "Whether the tool was declared in that request; NULL where the declarations were not recorded.",
        ),
        Column("null_input", "BOOLEAN", "See `spans`."),
    ),
)

RESPONSES: Final = Table(
    "tool_responses",
    "one tool result that a later request sent back to the model",
    (
        Column("trace_id", "VARCHAR", "Trace of the request that carried it."),
        Column("tool_call_id", "VARCHAR", "The call it answers."),
        Column("result_key", "UBIGINT", "See `spans`."),
        Column("result_chars", "BIGINT", "See `spans`."),
        Column("failed", "BOOLEAN", "Whether it was flagged as an error or says so."),
        Column("failure_inferred", "BOOLEAN", "See `spans`."),
        Column("failure_kind", "VARCHAR", "See `spans`."),
        Column(
            "result",
            "VARCHAR",
            "Of a failed call what the model read, at most 2,000 characters; the whole is in the message.",
        ),
        Column("message_key", "UBIGINT", "The message that carried it (`messages`)."),
    ),
)

GUARDED: Final = Table(
    "guarded_runs",
    "what the span of a run under a guard says of it; a run that nobody guarded has none",
    (
        Column("span_key", "BIGINT", "The agent span."),
        Column("stop_reason", "VARCHAR", "Why the run ended, `completed` or the guard's slug; NULL until it has."),
        Column("status", "VARCHAR", "What the agent said of its task: `completed`, `failed`, `partial`."),
        Column(
            "run_cost_usd",
            "DOUBLE",
            "What it cost by the runner's own account, sub-agents included: a roll-up, never summed.",
        ),
        Column("run_limit_usd", "DOUBLE", "Its budget."),
        Column("policy", "VARCHAR", "The policy it was under, as JSON."),
    ),
)

ACTIONS: Final = Table(
    "guard_actions",
    "one action of a guard, as an event of a span tells it",
    (
        Column("span_key", "BIGINT", "The span it was recorded on: the tool call concerned, else the agent span."),
        Column("position", "INTEGER", "Place among the events of that span, from 0."),
        Column("at_ns", "BIGINT", "When, nanoseconds since 1970 UTC."),
        Column("turn", "INTEGER", "Turn of the run in which it acted, as the runner counts requests."),
        Column("guard", "VARCHAR", "Slug of the guard; that of the detector that finds the same, where there is one."),
        Column(
            "action", "VARCHAR", "`nudge`, `block`, `stop`, or a measure of the runner's own (`retry`, `cut`, ...)."
        ),
        Column("reason", "VARCHAR", "Why, in a sentence."),
        Column("setting", "VARCHAR", "Field of the policy that decided."),
        Column("threshold", "DOUBLE", "Its value in the policy."),
        Column("value", "DOUBLE", "What was measured."),
        Column("tool_name", "VARCHAR", "Tool concerned."),
        Column("observed", "BOOLEAN", "True where the policy only observed, so that nothing was done."),
    ),
)

RUNS: Final = Table(
    "runs",
    "one agent run: its number and what names it",
    (
        Column("run_key", "INTEGER", "Number of the run in this database."),
        Column("run_id", "VARCHAR", "See `spans`."),
        Column("trace_id", "VARCHAR", "Its trace (the first, where a conversation spans several)."),
    ),
)

OUTCOMES: Final = Table(
    "outcomes",
    "how one run ended, as its user says (`flyball outcome`); it goes before what was recorded",
    (
        Column("id", "VARCHAR", "Run id, trace id or conversation id."),
        Column("succeeded", "BOOLEAN", "Whether it did its task."),
        Column("source", "VARCHAR", "The file or attribute that says so."),
    ),
)

SOURCES: Final = Table(
    "sources",
    "one file or journal segment that was read",
    (
        Column("source_key", "INTEGER", "Number of the source in this database."),
        Column("name", "VARCHAR", "Path or name of the file."),
        Column("bytes_read", "BIGINT", "How far a journal segment has been read; NULL for a file read whole."),
    ),
)

ISSUES: Final = Table(
    "issues",
    "something that could not be read, was lost, or was inferred",
    (
        Column("kind", "VARCHAR", "Slug of the issue."),
        Column("source", "VARCHAR", "File it concerns."),
        Column("line", "BIGINT", "Line in that file, from 1; NULL for the whole."),
        Column("count", "BIGINT", "How many times."),
        Column("message", "VARCHAR", "What happened."),
        Column("remedy", "VARCHAR", "What to do about it."),
        Column("error", "BOOLEAN", "True where something was not read."),
    ),
)

META: Final = Table(
    "flyball_meta",
    "one fact about the database; its presence tells a flyball database from any other",
    (Column("key", "VARCHAR", "Name of the fact."), Column("value", "VARCHAR", "Its value.")),
)

TABLES: Final = (
    SPANS,
    CONTENTS,
    ATTRIBUTES,
    MESSAGES,
    TOOLSETS,
    REQUESTS,
    RESPONSES,
    GUARDED,
    ACTIONS,
    RUNS,
    OUTCOMES,
    SOURCES,
    ISSUES,
    META,
)

_PART: Final = """list_filter(
    (m.body->'$.parts')::JSON[], lambda p: p->>'$.type' = 'tool_call_response' AND p->>'$.id' = s.tool_call_id
)[1]"""
_TEXT: Final = """CASE WHEN json_type(response->'$[0].type') = 'VARCHAR'
    THEN array_to_string(list_transform(response::JSON[], lambda b: coalesce(b->>'$.text', b::VARCHAR)), chr(10))
    ELSE response->>'$' END"""
"""As `sameness.result_text`, for a text and for a list of content blocks."""

TOOL_TEXTS: Final = Macro(
    "tool_texts",
    "one tool call among the rows (`run_key`, `step`) of the table named: what it was asked and what it answered, wherever that was "
    "recorded; `FROM tool_texts('spans')` gives all, a table of the few that are wanted is much faster",
    (
        Column("run_key", "INTEGER", "See `spans`."),
        Column("step", "INTEGER", "See `spans`."),
        Column("arguments", "VARCHAR", "Its arguments, from its span or from the model's request."),
        Column("result", "VARCHAR", "Its result, from its span or from the message that sent it back."),
    ),
    "calls",
    # TRY: a message is what somebody recorded, and may be no JSON.
    # By row ids, because a scan that only filters would unpack every text there is.
    f"""
    WITH s AS MATERIALIZED (
        SELECT run_key, step, span_key, trace_id, tool_call_id FROM spans WHERE rowid IN (SELECT rowid FROM spans WHERE kind = 'tool'
            AND run_key IN (SELECT run_key FROM query_table(calls)) AND (run_key, step) IN (SELECT (run_key, step) FROM query_table(calls)))
    ), own AS MATERIALIZED (
        SELECT span_key, arguments, result, result_message_key FROM contents
        WHERE rowid IN (SELECT rowid FROM contents WHERE span_key IN (SELECT span_key FROM s))
    ), q AS MATERIALIZED (
        SELECT trace_id, tool_call_id, arguments FROM tool_requests WHERE rowid IN (SELECT rowid FROM tool_requests
            WHERE tool_call_id IN (SELECT tool_call_id FROM s LEFT JOIN own USING (span_key) WHERE own.arguments IS NULL))
    ), r AS MATERIALIZED (
        SELECT trace_id, tool_call_id, result, message_key FROM tool_responses WHERE rowid IN (SELECT rowid FROM tool_responses
            WHERE tool_call_id IN (SELECT tool_call_id FROM s LEFT JOIN own USING (span_key) WHERE own.result IS NULL))
    ), told AS MATERIALIZED (
        SELECT s.*, coalesce(own.arguments, q.arguments) AS arguments, own.result AS own, r.result AS failed,
            coalesce(own.result_message_key, r.message_key) AS message_key
        FROM s LEFT JOIN own ON own.span_key = s.span_key
            LEFT JOIN q ON q.trace_id = s.trace_id AND q.tool_call_id = s.tool_call_id
            LEFT JOIN r ON r.trace_id = s.trace_id AND r.tool_call_id = s.tool_call_id
    ), m AS MATERIALIZED (
        SELECT message_key, body FROM messages WHERE rowid IN (
            SELECT rowid FROM messages WHERE message_key IN (SELECT message_key FROM told WHERE own IS NULL)
        )
    ), answered AS (
        SELECT *, TRY(coalesce(part->'$.response', part->'$.result')) AS response
        FROM (SELECT s.*, TRY({_PART}) AS part FROM told s LEFT JOIN m ON m.message_key = s.message_key)
    )
    SELECT run_key, step, arguments, coalesce(own, TRY({_TEXT}), failed) AS result FROM answered
    """,
)

MACROS: Final = (TOOL_TEXTS,)

COST_COLUMNS: Final = ("input_tokens", "output_tokens", "cost_usd")
"""Summed over model spans that are no duplicates, and over nothing else."""
