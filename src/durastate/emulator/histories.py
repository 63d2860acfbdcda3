"""From an execution's operations to the events of its history, in the service's wire form.

What is invented here (how long an attempt took, what a callback's timeout was, when the function
was invoked) follows from the operations alone, so a history is the same whenever it is told. The
events fold to the operations again, but for what no event says: ReplayChildren, and that a retry
which is due is READY and no longer PENDING.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any
from uuid import UUID

from durastate.emulator.generation import DETAILS, TERMINAL, Wire, stamp

_WORDS = {
    "EXECUTION": "Execution",
    "CONTEXT": "Context",
    "STEP": "Step",
    "WAIT": "Wait",
    "CALLBACK": "Callback",
    "CHAINED_INVOKE": "ChainedInvoke",
}
_ENDS = {
    "SUCCEEDED": "Succeeded",
    "FAILED": "Failed",
    "TIMED_OUT": "TimedOut",
    "STOPPED": "Stopped",
    "CANCELLED": "Cancelled",
}
EVENT_TYPES = frozenset(
    {f"{word}Started" for word in _WORDS.values()}
    | {f"{word}Succeeded" for word in _WORDS.values()}
    | {f"{word}Failed" for word in _WORDS.values() if word != "Wait"}
    | {"ExecutionTimedOut", "CallbackTimedOut", "ChainedInvokeTimedOut"}
    | {"ExecutionStopped", "ChainedInvokeStopped", "WaitCancelled", "InvocationCompleted"}
)
_PAYLOADS = ("Input", "Result", "Error", "Reason")
# A pause takes effect when the invocation under way has reached its next checkpoint.
_PAUSES_AFTER_S = 0.2
_PAUSED_FOR_S = 60.0
# An invocation ends where the function waits for longer than that, a little later.
_IDLE_S = 1.0
_LINGERS_S = 0.05
_START, _MIDDLE, _END, _LAST = range(4)
_TIMES = ("StartTimestamp", "EndTimestamp")


@dataclass(frozen=True)
class Outcome:
    """How an execution ended, which its operations do not say, its time limit and its pause.

    ``pause`` is the PauseDetails of GetDurableExecution where it has taken effect.
    """

    result: str | None = field(default=None, repr=False)
    error: Mapping[str, Any] | None = field(default=None, repr=False)
    timeout_s: int = 2_592_000
    pause: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Moment:
    """One event before it has its number; moments of one time are told in the order of ``rank``."""

    at: float
    rank: tuple[int, int, int]
    event: Wire


def events_of(operations: list[Wire], outcome: Outcome) -> list[Wire]:
    """The whole history, oldest first, with every payload in full."""
    execution = next((each for each in operations if each["Type"] == "EXECUTION"), None)
    closed = None if execution is None else execution.get("EndTimestamp")
    moments = [
        moment
        for place, operation in enumerate(operations)
        for moment in _moments(operation, place, outcome, closed)
    ]
    if execution is not None and outcome.pause is not None:
        moments += _pauses(execution, outcome.pause)
    moments.sort(key=lambda moment: (moment.at, moment.rank))
    told = [moment.event for moment in _with_invocations(moments, operations)]
    return [
        {"EventType": event.pop("EventType"), "EventId": number, **event}
        for number, event in enumerate(told, 1)
    ]


def by_time(events: list[Wire]) -> list[Wire]:
    """A history in the order of time, in which the service sends it.

    Of events of one time it may send the later one first, so here it always does.
    """
    return sorted(events, key=lambda event: (event["EventTimestamp"], -event["EventId"]))


def shown(event: Wire, *, include_data: bool, most_characters: int) -> Wire:
    """The event as it is sent: without its payloads, or with those cut that are too long."""
    name = event["EventType"] + "Details"
    details = dict(event[name])
    for member in _PAYLOADS:
        if member in details:
            wrapped = details[member]
            details[member] = (
                _cut(wrapped, most_characters) if include_data else {"Truncated": True}
            )
    return {**event, name: details}


def _cut(wrapped: Wire, most: int) -> Wire:
    payload = wrapped.get("Payload")
    if isinstance(payload, str) and len(payload) > most:
        return {"Payload": payload[:most], "Truncated": True}
    if isinstance(payload, dict) and len(payload.get("ErrorMessage") or "") > most:
        kept = {name: payload[name] for name in ("ErrorType",) if name in payload}
        message = payload["ErrorMessage"][:most]
        return {"Payload": {**kept, "ErrorMessage": message}, "Truncated": True}
    return wrapped


def _moments(
    operation: Wire, place: int, outcome: Outcome, closed: float | None
) -> Iterator[_Moment]:
    type_, status = operation["Type"], operation["Status"]
    details = operation.get(DETAILS[type_]) or {}
    if type_ == "STEP":
        yield from _attempts(operation, details, place, closed)
    else:
        started = _event(operation, "Started", operation["StartTimestamp"])
        started[started["EventType"] + "Details"] = _at_start(operation, details, outcome)
        yield _Moment(operation["StartTimestamp"], (_START, place, 0), started)
    word = _WORDS[type_] + _ENDS.get(status, "")
    if status in TERMINAL and word in EVENT_TYPES:
        ended: float = operation.get("EndTimestamp") or operation["StartTimestamp"]
        event = _event(operation, _ENDS[status], ended)
        event[word + "Details"] = _at_end(operation, details, outcome)
        rank = _LAST if type_ == "EXECUTION" else _END
        yield _Moment(ended, (rank, -place, 0), event)


def pause_of(operations: list[Wire]) -> Wire:
    """The pause of an execution after all that it has done, as GetDurableExecution has it."""
    done = [each[name] for each in operations for name in _TIMES if name in each]
    chance = _chance(operations[0]["Id"])
    asked = max(done) + 1 + (2 * _PAUSED_FOR_S if _was_paused_before(operations[0]) else 0)
    return {
        "PauseRequestTimestamp": stamp(asked),
        "Reason": ("deploy of version 8", "the warehouse is closed")[chance % 2],
        "ExecutionTimeoutPaused": chance % 3 != 0,
    }


def _was_paused_before(execution: Wire) -> bool:
    return _chance(execution["Id"]) % 4 < 2


def _pauses(execution: Wire, pause: Mapping[str, Any]) -> Iterator[_Moment]:
    """The pause that holds, and in half of the executions one before it that is over."""
    asked: float = pause["PauseRequestTimestamp"]
    if _was_paused_before(execution):
        first = asked - 2 * _PAUSED_FOR_S
        yield _paused(execution, {**pause, "PauseRequestTimestamp": stamp(first)}, _START)
        back = stamp(first + _PAUSED_FOR_S)
        resumed = _event(execution, "Resumed", stamp(back + _PAUSES_AFTER_S))
        told = {"ResumeRequestTimestamp": back, "Reason": _wrapped("it is done")}
        resumed["ExecutionResumedDetails"] = told
        yield _Moment(resumed["EventTimestamp"], (_START, 0, 0), resumed)
    yield _paused(execution, pause, _LAST)


def _paused(execution: Wire, pause: Mapping[str, Any], rank: int) -> _Moment:
    at = stamp(pause["PauseRequestTimestamp"] + _PAUSES_AFTER_S)
    reason = {"Reason": _wrapped(pause["Reason"])} if "Reason" in pause else {}
    event = _event(execution, "Paused", at) | {"ExecutionPausedDetails": {**pause, **reason}}
    return _Moment(at, (rank, 0, 0), event)


def _event(operation: Wire, end: str, at: float) -> Wire:
    event: Wire = {"EventType": _WORDS[operation["Type"]] + end, "Id": operation["Id"]}
    for name in ("Name", "ParentId", "SubType"):
        if operation.get(name) is not None:
            event[name] = operation[name]
    event["EventTimestamp"] = at
    return event


def _at_start(operation: Wire, details: Wire, outcome: Outcome) -> Wire:
    chance = _chance(operation["Id"])
    match operation["Type"]:
        case "EXECUTION":
            given = _wrapped(details.get("InputPayload"))
            return {"Input": given, "ExecutionTimeout": outcome.timeout_s}
        case "WAIT":
            started = operation["StartTimestamp"]
            due = details.get("ScheduledEndTimestamp", started)
            return {"Duration": max(0, round(due - started)), "ScheduledEndTimestamp": due}
        case "CALLBACK":
            callback: Wire = {"CallbackId": details.get("CallbackId", "AAAA"), "Timeout": 86_400}
            return callback | ({"HeartbeatTimeout": 600} if chance % 3 == 0 else {})
        case "CHAINED_INVOKE":
            function = ("charge-card", "print-label", "send-mail")[chance % 3]
            invoked: Wire = {"FunctionName": function, "Input": _wrapped(f'{{"call":{chance}}}')}
            return invoked | ({"ExecutedVersion": str(1 + chance % 9)} if chance % 2 else {})
    return {}


def _at_end(operation: Wire, details: Wire, outcome: Outcome) -> Wire:
    type_, status = operation["Type"], operation["Status"]
    if type_ == "WAIT":
        if status == "CANCELLED":
            return {}
        return {"Duration": _at_start(operation, details, outcome)["Duration"]}
    result, error = details.get("Result"), details.get("Error")
    if type_ == "EXECUTION":
        result, error = outcome.result, outcome.error
    told: Wire = (
        {"Result": _wrapped(result)} if status == "SUCCEEDED" else {"Error": _wrapped(error)}
    )
    if type_ == "STEP":
        told["RetryDetails"] = {"CurrentAttempt": details.get("Attempt", 1)}
    return told


def _attempts(
    operation: Wire, details: Wire, place: int, closed: float | None
) -> Iterator[_Moment]:
    """The starts of a step, and between them the ends of the attempts that were not the last."""
    status, started = operation["Status"], operation["StartTimestamp"]
    over = status in TERMINAL
    ended = max(details.get("Attempt", 0), int(over))
    starts, retries = max(1, ended + int(status == "STARTED")), ended - int(over)
    until = operation.get("EndTimestamp", details.get("NextAttemptTimestamp"))
    if until is None:
        until = started + 2**ended if closed is None else min(started + 2**ended, closed)
    times = [*_backoff(started, until, starts), until]
    for number in range(starts):
        event = _event(operation, "Started", times[number])
        event["StepStartedDetails"] = {}
        rank = (_START, place, 0) if number == 0 else (_MIDDLE, place, 2 * number)
        yield _Moment(times[number], rank, event)
        if number < retries:
            last = number == retries - 1 and not over and status != "STARTED"
            cause = details if last else _made_up(number + 1)
            at, delay = _pause(times[number], times[number + 1])
            event = _retried(operation, cause, at)
            event[event["EventType"] + "Details"]["RetryDetails"] = {
                "CurrentAttempt": number + 1,
                "NextAttemptDelaySeconds": delay,
            }
            yield _Moment(at, (_MIDDLE, place, 2 * number + 1), event)


def _backoff(started: float, until: float, attempts: int) -> list[float]:
    """When each attempt starts, each pause about twice as long as the one before."""
    whole = 2 ** max(attempts, 1) - 1
    return [
        stamp(started + (until - started) * (2**number - 1) / whole) for number in range(attempts)
    ]


def _pause(started: float, next_start: float) -> tuple[float, int]:
    """When an attempt ended so that the next one starts after whole seconds, and how many."""
    delay = int(next_start - started)
    return stamp(next_start - delay), delay


def _retried(operation: Wire, cause: Wire, at: float) -> Wire:
    """The end of an attempt that another one follows; a condition that does not hold succeeds."""
    if operation.get("SubType") == "WaitForCondition":
        event = _event(operation, "Succeeded", at)
        return event | {"StepSucceededDetails": {"Result": _wrapped(cause.get("Result"))}}
    event = _event(operation, "Failed", at)
    return event | {"StepFailedDetails": {"Error": _wrapped(cause.get("Error"))}}


def _made_up(number: int) -> Wire:
    error = {"ErrorType": "TryAgain", "ErrorMessage": f"the other side was busy ({number})"}
    return {"Result": f'{{"seen":{number}}}', "Error": error}


def _with_invocations(moments: list[_Moment], operations: list[Wire]) -> Iterator[_Moment]:
    """The moments, and after each stretch of them the end of the invocation that made them."""
    busy = any(each["Type"] == "STEP" and each["Status"] == "STARTED" for each in operations)
    began, number = moments[0].at if moments else 0.0, 1
    for moment, following in pairwise([*moments, None]):
        assert moment is not None
        if moment.rank[0] == _LAST:
            yield _invocation(operations, began, moment.at, number)
        yield moment
        if moment.rank[0] == _LAST or (following is not None and following.rank[0] == _LAST):
            continue
        if following is None:
            if not busy:
                yield _invocation(operations, began, stamp(moment.at + _LINGERS_S), number)
        elif following.at - moment.at > _IDLE_S and _suspends(moment.event):
            yield _invocation(operations, began, stamp(moment.at + _LINGERS_S), number)
            began, number = following.at, number + 1


def _suspends(event: Wire) -> bool:
    """Whether a function may have nothing to do after that."""
    if event["EventType"] in ("WaitStarted", "CallbackStarted", "ChainedInvokeStarted"):
        return True
    return "NextAttemptDelaySeconds" in event[event["EventType"] + "Details"].get(
        "RetryDetails", {}
    )


def _invocation(operations: list[Wire], began: float, ended: float, number: int) -> _Moment:
    source = f"{operations[0]['Id']}/{number}".encode()
    request = UUID(bytes=blake2b(source, digest_size=16).digest(), version=4)
    details: Wire = {
        "StartTimestamp": began,
        "EndTimestamp": ended,
        "RequestId": str(request),
    }
    if request.int % 50 == 0:
        error = {"ErrorType": "Runtime.ExitError", "ErrorMessage": "the runtime has gone away"}
        details["Error"] = _wrapped(error)
    event = {"EventType": "InvocationCompleted", "EventTimestamp": ended}
    return _Moment(ended, (_LAST, 0, 0), event | {"InvocationCompletedDetails": details})


def _wrapped(payload: Any) -> Wire:
    return {"Truncated": False} if payload is None else {"Payload": payload, "Truncated": False}


def _chance(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest())
