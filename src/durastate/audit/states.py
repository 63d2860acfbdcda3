"""One execution out of an audit's tables, as the state that it was read as.

Needs duckdb, like `query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from durastate.details import DETAILS_OF_TYPE, OperationStatus, OperationType
from durastate.models import ExecutionState, Operation

from .query import Tables, tables
from .rows import moment

_OPERATIONS = """
    select id, parent_id, name, type, sub_type, status, source, attempt, replay_children,
        error_type, error_message, epoch_us(started_at) as started, epoch_us(ended_at) as ended,
        epoch_us(next_attempt_at) as next_attempt, epoch_us(scheduled_end_at) as scheduled_end
    from operations where arn = ? order by sequence
"""
_EXECUTIONS = """
    select arn, status, source, error_type, epoch_us(read_at) as read
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


def find(directory: Path, name: str) -> list[Kept]:
    """The executions of that ARN or name, in the order of their ARNs, without their payloads.

    Messages of errors are there where the audit has kept payloads in full. Only a single one has
    its operations. `DirectoryError` where there is no audit.
    """
    with tables(directory) as opened:
        found = {each["arn"]: each for each in _rows(opened, _EXECUTIONS, (name, name))}
        failed = {each["arn"]: each for each in _rows(opened, _FAILURES, (name, name))}
        arns = sorted(found.keys() | failed.keys())
        return [
            _kept(opened, arn, found.get(arn), failed.get(arn), whole=len(arns) == 1)
            for arn in arns
        ]


def _kept(
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
        rows = _rows(opened, _OPERATIONS, (arn,))
        source = rows[0]["source"] if rows else row["source"]
        state = ExecutionState(arn, list(map(_operation, rows)), source=source)
    return Kept(arn, row["status"], moment(row["read"]), state, failure)


def _rows(opened: Tables, sql: str, values: Sequence[str]) -> list[dict[str, Any]]:
    return [row for batch in opened.ask(sql, values) for row in batch.to_pylist()]


def _operation(row: dict[str, Any]) -> Operation:
    operation = object.__new__(Operation)
    operation.id = row["id"]
    operation.parent_id = row["parent_id"]
    operation.name = row["name"]
    operation.type = _TYPES.get(row["type"], row["type"])
    operation.sub_type = row["sub_type"]
    operation.status = _STATUSES.get(row["status"], row["status"])
    operation._start = row["started"] / 1_000_000
    operation._end = _seconds(row["ended"])
    error = {"ErrorType": row["error_type"], "ErrorMessage": row["error_message"]}
    details = {
        "Attempt": row["attempt"],
        "NextAttemptTimestamp": _seconds(row["next_attempt"]),
        "ScheduledEndTimestamp": _seconds(row["scheduled_end"]),
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
