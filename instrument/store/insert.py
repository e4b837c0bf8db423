"""Rows into tables of the store, as Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import duckdb
import pyarrow as pa

from instrument.otlp import Issue
from instrument.store import schema

_ARROW: Final = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "VARCHAR": pa.string(),
    "UBIGINT": pa.uint64(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "UBIGINT[]": pa.list_(pa.uint64()),
    "VARCHAR[]": pa.list_(pa.string()),
    "VARIANT": pa.string(),
}


def arrow(table: schema.Table, rows: list[tuple[Any, ...]]) -> pa.Table:
    """`rows`, values in the order of the schema, as Arrow."""
    types = [_ARROW[c.type] for c in table.columns]
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(types)
    arrays = [pa.array(list(values), dtype) for values, dtype in zip(by_column, types, strict=True)]
    return pa.table(arrays, names=[c.name for c in table.columns])


def insert(con: duckdb.DuckDBPyConnection, into: str, rows: pa.Table, select: str = "*", where: str = "") -> None:
    """`INSERT INTO into SELECT select FROM rows where`; nothing where there are no rows."""
    if not rows.num_rows:
        return
    con.register("flyball_incoming", rows)
    try:
        con.execute(f"INSERT INTO {into} SELECT {select} FROM flyball_incoming {where}")
    finally:
        con.unregister("flyball_incoming")


def insert_new(con: duckdb.DuckDBPyConnection, table: schema.Table, rows: pa.Table) -> None:
    """Rows whose key, the first column, is not in the table yet; of rows with equal keys one."""
    key = table.columns[0].name
    values = ", ".join(f"{c.name}::JSON::VARIANT" if c.type == "VARIANT" else c.name for c in table.columns)
    unseen = f"WHERE {key} NOT IN (SELECT {key} FROM {table.name})"
    insert(con, table.name, rows, f"DISTINCT ON ({key}) {values}", unseen)


def write_issues(con: duckdb.DuckDBPyConnection, issues: Iterable[Issue]) -> None:
    """Adds issues to the database."""
    rows = [(i.kind, i.source, i.line, i.count, i.message, i.remedy, i.error) for i in issues]
    insert(con, schema.ISSUES.name, arrow(schema.ISSUES, rows))
