"""From the events of GetDurableExecutionHistory to operations, without a checkpoint token.

Nearly every event type is a stem and an ending: `ChainedInvoke` + `TimedOut` says what kind of
operation it is about and how that operation stands. So one table of stems and one of endings say
what to do, and an event type that AWS adds tomorrow in the same manner is understood too. A pause
of the execution is told beside its status, as GetDurableExecution tells it. What follows no such
pattern (`InvocationCompleted`, or a type that is new) is about no operation.

The service sends events in the order of their time; what happened is the order of their numbers,
which for events of one millisecond may be another. Every event of an operation replaces what the
one before it said: a step that is started again has neither a result nor an error.
`docs/history.md` has what differs from GetDurableExecutionState.

Source: botocore's model of GetDurableExecutionHistory, shape `Event`, which requires no member.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .decoding import ERROR, LATEST, PAUSE, TIMESTAMP, check, load_answer
from .details import TRUNCATED, Details, Member, Moment, OperationStatus, OperationType
from .errors import DecodingError
from .models import Operation

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
    **PAUSE,
    "Reason": _TEXT,
    "ResumeRequestTimestamp": TIMESTAMP,
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
    **dict.fromkeys(("InvocationCompletedDetails", "ExecutionPausedDetails"), _DETAILS),
    "ExecutionResumedDetails": _DETAILS,
}
_NUMBERS = frozenset((int, float))


class HistoryEvent(Details):
    """One event of an execution's history: a view over what the service sent.

    Every member may be None: the service's model requires none. `to_dict()` is a copy of all that
    was sent, unknown members included, its timestamps in epoch seconds.
    """

    __slots__ = ()

    event_id = Member[int]("EventId", "Its number, which says what happened first")
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
    return history_page(load_answer(body))


def history_page(value: Any) -> HistoryPage:
    """The page in a JSON value; as `decode_history`."""
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
    alike = _ALIKE.fullmatch(event_type) if len(event_type) <= _LONGEST_TYPE else None
    if alike is None:
        return None
    stem, ending = alike.groups()
    kind = _STEMS.get(stem) or _NEXT_WORD.sub("_", stem).upper()
    return _Meaning(kind, _ENDINGS[ending], f"{event_type}Details")


_LONGEST_TYPE = 256  # A longer one would hold the loop.
_ALIKE = re.compile(f"([A-Z][A-Za-z]*?)({'|'.join(_ENDINGS)})")
_NEXT_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MEANINGS = {stem + ending: _meaning(stem + ending) for stem in _STEMS for ending in _ENDINGS}
_MEANINGS["InvocationCompleted"] = None
_PAUSED = "ExecutionPausedDetails"
_PAUSES = (_PAUSED, "ExecutionResumedDetails")
for _details in _PAUSES:
    _MEANINGS[_details.removesuffix("Details")] = _Meaning(
        OperationType.EXECUTION, OperationStatus.STARTED, _details
    )

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
    events: Iterable[HistoryEvent], *, execution_id: str = "", zero_delay_ends: bool = False
) -> list[Operation]:
    """The operations that a history tells of, in the order in which they were started.

    `events` are those of one execution, in any order: their `event_id` says which came first, and
    one that comes twice counts once. They may end early, and an operation is then as the last of
    its events left it. One whose start is missing starts with its first event. `execution_id` is
    for EXECUTION events that came without an id. `zero_delay_ends` is for AWS's emulator, which
    writes a delay of 0 where a step is not tried again; elsewhere that is another attempt at once.

    Operations equal those of GetDurableExecutionState but for what `docs/history.md` lists. Their
    `truncated` names the payloads that the history holds cut off or not at all. Raises
    `DecodingError` for events that contradict one another.
    """
    operations: dict[str, Operation] = {}
    for place, event, (kind, status, told) in _by_number(list(events)):
        get = event.get
        id_ = get("Id", execution_id if kind == "EXECUTION" else None)
        when = get("EventTimestamp")
        if id_ is None and kind not in _TOLD:
            continue  # such as an InvocationStarted
        if id_ is None or when is None:
            missing = "Id" if id_ is None else "EventTimestamp"
            raise DecodingError(f"Events[{place}].{missing}", "is missing")
        operation = operations.get(id_)
        if operation is None:
            operations[id_] = operation = _begun(event, id_, kind, when)
        elif operation.type != kind:
            if kind not in _TOLD:
                continue  # such as a CallbackHeartbeatStarted
            if operation.type in _TOLD:
                raise DecodingError(f"Events[{place}].EventType", "is of another type than before")
            operation.type = kind
        if told in _PAUSES and operation._end is not None:
            continue  # What has ended neither pauses nor goes on.
        operation.status = status
        operation._end = None if status in _UNDER_WAY else when
        if kind in _TOLD:
            details = get(told, _NOTHING)
            _tell(operation, details)
            if kind == "STEP":
                _count(operation, details, when, zero_delay_ends)
            elif told == _PAUSED:
                _pause(operation, details)
    return list(operations.values())


def _by_number(
    events: Sequence[HistoryEvent],
) -> Iterator[tuple[int, dict[str, Any], _Meaning]]:
    """The events that say something, each once and by their ids, with where they stand.

    An event without an id stays behind the one before it.
    """
    numbers: list[int] = []
    last = 0
    for event in events:
        last = event._raw.get("EventId", last)
        numbers.append(last)
    before: dict[str, Any] = {}
    for place in sorted(range(len(numbers)), key=numbers.__getitem__):
        raw = events[place]._raw
        number = raw.get("EventId")
        if number is not None:
            if number == before.get("EventId"):
                if raw != before:
                    raise DecodingError(f"Events[{place}].EventId", "stands for another event too")
                continue  # Pages may overlap.
            before = raw
        event_type = raw.get("EventType", "")
        meaning = _MEANINGS[event_type] if event_type in _MEANINGS else _meaning(event_type)
        if meaning is not None:
            yield place, raw, meaning


def _begun(event: dict[str, Any], id_: str, kind: OperationType | str, when: float) -> Operation:
    """The operation of its first event, of which it keeps what no later one changes."""
    operation = object.__new__(Operation)
    operation.id = id_
    operation.type = kind
    operation.name = event.get("Name")
    operation.parent_id = event.get("ParentId")
    operation.sub_type = event.get("SubType")
    operation._start = when
    operation._details = operation._rest = operation._end = None
    return operation


def _tell(operation: Operation, told: dict[str, Any]) -> None:
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
    operation._details = details or None
    operation._rest = None if truncated is None else {TRUNCATED: truncated}


def _count(step: Operation, told: dict[str, Any], when: float, zero_delay_ends: bool) -> None:
    """`Attempt` is how many attempts have ended; a delay says that there will be another one.

    AWS's test runners number `CurrentAttempt` in different ways, all of them at most the count,
    so it decides only where events are missing.
    """
    details = step._details = step._details or {}
    attempt = details.get("Attempt", 0)
    if step._end is not None:
        retry = told.get("RetryDetails", _NOTHING)
        attempt = max(attempt + 1, retry.get("CurrentAttempt", 0))
        delay = retry.get("NextAttemptDelaySeconds")
        if delay is not None and (delay or not zero_delay_ends):
            step.status, step._end = OperationStatus.PENDING, None
            details["NextAttemptTimestamp"] = min(when + min(max(delay, 0), LATEST), LATEST)
    details["Attempt"] = attempt


def _pause(execution: Operation, told: dict[str, Any]) -> None:
    """`PauseDetails` as in GetDurableExecution; the execution's next event takes them away."""
    pause = {name: told[name] for name in PAUSE if name in told}
    if "Reason" in pause:
        reason = pause.pop("Reason")
        if "Payload" in reason:
            pause["Reason"] = reason["Payload"]
        if reason.get("Truncated"):
            execution._rest = {TRUNCATED: [*execution.truncated, "Reason"]}
    execution._details = (execution._details or {}) | {"PauseDetails": pause}
