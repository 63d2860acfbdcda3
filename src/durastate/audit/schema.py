"""The tables that an audit writes: their columns, what each holds, and the version of it all.

A row of `executions` is one execution, a row of `operations` one of its operations, a row of
`failures` one execution that could not be read. Parquet and JSON Lines have the same columns; a
line of JSON leaves out what is null. Payload columns are always part of the schema and hold
something only where the audit was asked for it, each mode filling its own.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

import pyarrow as pa

#: Raised with every change that makes files of before and after differ in more than rows.
SCHEMA_VERSION = 1

Format = Literal["parquet", "jsonl"]
Payloads = Literal["none", "size", "hash", "full"]
Table = Literal["executions", "operations", "failures"]
Kind = Literal["text", "word", "integer", "truth", "time"]

FORMATS: tuple[Format, ...] = ("parquet", "jsonl")
PAYLOADS: tuple[Payloads, ...] = ("none", "size", "hash", "full")
TABLES: tuple[Table, ...] = ("executions", "operations", "failures")


class Column(NamedTuple):
    """A column, what it holds, and the `--payloads` that fill it."""

    name: str
    kind: Kind
    modes: tuple[Payloads, ...] = PAYLOADS


_ARROW: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "word": pa.dictionary(pa.int32(), pa.string()),
    "integer": pa.int64(),
    "truth": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
}


def _measured(*names: str) -> tuple[Column, ...]:
    """A payload: itself with `full`, or what stands in for it."""
    return tuple(
        column
        for name in names
        for column in (
            Column(name, "text", ("full",)),
            Column(f"{name}_size", "integer", ("size", "hash")),
            Column(f"{name}_sha256", "text", ("hash",)),
        )
    )


COLUMNS: dict[Table, tuple[Column, ...]] = {
    "executions": (
        Column("arn", "text"),
        Column("region", "word"),
        Column("account", "word"),
        Column("function", "word"),
        Column("version", "word"),
        Column("name", "text"),
        Column("status", "word"),
        Column("started_at", "time"),
        Column("ended_at", "time"),
        Column("error_type", "word"),
        *_measured("error_message"),
        Column("operation_count", "integer"),
        Column("failed_count", "integer"),
        Column("retry_count", "integer"),
        Column("operations_sha256", "text"),
        Column("source", "word"),
        Column("read_at", "time"),
    ),
    "operations": (
        Column("arn", "word"),
        Column("sequence", "integer"),
        Column("id", "text"),
        Column("parent_id", "text"),
        Column("name", "word"),
        Column("type", "word"),
        Column("sub_type", "word"),
        Column("status", "word"),
        Column("started_at", "time"),
        Column("ended_at", "time"),
        Column("attempt", "integer"),
        Column("next_attempt_at", "time"),
        Column("scheduled_end_at", "time"),
        Column("replay_children", "truth"),
        Column("error_type", "word"),
        Column("source", "word"),
        *_measured("input", "result", "error_message", "error_data", "stack_trace"),
        Column("callback_id", "text", ("full",)),
        Column("other", "text", ("full",)),
    ),
    "failures": (
        Column("arn", "text"),
        Column("region", "word"),
        Column("account", "word"),
        Column("function", "word"),
        Column("version", "word"),
        Column("name", "text"),
        Column("status", "word"),
        Column("error", "word"),
        Column("code", "word"),
        Column("message", "text"),
        Column("source", "word"),
        Column("failed_at", "time"),
    ),
}


@cache
def columns(table: Table, payloads: Payloads = "full") -> tuple[str, ...]:
    """The names of the columns that hold something in this mode, in order."""
    return tuple(each.name for each in COLUMNS[table] if payloads in each.modes)


@cache
def arrow_schema(table: Table) -> pa.Schema:
    """The table as Arrow and Parquet know it; its metadata say which version it is."""
    fields = [pa.field(each.name, _ARROW[each.kind]) for each in COLUMNS[table]]
    metadata = {"durastate.table": table, "durastate.schema_version": str(SCHEMA_VERSION)}
    return pa.schema(fields, metadata=metadata)
