"""What an answer that is no page means: the service's code, its message, our exception.

The code stands in the header `x-amzn-errortype` (cut at `:`, or after `#`), otherwise in the
body as `__type`, `code` or `Type`; the message is `message` in some errors and `Message` in
others. Sources: botocore's restJson error parser and service model; AWS's own emulator, which
sends `Type` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .decoding import load_json
from .errors import (
    AccessDeniedError,
    CredentialsError,
    DecodingError,
    EncryptionKeyError,
    ExecutionNotFoundError,
    FunctionNotFoundError,
    InvalidRequestError,
    InvalidTokenError,
    ServiceError,
    ThrottledError,
)
from .redaction import presentable, quotes
from .requests import LIST_EXECUTIONS, Request
from .retries import Failure, classify

_LARGEST_BODY = 64 * 1024  # of an error that has something to say
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_LONGEST_MESSAGE = 4_000  # of which a part is shown
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,99}")

# The signature or the credentials are refused: nothing that this client sends can succeed.
_SIGNATURE_CODES = frozenset(
    (
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
)
_EXPIRED = "They have expired: get new ones, with `aws sso login` or where you have these from"
_UNKNOWN = "It knows no such access key: check which profile or variables it comes from"
_REMEDY = "Check the access key, the session token, the Region and this machine's clock"
_REMEDIES = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidAccessKeyId": _UNKNOWN,
    "InvalidClientTokenId": _UNKNOWN,
    "UnrecognizedClientException": _UNKNOWN,
}
_CLASSES: dict[str, type[ServiceError]] = {
    "InvalidParameterValueException": InvalidRequestError,
    "ResourceNotFoundException": ExecutionNotFoundError,
    "AccessDeniedException": AccessDeniedError,
    "AccessDenied": AccessDeniedError,
    "KMSAccessDeniedException": EncryptionKeyError,
    "KMSDisabledException": EncryptionKeyError,
    "KMSInvalidStateException": EncryptionKeyError,
    "KMSNotFoundException": EncryptionKeyError,
}


def error_of(
    request: Request,
    secrets: Sequence[str],
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes | bytearray,
) -> tuple[ServiceError | CredentialsError, Failure]:
    """The exception for an answer with an error, and what it means for a retry.

    `headers` have lower-case names. `secrets` are what the request was made with: of an answer
    that quotes one of them, in whatever spelling, nothing is kept that does.
    """
    code, message = _code_and_message(secrets, status, headers, body)
    if code in _SIGNATURE_CODES:
        # Its message can quote the whole request, so it stays out.
        text = f"{request.operation}: AWS refuses the credentials or the signature: {code}. "
        return CredentialsError(text + _REMEDIES.get(code, _REMEDY)), Failure.PERMANENT
    failure = classify(status, code)
    kind = _CLASSES.get(code, ServiceError)
    if kind is ExecutionNotFoundError and request.operation == LIST_EXECUTIONS:
        kind = FunctionNotFoundError
    if failure is Failure.THROTTLED:
        kind = ThrottledError
    elif kind is InvalidRequestError and "checkpointtoken" in message.lower().replace(" ", ""):
        kind = InvalidTokenError
    error = kind(
        operation=request.operation,
        arn=request.arn,
        code=code,
        message=presentable(message, secrets),
        status=status,
        request_id=_request_id(headers, secrets),
        retryable=failure is not Failure.PERMANENT,
    )
    return error, failure


def _code_and_message(
    secrets: Sequence[str], status: int, headers: Mapping[str, str], body: bytes | bytearray
) -> tuple[str, str]:
    if 300 <= status < 400:
        return f"HTTP {status}", "a redirect, which is not followed"
    fields = _fields(body)
    named = [headers.get("x-amzn-errortype"), *map(fields.get, ("__type", "code", "Type"))]
    code = next((name for name in named if isinstance(name, str) and name), None)
    texts = (fields.get("message"), fields.get("Message"))
    message = next((text for text in texts if isinstance(text, str) and text), "")
    message = message[:_LONGEST_MESSAGE]
    if code is None:
        return f"HTTP {status}", message
    code = code.split(":")[0].rsplit("#", 1)[-1]
    if not _CODE.fullmatch(code) or quotes(code, secrets):
        code = f"HTTP {status}"
    return code, message


def _fields(body: bytes | bytearray) -> dict[str, Any]:
    if len(body) > _LARGEST_BODY:
        return {}
    try:
        fields = load_json(body)
    except DecodingError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _request_id(headers: Mapping[str, str], secrets: Sequence[str]) -> str | None:
    given = headers.get("x-amzn-requestid", "")
    return given if _REQUEST_ID.fullmatch(given) and not quotes(given, secrets) else None
