"""URLs are those that botocore's serializer makes of the same arguments."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from durastate.requests import (
    GET_EXECUTION,
    GET_HISTORY,
    GET_STATE,
    LIST_EXECUTIONS,
    Request,
    execution_path,
    execution_query,
    executions_path,
    executions_query,
    history_path,
    history_query,
    state_path,
    state_query,
)

from .strategies import (
    ARN,
    arns,
    call_model,
    few,
    function_names,
    many,
    markers,
    moments,
    other_keys,
    plain_text,
    some,
    tokens,
)

# Validation of the pattern is not the serializer's.
_SERIALIZER = create_serializer("rest-json", include_validation=False)


def botocore_url(operation: str, **members: Any) -> str:
    """What botocore would send."""
    given_members = {name: value for name, value in members.items() if value is not None}
    request: dict[str, Any] = _SERIALIZER.serialize_to_request(given_members, call_model(operation))
    prepare_request_dict(request, "https://h")
    assert request["method"] == "GET"
    assert not request["body"]
    url: str = request["url"]
    return url


def botocore_state_url(key: str, token: str, marker: str | None, max_items: int) -> str:
    return botocore_url(
        GET_STATE, DurableExecutionArn=key, CheckpointToken=token, Marker=marker, MaxItems=max_items
    )


def split_and_sorted(url: str) -> tuple[str, list[str]]:
    path, _, query = url.partition("?")
    return path, sorted(query.split("&"))


@many
@given(arns(), tokens, st.none() | markers, st.integers(0, 1000))
def test_the_url_is_botocores(arn: str, token: str, marker: str | None, max_items: int) -> None:
    ours = f"https://h{state_path(arn)}?{state_query(token, marker, max_items)}"
    theirs = botocore_state_url(arn, token, marker, max_items)
    assert split_and_sorted(ours) == split_and_sorted(theirs)


@some
@given(other_keys, tokens, st.none() | markers)
def test_the_url_of_a_key_that_is_no_arn_is_botocores(
    key: str, token: str, marker: str | None
) -> None:
    ours = f"https://h{state_path(key)}?{state_query(token, marker, 1000)}"
    theirs = botocore_state_url(key, token, marker, 1000)
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


flags = st.none() | st.booleans()


@few
@given(arns() | other_keys, st.none() | markers, st.integers(0, 1000), st.booleans(), flags)
def test_the_url_of_a_history_is_botocores(
    key: str, marker: str | None, max_items: int, data: bool, reverse: bool | None
) -> None:
    query = history_query(marker, max_items, include_execution_data=data, reverse_order=reverse)
    theirs = botocore_url(
        GET_HISTORY,
        DurableExecutionArn=key,
        Marker=marker,
        MaxItems=max_items,
        IncludeExecutionData=data,
        ReverseOrder=reverse,
    )
    assert split_and_sorted(f"https://h{history_path(key)}?{query}") == split_and_sorted(theirs)
    assert query.split("&") == sorted(query.split("&"))


@few
@given(arns() | other_keys, st.booleans())
def test_the_url_of_a_description_is_botocores(key: str, data: bool) -> None:
    ours = f"https://h{execution_path(key)}?{execution_query(include_execution_data=data)}"
    theirs = botocore_url(GET_EXECUTION, DurableExecutionArn=key, IncludeExecutionData=data)
    assert ours == theirs


statuses = st.sets(
    st.sampled_from(("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "NEW & STRANGE"))
)


@few
@given(
    function_names() | other_keys,
    st.fixed_dictionaries(
        {},
        optional={
            "qualifier": plain_text.filter(bool),
            "execution_name": plain_text.filter(bool),
            "statuses": statuses.map(tuple),
            "started_after": moments,
            "started_before": moments,
            "reverse_order": st.booleans(),
        },
    ),
    st.none() | markers,
    st.integers(0, 1000),
)
def test_the_url_of_a_listing_is_botocores(
    name: str, given_members: dict[str, Any], marker: str | None, max_items: int
) -> None:
    query = executions_query(marker, max_items, **given_members)
    get = given_members.get
    theirs = botocore_url(
        LIST_EXECUTIONS,
        FunctionName=name,
        Qualifier=get("qualifier"),
        DurableExecutionName=get("execution_name"),
        Statuses=get("statuses"),
        StartedAfter=get("started_after"),
        StartedBefore=get("started_before"),
        ReverseOrder=get("reverse_order"),
        Marker=marker,
        MaxItems=max_items,
    )
    assert split_and_sorted(f"https://h{executions_path(name)}?{query}") == split_and_sorted(theirs)
    # SigV4 sorts by name and then by value, both as they are escaped.
    pairs = [tuple(pair.split("=")) for pair in query.split("&")]
    assert pairs == sorted(pairs)


def test_a_function_is_one_label_of_the_path() -> None:
    path = executions_path("arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST")
    assert path.startswith("/2025-12-01/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A")
    assert path.endswith("%3A%24LATEST/durable-executions")
    assert path.count("/") == 4


def test_statuses_are_repeated_and_times_are_iso_8601_in_utc() -> None:
    query = executions_query(
        None,
        5,
        statuses=("TIMED_OUT", "FAILED"),
        started_after=datetime.fromisoformat("2026-01-02T03:04:05+02:00"),
        started_before=datetime(2026, 1, 2, 3, 4, 5, 600_000, timezone.utc),
    )
    assert query == (
        "MaxItems=5&StartedAfter=2026-01-02T01%3A04%3A05Z"
        "&StartedBefore=2026-01-02T03%3A04%3A05.600000Z&Statuses=FAILED&Statuses=TIMED_OUT"
    )


def test_whether_data_are_wanted_is_always_said() -> None:
    assert history_query(None, 7, include_execution_data=False) == (
        "IncludeExecutionData=false&MaxItems=7"
    )
    assert execution_query(include_execution_data=True) == "IncludeExecutionData=true"


@pytest.mark.parametrize("show", [repr, str])
def test_a_request_shows_no_token(show: Any) -> None:
    request = Request(GET_STATE, ARN, "r", state_path(ARN), state_query("SECRET", "MARK", 1))
    assert "SECRET" not in show(request)
    assert ARN in show(request)
