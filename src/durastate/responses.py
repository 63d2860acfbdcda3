"""What an answer that is no page means: the service's code, its message, our exception.

The code stands in the header `x-amzn-errortype` (cut at `:`, or after `#`), otherwise in the
body as `__type`, `code` or `Type`; the message is `message` in some errors and `Message` in
others. Sources: botocore's restJson error parser and service model; AWS's own emulator, which
sends `Type` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

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
from .requests import LIST_EXECUTIONS, Request
from .retries import Failure, classify

_LONGEST_MESSAGE = 500
_LARGEST_BODY = 64 * 1024  # of an error that has something to say
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,99}")
# What follows these in a message that quotes the request's headers.
_SIGNED = re.compile(r"""(?i)(x-amz-security-token["']?\s*[:=]\s*["']?|signature=)[^\s"',;]+""")

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
    token: str | None,
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes | bytearray,
) -> tuple[ServiceError | CredentialsError, Failure]:
    """The exception for an answer with an error, and what it means for a retry.

    `headers` have lower-case names. `token`, where the request has one, is blotted out of the
    message, should the service quote it.
    """
    code, message = _code_and_message(token, status, headers, body)
    if code in _SIGNATURE_CODES:
        # Its message can quote the whole request, so it stays out.
        text = (
            f"{request.operation}: AWS refuses the credentials or the signature: {code}. Check "
            f"the access key, the session token, the Region and this machine's clock"
        )
        return CredentialsError(text), Failure.PERMANENT
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
        message=_presentable(message, token),
        status=status,
        request_id=_request_id(headers, token),
        retryable=failure is not Failure.PERMANENT,
    )
    return error, failure


def _code_and_message(
    token: str | None, status: int, headers: Mapping[str, str], body: bytes | bytearray
) -> tuple[str, str]:
    if 300 <= status < 400:
        return f"HTTP {status}", "a redirect, which is not followed"
    fields = _fields(body)
    named = [headers.get("x-amzn-errortype"), *map(fields.get, ("__type", "code", "Type"))]
    code = next((name for name in named if isinstance(name, str) and name), None)
    texts = (fields.get("message"), fields.get("Message"))
    message = next((text for text in texts if isinstance(text, str) and text), "")
    if code is None:
        return f"HTTP {status}", message
    code = code.split(":")[0].rsplit("#", 1)[-1]
    if not _CODE.fullmatch(code) or _quotes(code, token):
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


def _quotes(text: str, token: str | None) -> bool:
    return token is not None and token in text


def _request_id(headers: Mapping[str, str], token: str | None) -> str | None:
    given = headers.get("x-amzn-requestid", "")
    return given if _REQUEST_ID.fullmatch(given) and not _quotes(given, token) else None


def _presentable(message: str, token: str | None) -> str:
    """One line without the token and without anything that a terminal would obey."""
    for form in () if token is None else (token, quote(token, safe="")):
        message = message.replace(form, "[checkpoint token]")
    message = _SIGNED.sub(r"\1[hidden]", message)
    line = " ".join(message.split())[:_LONGEST_MESSAGE]
    return "".join(character if character.isprintable() else "?" for character in line)
