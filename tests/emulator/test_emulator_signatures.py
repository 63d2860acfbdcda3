"""A request that AWS would refuse is refused, in AWS's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from durastate.emulator import Credentials, Emulator, World
from durastate.emulator.signatures import Received, SignatureRefused, verify

from .wire import Caller, Clock, sign, target

NOW = datetime(2026, 7, 30, 12, 0, 0, tzinfo=UTC)
KEYS = Credentials("key", "secret", "session/token+=")
PATH = target("arn:aws:x:$LATEST/durable-execution/a/b", "a+/b=", "m+/m==", 7)


def received(path: str = PATH, keys: Credentials = KEYS, **signing: Any) -> Received:
    """A request that botocore signed, as a server gets it."""
    signing.setdefault("at", NOW)
    headers = sign("http://127.0.0.1:1234" + path, keys, **signing)
    return Received("GET", path, (("Host", "127.0.0.1:1234"), *headers.items()))


def changed(request: Received, **headers: str | None) -> Received:
    """The request with other headers; None takes one away."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = [(key, value) for key, value in request.headers if key.lower() not in names]
    added = [(key, value) for key, value in names.items() if value is not None]
    return replace(request, headers=(*kept, *added))


def refusal(request: Received, keys: Credentials = KEYS, now: datetime = NOW) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        verify(request, {keys.access_key_id: keys}, now)
    return caught.value


def test_what_botocore_signs_is_accepted_and_its_region_told() -> None:
    assert verify(received(region="us-gov-west-1"), {"key": KEYS}, NOW) == "us-gov-west-1"
    plain = Credentials("plain", "other")
    assert verify(received(keys=plain), {"key": KEYS, "plain": plain}, NOW) == "eu-west-1"


def test_more_signed_headers_than_needed_are_accepted() -> None:
    request = AWSRequest("GET", "http://h" + PATH, headers={"Accept-Encoding": " a   b "})
    request.context["timestamp"] = "20260730T120000Z"
    keys = ReadOnlyCredentials(KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token)
    signer = SigV4Auth(keys, "lambda", "eu-west-1")
    signer._modify_request_before_signing(request)
    string = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(string, request))
    headers = (("host", "h"), *request.headers.items())
    assert "accept-encoding" in request.headers["Authorization"]
    assert verify(Received("GET", PATH, headers), {"key": KEYS}, NOW) == "eu-west-1"


def test_no_authorization() -> None:
    assert refusal(changed(received(), authorization=None)).code == (
        "MissingAuthenticationTokenException"
    )


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer abc",
        "AWS4-HMAC-SHA256 Credential=key/20260730/eu-west-1/lambda/aws4_request",
        "AWS4-HMAC-SHA256 Credential=key/20260730, SignedHeaders=host, Signature=00",
        "",
    ],
)
def test_an_incomplete_authorization(authorization: str) -> None:
    request = changed(received(), authorization=authorization)
    assert refusal(request).code == "IncompleteSignatureException"


def test_no_date_or_one_that_is_no_date() -> None:
    assert refusal(changed(received(), x_amz_date=None)).code == "IncompleteSignatureException"
    request = changed(received(), x_amz_date="20260730-noon")
    assert refusal(request).code == "IncompleteSignatureException"


def test_an_unknown_key() -> None:
    found = refusal(received(keys=Credentials("stranger", "secret")))
    assert found.code == "UnrecognizedClientException"


@pytest.mark.parametrize("token", [None, "another"])
def test_a_session_token_that_is_missing_or_another(token: str | None) -> None:
    keys = replace(KEYS, session_token=token)
    assert refusal(received(keys=keys)).code == "UnrecognizedClientException"


def test_a_session_token_where_none_belongs() -> None:
    keys = replace(KEYS, session_token=None)
    assert refusal(received(), keys).code == "UnrecognizedClientException"


def test_credentials_that_have_expired() -> None:
    keys = replace(KEYS, expires_at=NOW + timedelta(seconds=1))
    request = received(keys=keys)
    assert verify(request, {"key": keys}, NOW) == "eu-west-1"
    assert refusal(request, keys, NOW + timedelta(seconds=1)).code == "ExpiredTokenException"


def test_a_wrong_secret() -> None:
    found = refusal(received(keys=replace(KEYS, secret_access_key="wrong")))
    assert found.code == "InvalidSignatureException"


@pytest.mark.parametrize("minutes", [-5.1, 5.1, -600, 600])
def test_a_date_more_than_five_minutes_off(minutes: float) -> None:
    found = refusal(received(at=NOW + timedelta(minutes=minutes)))
    assert found.code == "InvalidSignatureException"
    start = "Signature expired: 2026" if minutes < 0 else "Signature not yet current: 2026"
    assert found.message is not None
    assert found.message.startswith(start)


@pytest.mark.parametrize("minutes", [-5, -4.9, 4.9, 5])
def test_a_date_five_minutes_off_is_accepted(minutes: float) -> None:
    request = received(at=NOW + timedelta(minutes=minutes))
    assert verify(request, {"key": KEYS}, NOW) == "eu-west-1"


def test_another_service_or_region_in_the_scope() -> None:
    found = refusal(received(service="s3"))
    assert found.message == "Credential should be scoped to correct service: 'lambda'."
    with pytest.raises(SignatureRefused, match="InvalidSignature"):
        verify(received(region="us-east-1"), {"key": KEYS}, NOW, region="eu-west-1")


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-security-token"])
def test_a_header_that_has_to_be_signed_and_is_not(name: str) -> None:
    request = received()
    authorization = request.header("authorization") or ""
    parts = [part for part in ("host", "x-amz-date", "x-amz-security-token") if part != name]
    shorter = authorization.replace("host;x-amz-date;x-amz-security-token", ";".join(parts))
    assert shorter != authorization
    found = refusal(changed(request, authorization=shorter))
    assert found.code == "InvalidSignatureException"
    assert name in (found.message or "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("a%2B%2Fb%3D", "a+/b="),
        ("a%2B%2Fb%3D", "a+%2Fb%3D"),
        ("%24LATEST", "$LATEST"),
        ("arn%3Aaws", "arn:aws"),
        ("arn%3Aaws", "arn%3aaws"),
        ("MaxItems=7", "MaxItems=8"),
        ("/state", "/other"),
    ],
)
def test_a_request_that_was_sent_otherwise_than_it_was_signed(right: str, wrong: str) -> None:
    assert right in PATH
    request = replace(received(), target=PATH.replace(right, wrong, 1))
    assert refusal(request).code == "InvalidSignatureException"


def test_a_plus_that_is_sent_and_signed_unescaped() -> None:
    path = PATH.replace("a%2B%2Fb%3D", "a+/b=")
    assert refusal(received(path)).code == "InvalidSignatureException"


def test_the_host_is_part_of_the_signature() -> None:
    request = changed(received(), host="elsewhere:1234")
    assert refusal(request).code == "InvalidSignatureException"


def test_secrets_are_in_no_repr() -> None:
    text = repr(KEYS) + repr(received())
    assert "secret'" not in text
    assert "session/token" not in text
    assert "a%2B" not in text


@pytest.mark.asyncio
async def test_refusals_on_the_wire(call: Callable[[Emulator], Caller], clock: Clock) -> None:
    keys = replace(KEYS, expires_at=clock.moment + timedelta(hours=1))
    async with Emulator(World(executions=1), credentials=keys, now=clock) as emulator:
        caller = call(emulator)
        path = target(emulator.world.arn(0), emulator.world.token(0))
        stranger = Credentials("stranger", "x")
        answers = [
            await caller.signed(path, at=clock()),
            await caller.raw(path),
            await caller.raw(path, {"Authorization": "AWS4-HMAC-SHA256 nothing"}),
            await caller.signed(path, credentials=stranger, at=clock()),
            await caller.signed(path, at=clock() - timedelta(minutes=6)),
            await caller.signed(path, credentials=replace(keys, secret_access_key="x"), at=clock()),
        ]
        clock.move(hours=1)
        answers.append(await caller.signed(path, at=clock()))
        assert [answer.status for answer in answers] == [200, 403, 403, 403, 403, 403, 403]
        assert [answer.code for answer in answers[1:]] == [
            "MissingAuthenticationTokenException",
            "IncompleteSignatureException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "InvalidSignatureException",
            "ExpiredTokenException",
        ]
        assert all(answer.message for answer in answers[1:])
        assert [request.region for request in emulator.log] == ["eu-west-1", *[None] * 6]


@pytest.mark.asyncio
async def test_accepted_credentials_can_change_while_it_runs(
    call: Callable[[Emulator], Caller],
) -> None:
    async with Emulator(World(executions=1)) as emulator:
        fresh = Credentials("fresh", "s", "t")
        emulator.known_credentials["fresh"] = fresh
        assert (await call(emulator).state(0, credentials=fresh)).status == 200
        del emulator.known_credentials["fresh"]
        refused = await call(emulator).state(0, credentials=fresh)
        assert refused.message == "The security token included in the request is invalid."
