"""What List and Get say of executions equals what botocore's parser makes of the same bytes."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durastate import DecodingError, ExecutionStatus
from durastate.executions import ExecutionSummary, decode_execution, decode_executions
from durastate.requests import GET_EXECUTION, LIST_EXECUTIONS

from .oracle import parsed_by_botocore, read_through_attributes, without_nulls
from .strategies import ARN, as_body, call_model, few, modelled, some, wire

_LISTING = call_model(LIST_EXECUTIONS).output_shape
_DESCRIPTION = call_model(GET_EXECUTION).output_shape
_ITEM = _LISTING.members["DurableExecutions"].member

PYTHON_NAMES = {
    "DurableExecutions": "executions",
    "NextMarker": "next_marker",
    "DurableExecutionArn": "arn",
    "DurableExecutionName": "name",
    "FunctionArn": "function_arn",
    "Status": "status",
    "StartTimestamp": "start_timestamp",
    "EndTimestamp": "end_timestamp",
    "KMSKeyArn": "kms_key_arn",
    "Version": "version",
    "InputPayload": "input_payload",
    "Result": "result",
    "Error": "error",
    "ErrorMessage": "error_message",
    "ErrorType": "error_type",
    "ErrorData": "error_data",
    "StackTrace": "stack_trace",
    "ExecutionDataIncluded": "execution_data_included",
    "TraceHeader": "trace_header",
    "XAmznTraceId": "x_amzn_trace_id",
    "DurableConfig": "durable_config",
    "RetentionPeriodInDays": "retention_period_in_days",
    "ExecutionTimeout": "execution_timeout",
    "PauseDetails": "pause_details",
    "PauseRequestTimestamp": "pause_request_timestamp",
    "Reason": "reason",
    "ExecutionTimeoutPaused": "execution_timeout_paused",
    "ExpectedExecutionTimeoutTimestamp": "expected_execution_timeout_timestamp",
}
REQUIRED = {
    "DurableExecutionArn": ARN,
    "DurableExecutionName": "order-1",
    "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST",
    "Status": "RUNNING",
    "StartTimestamp": 1_767_225_600.25,
}
FULL = {
    **REQUIRED,
    "EndTimestamp": 1_767_225_601,
    "Version": "$LATEST",
    "InputPayload": "SECRET-input",
    "Result": "SECRET-result",
    "Error": {"ErrorType": "SECRET-type", "ErrorMessage": "SECRET-message"},
    "ExecutionDataIncluded": True,
    "TraceHeader": {"XAmznTraceId": "Root=1"},
    "DurableConfig": {"RetentionPeriodInDays": 14, "ExecutionTimeout": 3600, "New": [1]},
    "PauseDetails": {"PauseRequestTimestamp": 1_767_225_600.5, "Reason": "SECRET-reason"},
    "ExpectedExecutionTimeoutTimestamp": 1_767_229_200,
    "NewMember": {"deep": [None]},
}


def plain(parsed: dict[str, Any]) -> dict[str, Any]:
    """Without an empty or missing marker, which both end a listing; the list is always there."""
    kept = {name: value for name, value in parsed.items() if name != "NextMarker" or value}
    return {"DurableExecutions": [], **kept}


@few
@given(wire(_LISTING))
def test_every_member_of_a_listing_equals_botocores(value: dict[str, Any]) -> None:
    body = as_body(value)
    ours = read_through_attributes(_LISTING, decode_executions(body), PYTHON_NAMES)
    assert plain(ours) == plain(parsed_by_botocore(_LISTING, body))


@some
@given(wire(_DESCRIPTION))
def test_every_member_of_a_description_equals_botocores(value: dict[str, Any]) -> None:
    body = as_body(value)
    ours = read_through_attributes(_DESCRIPTION, decode_execution(body), PYTHON_NAMES)
    assert ours == parsed_by_botocore(_DESCRIPTION, body)


@few
@given(wire(_ITEM), wire(_DESCRIPTION))
def test_to_dict_gives_back_what_came(item: dict[str, Any], described: dict[str, Any]) -> None:
    (summary,) = decode_executions(as_body({"DurableExecutions": [item]}))
    execution = decode_execution(as_body(described))
    assert summary.to_dict() == without_nulls(_ITEM, item)
    assert execution.to_dict() == without_nulls(_DESCRIPTION, described)
    assert decode_execution(as_body(execution.to_dict())) == execution
    assert pickle.loads(pickle.dumps(execution)) == execution  # noqa: S301


def test_every_status_of_the_model_is_an_enum_member_and_a_new_one_stays_a_string() -> None:
    known = modelled("execution status", _ITEM.members["Status"].enum)
    described = modelled("execution status", _DESCRIPTION.members["Status"].enum)
    assert known == set(ExecutionStatus) == described
    for status in [*known, "NEW_IN_2031"]:
        execution = decode_execution(as_body({**REQUIRED, "Status": status}))
        assert execution.status == status
        assert type(execution.status) is (ExecutionStatus if status in known else str)


def test_a_pause_and_the_time_limit_are_described_whatever_botocore_is_installed() -> None:
    paused = {"Reason": "deploy", "ExecutionTimeoutPaused": True}
    timed = {"PauseRequestTimestamp": "2026-01-01T00:00:02Z"}
    described = {**REQUIRED, "Status": "PAUSED", "PauseDetails": paused | timed}
    execution = decode_execution(as_body({**described, "ExpectedExecutionTimeoutTimestamp": 1.5}))
    pause = execution.pause_details
    assert execution.status is ExecutionStatus.PAUSED
    assert pause is not None
    assert (pause.reason, pause.execution_timeout_paused) == ("deploy", True)
    assert pause.pause_request_timestamp == datetime(2026, 1, 1, 0, 0, 2, tzinfo=timezone.utc)
    assert execution.expected_execution_timeout_timestamp == datetime.fromtimestamp(
        1.5, timezone.utc
    )
    assert decode_execution(as_body(REQUIRED)).pause_details is None
    with pytest.raises(DecodingError) as caught:
        decode_execution(as_body({**REQUIRED, "PauseDetails": {"Reason": 7}}))
    assert caught.value.path == "PauseDetails.Reason"


def test_an_answer_without_a_list_or_with_an_empty_one_has_no_executions() -> None:
    for value in ({}, {"DurableExecutions": None}, {"DurableExecutions": []}):
        page = decode_executions(as_body({**value, "NextMarker": "m"}))
        assert (len(page), list(page), page.next_marker) == (0, [], "m")


def test_times_are_aware_and_in_utc() -> None:
    execution = decode_execution(as_body({**FULL, "EndTimestamp": "2026-01-01T02:00:01+02:00"}))
    assert execution.start_timestamp == datetime(2026, 1, 1, 0, 0, 0, 250_000, timezone.utc)
    assert execution.end_timestamp == datetime(2026, 1, 1, 0, 0, 1, 0, timezone.utc)
    assert decode_execution(as_body(REQUIRED)).end_timestamp is None


def test_no_repr_shows_a_payload_or_moves_a_terminal() -> None:
    execution = decode_execution(as_body(FULL))
    shown = [
        repr(each)
        for each in (execution, execution.error, execution.durable_config, execution.pause_details)
    ]
    assert shown[0] == f"<ExecutionDescription {ARN} RUNNING>"
    assert "SECRET" not in str(shown)
    hostile = decode_execution(as_body({**REQUIRED, "DurableExecutionArn": "a\x1b[2J\nb"}))
    assert repr(hostile).isprintable()


def test_nothing_can_be_added_to_one() -> None:
    execution = decode_execution(as_body(FULL))
    assert not hasattr(execution, "__dict__")
    with pytest.raises(AttributeError):
        execution.note = "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", ["absent", None, [], 1e300])
def test_a_member_that_is_needed_and_missing_or_of_another_type_is_named(
    name: str, value: object
) -> None:
    wrong = {**REQUIRED, name: value}
    if value == "absent":
        del wrong[name]
    with pytest.raises(DecodingError) as caught:
        decode_execution(as_body(wrong))
    assert caught.value.path == name
    with pytest.raises(DecodingError) as caught:
        decode_executions(as_body({"DurableExecutions": [REQUIRED, wrong]}))
    assert caught.value.path == f"DurableExecutions[1].{name}"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", ""),
        (b"[]", ""),
        (b'{"DurableExecutions": {}}', "DurableExecutions"),
        (b'{"DurableExecutions": [1]}', "DurableExecutions[0]"),
        (b'{"NextMarker": 1}', "NextMarker"),
    ],
)
def test_what_is_no_listing_is_refused_and_says_where(body: bytes, path: str) -> None:
    with pytest.raises(DecodingError) as caught:
        decode_executions(body)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ({"Error": {"ErrorType": "SECRET", "StackTrace": [1]}}, "Error.StackTrace[0]"),
        ({"DurableConfig": {"ExecutionTimeout": "SECRET"}}, "DurableConfig.ExecutionTimeout"),
        ({"TraceHeader": "SECRET"}, "TraceHeader"),
        ({"ExecutionDataIncluded": 1}, "ExecutionDataIncluded"),
    ],
)
def test_what_is_no_description_is_refused_and_shows_no_value(
    member: dict[str, Any], path: str
) -> None:
    with pytest.raises(DecodingError) as caught:
        decode_execution(as_body({**REQUIRED, **member}))
    assert caught.value.path == path
    assert "SECRET" not in str(caught.value)


@few
@given(st.binary(max_size=40) | wire(_ITEM).map(as_body))
def test_any_bytes_are_an_execution_or_a_decoding_error(body: bytes) -> None:
    try:
        decoded = decode_execution(body)
    except DecodingError:
        return
    assert isinstance(decoded, ExecutionSummary)
