"""A database of generated runs, made by SQL within DuckDB: millions of spans in seconds, with everything the detectors read.

Shaped like recorded coding agents: a model call and one or two of twelve tools a turn, one call in twenty-five failing, contexts that are
compacted, schemas declared, messages told. Of ten runs seven were recorded whole, two with hashed content, one without any. What goes wrong
lies in stretches of thirty turns: one such stretch in 26 (`ODDS`) has one of the failures that detectors look for, the others none, so that
about three runs in a hundred have findings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import duckdb

from instrument.store.schema import MACROS, META, TABLES, VERSION

ODDS: Final = 600
"""One stretch of turns in so many has each of the kinds of failure."""
FAILURES: Final = 23
"""So many of the numbers below `ODDS` stand for a failure; with `odds=FAILURES` every stretch has one."""
SPANS_PER_RUN: Final = 47.0
"""On average, where runs have 6 to 35 turns."""
_RUNS_AT_ONCE: Final = 20_000
_TOOLS: Final = ("read", "grep", "bash", "edit", "write", "ls", "fetch", "search", "test", "plan", "glob", "send_mail")


def _declared() -> str:
    """Declarations of the tools: most are plain, some have a list of words, a bound or nested objects."""
    text, number = {"type": "string"}, {"type": "integer"}
    plain = {"path": {**text, "description": "Path of the file."}, "limit": number}
    own: dict[str, dict[str, Any]] = {
        "bash": {"command": text},
        "grep": {"pattern": text, "mode": {**text, "enum": ["files", "lines", "count"]}},
        "edit": {"path": text, "old": text, "new": text},
        "fetch": {"path": text, "limit": {**number, "minimum": 1}},
        "plan": {
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"text": text, "done": {"type": "boolean"}},
                    "required": ["text", "done"],
                },
            }
        },
    }
    schemas = {name: own.get(name, plain) for name in _TOOLS}
    return json.dumps(
        [
            {
                "name": name,
                "description": f"The tool {name}.",
                "input_schema": {"type": "object", "properties": schema, "required": list(schema)},
            }
            for name, schema in schemas.items()
        ]
    )


_ROWS: Final = f"""
CREATE OR REPLACE TEMP TABLE placed AS
WITH own AS (
    SELECT r, coalesce({{turns}}, 6 + (hash(r) % 30)::INT) AS turns, CASE WHEN hash(r, 2) % 10 < 7 THEN 'full' WHEN
        hash(r, 2) % 10 < 9 THEN 'hashed' ELSE 'none' END AS content FROM range({{first}}, {{last}}) t(r)
), turns AS (
    SELECT r, turns, content, unnest(range(1, turns + 1)) AS turn FROM own
), drawn AS (
    SELECT *, turn % 30 AS place, hash(r, turn // 30, 7) % {{odds}} AS dice, turn = turns AS closing FROM turns
), calls AS (
    SELECT r, turns, content, 0 AS turn, 0 AS part, 'agent' AS kind, 0 AS place, 1000::UBIGINT AS dice, false AS closing FROM own
    UNION ALL SELECT r, turns, content, turn, 1, 'model', place, dice, closing FROM drawn
    UNION ALL SELECT r, turns, content, turn, 2, 'tool', place, dice, closing FROM drawn
        WHERE (NOT closing OR dice = 16) AND NOT (dice = 8 AND place BETWEEN 3 AND 6) AND NOT (dice = 19 AND place BETWEEN 3 AND 6)
    UNION ALL SELECT r, turns, content, turn, 3, 'tool', place, dice, closing FROM drawn
        WHERE NOT closing AND hash(r, turn) % 3 = 0 AND dice >= {FAILURES}
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY r ORDER BY turn, part) - 1 AS step FROM calls
), told AS (
    SELECT *, kind = 'model' AS model, kind = 'tool' AS tool, place BETWEEN 3 AND 11 AS bad,
        kind = 'tool' AND dice IN (6, 7) AND place > 3 AS cascades, kind = 'model' AND dice = 8 AND place BETWEEN 3 AND 6 AS overloaded,
        kind = 'tool' AND dice = 22 AND place = 3 AS lost,
        kind = 'tool' AND (dice >= {FAILURES} OR place NOT BETWEEN 3 AND 11) AND hash(r, step, 5) % 25 = 0 AS slips
    FROM numbered
)
SELECT *, cascades OR overloaded OR lost OR slips AS fails,
    CASE WHEN NOT tool OR content = 'none' THEN NULL
        WHEN dice < 4 AND bad THEN hash(r, dice, 'loop') WHEN dice = 4 AND bad THEN hash(r, place % 2, 'round')
        WHEN dice = 9 AND bad THEN hash(r, 'blank') ELSE hash(r, step, 'call') END AS call_key,
    CASE WHEN NOT tool OR content = 'none' THEN NULL
        WHEN dice < 6 AND bad THEN hash(r, if(dice = 4, place % 2, 0), 'same') ELSE hash(r, step, 'result') END AS result_key,
    CASE WHEN NOT tool THEN NULL WHEN dice = 10 AND place IN (3, 4) THEN 'web_browser' WHEN lost THEN 'send_mail'
        WHEN dice < 12 AND (bad OR cascades) THEN 'read' ELSE {list(_TOOLS)}[1 + (hash(r, step) % 11)::INT] END AS tool_name,
    1790000000000000000 + r * 10_000_000_000 + turn * 4_000_000_000 + part * 900_000_000::BIGINT
        + if(dice = 13 AND place > 3, 400_000_000_000, 0) AS start_ns,
    if(turns > 40, turn % 40, turn) AS held
FROM told
"""

_SPANS: Final = """
INSERT INTO spans BY NAME
SELECT r * {width} + step AS span_key, r::INT AS run_key, step::INT AS step, turn::INT AS turn,
    printf('%016x', r * {width}) AS run_id, printf('%032x', r - if(r % 20 = 0, 1, 0) + 7) AS trace_id,
    printf('%016x', r * {width} + step) AS span_id,
    if(step = 0, if(r % 20 = 0, printf('%016x', (r - 1) * {width}), NULL), printf('%016x', r * {width})) AS parent_span_id, kind,
    CASE kind WHEN 'agent' THEN 'invoke_agent coder' WHEN 'model' THEN 'chat' ELSE 'execute_tool ' || tool_name END AS name,
    'coder-' || (r % 3) AS agent_name, 'u' || r % 500 AS user_id, 'coder' AS service_name, start_ns,
    start_ns + CASE kind WHEN 'agent' THEN (turns + 1) * 4_000_000_000 + 800_000_000_000 WHEN 'model' THEN 800_000_000
        ELSE if(dice = 13 AND place = 3, 300_000_000_000, 20_000_000 + (hash(r, step, 6) % 800_000_000)::BIGINT) END AS end_ns,
    if(fails, 'error', 'unset') AS status, fails AS failed, false AS failure_inferred,
    CASE WHEN overloaded THEN 'overloaded_error' WHEN fails THEN 'FileNotFoundError' END AS error_type,
    CASE WHEN overloaded THEN 'Overloaded' WHEN fails THEN 'file not found: ' || step END AS error_message,
    CASE WHEN overloaded THEN 'overloaded_error: Overloaded' WHEN cascades OR lost THEN 'FileNotFoundError: file … not found'
        WHEN fails THEN 'FileNotFoundError: file … not found ' || hash(r, step, 9) % 50 END AS failure_kind,
    if(model, 'anthropic', NULL) AS provider, if(model, 'claude-sonnet-4-5', NULL) AS request_model,
    if(model AND NOT overloaded, 'claude-sonnet-4-5-20250929', NULL) AS response_model,
    if(model, printf('msg_%016x', hash(r, step)), NULL) AS response_id,
    if(model, printf('req_%016x', hash(r, step, 1)), NULL) AS request_id,
    CASE WHEN NOT model OR overloaded THEN NULL WHEN dice = 17 AND place = 3 THEN 'max_tokens' WHEN closing THEN 'end_turn'
        ELSE 'tool_use' END AS finish_reason,
    if(model, 4096, NULL) AS max_tokens,
    if(model AND NOT overloaded, 2000 + held * if(dice IN (14, 15), 6000, 1200) + (hash(r, turn, 2) % 500)::BIGINT, NULL) AS input_tokens,
    if(model AND NOT overloaded, if(dice IN (20, 21) AND place = 9, 0, (held - 1) * if(dice IN (14, 15), 6000, 1200)), NULL)
        AS cache_read_tokens,
    if(model AND NOT overloaded, if(dice IN (20, 21) AND place = 9, held * 1200, 1200), NULL) AS cache_write_tokens,
    input_tokens - cache_read_tokens - cache_write_tokens AS uncached_input_tokens,
    if(model AND NOT overloaded, (100 + hash(r, turn, 3) % 400)::BIGINT, NULL) AS output_tokens,
    if(model, if(overloaded, 'missing', 'complete')::VARCHAR, NULL) AS usage_state,
    if(model AND NOT overloaded, (input_tokens * 3 + output_tokens * 15) / 1e6 * if(dice = 18 AND turns < 1000, 30, 1), NULL) AS cost_usd,
    tool_name, if(tool, printf('toolu_%016x', hash(r, step, 4)), NULL) AS tool_call_id,
    if(tool AND content = 'full', tool_name <> 'web_browser', NULL) AS declared,
    call_key, if(dice = 5 AND bad AND call_key IS NOT NULL, hash(r, 'near'), hash(call_key, 1)) AS loose_call_key,
    if(tool AND content <> 'none', dice = 9 AND bad, NULL) AS null_input,
    result_key,
    if(tool AND content <> 'none', if(dice = 12 AND place = 3, 400_000, (hash(r, step, 8) % 4000)::BIGINT), NULL) AS result_chars,
    CASE WHEN NOT model OR content = 'none' OR overloaded OR dice = 19 AND place IN (5, 6) THEN NULL
        WHEN dice = 19 AND place IN (3, 4) THEN hash(r, 'again') ELSE hash(r, turn, 'text') END AS output_key,
    if(output_key IS NULL, NULL, if(dice = 19 AND place IN (3, 4), output_key, hash(output_key))) AS loose_output_key,
    if(model AND content <> 'none', if(output_key IS NULL, 0, (20 + hash(r, turn, 4) % 180)::BIGINT), NULL) AS output_chars,
    if(model AND NOT overloaded, CASE WHEN closing OR dice = 19 AND place BETWEEN 3 AND 6 THEN 0 WHEN hash(r, turn) % 3 = 0
        AND dice >= {failures} THEN 2 ELSE 1 END, NULL) AS requested_calls,
    if(model AND content = 'full', 100 + r % 3, NULL) AS toolset_key, content AS content_state, false AS inferred,
    hash(r % 20) AS attributes_key, 'anthropic-sdk' AS dialect, 1 AS source_key
FROM placed ORDER BY run_key, step
"""

_ARGUMENTS: Final = """CASE WHEN dice = 9 AND bad THEN '{{"path": "", "limit": null}}'
    WHEN dice = 11 AND place IN (3, 4) THEN '{{"file": "src/' || step || '.py"}}'
    WHEN tool_name = 'bash' THEN '{{"command": "pytest -q tests/test_' || step || '.py -k case_' || r || '"}}'
    WHEN tool_name = 'grep' THEN '{{"pattern": "def run_' || step || '", "mode": "' || ['files', 'lines', 'count'][1 + r % 3] || '"}}'
    WHEN tool_name = 'edit' THEN '{{"path": "src/module_' || step || '.py", "old": "x = ' || r || '", "new": "x = ' || step || '"}}'
    WHEN tool_name = 'plan' THEN '{{"items": [{{"text": "step ' || step || '", "done": true}}, {{"text": "next", "done": false}}]}}'
    ELSE '{{"path": "/src/module_' || r || '_' || if(dice < 5 AND bad, 0, step) || '.py", "limit": ' || 10 + step % 90 || '}}' END"""

_TEXTS: Final = (
    f"""
    INSERT INTO contents BY NAME SELECT r * {{width}} + step AS span_key, {_ARGUMENTS} AS arguments,
        CASE WHEN dice = 12 AND place = 3 THEN repeat('all work and no play ', 19_000)
            ELSE 'contents of ' || step || ' of ' || r || ': ' || repeat('word ', 30) END AS result
    FROM placed WHERE tool AND content = 'full'
    """,
    """
    INSERT INTO contents BY NAME SELECT r * {width} + step AS span_key, hash(r % 3, 'system') AS system_key,
        list_concat([hash(r, 'user')], flatten(list_transform(
            range(turn - if(turns > 40, least(turn - 1, turn % 40), turn - 1), turn), lambda x: [hash(r, x, 'said'), hash(r, x, 'result')]
        ))) AS input_keys,
        if(overloaded, NULL, [hash(r, turn, 'said')]) AS output_keys
    FROM placed WHERE model AND content = 'full'
    """,
    f"""
    INSERT INTO tool_requests BY NAME SELECT r * {{width}} + step - part + 1 AS span_key,
        printf('%032x', r - if(r % 20 = 0, 1, 0) + 7) AS trace_id, part - 2 AS position,
        printf('toolu_%016x', hash(r, step, 4)) AS tool_call_id, tool_name, call_key, {_ARGUMENTS} AS arguments,
        tool_name <> 'web_browser' AS declared
    FROM placed WHERE tool AND content = 'full'
    """,
    """
    INSERT INTO tool_responses BY NAME SELECT printf('%032x', r - if(r % 20 = 0, 1, 0) + 7) AS trace_id,
        printf('toolu_%016x', hash(r, step, 4)) AS tool_call_id, result_key, 100 AS result_chars, fails AS failed,
        false AS failure_inferred, hash(r, turn, 'result') AS message_key
    FROM placed WHERE tool AND content = 'full' AND NOT closing
    """,
    """
    INSERT INTO messages BY NAME SELECT hash(r, 'user') AS message_key, 'user' AS role,
        '{{"role":"user","parts":[{{"type":"text","content":"Repair module ' || r || '."}}]}}' AS body, 20 AS chars
    FROM placed WHERE content = 'full' AND step = 0
    UNION ALL SELECT hash(r, turn, 'said'), 'assistant', '{{"role":"assistant","parts":[' || if(dice = 19 AND place IN (5, 6), '',
        '{{"type":"text","content":"' || CASE WHEN NOT closing THEN 'Looking at step ' || step || ' of module ' || r
            WHEN dice = 22 THEN 'All done: the module is in place.' ELSE 'Done, apart from what could not be read.' END || '"}}')
        || if(closing OR dice = 19 AND place BETWEEN 3 AND 6, '',
            ',{{"type":"tool_call","id":"toolu_' || printf('%016x', hash(r, step + 1, 4)) || '"}}') || ']}}', 60
    FROM placed WHERE content = 'full' AND model AND NOT overloaded
    UNION ALL SELECT hash(r, turn, 'result'), 'user', '{{"role":"user","parts":[{{"type":"tool_call_response","id":"toolu_'
        || printf('%016x', hash(r, step, 4)) || '","response":"contents of ' || step || ' of ' || r || ': ' || repeat('word ', 30)
        || '"}}]}}', 170
    FROM placed WHERE content = 'full' AND part = 2 AND NOT closing
    """,
)


def build(path: Path, spans: int, *, turns: int | None = None, odds: int = ODDS) -> None:
    """A database of about `spans` spans at `path`, in runs of so many `turns`, or of 6 to 35."""
    runs = max(1, round(spans / (SPANS_PER_RUN if turns is None else 2 * turns)))
    width = 100 if turns is None else 4 * turns
    with duckdb.connect(str(path)) as con:
        for table in (*TABLES, *MACROS):
            con.execute(table.ddl)
        con.execute(f"INSERT INTO {META.name} VALUES ('schema_version', ?)", [str(VERSION)])
        con.execute("SET enable_progress_bar = false")
        for first in range(1, runs + 1, _RUNS_AT_ONCE):
            last = min(runs + 1, first + _RUNS_AT_ONCE)
            con.execute(_ROWS.format(first=first, last=last, turns=turns or "NULL", odds=odds))
            for sql in (_SPANS, *_TEXTS):
                con.execute(sql.format(width=width, failures=FAILURES))
        con.execute(
            "INSERT INTO toolsets BY NAME SELECT 100 + i AS toolset_key, ? AS names, ? AS definitions, ? AS chars FROM range(3) t(i)",
            [list(_TOOLS), _declared(), len(_declared())],
        )
        con.execute(
            "INSERT INTO messages BY NAME SELECT hash(i, 'system') AS message_key, 'system' AS role, "
            """'{"role":"system","parts":[{"type":"text","content":"You repair modules."}]}' AS body, 20 AS chars FROM range(3) t(i)"""
        )
        con.execute(
            "INSERT INTO runs SELECT run_key, first(run_id), first(trace_id) FROM spans GROUP BY run_key ORDER BY run_key"
        )
