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

from .decoding import ERROR, LATEST, TIMESTAMP, check, load_answer, load_json
from .errors import ConfigurationError, DecodingError
from .models import (
    TRUNCATED,
    Details,
    Member,
    Moment,
    Operation,
    OperationStatus,
    OperationType,
)

_STEMS = {kind.title().replace("_", ""): kind for kind in OperationType}
_ENDINGS = {status.title().replace("_", ""): status for status in OperationStatus}
_UNDER_WAY = frozenset((OperationStatus.STARTED, OperationStatus.PENDING, OperationStatus.READY))

_DUE = "ScheduledEndTimestamp"
# The members of every kind of event details; their names do not clash.
_TEXT = {"Payload": str, "Truncated": bool}
_DETAILS: dict[str, Any] = {
    "Input": _TEXT,
    "Result": _TEXT,
    "Error": {"Payload": ERROR, "Truncated": bool},
    "RetryDetails": {"CurrentAttempt": int, "NextAttemptDelaySeconds": int},
    _DUE: TIMESTAMP,
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

    `next_marker` is None on the last page; a short or an empty page that has one is normal. A
    marker expires after 24 hours.
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


def decode_history(body: bytes | bytearray) -> HistoryPage:
    """The page in the body of a GetDurableExecutionHistory response.

    The types of all known members are checked here, so reading an attribute never fails later.
    Raises `DecodingError`, which says where and shows no value.
    """
    return _decode(load_answer(body))


def read_history_file(path: str | PathLike[str]) -> list[HistoryEvent]:
    """The events in a JSON file: a response as it was saved, or the array of its events alone.

    Timestamps may be epoch seconds or ISO 8601. A file that says that more events follow
    (`NextMarker`) is refused: `decode_history` reads a single page. It blocks while it reads.
    Raises `ConfigurationError` for a file that cannot be read and `DecodingError` for one that
    holds no history.
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
    page = check(value, dict, "")
    raws = check(page.get("Events"), list, "Events")
    marker = page.get("NextMarker")
    if marker is not None:
        check(marker, str, "NextMarker")
    for place, raw in enumerate(raws):
        if type(raw) is not dict or not _plain(raw, _EVENT):
            raws[place] = check(raw, _EVENT, f"Events[{place}]")
    return HistoryPage(list(map(HistoryEvent, raws)), marker or None)


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
        elif expected is not TIMESTAMP or found not in _NUMBERS or not 0 <= member <= LATEST:
            return False
    return True


class _Meaning(NamedTuple):
    """What an event type says."""

    kind: OperationType | str
    status: OperationStatus
    details: str  # the event's member


def _meaning(event_type: str) -> _Meaning | None:
    alike = _ALIKE.fullmatch(event_type)
    if alike is None:
        return None
    stem, ending = alike.groups()
    kind = _STEMS.get(stem) or _NEXT_WORD.sub("_", stem).upper()
    return _Meaning(kind, _ENDINGS[ending], f"{event_type}Details")


_ALIKE = re.compile(f"([A-Z][A-Za-z]*?)({'|'.join(_ENDINGS)})")
_NEXT_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MEANINGS = {stem + ending: _meaning(stem + ending) for stem in _STEMS for ending in _ENDINGS}
_MEANINGS["InvocationCompleted"] = None

# By kind: the members of an event's details that its operation has too, with their names there,
# and the one that outlives the event. What a chained invoke was given is in no operation.
_OUTCOME = {"Result": "Result", "Error": "Error"}
_TOLD: dict[str, tuple[dict[str, str], str]] = {
    "EXECUTION": ({"Input": "InputPayload", **_OUTCOME}, "InputPayload"),
    "CONTEXT": (_OUTCOME, ""),
    "STEP": (_OUTCOME, "Attempt"),
    "WAIT": ({_DUE: _DUE, **_OUTCOME}, _DUE),
    "CALLBACK": ({"CallbackId": "CallbackId", **_OUTCOME}, "CallbackId"),
    "CHAINED_INVOKE": (_OUTCOME, ""),
}
_NOTHING: dict[str, Any] = {}


def operations_from_history(
    events: Iterable[HistoryEvent], *, execution_id: str = ""
) -> list[Operation]:
    """The operations that a history tells of, in the order in which they were started.

    `events` are those of one execution, the oldest first; they may end early, and an operation
    is then as the last of its events left it. One whose start is missing starts with its first
    event. `execution_id` is for EXECUTION events that came without an id.

    Operations equal those of GetDurableExecutionState but for what `docs/history.md` lists. Their
    `truncated` names the payloads that the history holds cut off or not at all. Raises
    `DecodingError` for events that contradict one another or come in another order.
    """
    operations: dict[str, Operation] = {}
    last = 0
    for place, event in enumerate(events):
        get = event._raw.get
        number = get("EventId", last)
        if number < last:
            raise DecodingError(f"Events[{place}].EventId", "is lower than the one before it")
        last = number
        event_type = get("EventType", "")
        meaning = _MEANINGS[event_type] if event_type in _MEANINGS else _meaning(event_type)
        if meaning is None:
            continue
        kind, status, told = meaning
        id_ = get("Id", execution_id if kind == "EXECUTION" else None)
        when = get("EventTimestamp")
        if id_ is None and kind not in _TOLD:
            continue  # such as an InvocationStarted
        if id_ is None or when is None:
            missing = "Id" if id_ is None else "EventTimestamp"
            raise DecodingError(f"Events[{place}].{missing}", "is missing")
        operation = operations.get(id_)
        if operation is None:
            operations[id_] = operation = _begun(event._raw, id_, kind, when)
        elif operation.type != kind:
            if kind not in _TOLD:
                continue  # such as a CallbackHeartbeatStarted
            if operation.type in _TOLD:
                raise DecodingError(f"Events[{place}].EventType", "is of another type than before")
            operation.type = kind
        operation.status = status
        operation._end = None if status in _UNDER_WAY else when
        if kind in _TOLD:
            _tell(operation, get(told, _NOTHING), when)
    return list(operations.values())


def _begun(event: dict[str, Any], id_: str, kind: OperationType | str, when: float) -> Operation:
    """The operation of its first event, of which it keeps what no later one changes."""
    operation = object.__new__(Operation)
    operation.id = id_
    operation.type = kind
    operation.name = event.get("Name")
    operation.parent_id = event.get("ParentId")
    operation.sub_type = event.get("SubType")
    operation._start = when
    operation._details = operation._rest = None
    return operation


def _tell(operation: Operation, told: dict[str, Any], when: float) -> None:
    """Puts what an event tells in place of what the event before it told."""
    names, kept = _TOLD[operation.type]
    before, rest = operation._details, operation._rest
    details = {kept: before[kept]} if before is not None and kept in before else {}
    truncated = [kept] if rest is not None and kept in rest[TRUNCATED] else None
    for member, value in told.items():
        name = names.get(member)
        if name is None:
            continue
        if type(value) is dict:
            if value.get("Truncated"):
                truncated = truncated or []
                if name not in truncated:
                    truncated.append(name)
            value = value.get("Payload")  # noqa: PLW2901
        if value is not None:
            details[name] = value
    if operation.type == "STEP":
        _count(operation, details, told, when)
    operation._details = details or None
    operation._rest = None if truncated is None else {TRUNCATED: truncated}


def _count(step: Operation, details: dict[str, Any], told: dict[str, Any], when: float) -> None:
    """`Attempt` is how many attempts have ended; a delay says that there will be another one.

    AWS's test runners number `CurrentAttempt` in different ways, all of them at most the count,
    so it decides only where events are missing.
    """
    attempt = details.get("Attempt", 0)
    if step._end is not None:
        retry = told.get("RetryDetails", _NOTHING)
        attempt = max(attempt + 1, retry.get("CurrentAttempt", 0))
        delay = retry.get("NextAttemptDelaySeconds", 0)
        if delay > 0:
            step.status, step._end = OperationStatus.PENDING, None
            details["NextAttemptTimestamp"] = min(when + min(delay, LATEST), LATEST)
    details["Attempt"] = attempt
