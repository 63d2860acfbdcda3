"""From the events of GetDurableExecutionHistory to operations, without a checkpoint token.

Each of the 24 event types is a stem and an ending: `ChainedInvoke` + `TimedOut` says what kind of
operation it is about and how that operation stands. So one table of stems and one of endings say
what to do, and an event type that AWS adds tomorrow in the same manner is understood too. What
follows no such pattern (`InvocationCompleted`, or a type that is new) is about no operation.

Every event of an operation replaces what the one before it said: a step that is started again has
neither a result nor an error. `docs/history.md` has what differs from GetDurableExecutionState.

Source: botocore's model of GetDurableExecutionHistory, shape `Event`, which requires no member.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from .decoding import ERROR, TIMESTAMP, check, load_json
from .errors import ConfigurationError, DecodingError
from .models import (
    DETAILS_OF_TYPE,
    Details,
    Member,
    Moment,
    Operation,
    OperationStatus,
    OperationType,
)

_STEMS: dict[str, OperationType] = {
    "Execution": OperationType.EXECUTION,
    "Context": OperationType.CONTEXT,
    "Step": OperationType.STEP,
    "Wait": OperationType.WAIT,
    "Callback": OperationType.CALLBACK,
    "ChainedInvoke": OperationType.CHAINED_INVOKE,
}
_ENDINGS: dict[str, OperationStatus] = {
    "Started": OperationStatus.STARTED,
    "Succeeded": OperationStatus.SUCCEEDED,
    "Failed": OperationStatus.FAILED,
    "Cancelled": OperationStatus.CANCELLED,
    "TimedOut": OperationStatus.TIMED_OUT,
    "Stopped": OperationStatus.STOPPED,
}

# The members of every kind of event details; their names do not clash.
_TEXT = {"Payload": str, "Truncated": bool}
_DETAILS: dict[str, Any] = {
    "Input": _TEXT,
    "Result": _TEXT,
    "Error": {"Payload": ERROR, "Truncated": bool},
    "RetryDetails": {"CurrentAttempt": int, "NextAttemptDelaySeconds": int},
    "ScheduledEndTimestamp": TIMESTAMP,
    "StartTimestamp": TIMESTAMP,
    "EndTimestamp": TIMESTAMP,
    **dict.fromkeys(("Duration", "ExecutionTimeout", "HeartbeatTimeout", "Timeout"), int),
    **dict.fromkeys(("CallbackId", "FunctionName", "TenantId", "ExecutedVersion"), str),
    **dict.fromkeys(("DurableExecutionArn", "RequestId"), str),
}
_EVENT: dict[str, Any] = {
    "EventId": int,
    "EventTimestamp": TIMESTAMP,
    **dict.fromkeys(("EventType", "SubType", "Id", "Name", "ParentId"), str),
    **{f"{stem}{ending}Details": _DETAILS for stem in _STEMS for ending in _ENDINGS},
    "InvocationCompletedDetails": _DETAILS,
}
_NUMBERS = frozenset((int, float))
_LATE = 2e11  # seconds; beyond it, and before 1970, a timestamp takes the slow way


class HistoryEvent(Details):
    """One event of an execution's history: a view over what the service sent.

    Every member may be None: the service's model requires none. `to_dict()` is a copy of all that
    was sent, unknown members included, its timestamps in epoch seconds.
    """

    __slots__ = ()

    event_id = Member[int]("EventId", "Its number; ascends within a history")
    event_type = Member[str]("EventType", "What happened, such as `StepStarted`")
    sub_type = Member[str]("SubType", "The sub-type of its operation")
    id = Member[str]("Id", "The operation's id")
    name = Member[str]("Name", "The operation's name")
    parent_id = Member[str]("ParentId", "The id of the context that the operation runs in")
    event_timestamp = Moment("EventTimestamp", "When it happened, UTC")

    def __repr__(self) -> str:
        kind = str(self.event_type)
        return f"<HistoryEvent {self.event_id} {kind if kind.isprintable() else repr(kind)}>"


class HistoryPage:
    """One answer of GetDurableExecutionHistory. Iterates over its events.

    `next_marker` is None on the last page; a short or an empty page that has one is normal.
    """

    __slots__ = ("events", "next_marker")

    def __init__(self, events: list[HistoryEvent], next_marker: str | None = None) -> None:
        self.events = events
        self.next_marker = next_marker

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[HistoryEvent]:
        return iter(self.events)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HistoryPage):
            return NotImplemented
        return (self.events, self.next_marker) == (other.events, other.next_marker)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        more = "more to come" if self.next_marker else "the last page"
        return f"<HistoryPage of {len(self.events)} events, {more}>"


def decode_history(body: bytes) -> HistoryPage:
    """The page in the body of a GetDurableExecutionHistory response.

    The types of all known members are checked here, so reading an attribute never fails later.
    Raises `DecodingError`, which says where and shows no value.
    """
    return _decode(load_json(body))


def read_history_file(path: str | PathLike[str]) -> list[HistoryEvent]:
    """The events in a JSON file: a response as it was saved, or the array of its events alone.

    Timestamps may be epoch seconds or ISO 8601. A file that says that more events follow
    (`NextMarker`) is refused: `decode_history` reads a single page. Raises `ConfigurationError`
    for a file that cannot be read and `DecodingError` for one that holds no history.
    """
    try:
        body = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or type(error).__name__}") from None
    try:
        value = load_json(body)
        page = _decode({"Events": value} if type(value) is list else value)
    except DecodingError as error:
        raise DecodingError(f"{path}: {error.path}".rstrip(": "), error.problem) from None
    if page.next_marker is not None:
        raise DecodingError(f"{path}: NextMarker", "more events follow that are not in the file")
    return page.events


def _decode(value: Any) -> HistoryPage:
    page = check(value, {"Events": list, "NextMarker": str}, "")
    raws = check(page.get("Events"), list, "Events")
    events = []
    for place, raw in enumerate(raws):
        if type(raw) is not dict or not _plain(raw, _EVENT):
            raw = check(raw, _EVENT, f"Events[{place}]")  # noqa: PLW2901
        events.append(HistoryEvent(raw))
    return HistoryPage(events, page.get("NextMarker") or None)


def _plain(value: dict[str, Any], members: dict[str, Any]) -> bool:
    """Whether everything in it is known and of the right type: the quick way of `check`."""
    for name, member in value.items():
        expected, found = members.get(name), type(member)
        if found is expected:
            continue
        if found is dict:
            if type(expected) is not dict or not _plain(member, expected):
                return False
        elif found is list:
            if type(expected) is not list or any(type(each) is not expected[0] for each in member):
                return False
        elif expected is not TIMESTAMP or found not in _NUMBERS or not 0 <= member <= _LATE:
            return False
    return True


class _Meaning(NamedTuple):
    """What an event type says."""

    kind: OperationType | str
    status: OperationStatus
    details: str  # the event's member


_MEANINGS = {
    f"{stem}{ending}": _Meaning(kind, status, f"{stem}{ending}Details")
    for stem, kind in _STEMS.items()
    for ending, status in _ENDINGS.items()
}
_ALIKE = re.compile(f"([A-Z][A-Za-z]*?)({'|'.join(_ENDINGS)})")
_NEXT_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _meaning(event_type: str) -> _Meaning | None:
    alike = _ALIKE.fullmatch(event_type)
    if alike is None:
        return None
    kind = _NEXT_WORD.sub("_", alike[1]).upper()
    return _Meaning(kind, _ENDINGS[alike[2]], f"{event_type}Details")


def fold(events: Iterable[HistoryEvent]) -> list[Operation]:
    """The operations that a history tells of, in the order in which they were started.

    `events` are all events of one execution, the oldest first.
    """
    operations: dict[str, Operation] = {}
    for place, event in enumerate(events):
        raw = event._raw
        event_type = raw.get("EventType", "")
        meaning = _MEANINGS.get(event_type) or _meaning(event_type)
        id_ = raw.get("Id")
        if meaning is None or id_ is None:
            continue
        kind, status, details_name = meaning
        when = raw.get("EventTimestamp")
        if when is None:
            raise DecodingError(f"Events[{place}].EventTimestamp", "is missing")
        operation = operations.get(id_)
        if operation is None:
            operations[id_] = operation = object.__new__(Operation)
            operation.id = id_
            operation.type = kind
            operation.parent_id = operation.name = operation.sub_type = None
            operation._start = when
            operation._details = operation._rest = None
        elif operation.type != kind:
            raise DecodingError(f"Events[{place}].EventType", "is of another type of operation")
        for slot, name in (("name", "Name"), ("parent_id", "ParentId"), ("sub_type", "SubType")):
            if name in raw:
                setattr(operation, slot, raw[name])
        operation.status = status
        operation._end = None if status is OperationStatus.STARTED else when
        _apply(operation, raw.get(details_name) or {}, when)
    return list(operations.values())


def _apply(operation: Operation, told: dict[str, Any], when: float) -> None:
    old = operation._details or {}
    details: dict[str, Any] = {}
    truncated = []
    for member, name in (("Input", "InputPayload"), ("Result", "Result"), ("Error", "Error")):
        wrapped = told.get(member)
        if wrapped is None:
            continue
        if "Payload" in wrapped:
            details[name] = wrapped["Payload"]
        if wrapped.get("Truncated"):
            truncated.append(name)
    if operation.type == "STEP":
        ended = operation.status is not OperationStatus.STARTED
        retry = told.get("RetryDetails") or {}
        attempt = old.get("Attempt", 0)
        details["Attempt"] = max(attempt + 1, retry.get("CurrentAttempt", 0)) if ended else attempt
        delay = retry.get("NextAttemptDelaySeconds")
        if ended and delay:
            operation.status = OperationStatus.PENDING
            operation._end = None
            details["NextAttemptTimestamp"] = when + delay
    for name in ("ScheduledEndTimestamp", "CallbackId", "InputPayload"):
        value = told.get(name, old.get(name))
        if value is not None:
            details[name] = value
    operation._details = details if details and operation.type in DETAILS_OF_TYPE else None
    operation._rest = {"Truncated": truncated} if truncated else None
