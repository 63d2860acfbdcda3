"""What each kind of fault makes of an answer. Pure: bytes and headers in, bytes and headers out."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from durastate.emulator import answers
from durastate.emulator.answers import Answer, Delivery
from durastate.emulator.faults import Fault, FaultKind
from durastate.emulator.generation import Wire
from durastate.emulator.names import Call

REDIRECTED = "/redirected"

_ERRORS = {
    FaultKind.SERVICE_ERROR: "ServiceException",
    FaultKind.KMS_ACCESS_DENIED: "KMSAccessDeniedException",
    FaultKind.KMS_DISABLED: "KMSDisabledException",
    FaultKind.KMS_INVALID_STATE: "KMSInvalidStateException",
    FaultKind.KMS_NOT_FOUND: "KMSNotFoundException",
    FaultKind.NOT_FOUND: "ResourceNotFoundException",
    FaultKind.EXPIRED_CREDENTIALS: "ExpiredTokenException",
}
_PROXY = {
    FaultKind.BAD_GATEWAY: (502, "Bad Gateway"),
    FaultKind.UNAVAILABLE: (503, "Service Temporarily Unavailable"),
    FaultKind.GATEWAY_TIMEOUT: (504, "Gateway Time-out"),
}


@dataclass(frozen=True)
class _Shape:
    """Where an answer has its rows, a row's name, and what a row of some later version has.

    ``rows`` is None for an answer that is itself the one row. ``example`` is a row whose time can
    become no number.
    """

    rows: str | None
    name: str
    example: Wire
    unknown: Wire

    def rows_of(self, content: Wire) -> list[Wire]:
        return [content] if self.rows is None else list(content[self.rows])


_EXAMPLE = {"DurableExecutionArn": "nan", "DurableExecutionName": "nan", "FunctionArn": "nan"}
_RUNNING = {"Status": "RUNNING", "StartTimestamp": 1.5}
_SHAPES = {
    Call.STATE: _Shape(
        "Operations",
        "Name",
        {"Id": "nan", "Type": "STEP", "Status": "STARTED", "StartTimestamp": 1.5},
        {
            "Type": "SIGNAL",
            "SubType": "SignalReceived",
            "Status": "PAUSED",
            "SignalDetails": {"Channel": "approvals"},
        },
    ),
    Call.HISTORY: _Shape(
        "Events",
        "Name",
        {"EventType": "StepStarted", "EventId": 1, "Id": "nan", "EventTimestamp": 1.5},
        {"EventType": "SignalReceived", "SignalReceivedDetails": {"Channel": "approvals"}},
    ),
    Call.GET: _Shape(None, "DurableExecutionName", _EXAMPLE | _RUNNING, {}),
    Call.LIST: _Shape(
        "DurableExecutions", "DurableExecutionName", _EXAMPLE | _RUNNING, {"Status": "HIBERNATING"}
    ),
}


def instead(fault: Fault, call: Call) -> Answer | None:
    """The answer that takes the page's place; None for a fault that spoils the page itself."""
    kind = fault.kind
    answer: Answer | None = None
    if kind is FaultKind.ACCESS_DENIED:
        answer = answers.not_authorized(call)
    elif kind in _ERRORS:
        answer = answers.error(_ERRORS[kind])
    elif kind in _PROXY:
        answer = answers.from_proxy(*_PROXY[kind])
    elif kind is FaultKind.THROTTLE:
        answer = answers.throttled(fault.retry_after_s, fault.retry_after_ms)
    elif kind is FaultKind.INVALID_TOKEN:
        # The other calls take no token; theirs is the bare error.
        refused = answers.error("InvalidParameterValueException")
        answer = answers.invalid_token() if call is Call.STATE else refused
    elif kind is FaultKind.REDIRECT:
        answer = Answer(302, b"", headers=(("Location", REDIRECTED),))
    elif kind is FaultKind.RESET:
        answer = Answer(0, b"", delivery=Delivery.RESET)
    return None if answer is None else answer.changed(fault=str(kind))


def spoil(page: Answer, fault: Fault, call: Call) -> Answer:
    """The page as the fault leaves it; kinds that choose another page leave its bytes alone."""
    spoilt = page
    if fault.kind in _SPOILERS:
        spoilt = _SPOILERS[fault.kind](page, fault)
    elif fault.kind in _CONTENT_SPOILERS:
        spoilt = page.changed(body=_CONTENT_SPOILERS[fault.kind](page.body, _SHAPES[call]))
    return spoilt.changed(fault=str(fault.kind))


def _reset_in_body(page: Answer, _: Fault) -> Answer:
    return page.changed(delivery=Delivery.RESET_IN_BODY)


def _truncated(page: Answer, _: Fault) -> Answer:
    return page.changed(delivery=Delivery.TRUNCATED)


def _slow(page: Answer, fault: Fault) -> Answer:
    return page.changed(
        delivery=Delivery.SLOW, pause_s=fault.delay_s, chunk_bytes=fault.chunk_bytes
    )


def _stalled(page: Answer, fault: Fault) -> Answer:
    return page.changed(delay_s=fault.delay_s)


def _malformed(page: Answer, _: Fault) -> Answer:
    return page.changed(body=page.body[: len(page.body) // 2])


def _wrong_types(_: bytes, shape: _Shape) -> bytes:
    if shape.rows is None:
        return b'{"DurableExecutionArn":["an answer whose ARN is a list"]}'
    return b'{"%b":{"0":"a page whose list is an object"}}' % shape.rows.encode()


def _not_a_number(_: bytes, shape: _Shape) -> bytes:
    row = orjson.dumps(shape.example).replace(b"1.5", b"NaN")
    return row if shape.rows is None else b'{"%b":[%b]}' % (shape.rows.encode(), row)


def _lone_surrogate(body: bytes, shape: _Shape) -> bytes:
    content = orjson.loads(body)
    for row in shape.rows_of(content)[:1]:
        row[shape.name] = "HALF"
    return orjson.dumps(content).replace(b'"HALF"', b'"half \\ud800"', 1)


def _unknown_fields(body: bytes, shape: _Shape) -> bytes:
    content = orjson.loads(body)
    for place, row in enumerate(shape.rows_of(content)):
        row["Priority"] = {"Level": place, "Reason": None}
        if place:
            row.update(shape.unknown)
    content["ResponseMetadataOfTomorrow"] = {"Shards": [1, 2]}
    return orjson.dumps(content)


def _gzipped(page: Answer, _: Fault) -> Answer:
    headers = (*page.headers, ("Content-Encoding", "gzip"))
    return page.changed(body=gzip.compress(page.body, 1), headers=headers)


def _huge(page: Answer, fault: Fault) -> Answer:
    start = b'{"Padding":"'
    padding = max(0, fault.body_bytes - len(page.body) - len(start) - 1)
    return page.changed(body=start + b"x" * padding + b'",' + page.body[1:])


_SPOILERS: dict[FaultKind, Callable[[Answer, Fault], Answer]] = {
    FaultKind.RESET_IN_BODY: _reset_in_body,
    FaultKind.TRUNCATED: _truncated,
    FaultKind.SLOW_BODY: _slow,
    FaultKind.STALL: _stalled,
    FaultKind.MALFORMED_JSON: _malformed,
    FaultKind.GZIP: _gzipped,
    FaultKind.HUGE_BODY: _huge,
}
_CONTENT_SPOILERS: dict[FaultKind, Callable[[bytes, _Shape], bytes]] = {
    FaultKind.WRONG_TYPES: _wrong_types,
    FaultKind.NOT_A_NUMBER: _not_a_number,
    FaultKind.LONE_SURROGATE: _lone_surrogate,
    FaultKind.UNKNOWN_FIELDS: _unknown_fields,
}
