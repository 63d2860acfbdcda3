"""Whether a text quotes a secret: in every spelling, and no text that does not."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from promises.canaries import BROKEN_TOKEN, SPELLINGS, TOKEN

from durastate.redaction import LEFT_OUT, presentable, quotes

from .strategies import ARN, some

BASE64 = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", min_size=24)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", [TOKEN.value, BROKEN_TOKEN])
def test_every_spelling_of_a_secret_is_known(secret: str, spelling: str) -> None:
    spelled = SPELLINGS[spelling](secret)
    assert presentable(f"Bad token '{spelled}', sorry", [None, "another", secret]) == LEFT_OUT


# Not those that put something else into each other's escapes, or in the place of the characters.
WITHIN = sorted(name for name in SPELLINGS if not re.match("over|in base64$|in hex|wide", name))


@some
@given(BASE64, st.sampled_from(WITHIN), st.sampled_from(WITHIN))
def test_one_spelling_within_another_is_known_too(secret: str, inner: str, outer: str) -> None:
    assume(sum(map(str.isalnum, secret)) >= 16)
    assert quotes(f"a {SPELLINGS[outer](SPELLINGS[inner](secret))} b", [secret])


@pytest.mark.parametrize("size", [16, 17, 40])
def test_sixteen_characters_of_a_secret_are_too_many(size: int) -> None:
    secret = "".join(f"{number:x}Z" for number in range(200))
    for start in range(0, 100, 7):
        assert quotes(f"..{secret[start : start + size]}..", [secret])
        assert not quotes(f"..{secret[start : start + 15]}..", [secret])


@pytest.mark.parametrize(
    "text",
    [
        "Rate exceeded",
        f"Durable execution not found: {ARN}",
        "Value 'x' at 'checkpointToken' failed to satisfy constraint: Member must not be null",
        "The security token included in the request is expired",
        "Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY",
        "100% of %20 & &amp; =3D \\u0041",
        "",
    ],
)
def test_other_texts_stay(text: str) -> None:
    secrets = [TOKEN.value, BROKEN_TOKEN, "AKIDEXAMPLE", "test", "x", ""]
    assert presentable(text, secrets) == text


@pytest.mark.parametrize(
    "text",
    [
        "AccessDenied for AKIAIOSFODNN7EXAMPLE",
        '{"SecretAccessKey": "x"}',
        "aws_secret_access_key = x",
        "Authorization: AWS4-HMAC-SHA256 Credential=x",
        '{"X-Amz-Security-Token":"abc"}',
        "?X-Amz-Signature=0123456789abcdef0123456789abcdef",
    ],
)
def test_what_quotes_a_signed_request_is_left_out_whoever_s_it_is(text: str) -> None:
    assert presentable(text) == LEFT_OUT


@pytest.mark.parametrize(
    "piece",
    ["%25", "&amp;", "\\", "%", "&", " ", "\ufdfa", "a", "%u0025", "=3D"],
    ids=ascii,
)
def test_the_beginning_of_a_text_of_32_mb_is_all_that_is_looked_at(piece: str) -> None:
    text = piece * (32 * 1024**2 // len(piece))
    assert len(presentable(text, [TOKEN.value, BROKEN_TOKEN])) <= 500


def test_what_has_no_end_of_escapes_is_left_out() -> None:
    deep = "&" + "amp;" * 3
    for _ in range(12):
        deep = deep.replace("&", "&amp;")
    assert presentable(deep) == LEFT_OUT
