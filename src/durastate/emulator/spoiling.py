"""What each kind of fault makes of an answer. Pure: bytes and headers in, bytes and headers out."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import orjson

from durastate.emulator import answers
from durastate.emulator.answers import Answer, Delivery
from durastate.emulator.faults import Fault, FaultKind

REDIRECTED = "/redirected"

_ERRORS = {
    FaultKind.SERVICE_ERROR: "ServiceException",
    FaultKind.KMS_ACCESS_DENIED: "KMSAccessDeniedException",
    FaultKind.KMS_DISABLED: "KMSDisabledException",
    FaultKind.KMS_INVALID_STATE: "KMSInvalidStateException",
    FaultKind.KMS_NOT_FOUND: "KMSNotFoundException",
    FaultKind.ACCESS_DENIED: "AccessDeniedException",
    FaultKind.NOT_FOUND: "ResourceNotFoundException",
    FaultKind.EXPIRED_CREDENTIALS: "ExpiredTokenException",
}
_PROXY = {
    FaultKind.BAD_GATEWAY: (502, "Bad Gateway"),
    FaultKind.UNAVAILABLE: (503, "Service Temporarily Unavailable"),
    FaultKind.GATEWAY_TIMEOUT: (504, "Gateway Time-out"),
}


def instead(fault: Fault) -> Answer | None:
    """The answer that takes the page's place; None for a fault that spoils the page itself."""
    kind = fault.kind
    answer: Answer | None = None
    if kind in _ERRORS:
        answer = answers.error(_ERRORS[kind])
    elif kind in _PROXY:
        answer = answers.from_proxy(*_PROXY[kind])
    elif kind is FaultKind.THROTTLE:
        answer = answers.throttled(fault.retry_after_s, fault.retry_after_ms)
    elif kind is FaultKind.INVALID_TOKEN:
        answer = answers.invalid_token()
    elif kind is FaultKind.REDIRECT:
        answer = Answer(302, b"", headers=(("Location", REDIRECTED),))
    elif kind is FaultKind.RESET:
        answer = Answer(0, b"", delivery=Delivery.RESET)
    return None if answer is None else answer.changed(fault=str(kind))


def spoil(page: Answer, fault: Fault) -> Answer:
    """The page as the fault leaves it; kinds that choose another page leave its bytes alone."""
    change = _SPOILERS.get(fault.kind)
    spoilt = page if change is None else change(page, fault)
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


def _wrong_types(page: Answer, _: Fault) -> Answer:
    return page.changed(body=b'{"Operations":{"0":"a page whose list is an object"}}')


def _not_a_number(page: Answer, _: Fault) -> Answer:
    operation = b'{"Id":"nan","Type":"STEP","Status":"STARTED","StartTimestamp":NaN}'
    return page.changed(body=b'{"Operations":[' + operation + b"]}")


def _lone_surrogate(page: Answer, _: Fault) -> Answer:
    content = orjson.loads(page.body)
    for operation in content["Operations"][:1]:
        operation["Name"] = "HALF"
    body = orjson.dumps(content).replace(b'"HALF"', b'"half \\ud800"', 1)
    return page.changed(body=body)


def _unknown_fields(page: Answer, _: Fault) -> Answer:
    content = orjson.loads(page.body)
    content["ResponseMetadataOfTomorrow"] = {"Shards": [1, 2]}
    for place, operation in enumerate(content["Operations"]):
        operation["Priority"] = {"Level": place, "Reason": None}
        if place:
            operation |= {"Type": "SIGNAL", "SubType": "SignalReceived", "Status": "PAUSED"}
            operation["SignalDetails"] = {"Channel": "approvals"}
    return page.changed(body=orjson.dumps(content))


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
    FaultKind.WRONG_TYPES: _wrong_types,
    FaultKind.NOT_A_NUMBER: _not_a_number,
    FaultKind.LONE_SURROGATE: _lone_surrogate,
    FaultKind.UNKNOWN_FIELDS: _unknown_fields,
    FaultKind.GZIP: _gzipped,
    FaultKind.HUGE_BODY: _huge,
}
