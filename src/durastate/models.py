"""The objects a page is made of: operations, pages and whole states.

An `Operation` holds what the decoder has already checked: plain strings, numbers and the raw
details of its type. Everything that costs something to build (a `datetime`, a details object) is
built when it is read, because a bulk reader looks at a few members of most operations. Reading
an attribute therefore never fails on the data. What an operation's details are is in `details`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

import orjson

from .details import (
    DETAILS_OF_TYPE,
    EXECUTION_STATUSES,
    TRUNCATED,
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    ExecutionDetails,
    ExecutionStatus,
    OperationStatus,
    OperationType,
    StepDetails,
    WaitDetails,
    copy_object,
)

Source = Literal["state", "event", "history"]

_UTC = timezone.utc
_moment = datetime.fromtimestamp


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
        """Which of its payloads its history holds cut off or not at all.

        They are `InputPayload`, `Result`, `Error` and the `Reason` of a pause.
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
    def status(self) -> ExecutionStatus | str | None:
        """Where the execution stands, in the words of a listing: `RUNNING`, not `STARTED`.

        Only a history tells of a pause, once it has taken effect. None where the source has no
        EXECUTION operation.
        """
        execution = self.execution
        if execution is None:
            return None
        if execution.status != OperationStatus.STARTED:
            return EXECUTION_STATUSES.get(execution.status, execution.status)
        details = execution.execution_details
        is_paused = details is not None and details.pause_details is not None
        return ExecutionStatus.PAUSED if is_paused else ExecutionStatus.RUNNING

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
