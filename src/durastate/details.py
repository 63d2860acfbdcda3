"""What operations and executions hold: their kinds, their statuses, and the details of each.

Details are views over JSON that the decoder has checked: a member is read, and a `datetime` made
of it, when somebody asks for it. Reading an attribute therefore never fails on the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from enum import StrEnum
from typing import Any, Generic, TypeVar

_UTC = timezone.utc
_moment = datetime.fromtimestamp


class OperationType(StrEnum):
    """What kind of durable operation it is."""

    __hash__ = str.__hash__  # Enum's own is a call in Python, and equal: names are values.

    EXECUTION = "EXECUTION"
    CONTEXT = "CONTEXT"
    STEP = "STEP"
    WAIT = "WAIT"
    CALLBACK = "CALLBACK"
    CHAINED_INVOKE = "CHAINED_INVOKE"


class OperationStatus(StrEnum):
    """Where the operation stands."""

    __hash__ = str.__hash__

    STARTED = "STARTED"
    PENDING = "PENDING"
    READY = "READY"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"


class ExecutionStatus(StrEnum):
    """Where a whole execution stands; an operation has an `OperationStatus`."""

    __hash__ = str.__hash__

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"
    DELETING = "DELETING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"


#: The statuses of executions by their strings.
EXECUTION_STATUSES: Mapping[str, ExecutionStatus] = {str(each): each for each in ExecutionStatus}


#: The member that the fold of a history adds to an operation: the payloads that are cut off.
TRUNCATED = "Truncated"

T_co = TypeVar("T_co", covariant=True)
D_co = TypeVar("D_co", bound="Details", covariant=True)


class Member(Generic[T_co]):
    """A read-only member of a details object, by its name on the wire."""

    def __init__(self, wire: str, doc: str) -> None:
        self.wire = wire
        self.__doc__ = doc

    def __get__(self, owner: Details, kind: type[Details] | None = None) -> T_co | None:
        if owner is None:
            return self
        value: T_co | None = owner._raw.get(self.wire)
        return value


class Moment(Member[datetime]):
    """A member that the wire gives in epoch seconds."""

    def __get__(self, owner: Details, kind: type[Details] | None = None) -> datetime | None:
        if owner is None:
            return self
        seconds = owner._raw.get(self.wire)
        return None if seconds is None else _moment(seconds, _UTC)


class Nested(Member[D_co]):
    """A member that has members itself."""

    def __init__(self, wire: str, kind: type[D_co], doc: str) -> None:
        super().__init__(wire, doc)
        self._kind = kind

    def __get__(self, owner: Details, kind: type[Details] | None = None) -> D_co | None:
        if owner is None:
            return self
        raw = owner._raw.get(self.wire)
        return None if raw is None else self._kind(raw)


class Details:
    """A checked JSON object, read through members with Python names. Equal by content."""

    __slots__ = ("_raw",)

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._raw == self._raw

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        names = ", ".join(name if name.isprintable() else repr(name) for name in self._raw)
        return f"<{type(self).__name__} with {names or 'nothing'}>"

    def to_dict(self) -> dict[str, Any]:
        """A copy in the service's wire form, unknown members included."""
        return copy_object(self._raw)


class ErrorObject(Details):
    """How an operation failed, as the durable function reported it."""

    __slots__ = ()

    error_type = Member[str]("ErrorType", "The name of the error's class")
    error_message = Member[str]("ErrorMessage", "A human-readable message")
    error_data = Member[str]("ErrorData", "Machine-readable data")
    stack_trace = Member[list[str]]("StackTrace", "One entry a frame")


class PauseDetails(Details):
    """The pause of an execution that is pausing or paused."""

    __slots__ = ()

    pause_request_timestamp = Moment("PauseRequestTimestamp", "When the pause was asked for")
    reason = Member[str]("Reason", "What was given as the reason; a payload")
    execution_timeout_paused = Member[bool](
        "ExecutionTimeoutPaused", "True: the paused time is added to the execution's time limit"
    )


class ExecutionDetails(Details):
    """What only the EXECUTION operation has."""

    __slots__ = ()

    input_payload = Member[str]("InputPayload", "What the execution was started with, as sent")
    result = Member[str]("Result", "Its serialised result; from a history only")
    error = Nested("Error", ErrorObject, "How it failed; from a history only")
    pause_details = Nested(
        "PauseDetails", PauseDetails, "Its pause while it is paused; from a history only"
    )


class ContextDetails(Details):
    """What a CONTEXT has."""

    __slots__ = ()

    replay_children = Member[bool](
        "ReplayChildren", "True: its children stay in the state after it has completed"
    )
    result = Member[str]("Result", "Its serialised result")
    error = Nested("Error", ErrorObject, "How it failed")


class StepDetails(Details):
    """What a STEP has."""

    __slots__ = ()

    attempt = Member[int]("Attempt", "The number of the current attempt")
    next_attempt_timestamp = Moment("NextAttemptTimestamp", "When a retry is due")
    result = Member[str]("Result", "Its serialised result")
    error = Nested("Error", ErrorObject, "How the last attempt failed")


class WaitDetails(Details):
    """What a WAIT has."""

    __slots__ = ()

    scheduled_end_timestamp = Moment("ScheduledEndTimestamp", "When the wait is over")
    error = Nested("Error", ErrorObject, "Why it was cancelled; from a history only")


class CallbackDetails(Details):
    """What a CALLBACK has. Whoever knows the callback id can complete the callback."""

    __slots__ = ()

    callback_id = Member[str]("CallbackId", "A capability: treat it as a secret")
    result = Member[str]("Result", "What the callback was completed with")
    error = Nested("Error", ErrorObject, "How it failed")


class ChainedInvokeDetails(Details):
    """What a CHAINED_INVOKE has."""

    __slots__ = ()

    result = Member[str]("Result", "The serialised result of the function it invoked")
    error = Nested("Error", ErrorObject, "How the function it invoked failed")


#: An operation's own kind of details, by its type.
DETAILS_OF_TYPE: Mapping[str, str] = {
    "EXECUTION": "ExecutionDetails",
    "CONTEXT": "ContextDetails",
    "STEP": "StepDetails",
    "WAIT": "WaitDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}


def copy_object(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) for key, value in raw.items()}


def _copy(value: Any) -> Any:
    if type(value) is dict:
        return copy_object(value)
    if type(value) is list:
        return [_copy(item) for item in value]
    return value
