"""Verify Signature Version 4 with botocore's own code, on the request exactly as it arrived.

Path and query are taken raw. The query is decoded and encoded again before it is compared, as AWS
does: a value that was sent unescaped (``+`` for a plus) has another canonical form than the one
that was signed, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any
from urllib.parse import unquote_plus

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import ReadOnlyCredentials

MAX_SKEW = timedelta(minutes=5)

_STAMP = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<credential>[^\s,]+),\s*"
    r"SignedHeaders=(?P<signed>[^\s,]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


@dataclass(frozen=True)
class Credentials:
    """Keys that the emulator accepts, plainly not AWS's; ``expires_at`` by the emulator's clock."""

    access_key_id: str = field(default="emulator-key", repr=False)
    secret_access_key: str = field(default="emulator-secret", repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


STANDARD = Credentials()


@dataclass(frozen=True)
class Received:
    """A request before anybody has interpreted it; ``target`` is the request line's raw path."""

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    secure: bool = False

    def header(self, name: str) -> str | None:
        """The first header of that name (lower case)."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class SignatureRefused(Exception):
    """A signature that AWS would not accept; ``code`` is AWS's."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class _AsSigned(SigV4Auth):  # type: ignore[misc]
    """botocore's signer, with the signed headers and the time that the request names."""

    def __init__(self, credentials: object, region: str, signed: Iterable[str]) -> None:
        super().__init__(credentials, "lambda", region)
        self._signed = frozenset(signed)

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name, value in request.headers.items():
            if name.lower() in self._signed:
                headers[name.lower()] = value
        return headers


def claimed_region(received: Received) -> str | None:
    """The Region that a request says it is signed for, not verified; None where it says none."""
    match = _AUTHORIZATION.fullmatch((received.header("authorization") or "").strip())
    scope = match["credential"].split("/") if match else []
    return scope[2] if len(scope) == 5 else None


def verify(
    received: Received, known: Mapping[str, Credentials], now: datetime, region: str | None = None
) -> str:
    """Return the Region the request was signed for, or raise :class:`SignatureRefused`.

    ``region`` is the only Region to accept; None accepts each, as this one server stands for all.
    """
    authorization = received.header("authorization")
    if authorization is None:
        raise SignatureRefused("MissingAuthenticationTokenException")
    match = _AUTHORIZATION.fullmatch(authorization.strip())
    stamp = received.header("x-amz-date")
    if match is None or stamp is None:
        raise SignatureRefused("IncompleteSignatureException")
    scope = match["credential"].split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise SignatureRefused("IncompleteSignatureException", "Credential must have five parts.")
    credentials = _credentials(known, scope[0], received.header("x-amz-security-token"), now)
    signed = match["signed"].split(";")
    _check_signed_headers(received, signed)
    _check_scope(scope, stamp, region)
    _check_date(stamp, now)
    expected = _signature(received, credentials, scope[2], signed, stamp)
    if not compare_digest(expected, match["signature"]):
        raise SignatureRefused("InvalidSignatureException")
    return scope[2]


def _credentials(
    known: Mapping[str, Credentials], key: str, session_token: str | None, now: datetime
) -> Credentials:
    credentials = known.get(key)
    if credentials is None or (session_token or None) != credentials.session_token:
        raise SignatureRefused("UnrecognizedClientException")
    if credentials.expires_at is not None and now >= credentials.expires_at:
        raise SignatureRefused("ExpiredTokenException")
    return credentials


def _check_signed_headers(received: Received, signed: list[str]) -> None:
    needed = ["host", "x-amz-date"]
    if received.header("x-amz-security-token"):
        needed.append("x-amz-security-token")
    for name in needed:
        if name not in signed:
            message = f"'{name}' must be a 'SignedHeader' in the AWS Authorization."
            raise SignatureRefused("InvalidSignatureException", message)


def _check_scope(scope: list[str], stamp: str, region: str | None) -> None:
    message: str | None = None
    if scope[3] != "lambda":
        message = "Credential should be scoped to correct service: 'lambda'."
    elif region is not None and scope[2] != region:
        message = "Credential should be scoped to a valid region."
    elif scope[1] != stamp[:8]:
        message = "Date in Credential scope does not match YYYYMMDD from x-amz-date."
    if message is not None:
        raise SignatureRefused("InvalidSignatureException", message)


def _check_date(stamp: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        message = "Date must be in ISO-8601 'basic format'."
        raise SignatureRefused("IncompleteSignatureException", message) from None
    here = now.strftime(_STAMP)
    if signed_at < now - MAX_SKEW:
        bound = (now - MAX_SKEW).strftime(_STAMP)
        problem = f"Signature expired: {stamp} is now earlier than {bound} ({here} - 5 min.)"
    elif signed_at > now + MAX_SKEW:
        bound = (now + MAX_SKEW).strftime(_STAMP)
        problem = f"Signature not yet current: {stamp} is still later than {bound}"
        problem += f" ({here} + 5 min.)"
    else:
        return
    raise SignatureRefused("InvalidSignatureException", problem)


def _signature(
    received: Received, credentials: Credentials, region: str, signed: list[str], stamp: str
) -> str:
    path, _, query = received.target.partition("?")
    scheme = "https" if received.secure else "http"
    request = AWSRequest(
        method=received.method,
        url=f"{scheme}://{received.header('host')}{path}",
        params=_decoded(query),
        data=received.body,
    )
    for name, value in received.headers:
        request.headers[name] = value
    request.context["timestamp"] = stamp
    keys = ReadOnlyCredentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    signer: Any = _AsSigned(keys, region, signed)
    canonical = signer.canonical_request(request)
    return str(signer.signature(signer.string_to_sign(request, canonical), request))


def _decoded(query: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote_plus(key), unquote_plus(value)) for key, _, value in pairs]
