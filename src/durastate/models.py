"""The objects a page is made of: operations, their details, pages and whole states.

An `Operation` holds what the decoder has already checked: plain strings, numbers and the raw
details of its type. Everything that costs something to build (a `datetime`, a details object) is
built when it is read, because a bulk reader looks at a few members of most operations. Reading
an attribute therefore never fails on the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

import orjson

Source = Literal["state", "event", "history"]

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


#: The member that the fold of a history adds to an operation: the payloads that are cut off.
TRUNCATED = "Truncated"

T_co = TypeVar("T_co", covariant=True)


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


class _Error(Member[ErrorObject]):
    def __get__(self, owner: Details, kind: type[Details] | None = None) -> ErrorObject | None:
        if owner is None:
            return self
        raw = owner._raw.get(self.wire)
        return None if raw is None else ErrorObject(raw)


class ExecutionDetails(Details):
    """What only the EXECUTION operation has."""

    __slots__ = ()

    input_payload = Member[str]("InputPayload", "What the execution was started with, as sent")
    result = Member[str]("Result", "Its serialised result; from a history only")
    error = _Error("Error", "How it failed; from a history only")


class ContextDetails(Details):
    """What a CONTEXT has."""

    __slots__ = ()

    replay_children = Member[bool](
        "ReplayChildren", "True: its children stay in the state after it has completed"
    )
    result = Member[str]("Result", "Its serialised result")
    error = _Error("Error", "How it failed")


class StepDetails(Details):
    """What a STEP has."""

    __slots__ = ()

    attempt = Member[int]("Attempt", "The number of the current attempt")
    next_attempt_timestamp = Moment("NextAttemptTimestamp", "When a retry is due")
    result = Member[str]("Result", "Its serialised result")
    error = _Error("Error", "How the last attempt failed")


class WaitDetails(Details):
    """What a WAIT has."""

    __slots__ = ()

    scheduled_end_timestamp = Moment("ScheduledEndTimestamp", "When the wait is over")
    error = _Error("Error", "Why it was cancelled; from a history only")


class CallbackDetails(Details):
    """What a CALLBACK has. Whoever knows the callback id can complete the callback."""

    __slots__ = ()

    callback_id = Member[str]("CallbackId", "A capability: treat it as a secret")
    result = Member[str]("Result", "What the callback was completed with")
    error = _Error("Error", "How it failed")


class ChainedInvokeDetails(Details):
    """What a CHAINED_INVOKE has."""

    __slots__ = ()

    result = Member[str]("Result", "The serialised result of the function it invoked")
    error = _Error("Error", "How the function it invoked failed")


#: An operation's own kind of details, by its type.
DETAILS_OF_TYPE: Mapping[str, str] = {
    "EXECUTION": "ExecutionDetails",
    "CONTEXT": "ContextDetails",
    "STEP": "StepDetails",
    "WAIT": "WaitDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}


class Operation:
    """One operation of a durable execution, made by the decoder.

    Plain slots: there are thousands of these. An `end_timestamp` of None means that the service
    sent none. A `type` or `status` this version does not know is the plain string the service
    sent.
    """

    __slots__ = (
        "_details",
        "_end",
        "_rest",
        "_start",
        "id",
        "name",
        "parent_id",
        "status",
        "sub_type",
        "type",
    )

    id: str
    parent_id: str | None
    name: str | None
    type: OperationType | str
    sub_type: str | None
    status: OperationStatus | str
    _start: float  # epoch seconds, as on the wire
    _end: float | None
    _details: dict[str, Any] | None  # the details that belong to its type
    _rest: dict[str, Any] | None  # every other member: unknown ones, details of another type

    @property
    def start_timestamp(self) -> datetime:
        """When it started, UTC."""
        return _moment(self._start, _UTC)

    @property
    def end_timestamp(self) -> datetime | None:
        """When it ended, UTC; None while it runs."""
        end = self._end
        return None if end is None else _moment(end, _UTC)

    def _details_of(self, kind: str, wire: str) -> dict[str, Any] | None:
        if self.type == kind:
            return self._details
        return None if self._rest is None else self._rest.get(wire)

    @property
    def execution_details(self) -> ExecutionDetails | None:
        """Set on the EXECUTION operation."""
        raw = self._details_of("EXECUTION", "ExecutionDetails")
        return None if raw is None else ExecutionDetails(raw)

    @property
    def context_details(self) -> ContextDetails | None:
        """Set on CONTEXT operations that have a result, an error or `ReplayChildren`."""
        raw = self._details_of("CONTEXT", "ContextDetails")
        return None if raw is None else ContextDetails(raw)

    @property
    def step_details(self) -> StepDetails | None:
        """Set on STEP operations."""
        raw = self._details_of("STEP", "StepDetails")
        return None if raw is None else StepDetails(raw)

    @property
    def wait_details(self) -> WaitDetails | None:
        """Set on WAIT operations."""
        raw = self._details_of("WAIT", "WaitDetails")
        return None if raw is None else WaitDetails(raw)

    @property
    def callback_details(self) -> CallbackDetails | None:
        """Set on CALLBACK operations."""
        raw = self._details_of("CALLBACK", "CallbackDetails")
        return None if raw is None else CallbackDetails(raw)

    @property
    def chained_invoke_details(self) -> ChainedInvokeDetails | None:
        """Set on CHAINED_INVOKE operations."""
        raw = self._details_of("CHAINED_INVOKE", "ChainedInvokeDetails")
        return None if raw is None else ChainedInvokeDetails(raw)

    @property
    def truncated(self) -> tuple[str, ...]:
        """Which of `InputPayload`, `Result` and `Error` its history holds cut off or not at all.

        Empty for an operation that comes from GetDurableExecutionState.
        """
        names = None if self._rest is None else self._rest.get(TRUNCATED)
        return tuple(map(str, names)) if type(names) is list else ()

    def to_dict(self) -> dict[str, Any]:
        """A copy in the wire form of the API: its member names, timestamps in epoch seconds.

        Members that this version does not know are kept. A JSON null is left out: AWS's
        restJson1 protocol makes no difference between null and absent. `Truncated`, which is no
        member of the API, is there where `truncated` is not empty.
        """
        wire: dict[str, Any] = {"Id": self.id}
        if self.parent_id is not None:
            wire["ParentId"] = self.parent_id
        if self.name is not None:
            wire["Name"] = self.name
        wire["Type"] = str(self.type)
        if self.sub_type is not None:
            wire["SubType"] = self.sub_type
        wire["StartTimestamp"] = self._start
        if self._end is not None:
            wire["EndTimestamp"] = self._end
        wire["Status"] = str(self.status)
        if self._details is not None:
            wire[DETAILS_OF_TYPE[self.type]] = copy_object(self._details)
        if self._rest is not None:
            wire.update(copy_object(self._rest))
        return wire

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operation):
            return NotImplemented
        return all(getattr(self, slot) == getattr(other, slot) for slot in Operation.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name is not None else ""
        shown = [
            text if text.isprintable() else repr(text)
            for text in (self.id, str(self.type), str(self.status))
        ]
        return f"<Operation {shown[0]} {shown[1]}{name} {shown[2]}>"


class StatePage:
    """One answer of GetDurableExecutionState. Iterates over its operations.

    `next_marker` is None on the last page. A short or an empty page that has one is normal: the
    service bounds pages by bytes as well as by count.
    """

    __slots__ = ("next_marker", "operations")

    def __init__(self, operations: list[Operation], next_marker: str | None = None) -> None:
        self.operations = operations
        self.next_marker = next_marker

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StatePage):
            return NotImplemented
        return (self.operations, self.next_marker) == (other.operations, other.next_marker)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        more = "more to come" if self.next_marker else "the last page"
        return f"<StatePage of {len(self.operations)} operations, {more}>"


class ExecutionState:
    """Every operation of one execution, in the order the service gave them.

    GetDurableExecutionState leaves out the children of completed contexts (unless their
    `replay_children` is true), so a state with the source `"state"` or `"event"` is what a
    replay needs and no full audit log. `source` is `"event"` where the invocation event held
    everything and nothing was read.
    """

    __slots__ = ("_by_id", "_children", "arn", "operations", "source")

    def __init__(self, arn: str, operations: list[Operation], *, source: Source) -> None:
        self.arn = arn
        self.operations = operations
        self.source: Source = source
        self._by_id: dict[str, Operation] | None = None
        self._children: dict[str | None, list[Operation]] | None = None

    @property
    def by_id(self) -> Mapping[str, Operation]:
        """The operations by their id; built at the first use."""
        if self._by_id is None:
            self._by_id = {operation.id: operation for operation in self.operations}
        return self._by_id

    def children(self, operation_id: str) -> Sequence[Operation]:
        """The operations whose parent is `operation_id`, in order."""
        return self._families().get(operation_id, [])

    @property
    def roots(self) -> Sequence[Operation]:
        """The operations without a parent in this state, in order."""
        return self._families().get(None, [])

    def _families(self) -> dict[str | None, list[Operation]]:
        if self._children is None:
            known = self.by_id
            families: dict[str | None, list[Operation]] = {}
            for operation in self.operations:
                parent = operation.parent_id if operation.parent_id in known else None
                families.setdefault(parent, []).append(operation)
            self._children = families
        return self._children

    @property
    def execution(self) -> Operation | None:
        """The EXECUTION operation; None where the source has none."""
        wanted = OperationType.EXECUTION
        return next((each for each in self.operations if each.type == wanted), None)

    @property
    def input_payload(self) -> str | None:
        """What the execution was started with, as the service holds it."""
        details = self.execution.execution_details if self.execution else None
        return details.input_payload if details else None

    def to_dict(self) -> dict[str, Any]:
        """`{"arn": …, "source": …, "operations": […]}`, operations in the API's wire form."""
        operations = [operation.to_dict() for operation in self.operations]
        return {"arn": self.arn, "source": self.source, "operations": operations}

    def to_json(self) -> bytes:
        """`to_dict()` as UTF-8 JSON in one line; lone surrogates are written as escapes."""
        return dump_json(self.to_dict())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExecutionState):
            return NotImplemented
        mine = (self.arn, self.source, self.operations)
        return mine == (other.arn, other.source, other.operations)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ExecutionState {self.arn}: {len(self.operations)} operations from {self.source}>"


def dump_json(value: Any) -> bytes:
    """JSON in one line. A lone surrogate, which orjson refuses, is escaped."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def copy_object(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) for key, value in raw.items()}


def _copy(value: Any) -> Any:
    if type(value) is dict:
        return copy_object(value)
    if type(value) is list:
        return [_copy(item) for item in value]
    return value
