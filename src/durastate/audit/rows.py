"""One execution's summary: of a listing, of a history, and as its row in the tables has it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any, Self

from durastate import ExecutionState, ExecutionSummary
from durastate.errors import ConfigurationError
from durastate.refs import match_arn

from .functions import FunctionName, function_named
from .journal import CLOSED
from .schema import Payloads

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRow:
    """What is known of an execution besides its operations.

    `source` is the call that says so: `list`, `get` or `history`. Timestamps are aware.
    """

    arn: str
    status: str
    name: str | None = None
    function: str | None = None
    version: str | None = None
    region: str | None = None
    account: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error_type: str | None = None
    error_message: str | None = field(default=None, repr=False)
    source: str = "list"

    @classmethod
    def of(cls, arn: str, *, status: str, **members: Any) -> Self:
        """With the members that the ARN holds; a key that is no ARN has none of them."""
        parts = match_arn(arn)
        if parts is not None:
            from_arn = {
                "name": parts.execution_name,
                "function": parts.function_name,
                "version": parts.version,
                "region": parts.region,
                "account": parts.account,
            }
            members = from_arn | members
        return cls(arn=arn, status=status, **members)


def row_listed(summary: ExecutionSummary) -> ExecutionRow:
    """What a listing says. A local server's keys are no ARNs, so the function's own counts too."""
    about: dict[str, Any] = {}
    try:
        function = function_named(summary.function_arn)
    except ConfigurationError:
        pass
    else:
        about = {
            "function": function.function.rpartition(":")[2],
            "version": function.qualifier,
            "region": function.region,
            "account": function.account,
        }
    row = ExecutionRow.of(
        summary.arn,
        status=str(summary.status),
        name=summary.name,
        started_at=summary.start_timestamp,
        ended_at=summary.end_timestamp,
    )
    missing = {name: value for name, value in about.items() if getattr(row, name) is None}
    return replace(row, **missing)


def row_unlisted(name: FunctionName) -> ExecutionRow:
    """A function whose executions could not be listed, in the place of all of them."""
    return ExecutionRow(
        arn=str(name),
        status="",
        function=name.function.rpartition(":")[2],
        version=name.qualifier,
        region=name.region,
        account=name.account,
    )


def row_read(row: ExecutionRow, state: ExecutionState) -> ExecutionRow:
    """What the history says of the execution, which is newer than its listing."""
    execution = state.execution
    if execution is None:
        return row
    details = execution.execution_details
    error = None if details is None else details.error
    return replace(
        row,
        status=_status(row.status, str(state.status)),
        name=row.name or execution.name,
        started_at=row.started_at or execution.start_timestamp,
        ended_at=execution.end_timestamp,
        error_type=None if error is None else error.error_type,
        error_message=None if error is None else error.error_message,
        source="history",
    )


def _status(listed: str, told: str) -> str:
    """A history has no event for PAUSING or DELETING, nor for what AWS may add.

    So these stay as they were listed. What was listed as closed or paused, and whose history does
    not say so, counts as running, and is read again later.
    """
    if told == "RUNNING" and listed and listed not in (*CLOSED, "PAUSED"):
        return listed
    return listed if listed == "DELETING" and told in CLOSED else told


def summary_of(row: ExecutionRow, payloads: Payloads) -> dict[str, Any]:
    """The row's members for the journal and the tables; its error message as `payloads` says."""
    members: dict[str, Any] = {
        "arn": row.arn,
        "region": row.region,
        "account": row.account,
        "function": row.function,
        "version": row.version,
        "name": row.name,
        "status": str(row.status),
        "started_at": microseconds(row.started_at),
        "ended_at": microseconds(row.ended_at),
        "error_type": row.error_type,
        **measures("error_message", row.error_message, payloads),
        "source": row.source,
    }
    return {name: clean(value) for name, value in members.items() if value is not None}


def row_of(summary: dict[str, Any]) -> ExecutionRow:
    """The way back from `summary_of`, without what it has left out."""
    members = {name: summary[name] for name in ExecutionRow.__slots__ if name in summary}
    for name in ("started_at", "ended_at"):
        if name in members:
            members[name] = moment(members[name])
    return ExecutionRow(**members)


def measures(name: str, value: str | None, payloads: Payloads) -> dict[str, Any]:
    """A payload's columns in this mode."""
    if value is None or payloads == "none":
        return {}
    if payloads == "full":
        return {name: value}
    data = value.encode("utf-8", "surrogatepass")
    if payloads == "size":
        return {f"{name}_size": len(data)}
    return {f"{name}_size": len(data), f"{name}_sha256": sha256(data).hexdigest()}


def microseconds(moment: datetime | None) -> int | None:
    """Since 1970."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """So long after 1970."""
    return _EPOCH + microseconds * _MICROSECOND


def clean(value: Any) -> Any:
    """Text that UTF-8 can hold: a lone surrogate becomes its escape, `\\ud800`."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
