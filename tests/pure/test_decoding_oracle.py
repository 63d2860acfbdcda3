"""A decoded page equals what botocore's parser makes of the same bytes, member by member."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from botocore.model import Shape
from hypothesis import given

from durastate import OperationStatus, OperationType, StatePage, decode_page
from durastate.models import dump_json

from .oracle import parsed_by_botocore, read_through_attributes, without_nulls
from .strategies import as_body, few, get_state_model, operation, page, pages, some

_OUTPUT = get_state_model().output_shape
_OPERATION = _OUTPUT.members["Operations"].member

# Every member of the model by its Python name.
PYTHON_NAMES = {
    "Operations": "operations",
    "NextMarker": "next_marker",
    "Id": "id",
    "ParentId": "parent_id",
    "Name": "name",
    "Type": "type",
    "SubType": "sub_type",
    "StartTimestamp": "start_timestamp",
    "EndTimestamp": "end_timestamp",
    "Status": "status",
    "ExecutionDetails": "execution_details",
    "InputPayload": "input_payload",
    "ContextDetails": "context_details",
    "ReplayChildren": "replay_children",
    "Result": "result",
    "Error": "error",
    "ErrorMessage": "error_message",
    "ErrorType": "error_type",
    "ErrorData": "error_data",
    "StackTrace": "stack_trace",
    "StepDetails": "step_details",
    "Attempt": "attempt",
    "NextAttemptTimestamp": "next_attempt_timestamp",
    "WaitDetails": "wait_details",
    "ScheduledEndTimestamp": "scheduled_end_timestamp",
    "CallbackDetails": "callback_details",
    "CallbackId": "callback_id",
    "ChainedInvokeDetails": "chained_invoke_details",
}


@some
@given(pages())
def test_every_member_equals_botocores(wire: dict[str, Any]) -> None:
    body = as_body(wire)
    expected = parsed_by_botocore(_OUTPUT, body)
    if not expected.get("NextMarker"):
        expected.pop("NextMarker", None)  # Missing, null and empty all mean the last page.
    assert read_through_attributes(_OUTPUT, decode_page(body), PYTHON_NAMES) == expected


def _each_member(shape: Shape, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, member in getattr(shape, "members", {}).items():
        found += [(*path, name), *_each_member(member, (*path, name))]
    return found


_SAMPLES = {"string": "text", "integer": 7, "boolean": False, "timestamp": 1_700_000_000.125}


def _sample(shape: Shape) -> Any:
    if shape.type_name == "list":
        return [_sample(shape.member)]
    if shape.type_name == "structure":
        return {name: _sample(member) for name, member in shape.members.items()}
    return _SAMPLES[shape.type_name]


@pytest.mark.parametrize("path", _each_member(_OPERATION), ids=".".join)
@pytest.mark.parametrize("change", ["present", "absent", "null"])
def test_each_member_of_the_model_present_absent_and_null(
    path: tuple[str, ...], change: str
) -> None:
    raw = _sample(_OPERATION)
    inner = raw
    for name in path[:-1]:
        inner = inner[name]
    if change == "absent":
        del inner[path[-1]]
    elif change == "null":
        inner[path[-1]] = None
    if change != "present" and path[0] in _OPERATION.required_members:
        return  # test_decoding_errors.py has these.
    body = page(raw)
    decoded = decode_page(body)
    assert read_through_attributes(_OUTPUT, decoded, PYTHON_NAMES) == parsed_by_botocore(
        _OUTPUT, body
    )
    value: Any = decoded.operations[0]
    for name in path:
        value = getattr(value, PYTHON_NAMES[name])
    assert (value is None) == (change != "present")


@some
@given(pages())
def test_to_dict_gives_the_wire_form_back(wire: dict[str, Any]) -> None:
    decoded = decode_page(as_body(wire))
    expected = without_nulls(_OUTPUT.members["Operations"], wire["Operations"])
    given_back = [each.to_dict() for each in decoded]
    assert given_back == expected
    assert decode_page(as_body({"Operations": given_back})).operations == decoded.operations
    assert json.loads(dump_json(given_back)) == expected


@some
@given(pages())
def test_pages_pickle_copy_and_compare_by_content(wire: dict[str, Any]) -> None:
    decoded = decode_page(as_body(wire))
    assert pickle.loads(pickle.dumps(decoded)) == decoded  # noqa: S301
    assert copy.deepcopy(decoded) == decoded
    assert decode_page(as_body(wire)) == decoded
    assert (decoded != StatePage([], "other")) is True


@few
@given(pages())
def test_changing_what_to_dict_gave_does_not_touch_the_operation(wire: dict[str, Any]) -> None:
    decoded = decode_page(as_body(wire))
    before = pickle.dumps(decoded)
    for each in decoded:
        _wreck(each.to_dict())
        for name in ("step_details", "context_details", "callback_details"):
            details = getattr(each, name)
            if details is not None:
                _wreck(details.to_dict())
    assert pickle.loads(before) == decoded  # noqa: S301


def _wreck(value: Any) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            _wreck(inner)
        value.clear()
        value["wrecked"] = True
    elif isinstance(value, list):
        for inner in value:
            _wreck(inner)
        value.append("wrecked")


@pytest.mark.parametrize("kind", _OPERATION.members["Type"].enum)
def test_every_type_of_the_model_is_an_enum_member(kind: str) -> None:
    [decoded] = decode_page(page(operation(Type=kind)))
    assert decoded.type is OperationType[kind]


@pytest.mark.parametrize("status", _OPERATION.members["Status"].enum)
def test_every_status_of_the_model_is_an_enum_member(status: str) -> None:
    [decoded] = decode_page(page(operation(Status=status)))
    assert decoded.status is OperationStatus[status]


def test_an_unknown_type_and_status_stay_the_plain_string() -> None:
    [decoded] = decode_page(page(operation(Type="DREAM", Status="ASLEEP", DreamDetails={"a": 1})))
    assert type(decoded.type) is str
    assert (decoded.type, decoded.status) == ("DREAM", "ASLEEP")
    assert decoded.to_dict()["DreamDetails"] == {"a": 1}


def test_details_of_another_type_are_kept_and_readable() -> None:
    raw = operation(Type="STEP", WaitDetails={"ScheduledEndTimestamp": 5}, StepDetails={})
    [decoded] = decode_page(page(raw))
    assert decoded.wait_details is not None
    assert decoded.step_details is not None
    assert decoded.callback_details is None
    assert decoded.to_dict() == raw


def test_operations_stay_in_the_services_order() -> None:
    ids = ["b", "a", "d", "c", "a"]
    decoded = decode_page(page(*(operation(Id=each) for each in ids)))
    assert [each.id for each in decoded] == ids


@pytest.mark.parametrize("marker", [None, ""])
def test_a_null_or_empty_marker_ends_the_listing_like_a_missing_one(marker: str | None) -> None:
    assert decode_page(page(NextMarker=marker)).next_marker is None
    assert decode_page(page()).next_marker is None


def test_an_empty_page_may_have_a_marker() -> None:
    decoded = decode_page(page(NextMarker="more"))
    assert (decoded.operations, decoded.next_marker) == ([], "more")


SECRETS = {
    "Type": "CALLBACK",
    "ExecutionDetails": {"InputPayload": "SECRET"},
    "CallbackDetails": {
        "CallbackId": "SECRET",
        "Result": "SECRET",
        "Error": {"ErrorMessage": "SECRET", "ErrorData": "SECRET", "StackTrace": ["SECRET"]},
    },
    "Unknown": "SECRET",
}


def test_no_repr_shows_a_payload_or_a_callback_id_or_a_marker() -> None:
    decoded = decode_page(page(operation(**SECRETS), NextMarker="SECRET"))
    [each] = decoded
    assert each.callback_details is not None
    assert each.execution_details is not None
    shown = [
        decoded,
        each,
        each.execution_details,
        each.callback_details,
        each.callback_details.error,
    ]
    for value in shown:
        assert "SECRET" not in repr(value)
        assert "SECRET" not in str(value)
    assert repr(each) == "<Operation op CALLBACK STARTED>"


# A string of digits is a number of seconds to botocore, and so it is here or it is refused.
@pytest.mark.parametrize("text", ["20240101", "1700000000", "1700000000.5", "2024"])
def test_a_timestamp_of_digits_in_a_string_is_never_taken_for_a_date(text: str) -> None:
    from durastate import DecodingError

    try:
        [decoded] = decode_page(page(operation(EndTimestamp=text)))
    except DecodingError:
        return
    assert decoded.end_timestamp is not None
    assert decoded.end_timestamp.timestamp() == float(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-12-01T00:00:00Z", 1_764_547_200),
        ("2025-12-01T05:30:00.250+05:30", 1_764_547_200.25),
        ("2025-11-30T16:00:00-08:00", 1_764_547_200),
        ("2025-12-01T00:00:00", 1_764_547_200),
        ("2025-12-01T00:00:00.123456Z", 1_764_547_200.123456),
    ],
)
def test_an_iso_time_is_taken_and_given_back_in_seconds(text: str, seconds: float) -> None:
    raw = operation(
        StartTimestamp=text,
        StepDetails={"NextAttemptTimestamp": text},
        WaitDetails={"ScheduledEndTimestamp": text},
    )
    [decoded] = decode_page(page(raw))
    assert decoded.to_dict()["StartTimestamp"] == seconds
    assert decoded.to_dict()["StepDetails"] == {"NextAttemptTimestamp": seconds}
    assert decoded.to_dict()["WaitDetails"] == {"ScheduledEndTimestamp": seconds}
    assert decoded.start_timestamp.timestamp() == seconds
    assert decoded.start_timestamp.utcoffset() is not None


def test_timestamps_are_aware_and_in_utc() -> None:
    [decoded] = decode_page(page(operation(StartTimestamp=1_764_547_200.5, EndTimestamp=0)))
    assert decoded.start_timestamp.isoformat() == "2025-12-01T00:00:00.500000+00:00"
    assert decoded.end_timestamp is not None
    assert decoded.end_timestamp.isoformat() == "1970-01-01T00:00:00+00:00"


def test_the_table_of_python_names_is_that_of_the_model() -> None:
    names = {name for path in _each_member(_OUTPUT) for name in path}
    names |= {name for path in _each_member(_OPERATION) for name in path}
    assert names == set(PYTHON_NAMES)
