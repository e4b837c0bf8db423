"""Writes `healthy.jsonl.zst`: healthy runs out of public trace files, through flyball's own readers and store.

    python -m benchmarks.accuracy.extract ../shared/traces

Healthy is what its own account calls so: a tau2 simulation with reward 1, a SWE agent's run that ended in `submitted`. The long sessions
of pi say nothing of success; they are cut at each message of the user, and pieces that were interrupted are left out. No detector is asked.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import orjson
import zstandard

from analyzer.readers import load, resolve
from benchmarks.accuracy.healthy import EXTRACT

FOLDERS: Final = ("mini_swe_agent", "pi", "swe_agent", "tau2")
RESULT_CHARS: Final = 900
TEXT_CHARS: Final = 500
MOST_RUNS: Final = {"tau2": 51, "mini_swe_agent": 24, "pi": 24, "swe_agent": 20}
MOST_OF_A_FILE: Final = {"tau2": 17, "pi": 12}
"""Of a file with many runs, so that each kind of task is there."""
MOST_TURNS: Final = 100
"""Longer runs are left out: a run that was cut is no healthy one."""
_HEALTHY: Final = """
SELECT run_key, any_value(regexp_extract(sources.name, '(mini_swe_agent|pi|swe_agent|tau2)/', 1)) AS folder,
    any_value(sources.name) AS name FROM spans s JOIN sources USING (source_key) LEFT JOIN attribute_sets a USING (attributes_key)
WHERE kind = 'agent' AND (
    a.attributes."flyball.outcome"::VARCHAR = 'success' OR lower(a.attributes."flyball.outcome.reason"::VARCHAR) LIKE 'submitted%'
    OR sources.name LIKE '%/pi/%'
) GROUP BY run_key ORDER BY name, run_key
"""
_CALLS: Final = """
SELECT s.turn, s.tool_name, t.arguments, t.result, s.failed AND NOT coalesce(s.failure_inferred, false) AS flagged, s.error_type,
    (s.end_ns - s.start_ns) / 1e9 AS seconds
FROM spans s JOIN tool_texts('spans') t USING (run_key, step)
WHERE s.kind = 'tool' AND s.run_key = ? AND s.duplicate_of IS NULL ORDER BY s.step
"""
_MODELS: Final = """
SELECT s.turn, s.output_tokens, s.failed, c.input_keys, c.output_keys FROM spans s JOIN contents c USING (span_key)
WHERE kind = 'model' AND run_key = ? AND duplicate_of IS NULL ORDER BY step
"""


def main() -> int:
    """Reads the folders below the one named and writes the extract."""
    root = Path(sys.argv[1])
    with TemporaryDirectory() as folder:
        db = Path(folder) / "traces.duckdb"
        load(resolve([str(root / name) for name in FOLDERS]), db)
        with duckdb.connect(str(db), read_only=True) as con:
            lines = [orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS) for line in _lines(con)]
    EXTRACT.write_bytes(zstandard.ZstdCompressor(level=19).compress(b"\n".join(lines)))
    print(f"{len(lines)} runs, {EXTRACT.stat().st_size:,} bytes")
    return 0


def _lines(con: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    bodies = {key: orjson.loads(body) for key, body in con.execute("SELECT message_key, body FROM messages").fetchall()}
    taken: Counter[str] = Counter()
    for run_key, folder, name in con.execute(_HEALTHY).fetchall():
        whole = list(_script(con, run_key, bodies))
        for question, script in _talks(whole) if folder == "pi" else [(_opening(whole), whole[1:])]:
            turns = [e for e in script if "user" not in e]
            full = taken[folder] >= MOST_RUNS[folder] or taken[name] >= MOST_OF_A_FILE.get(folder, 1)
            if full or not 3 <= len(turns) <= MOST_TURNS or not any("calls" in e for e in turns):
                continue
            taken.update((folder, name))
            label = f"{folder}-{taken[folder]:02}"
            yield {"name": label, "file": Path(name).name, "question": question, "script": script}


def _opening(script: list[dict[str, Any]]) -> str:
    return script[0].get("user", "Do the task.") if script else "Do the task."


def _talks(script: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A long session in pieces, each from one message of the user to the answer before the next."""
    starts = [n for n, e in enumerate(script) if "user" in e] or [0]
    for start, end in zip(starts, [*starts[1:], len(script)], strict=True):
        piece = script[start + 1 : end]
        # A piece that ends in a call was interrupted by the user.
        if piece and "calls" not in piece[-1]:
            yield script[start]["user"], piece


def _script(con: duckdb.DuckDBPyConnection, run_key: int, bodies: dict[int, Any]) -> Iterator[dict[str, Any]]:
    calls = defaultdict(list)
    for turn, tool, arguments, result, flagged, error, seconds in con.execute(_CALLS, [run_key]).fetchall():
        calls[turn].append(
            {
                "name": tool,
                "arguments": _decoded(arguments),
                "result": _cut(result or "", RESULT_CHARS),
                **({"error": error or "ToolError"} if flagged else {}),
                "seconds": round(min(seconds or 0.5, 60.0), 3),
            }
        )
    heard: set[int] = set()
    for turn, output_tokens, failed, heard_keys, said_keys in con.execute(_MODELS, [run_key]).fetchall():
        for key in heard_keys or ():
            if key not in heard and (spoken := _words(bodies[key])) and bodies[key]["role"] == "user":
                yield {"user": spoken}
            heard.add(key)
        if failed:
            continue
        text = " ".join(filter(None, (_words(bodies[key]) for key in said_keys or ())))
        entry = {"text": text, "output": output_tokens or 50, **({"calls": calls[turn]} if calls[turn] else {})}
        if text or calls[turn]:
            yield entry


def _words(message: dict[str, Any]) -> str:
    parts = [p.get("content", "") for p in message.get("parts", ()) if p.get("type") == "text"]
    return _cut(" ".join(filter(None, parts)), TEXT_CHARS)


def _decoded(arguments: str | None) -> Any:
    try:
        value = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments
    if not isinstance(value, dict):
        return value
    return {k: _cut(v, RESULT_CHARS) if isinstance(v, str) else v for k, v in value.items()}


def _cut(text: str, chars: int) -> str:
    """The beginning of a long text, with a mark of the rest: what was different stays different."""
    rest = blake2b(text[chars:].encode("utf-8", "replace"), digest_size=4).hexdigest()
    return text if len(text) <= chars else f"{text[:chars]} [cut: {len(text) - chars} characters, {rest}]"


if __name__ == "__main__":
    raise SystemExit(main())
