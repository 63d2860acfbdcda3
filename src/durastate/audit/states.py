"""One execution out of an audit's tables, as the state that it was read as.

Needs duckdb, like `query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from durastate.details import DETAILS_OF_TYPE, OperationStatus, OperationType
from durastate.models import ExecutionState, Operation

from .errors import DirectoryError
from .journal import Counts
from .query import Tables, tables
from .rows import clean, moment
from .schema import COLUMNS, Payloads
from .tables import Columns, digest_of, plain_columns, reading

_EXECUTIONS = """
    select arn, status, source, operation_count, operations_sha256, read_at
    from executions where arn = ? or name = ? order by arn
"""
_FAILURES = "select arn, error, message from failures where arn = ? or name = ? order by arn"
_TYPES = {str(each): each for each in OperationType}
_STATUSES = {str(each): each for each in OperationStatus}


class Kept(NamedTuple):
    """An execution that an audit has read, or failed to read, or both at different times."""

    arn: str
    status: str | None = None  # as it was listed or described
    read_at: datetime | None = None
    state: ExecutionState | None = None  # None: never read
    failure: str | None = None  # why it could not be read, the last time


class Finding(NamedTuple):
    """What there is of a name, and of what kind the audit is that has it."""

    found: list[Kept]
    payloads: Payloads
    partial: Counts | None
    is_complete: bool


def find(directory: Path, name: str, *, partial: bool = False) -> Finding:
    """The executions of that ARN or name, in the order of their ARNs, without their payloads.

    Messages of errors are there where the audit has kept payloads in full. Only a single one has
    its operations, and they are those that were read: `DirectoryError` otherwise, and where there
    is no audit. `partial` is as with `tables`.
    """
    name = clean(name)  # as the tables have it
    with tables(directory, partial=partial) as opened, reading(directory / "a table"):
        found = {each["arn"]: each for each in _rows(opened, _EXECUTIONS, (name, name))}
        failed = {each["arn"]: each for each in _rows(opened, _FAILURES, (name, name))}
        arns = sorted(found.keys() | failed.keys())
        kept = [
            _kept(directory, opened, arn, found.get(arn), failed.get(arn), whole=len(arns) == 1)
            for arn in arns
        ]
        return Finding(kept, opened.payloads, opened.partial, opened.is_complete)


def _kept(
    directory: Path,
    opened: Tables,
    arn: str,
    row: dict[str, Any] | None,
    failed: dict[str, Any] | None,
    *,
    whole: bool,
) -> Kept:
    failure = f"{failed['error']}: {failed['message']}" if failed else None
    if row is None:
        return Kept(arn, failure=failure)
    state = None
    if whole:
        rows = _operations(directory, opened, row)
        source = rows[0]["source"] if rows else row["source"]
        state = ExecutionState(arn, list(map(_operation, rows)), source=source)
    return Kept(arn, row["status"], moment(row["read_at"]), state, failure)


def _operations(directory: Path, opened: Tables, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, which are as many as were read, and the same to the last byte.

    Not with payloads in full: to read them all for their digest would take long.
    """
    is_checked = opened.payloads != "full"
    names = [
        each.name
        for each in COLUMNS["operations"]
        if each.name != "arn"
        and opened.payloads in each.modes
        and (each.modes != ("full",) or each.name == "error_message")
    ]
    sql = f"select {', '.join(names)} from operations where arn = ? order by sequence"  # noqa: S608
    found = _columns(opened, sql, (row["arn"],))
    count = len(found["sequence"])
    if count != row["operation_count"] or (
        is_checked and digest_of(found) != row["operations_sha256"]
    ):
        raise DirectoryError(
            directory,
            f"a table was changed since: {row['arn']} was read with {row['operation_count']:,} "
            f"operations, and those that are there are others ({count:,}); durastate verify says "
            f"which file it is",
        )
    return _as_rows(found)


def _rows(opened: Tables, sql: str, values: Sequence[str]) -> list[dict[str, Any]]:
    return _as_rows(_columns(opened, sql, values))


def _columns(opened: Tables, sql: str, values: Sequence[str]) -> Columns:
    answer = opened.ask(sql, values, marked=False)
    found = pa.Table.from_batches(answer, answer.schema)
    return plain_columns(found, found.column_names)


def _as_rows(found: Columns) -> list[dict[str, Any]]:
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def _operation(row: dict[str, Any]) -> Operation:
    operation = object.__new__(Operation)
    operation.id = row["id"]
    operation.parent_id = row["parent_id"]
    operation.name = row["name"]
    operation.type = _TYPES.get(row["type"], row["type"])
    operation.sub_type = row["sub_type"]
    operation.status = _STATUSES.get(row["status"], row["status"])
    operation._start = row["started_at"] / 1_000_000
    operation._end = _seconds(row["ended_at"])
    error = {"ErrorType": row["error_type"], "ErrorMessage": row.get("error_message")}
    details = {
        "Attempt": row["attempt"],
        "NextAttemptTimestamp": _seconds(row["next_attempt_at"]),
        "ScheduledEndTimestamp": _seconds(row["scheduled_end_at"]),
        "ReplayChildren": row["replay_children"],
        "Error": _given(error) or None,
    }
    operation._details = (_given(details) or None) if row["type"] in DETAILS_OF_TYPE else None
    operation._rest = None
    return operation


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1_000_000


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
