"""What goes back over the wire, as a value: :class:`Answer` says all, delivery only sends it.

The error table has the service's forms: the code in the ``x-amzn-errortype`` header, the message
under ``message`` or ``Message`` as each error's model has it. What AWS's front end answers
(signatures, permissions, unknown calls) is in no model; those follow what AWS is seen to send.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

import orjson

from durastate.emulator.names import Call

PROXY_PAGE = (
    b"<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n"
    b"</body>\r\n</html>\r\n"
)


class Delivery(StrEnum):
    """How an answer reaches the client."""

    WHOLE = "whole"
    SLOW = "slow"
    TRUNCATED = "truncated"
    RESET = "reset"
    RESET_IN_BODY = "reset-in-body"


@dataclass(frozen=True)
class Answer:
    """One response. ``status`` is what the log shows; a reset connection never sends it."""

    status: int
    body: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    from_service: bool = True
    delivery: Delivery = Delivery.WHOLE
    delay_s: float = 0
    pause_s: float = 0
    chunk_bytes: int = 1
    clock_skew_s: float = 0
    fault: str | None = None

    def changed(self, **changes: object) -> Self:
        """The same answer with other values."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ErrorForm:
    """How the service words one error."""

    status: int
    message: str
    member: str = "Message"
    type_: str | None = "Service"
    suffix: str = ""


_CORAL = ":http://internal.amazon.com/coral/com.amazon.coral.service/"

ERRORS = {
    "InvalidParameterValueException": ErrorForm(
        400, "The request is not valid.", "message", "User"
    ),
    "TooManyRequestsException": ErrorForm(429, "Rate Exceeded.", "message", "User"),
    "ServiceException": ErrorForm(500, "An error occurred and the request cannot be processed."),
    "KMSAccessDeniedException": ErrorForm(502, "Lambda was not allowed to use the KMS key."),
    "KMSDisabledException": ErrorForm(502, "The KMS key is disabled."),
    "KMSInvalidStateException": ErrorForm(502, "The KMS key is in a state that allows no decrypt."),
    "KMSNotFoundException": ErrorForm(502, "The KMS key was not found."),
    "ResourceNotFoundException": ErrorForm(
        404, "The durable execution does not exist.", "Message", "User"
    ),
    "AccessDeniedException": ErrorForm(
        403,
        "The caller is not authorized to perform this action",
        "Message",
        None,
        _CORAL,
    ),
    "MissingAuthenticationTokenException": ErrorForm(
        403, "Missing Authentication Token", "message", None
    ),
    "IncompleteSignatureException": ErrorForm(
        403, "The Authorization header is not complete.", "message", None
    ),
    "UnrecognizedClientException": ErrorForm(
        403, "The security token included in the request is invalid.", "message", None
    ),
    "InvalidSignatureException": ErrorForm(
        403,
        "The request signature we calculated does not match the signature you provided. Check your"
        " AWS Secret Access Key and signing method. Consult the service documentation for details.",
        "message",
        None,
    ),
    "ExpiredTokenException": ErrorForm(
        403, "The security token included in the request is expired", "message", None
    ),
}


def error(code: str, message: str | None = None) -> Answer:
    """An error in the service's wire form."""
    form = ERRORS[code]
    body = {} if form.type_ is None else {"Type": form.type_}
    if code == "TooManyRequestsException":
        body["Reason"] = "CallerRateLimitExceeded"
    body[form.member] = message or form.message
    return Answer(
        form.status,
        orjson.dumps(body),
        headers=(("x-amzn-errortype", code + form.suffix),),
    )


def throttled(retry_after_s: int | None = None, retry_after_ms: int | None = None) -> Answer:
    """A 429, with the hints that are asked for: the modelled header and the one botocore reads."""
    answer = error("TooManyRequestsException")
    hints = []
    if retry_after_s is not None:
        hints.append(("Retry-After", str(retry_after_s)))
    if retry_after_ms is not None:
        hints.append(("x-amz-retry-after", str(retry_after_ms)))
    return answer.changed(headers=(*answer.headers, *hints))


def from_proxy(status: int, title: str) -> Answer:
    """An error of something in between, which knows nothing of the service's forms."""
    text = f"{status} {title}".encode()
    return Answer(status, PROXY_PAGE % (text, text), content_type="text/html", from_service=False)


def unknown_call() -> Answer:
    """What AWS's front end says to a method and path that belong to no call, and why it is none."""
    message = (
        "Unable to determine service/operation name to be authorized. durastate's embedded service "
        "has only the four calls that read durable executions, and so no aliases (GetAlias)"
    )
    return error("AccessDeniedException", message)


def invalid_token() -> Answer:
    """The refusal of a checkpoint token."""
    return error("InvalidParameterValueException", "Invalid checkpoint token")


def no_execution() -> Answer:
    """What Get and History say of an execution that they do not know."""
    return error("ResourceNotFoundException")


def not_authorized(call: Call) -> Answer:
    """The refusal of a caller who has no permission for a call."""
    message = f"The caller is not authorized to perform: lambda:{call}"
    return error("AccessDeniedException", message)


def no_function(message: str) -> Answer:
    """What a List says of a function that it does not know."""
    return error("ResourceNotFoundException", message)
