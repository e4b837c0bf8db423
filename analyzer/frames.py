"""The views of the store that detectors share: Polars frames of whole runs, a partition at a time.

A view is read from DuckDB when a detector first asks for it, with just the columns that the chosen detectors named, as numbers: what is
text (names, messages, ids) is read later, and only for the rows that matter. Rows come ordered by (`run_key`, `step`), as they lie in the
store, so that a neighbouring row is the neighbouring call and no detector needs a sort or a window to find it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import duckdb
import numpy as np
import polars as pl

PARTITION_SPANS: Final = 2_000_000
"""Spans judged at a time: so many that what a partition costs whatever its size (nearly a second) hardly counts, and few enough that all
detectors stay below two gigabytes where DuckDB itself is held to one."""

# The first request after the action brings it to the model.
_TOLD_BY_GUARDS: Final = """
WITH acts AS (
    SELECT s.run_key, a.at_ns FROM guard_actions a JOIN spans s USING (span_key)
    WHERE a.action IN ('nudge', 'stop', 'compact') AND NOT a.observed AND s.run_key IN (SELECT run_key FROM wanted_runs)
)
SELECT acts.run_key, calls.step
FROM acts ASOF JOIN (FROM spans WHERE kind = 'model' AND run_key IN (SELECT run_key FROM acts)) calls
    ON acts.run_key = calls.run_key AND acts.at_ns <= calls.start_ns
"""

ASKED: Final = "asked: if(kind = 'tool', hash(trace_id, tool_call_id), NULL)"
"""What names a tool call in the request that asked for it, as a column for `Frames.rows`; null where the span is no tool call."""
# Arguments as `tool_texts` tells them, in steps of which each reads only what the one before left open.
_CALLS: Final = """
SELECT run_key, step, span_key, hash(trace_id, tool_call_id) AS asked FROM spans WHERE rowid IN (SELECT rowid FROM spans WHERE kind = 'tool'
    AND run_key IN (SELECT run_key FROM wanted) AND (run_key, step) IN (SELECT (run_key, step) FROM wanted))
"""
_OWN: Final = (
    "SELECT span_key, arguments FROM contents WHERE span_key IN (SELECT span_key FROM wanted) AND arguments IS NOT NULL"
)
_REQUESTS: Final = """
SELECT hash(trace_id, tool_call_id) AS asked, rowid AS request FROM tool_requests
WHERE arguments IS NOT NULL AND trace_id IS NOT NULL AND tool_call_id IS NOT NULL
"""
_REQUESTED: Final = (
    "SELECT rowid AS request, arguments AS requested FROM tool_requests WHERE rowid IN (SELECT request FROM wanted)"
)

# New messages stand at the end of a request, so the last few are enough, and a long run stays linear.
# MATERIALIZED: see `detectors.context_growth.filling`.
_NEW_WORDS: Final = """
WITH calls AS MATERIALIZED (
    SELECT run_key, step, span_key FROM spans
    WHERE kind = 'model' AND {counted} AND {span} AND run_key IN (SELECT run_key FROM wanted_runs)
), held AS MATERIALIZED (
    SELECT span_key, unnest(input_keys[-8:]) AS message_key FROM contents WHERE span_key IN (SELECT span_key FROM calls)
), seen AS MATERIALIZED (
    SELECT run_key, min(step) AS step, message_key FROM calls JOIN held USING (span_key) GROUP BY run_key, message_key
), spoken AS MATERIALIZED (
    -- The types of its own parts: a tool's result may hold texts too. Row numbers first, as in `tool_texts`.
    SELECT message_key FROM messages
    WHERE rowid IN (SELECT rowid FROM messages WHERE role = 'user' AND message_key IN (SELECT message_key FROM seen))
        AND list_contains(json_extract_string(body, '$.parts[*].type'), 'text')
)
SELECT run_key, step, message_key FROM seen
WHERE message_key IN (SELECT message_key FROM spoken) AND step > (SELECT min(step) FROM seen AS s WHERE s.run_key = seen.run_key)
"""

# Which of `new`, messages as of `_NEW_WORDS`, stand in the place of one that the request before held, a tool having run since, and say all
# of its words; numbers aside, which count steps.
_REBUILT: Final = """
WITH calls AS MATERIALIZED (
    SELECT run_key, step, span_key, row_number() OVER (PARTITION BY run_key ORDER BY step) AS place
    FROM spans WHERE kind = 'model' AND {counted} AND {span} AND run_key IN (SELECT run_key FROM new)
), tools AS MATERIALIZED (
    SELECT run_key, step FROM spans WHERE kind = 'tool' AND {counted} AND {span} AND run_key IN (SELECT run_key FROM new)
), asked AS MATERIALIZED (
    SELECT * FROM calls WHERE (run_key, step) IN (SELECT (run_key, step) FROM new)
), acted AS MATERIALIZED (
    SELECT asked.*, tools.step AS tool_step FROM asked ASOF JOIN tools ON asked.run_key = tools.run_key AND asked.step > tools.step
), pairs AS MATERIALIZED (
    SELECT acted.run_key, acted.step, acted.span_key, calls.span_key AS before_key
    FROM acted JOIN calls ON calls.run_key = acted.run_key AND calls.place = acted.place - 1 AND calls.step < acted.tool_step
), held AS MATERIALIZED (
    SELECT span_key AS before_key, unnest(input_keys[-8:]) AS old_key FROM contents
    WHERE span_key IN (SELECT before_key FROM pairs)
), had AS MATERIALIZED (
    SELECT run_key, step, span_key, old_key FROM pairs JOIN held USING (before_key)
), gone AS MATERIALIZED (
    SELECT DISTINCT run_key, step, old_key FROM had JOIN contents USING (span_key) WHERE NOT list_contains(input_keys, old_key)
), replaced AS MATERIALIZED (
    SELECT run_key, step, message_key, old_key FROM new JOIN gone USING (run_key, step)
), keys AS MATERIALIZED (
    SELECT message_key FROM replaced UNION SELECT old_key FROM replaced
), said AS MATERIALIZED (
    SELECT message_key, list_distinct(regexp_extract_all(lower(array_to_string(list_transform(list_filter((body->'$.parts')::JSON[],
        lambda p: p->>'$.type' = 'text'), lambda p: p->>'$.content'), ' ')), '[\\pL\\p{{Nl}}\\p{{No}}_]+')) AS words
    FROM messages WHERE rowid IN (SELECT rowid FROM messages WHERE role = 'user' AND message_key IN (SELECT message_key FROM keys))
        AND list_contains(json_extract_string(body, '$.parts[*].type'), 'text')
), old AS MATERIALIZED (
    SELECT replaced.*, words AS old_words FROM replaced JOIN said ON said.message_key = replaced.old_key
)
SELECT DISTINCT run_key, step, message_key FROM old JOIN said USING (message_key)
WHERE list_has_all(words, old_words) AND (len(old_words) > 0) >= (len(words) > 0)
"""

# Where keys stand for messages: what the user said last, when it is new.
_HASHED_QUESTIONS: Final = """
WITH asked AS MATERIALIZED (
    SELECT run_key, min(step) AS step FROM spans
    WHERE kind = 'model' AND asked_key IS NOT NULL AND duplicate_of IS NULL AND {span} AND run_key IN (SELECT run_key FROM wanted_runs)
    GROUP BY run_key, asked_key
)
SELECT run_key, step FROM asked WHERE step > (SELECT min(step) FROM asked AS a WHERE a.run_key = asked.run_key)
"""

Views = Mapping[str, frozenset[str]]
"""Columns by view."""

_VIEWS: Final = {"tool_calls": "kind = 'tool'", "model_calls": "kind = 'model'"}
_ALWAYS: Final = ("run_key", "step", "turn")
_COUNTED: Final = "duplicate_of IS NULL"


class Frames:
    """Whole runs, `first_run` to `last_run` by number, as the views that detectors read."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        views: Views,
        first_run: int,
        last_run: int,
        of_store: dict[str, pl.DataFrame] | None = None,
    ) -> None:
        self._con = con
        self._of_store = {} if of_store is None else of_store
        """What is the same for every partition of the store, and read for the first that asks."""
        self._views = views
        self.span = f"run_key BETWEEN {first_run} AND {last_run}"
        """These runs, as a condition in SQL over `spans`."""
        self._asked: dict[str, pl.DataFrame] = {}
        self._made: dict[str, tuple[pl.Series, pl.DataFrame]] = {}

    @classmethod
    def all_of(cls, con: duckdb.DuckDBPyConnection) -> Frames:
        """Every run of the store at once, to ask about a few of them."""
        return cls(con, {}, -(2**31), 2**31 - 1)

    @classmethod
    def of(cls, con: duckdb.DuckDBPyConnection, runs: pl.Series) -> Frames:
        """Just the runs numbered in `runs`, a few hundred at most."""
        some = cls.all_of(con)
        some.span = f"run_key IN ({', '.join(str(int(key)) for key in runs) or 'NULL'})"
        return some

    def reading(self, views: Mapping[str, Iterable[str]]) -> Frames:
        """The same runs, with these columns in their views."""
        same = Frames(self._con, {name: frozenset(columns) for name, columns in views.items()}, 0, 0)
        same.span = self.span
        return same

    @cached_property
    def tool_calls(self) -> pl.DataFrame:
        """One row is one tool call; those known only from messages are included. `turn` is as in `calls`."""
        return self.calls(sorted(self._views.get("tool_calls", ())))

    @cached_property
    def model_calls(self) -> pl.DataFrame:
        """One row is one model call, however often it was reported."""
        return self.rows(_VIEWS["model_calls"], sorted(self._views.get("model_calls", ())))

    @cached_property
    def runs(self) -> pl.DataFrame:
        """One row is one run: its first span's agent (or name), the model of its first model call, and the sums over its model calls.

        `cost_usd` is the sum of what is known; `unpriced_calls` says how many calls are not in it (a failed call without a
        price is not billed).
        """
        calls = (
            self.model_calls.with_columns(pl.col("run_key").set_sorted())
            .group_by("run_key", maintain_order=True)
            .agg(
                model_calls=pl.len(),
                unpriced_calls=(pl.col("cost_usd").is_null() & ~pl.col("failed").fill_null(False)).sum(),
                cost_usd=pl.col("cost_usd").sum(),
                input_tokens=pl.col("input_tokens").sum(),
                last_step=pl.col("step").last(),
                last_turn=pl.col("turn").last(),
            )
        )
        first = self.rows("step = 0", ["agent: coalesce(agent_name, name)"])
        model = self.rows("kind = 'model' AND turn = 1", ["model: coalesce(response_model, request_model)"])
        return (
            calls.join(first.select("run_key", "agent"), on="run_key", how="left")
            .join(model.select("run_key", "model"), on="run_key", how="left")
            .sort("run_key")
        )

    @cached_property
    def models(self) -> pl.DataFrame:
        """One row is one model: how many calls were made and how many of them have input tokens (or failed)."""
        return self.ask(
            "SELECT coalesce(response_model, request_model) AS model, count(*) AS calls, "
            "count(*) FILTER (input_tokens IS NOT NULL OR coalesce(failed, false)) AS measured "
            f"FROM spans WHERE kind = 'model' AND {_COUNTED} AND {self.span} GROUP BY ALL ORDER BY ALL"
        )

    def calls(self, columns: Sequence[str], runs: pl.Series | None = None, where: str = "true") -> pl.DataFrame:
        """One row is one tool call for which `where` holds (of the runs numbered in `runs`, if given), with columns as for `rows`.

        `turn` is the turn that asked for it. In a run without recorded model calls each tool call is a turn of its own: `turn` is its step.
        """
        calls = self.rows(f"{_VIEWS['tool_calls']} AND ({where})", columns, runs)
        early = calls.filter(turn=0)["run_key"].unique()
        if early.is_empty():
            return calls
        talking = self.rows(f"{_VIEWS['model_calls']} AND turn = 1", [], early)["run_key"]
        lonely = (pl.col("turn") == 0) & ~pl.col("run_key").is_in(talking.implode())
        return calls.with_columns(turn=pl.when(lonely).then("step").otherwise("turn"))

    def rows(self, where: str, columns: Sequence[str], runs: pl.Series | None = None) -> pl.DataFrame:
        """One row is one span (duplicates left out) for which `where` holds, of the runs numbered in `runs` if given; ordered.

        A column is a name, or `name: SQL expression`. `run_key`, `step` and `turn` are always there. `contents` is
        joined where a column needs it.
        """
        named = dict(_named(c) for c in (*_ALWAYS, *columns))
        chosen = ", ".join(f"{expression} AS {name}" for name, expression in named.items())
        source = "spans LEFT JOIN contents USING (span_key)" if "contents." in chosen else "spans"
        return in_order(
            self._ask(f"SELECT {chosen} FROM {source} WHERE ({where}) AND {_COUNTED} AND {self.span}", runs)
        )

    def at(self, places: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """`places` (with `run_key`, `step`), in their order, with further columns of those spans, named as for `rows`."""
        named = dict(_named(c) for c in columns)
        chosen = ", ".join(f"{expression} AS {name}" for name, expression in named.items())
        # Runs first, then row numbers, then the rows: a single key is sieved out within the scan, and text is unpacked for the
        # wanted rows only.
        found = self.ask(
            f"SELECT run_key, step, {chosen} FROM spans WHERE rowid IN (SELECT rowid FROM spans WHERE "
            "run_key IN (SELECT run_key FROM wanted) AND (run_key, step) IN (SELECT (run_key, step) FROM wanted))",
            wanted=places.select("run_key", "step").unique(),
        )
        return places.join(found, on=["run_key", "step"], how="left", maintain_order="left")

    def said(self, calls: pl.DataFrame, texts: Sequence[str] = ("arguments", "result")) -> pl.DataFrame:
        """`calls` (with `run_key`, `step`) with their `arguments` and `result`, as their spans or the messages around them tell.

        For arguments alone `span_key` and `ASKED` save a scan, where the calls have them.
        """
        if calls.is_empty():
            return calls.with_columns(pl.lit(None, pl.String).alias(text) for text in texts)
        places = calls.select("run_key", "step").unique()
        chosen = ", ".join(("run_key", "step", *texts))
        if list(texts) != ["arguments"]:
            told = self.ask(f"SELECT {chosen} FROM tool_texts('wanted')", wanted=places)
        elif {"span_key", "asked"} <= set(calls.columns):
            named = calls.select("run_key", "step", "span_key", "asked").filter(pl.col("asked").is_not_null())
            told = self._arguments(named.unique(("run_key", "step")))
        else:
            told = self._arguments(self.ask(_CALLS, wanted=places))
        return calls.join(told, on=["run_key", "step"], how="left", maintain_order="left")

    def _arguments(self, calls: pl.DataFrame) -> pl.DataFrame:
        own = self.ask(_OWN, wanted=calls.select("span_key").drop_nulls())
        told = calls.join(own, on="span_key", how="left")
        open_ = told.filter(pl.col("arguments").is_null())
        if open_.is_empty():
            return told.drop("span_key", "asked")
        requests = open_.select("asked").unique().join(self._requests, on="asked")
        requests = requests.join(self.ask(_REQUESTED, wanted=requests), on="request").select("asked", "requested")
        return told.join(requests, on="asked", how="left").select(
            "run_key", "step", arguments=pl.coalesce("arguments", "requested")
        )

    @property
    def _requests(self) -> pl.DataFrame:
        """One row is one request for a tool call that tells its arguments: the row it lies in, by a hash of what names the call."""
        if "requests" not in self._of_store:
            self._of_store["requests"] = self.ask(_REQUESTS)
        return self._of_store["requests"]

    def once(self, what: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """What `make` gives, made for the first who asks."""
        if what not in self._asked:
            self._asked[what] = make()
        return self._asked[what]

    def by_run(self, what: str, runs: pl.Series, make: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
        """`make(runs)`, ordered by run and step, where a row tells of its own run alone: `what` is made once for each run."""
        wanted = runs.unique()
        done, rows = self._made.get(what, (wanted.clear(), pl.DataFrame()))
        new = wanted.filter(~wanted.is_in(done.implode()))
        if len(new) or what not in self._made:
            made = make(new)
            rows = in_order(pl.concat([rows, made])) if len(done) else made
            self._made[what] = pl.concat([done, new]), rows
        return rows.filter(pl.col("run_key").is_in(wanted.implode()))

    def questions(self, runs: pl.Series) -> pl.DataFrame:
        """One row is a message of the user that a run's model saw for the first time at `step`, later than in its first request.

        What a guard said in the user's place is not the user's, and neither is a prompt that was put together again: a tool had run since
        the request before, of which it replaces a message and says every word (`sameness.retells`).
        """
        return self.by_run("questions", runs, self._questions)

    def _questions(self, runs: pl.Series) -> pl.DataFrame:
        new = self._ask(_NEW_WORDS.format(counted=_COUNTED, span=self.span), runs)
        if len(new):
            rebuilt = self.ask(_REBUILT.format(counted=_COUNTED, span=self.span), new=new)
            new = new.join(rebuilt, on=["run_key", "step", "message_key"], how="anti")
        new = new.select("run_key", "step").unique()
        new = pl.concat([new, self._ask(_HASHED_QUESTIONS.format(span=self.span), runs)])
        return new.join(self._ask(_TOLD_BY_GUARDS, runs), on=["run_key", "step"], how="anti").sort("run_key", "step")

    def ask(self, sql: str, **tables: pl.DataFrame) -> pl.DataFrame:
        """The answer to `sql`, in which the given frames can be named as tables."""
        for name, table in tables.items():
            self._con.register(name, table.to_arrow())
        try:
            answer: pl.DataFrame = self._con.sql(sql).pl()
            return answer
        finally:
            for name in tables:
                self._con.unregister(name)

    def _ask(self, sql: str, runs: pl.Series | None) -> pl.DataFrame:
        if runs is None:
            # Several detectors begin with the same few rows.
            return self.once(sql, lambda: self.ask(sql))
        if runs.is_empty():
            return self.ask(f"FROM ({sql}) LIMIT 0", wanted_runs=pl.DataFrame({"run_key": runs}))
        if "wanted_runs" not in sql:
            sql += " AND run_key IN (SELECT run_key FROM wanted_runs)"
        return self.ask(sql, wanted_runs=pl.DataFrame({"run_key": runs.unique()}))


def partitions(con: duckdb.DuckDBPyConnection, views: Views, spans: int = PARTITION_SPANS) -> Iterator[Frames]:
    """The whole store in partitions of whole runs, each of about `spans` spans (more where one run has more)."""
    ((total, first, last),) = con.execute("SELECT count(*), min(run_key), max(run_key) FROM spans").fetchall()
    if not total:
        return
    if total <= spans:
        yield Frames(con, views, first, last)
        return
    of_store: dict[str, pl.DataFrame] = {}
    cuts = con.execute(
        "SELECT min(run_key), max(run_key) FROM (SELECT run_key, sum(n) OVER (ORDER BY run_key) // ? AS part FROM "
        "(SELECT run_key, count(*) AS n FROM spans GROUP BY run_key)) GROUP BY part ORDER BY 1",
        [spans],
    )
    for first, last in cuts.fetchall():
        yield Frames(con, views, first, last, of_store)


def columns_of(readers: Iterable[Mapping[str, Iterable[str]]]) -> Views:
    """What several readers need of each view, together."""
    needs: dict[str, set[str]] = {}
    for reader in readers:
        for view, columns in reader.items():
            needs.setdefault(view, set()).update(columns)
    return {view: frozenset(columns) for view, columns in needs.items()}


def scans(views: Views) -> list[str]:
    """SQL that reads every value of these views and returns one row: what reading alone costs."""
    return [
        f"SELECT {', '.join(f'max({c})' for c in sorted({*_ALWAYS, *columns}))} FROM spans WHERE {_VIEWS[view]} AND {_COUNTED}"
        for view, columns in views.items()
    ]


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` ordered by run and step; nothing is moved where they lie so already."""
    place = rows.select(place=pl.col("run_key").cast(pl.Int64) * 2**32 + pl.col("step")).to_series()
    return rows if place.is_sorted() else rows.sort("run_key", "step")


def recurring(rows: pl.DataFrame, keys: Sequence[str], times: int) -> pl.Series:
    """Runs (`run_key`, each once) in which one combination of `keys` occurs at least `times` times; unknown keys never do.

    The keys are hashes already, so an odd multiple of each is mixing enough to sort them as one number.
    """
    mixed = pl.col("run_key").cast(pl.UInt64) * _ODD[0]
    for key, odd in zip(keys, _ODD[1:], strict=False):
        mixed = mixed + pl.col(key) * odd
    marked = rows.select("run_key", mixed=mixed).drop_nulls()
    # Few buckets hold so many rows, and only these need to be sorted.
    bucket = marked.select(pl.col("mixed").cast(pl.Int64, wrap_numerical=True) & _BUCKETS).to_series().to_numpy()
    marked = marked.filter(pl.Series(np.bincount(bucket)[bucket] >= times))
    ordered = marked["mixed"].sort()
    often = ordered.filter((ordered == ordered.shift(times - 1)).fill_null(False)).unique()
    if often.is_empty():
        return rows["run_key"].clear()
    return marked.filter(pl.col("mixed").is_in(often.implode()))["run_key"].unique().sort()


_BUCKETS: Final = 2**20 - 1
_ODD: Final = tuple(pl.lit(n, pl.UInt64) for n in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def _named(column: str) -> tuple[str, str]:
    name, _, expression = column.partition(": ")
    return name, expression or name
