"""URLs are those that botocore's serializer makes of the same arguments."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from durastate.requests import GET_STATE, Request, state_path, state_query

from .strategies import ARN, arns, few, get_state_model, many, markers, other_keys, some, tokens

# Validation of the pattern is not the serializer's.
_SERIALIZER = create_serializer("rest-json", include_validation=False)


def botocore_url(origin: str, arn: str, token: str, marker: str | None, max_items: int) -> str:
    """What botocore would send."""
    members = {
        "DurableExecutionArn": arn,
        "CheckpointToken": token,
        "Marker": marker,
        "MaxItems": max_items,
    }
    given_members = {name: value for name, value in members.items() if value is not None}
    request: dict[str, Any] = _SERIALIZER.serialize_to_request(given_members, get_state_model())
    prepare_request_dict(request, origin)
    assert request["method"] == "GET"
    assert not request["body"]
    url: str = request["url"]
    return url


def split_and_sorted(url: str) -> tuple[str, list[str]]:
    path, _, query = url.partition("?")
    return path, sorted(query.split("&"))


@many
@given(arns(), tokens, st.none() | markers, st.integers(0, 1000))
def test_the_url_is_botocores(arn: str, token: str, marker: str | None, max_items: int) -> None:
    ours = f"https://h{state_path(arn)}?{state_query(token, marker, max_items)}"
    theirs = botocore_url("https://h", arn, token, marker, max_items)
    assert split_and_sorted(ours) == split_and_sorted(theirs)


@some
@given(other_keys, tokens, st.none() | markers)
def test_the_url_of_a_key_that_is_no_arn_is_botocores(
    key: str, token: str, marker: str | None
) -> None:
    ours = f"https://h{state_path(key)}?{state_query(token, marker, 1000)}"
    theirs = botocore_url("https://h", key, token, marker, 1000)
    assert split_and_sorted(ours) == split_and_sorted(theirs)


def test_the_arn_is_one_label_of_the_path() -> None:
    path = state_path(ARN)
    assert path.startswith("/2025-12-01/durable-executions/arn%3Aaws%3Alambda%3A")
    assert path.endswith("%3A%24LATEST%2Fdurable-execution%2Forder-1%2F0f3a-9/state")
    assert path.count("/") == 4


def test_the_characters_of_base64_are_escaped() -> None:
    assert state_query("a+/b==", None, 7) == "CheckpointToken=a%2B%2Fb%3D%3D&MaxItems=7"


def test_max_items_is_always_said_and_zero_stays_zero() -> None:
    assert state_query("t", None, 0) == "CheckpointToken=t&MaxItems=0"
    assert state_query("t", None, 1000) == "CheckpointToken=t&MaxItems=1000"


def test_a_marker_goes_as_the_service_gave_it() -> None:
    assert state_query("t", "m/ +ü", 1) == "CheckpointToken=t&Marker=m%2F%20%2B%C3%BC&MaxItems=1"


@few
@given(tokens, markers, st.integers(0, 1000))
def test_the_query_is_sorted_as_the_signature_wants(token: str, marker: str, items: int) -> None:
    pairs = state_query(token, marker, items).split("&")
    assert pairs == sorted(pairs)


@pytest.mark.parametrize("show", [repr, str])
def test_a_request_shows_no_token(show: Any) -> None:
    request = Request(GET_STATE, ARN, "r", state_path(ARN), state_query("SECRET", "MARK", 1))
    assert "SECRET" not in show(request)
    assert ARN in show(request)
