"""A service in memory that answers all four calls, for `ScriptedTransport`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from durastate.requests import GET_EXECUTION, GET_HISTORY, GET_STATE, LIST_EXECUTIONS
from durastate.testing import Asked, Response, page, service_error, step

Wire = dict[str, Any]
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
START = 1_767_225_600


def arn_of(number: int, region: str = "eu-west-1") -> str:
    function = FUNCTION.replace("eu-west-1", region)
    return f"{function}:7/durable-execution/order-{number}/id-{number}"


def answered(**members: Any) -> Response:
    """A good answer with these members."""
    return Response(200, {}, orjson.dumps(members))


def event(number: int, kind: str, **members: Any) -> Wire:
    return {"EventId": number, "EventType": kind, "EventTimestamp": START + number, **members}


def events(steps: int = 1, *, data: bool = True) -> list[Wire]:
    """The history of an execution that has done so many steps, the last of them in a context."""
    wrapped = {"Payload": "1", "Truncated": False} if data else {}
    happened: list[tuple[str, Wire]] = [
        (
            "ExecutionStarted",
            {"Id": "e", "ExecutionStartedDetails": {"Input": wrapped, "ExecutionTimeout": 60}},
        )
    ]
    for number in range(steps):
        done = {"Result": wrapped, "RetryDetails": {"CurrentAttempt": 1}}
        is_last = number == steps - 1
        about = {"Id": f"s{number}", "Name": f"step-{number}"}
        if is_last:
            happened.append(("ContextStarted", {"Id": "c", "ContextStartedDetails": {}}))
            about["ParentId"] = "c"
        happened.append(("StepStarted", {**about, "StepStartedDetails": {}}))
        happened.append(("StepSucceeded", {**about, "StepSucceededDetails": done}))
    closed = {"Id": "c", "ContextSucceededDetails": {"Result": wrapped}}
    happened.append(("ContextSucceeded", closed))
    happened.append(
        ("ExecutionSucceeded", {"Id": "e", "ExecutionSucceededDetails": {"Result": wrapped}})
    )
    return [event(number, kind, **more) for number, (kind, more) in enumerate(happened, 1)]


def summary(number: int, status: str = "SUCCEEDED", **members: Any) -> Wire:
    """An execution as List has it."""
    return {
        "DurableExecutionArn": arn_of(number),
        "DurableExecutionName": f"order-{number}",
        "FunctionArn": f"{FUNCTION}:7",
        "Status": status,
        "StartTimestamp": START + number,
        **members,
    }


def serving(
    histories: Mapping[str, Sequence[Wire]], listed: Sequence[Wire] = ()
) -> Callable[[Asked], Response]:
    """A script with these histories by ARN, and a function with these executions."""

    def answer(asked: Asked) -> Response:
        start = int(asked.marker or 0)
        end = start + (asked.max_items or 100)
        if asked.operation == LIST_EXECUTIONS:
            return answered(DurableExecutions=listed[start:end], **_more(end, listed))
        happened = histories.get(asked.arn)
        if happened is None:
            return service_error("ResourceNotFoundException", status=404, message="No such thing")
        if asked.operation == GET_STATE:
            return page(step("s0"))
        if asked.operation == GET_EXECUTION:
            return answered(**summary(0, DurableExecutionArn=asked.arn, Result="1"))
        assert asked.operation == GET_HISTORY
        data = asked.query["IncludeExecutionData"] == ["true"]
        told = happened if data else [_without_data(each) for each in happened]
        return answered(Events=told[start:end], **_more(end, told))

    return answer


def _more(end: int, everything: Sequence[Wire]) -> Wire:
    return {"NextMarker": str(end)} if end < len(everything) else {}


def _without_data(told: Wire) -> Wire:
    def strip(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: strip(inner) for name, inner in value.items() if name != "Payload"}

    stripped: Wire = strip(told)
    return stripped
