"""What the service says of whole executions: a listing's items, and one described in full.

Bytes to models like `decoding`; sources are the output shapes of ListDurableExecutionsByFunction
and GetDurableExecution in botocore's model.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, TypeVar

from .decoding import ERROR, PAUSE, TIMESTAMP, check, load_answer
from .details import (
    EXECUTION_STATUSES,
    Details,
    ErrorObject,
    ExecutionStatus,
    Member,
    Moment,
    Nested,
    PauseDetails,
)
from .errors import DecodingError

T_co = TypeVar("T_co", covariant=True)

_REQUIRED = (
    "DurableExecutionArn",
    "DurableExecutionName",
    "FunctionArn",
    "Status",
    "StartTimestamp",
)
_SUMMARY: dict[str, Any] = {
    **dict.fromkeys(("DurableExecutionArn", "DurableExecutionName", "FunctionArn"), str),
    "Status": str,
    "StartTimestamp": TIMESTAMP,
    "EndTimestamp": TIMESTAMP,
    "KMSKeyArn": str,
}
_DESCRIPTION: dict[str, Any] = {
    **_SUMMARY,
    **dict.fromkeys(("Version", "InputPayload", "Result"), str),
    "Error": ERROR,
    "ExecutionDataIncluded": bool,
    "TraceHeader": {"XAmznTraceId": str},
    "PauseDetails": PAUSE,
    "ExpectedExecutionTimeoutTimestamp": TIMESTAMP,
    "DurableConfig": {"KMSKeyArn": str, "RetentionPeriodInDays": int, "ExecutionTimeout": int},
}


class _Required(Member[T_co]):
    """A member without which the decoder takes no execution."""

    def __get__(self, owner: Details, kind: type[Details] | None = None) -> T_co:
        if owner is None:
            return self
        value: T_co = self._read(owner._raw[self.wire])
        return value

    def _read(self, value: Any) -> Any:
        return value


class _RequiredMoment(_Required[datetime]):
    def _read(self, value: float) -> datetime:
        return datetime.fromtimestamp(value, timezone.utc)


class _Status(_Required[ExecutionStatus | str]):
    def _read(self, value: str) -> ExecutionStatus | str:
        return EXECUTION_STATUSES.get(value, value)


class ExecutionSummary(Details):
    """One execution as ListDurableExecutionsByFunction has it; equal by content.

    A `status` that this version does not know is the plain string that the service sent.
    """

    __slots__ = ()

    arn = _Required[str]("DurableExecutionArn", "The execution's ARN")
    name = _Required[str]("DurableExecutionName", "The name it was started with")
    function_arn = _Required[str]("FunctionArn", "The function's ARN")
    status = _Status("Status", "An `ExecutionStatus`, or a string that is new")
    start_timestamp = _RequiredMoment("StartTimestamp", "When it started, UTC")
    end_timestamp = Moment("EndTimestamp", "When it ended, UTC; None while it runs")
    kms_key_arn = Member[str]("KMSKeyArn", "The key that its data are encrypted with, if any")

    def __repr__(self) -> str:
        shown = (self.arn, str(self.status))
        text = " ".join(part if part.isprintable() else repr(part) for part in shown)
        return f"<{type(self).__name__} {text}>"


class TraceHeader(Details):
    """The X-Ray trace that an execution belongs to."""

    __slots__ = ()

    x_amzn_trace_id = Member[str]("XAmznTraceId", "As it came with the request that started it")


class DurableConfig(Details):
    """The durable configuration of an execution's function."""

    __slots__ = ()

    kms_key_arn = Member[str]("KMSKeyArn", "The key that the data are encrypted with, if any")
    retention_period_in_days = Member[int]("RetentionPeriodInDays", "How long data are kept")
    execution_timeout = Member[int]("ExecutionTimeout", "Seconds that an execution may take")


class ExecutionDescription(ExecutionSummary):
    """One execution as GetDurableExecution describes it, with its input and its outcome.

    The key of its data stands in `durable_config`; `kms_key_arn` is of listings.
    """

    __slots__ = ()

    version = Member[str]("Version", "A number, `$LATEST` or `$LATEST.PUBLISHED`")
    input_payload = Member[str]("InputPayload", "What it was started with, as sent")
    result = Member[str]("Result", "Its serialised result")
    error = Nested("Error", ErrorObject, "How it failed")
    execution_data_included = Member[bool](
        "ExecutionDataIncluded", "False: input, result and error were left out"
    )
    trace_header = Nested("TraceHeader", TraceHeader, "The trace that it belongs to")
    durable_config = Nested("DurableConfig", DurableConfig, "How its function is configured")
    pause_details = Nested("PauseDetails", PauseDetails, "Its pause while it is pausing or paused")
    expected_execution_timeout_timestamp = Moment(
        "ExpectedExecutionTimeoutTimestamp",
        "When it will time out, the time that it was paused included; None once it has ended",
    )


class ExecutionPage:
    """One answer of ListDurableExecutionsByFunction. Iterates over its executions.

    `next_marker` is None on the last page; a page before it may be empty.
    """

    __slots__ = ("executions", "next_marker")

    def __init__(self, executions: list[ExecutionSummary], next_marker: str | None = None) -> None:
        self.executions = executions
        self.next_marker = next_marker

    def __len__(self) -> int:
        return len(self.executions)

    def __iter__(self) -> Iterator[ExecutionSummary]:
        return iter(self.executions)


def decode_executions(body: bytes | bytearray) -> ExecutionPage:
    """The page in the body of a ListDurableExecutionsByFunction response.

    All members are checked here. Raises `DecodingError`, which says where and shows no value.
    """
    listing = {"DurableExecutions": list, "NextMarker": str}
    page: dict[str, Any] = check(load_answer(body), listing, "")
    # Neither member is required: an answer without executions may lack their list.
    executions = [
        ExecutionSummary(_checked(raw, _SUMMARY, f"DurableExecutions[{place}]"))
        for place, raw in enumerate(page.get("DurableExecutions", ()))
    ]
    return ExecutionPage(executions, page.get("NextMarker") or None)


def decode_execution(body: bytes | bytearray) -> ExecutionDescription:
    """The execution in the body of a GetDurableExecution response; as `decode_executions`."""
    return ExecutionDescription(_checked(load_answer(body), _DESCRIPTION, ""))


def _checked(raw: Any, members: dict[str, Any], path: str) -> dict[str, Any]:
    checked: dict[str, Any] = check(raw, members, path)
    for name in _REQUIRED:
        if name not in checked:
            raise DecodingError(f"{path}.{name}".lstrip("."), "is missing")
    return checked
