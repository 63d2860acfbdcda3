"""Canonical request and signature are those of botocore's signer."""

from __future__ import annotations

from datetime import datetime, timezone
from hashlib import sha256
from unittest import mock

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from durastate import signing
from durastate.requests import state_path, state_query
from durastate.signing import Credentials, Signer

from .strategies import ARN, REGIONS, arns, few, many, markers, other_keys, tokens

_KEY_CHARACTERS = "ABCXYZabcxyz019/+=ü"
# A session token is base64; one from a file may have white space around or in it.
_SESSION = st.text("ABCabc019+/= \t", min_size=1, max_size=40).filter(lambda text: text.strip())
credentials = st.builds(
    Credentials,
    st.text("ABCDEF0123456789", min_size=4, max_size=20),
    st.text(_KEY_CHARACTERS, min_size=1, max_size=40),
    st.none() | _SESSION,
)
hosts = st.sampled_from(
    (
        "lambda.eu-west-1.amazonaws.com",
        "lambda-fips.us-gov-west-1.amazonaws.com",
        "lambda.us-east-1.api.aws",
        "localhost:8080",
        "127.0.0.1:65535",
        "[::1]:4566",
    )
)
prefixes = st.one_of(
    st.just(""),
    st.lists(st.text("abc019-._~%20:@+", min_size=1, max_size=8), min_size=1, max_size=3)
    .filter(lambda labels: not {".", ".."} & set(labels))
    .map(lambda labels: "/" + "/".join(labels)),
)
moments = st.integers(0, 4_102_444_799)


class _Botocore(auth.SigV4Auth):  # type: ignore[misc]
    """botocore's signer, which keeps the canonical request that it hashed."""

    def canonical_request(self, request: AWSRequest) -> str:
        canonical: str = super().canonical_request(request)
        request.context["canonical"] = canonical
        return canonical


def botocore_request(url: str, keys: Credentials, region: str, now: float) -> AWSRequest:
    """The request after botocore has signed it, with its canonical form in the context."""
    request = AWSRequest("GET", url)
    frozen = ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token)
    moment = datetime.fromtimestamp(now, timezone.utc).replace(tzinfo=None)
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        _Botocore(frozen, "lambda", region).add_auth(request)
    return request


def our_canonical(signer: Signer, path: str, query: str, now: float) -> tuple[str, dict[str, str]]:
    """The canonical request that our signer hashes, and the headers that it makes."""
    hashed: list[bytes] = []

    def recording(data: bytes) -> object:
        hashed.append(data)
        return sha256(data)

    with mock.patch.object(signing, "sha256", recording):
        headers = signer.headers(path, query, now)
    assert len(hashed) == 1
    return hashed[0].decode(), headers


def assert_signed_as_by_botocore(
    key: str,
    query: str,
    keys: Credentials,
    *,
    host: str,
    region: str = "eu-west-1",
    prefix: str = "",
    now: float = 1.0,
) -> None:
    path = state_path(key)
    signer = Signer(keys, host=host, region=region, prefix=prefix)
    canonical, headers = our_canonical(signer, path, query, now)
    theirs = botocore_request(f"https://{host}{prefix}{path}?{query}", keys, region, now)
    assert canonical == theirs.context["canonical"]
    assert headers == dict(theirs.headers.items())


@many
@given(
    arn=arns(),
    token=tokens,
    marker=st.none() | markers,
    max_items=st.integers(0, 1000),
    keys=credentials,
    host=hosts,
    region=REGIONS,
    now=moments,
)
def test_the_signature_is_botocores(
    *,
    arn: str,
    token: str,
    marker: str | None,
    max_items: int,
    keys: Credentials,
    host: str,
    region: str,
    now: int,
) -> None:
    query = state_query(token, marker, max_items)
    assert_signed_as_by_botocore(arn, query, keys, host=host, region=region, now=now)


@many
@given(key=other_keys, token=tokens, keys=credentials, host=hosts, prefix=prefixes, now=moments)
@example(
    key="0f3a/invocation-1",
    token="t",
    keys=Credentials("a", "b"),
    host="localhost:1",
    prefix="/base%20path",
    now=1,
)
def test_an_endpoint_with_a_path_and_keys_that_are_no_arns_are_signed_as_by_botocore(
    *, key: str, token: str, keys: Credentials, host: str, prefix: str, now: int
) -> None:
    query = state_query(token, None, 1000)
    assert_signed_as_by_botocore(key, query, keys, host=host, prefix=prefix, now=now)


@pytest.mark.parametrize("prefix", ["/a//b", "//a", "/a/./b", "/a/../b"])
def test_a_path_that_botocore_normalises_is_signed_in_its_normal_form(prefix: str) -> None:
    keys = Credentials("a", "b")
    assert_signed_as_by_botocore("key", "q=1", keys, host="localhost:1", prefix=prefix)


@few
@given(st.lists(moments, min_size=2, max_size=8), credentials)
@example([86_399, 86_400, 86_399, 172_800], Credentials("a", "b", "c"))
def test_one_signer_follows_the_day_in_both_directions(
    instants: list[int], keys: Credentials
) -> None:
    signer = Signer(keys, host="h", region="r")
    path, query = state_path(ARN), state_query("t", None, 1)
    for now in instants:
        theirs = botocore_request(f"https://h{path}?{query}", keys, "r", now)
        assert signer.headers(path, query, now) == dict(theirs.headers.items())


def test_a_fraction_of_a_second_does_not_matter() -> None:
    signer = Signer(Credentials("a", "b"), host="h", region="r")
    assert signer.headers("/p", "q=1", 99.999) == signer.headers("/p", "q=1", 99.0)


def test_the_session_token_is_signed_and_sent_only_where_there_is_one() -> None:
    with_token = Signer(Credentials("a", "b", "tok"), host="h", region="r").headers("/p", "", 1)
    assert with_token["X-Amz-Security-Token"] == "tok"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in with_token["Authorization"]
    for absent in (None, ""):
        keys = Credentials("a", "b", absent)
        without = Signer(keys, host="h", region="r").headers("/p", "", 1)
        assert set(without) == {"X-Amz-Date", "Authorization"}
        assert "SignedHeaders=host;x-amz-date," in without["Authorization"]


@pytest.mark.parametrize("show", [repr, str])
def test_credentials_show_no_secret(show: object) -> None:
    assert callable(show)
    shown = show(Credentials("AKID", "SECRET", "SESSION"))
    assert "AKID" not in shown
    assert "SECRET" not in shown
    assert "SESSION" not in shown
