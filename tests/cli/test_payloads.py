"""What is left of an operation when its payloads shall not be written."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from durastate.cli.payloads import without_payloads

OPERATION: dict[str, Any] = {
    "Id": "a",
    "ParentId": "p",
    "Name": "charge",
    "Type": "STEP",
    "SubType": "Step",
    "StartTimestamp": 1.5,
    "EndTimestamp": 2,
    "Status": "FAILED",
    "StepDetails": {
        "Attempt": 2,
        "NextAttemptTimestamp": 3,
        "Result": "Grüße",
        "Error": {
            "ErrorType": "ValueError",
            "ErrorMessage": "secret",
            "ErrorData": "secret",
            "StackTrace": ["secret line"],
        },
    },
    "CallbackDetails": {"CallbackId": "secret", "Result": "secret"},
    "ExecutionDetails": {"InputPayload": "secret"},
    "WaitDetails": {"ScheduledEndTimestamp": 9},
    "ContextDetails": {"ReplayChildren": True, "LaterMember": {"x": "secret"}},
    "LaterMember": ["secret"],
}


@pytest.mark.parametrize("mode", ["none", "size", "hash"])
def test_no_payload_and_no_unknown_member_survives(mode: str) -> None:
    assert "secret" not in json.dumps(without_payloads(OPERATION, mode))


def test_none_leaves_what_is_no_payload_as_it_is() -> None:
    assert without_payloads(OPERATION, "none") == {
        **{
            name: value
            for name, value in OPERATION.items()
            if not name.endswith("Details") and name != "LaterMember"
        },
        "StepDetails": {
            "Attempt": 2,
            "NextAttemptTimestamp": 3,
            "Error": {"ErrorType": "ValueError"},
        },
        "CallbackDetails": {},
        "ExecutionDetails": {},
        "WaitDetails": {"ScheduledEndTimestamp": 9},
        "ContextDetails": {"ReplayChildren": True},
    }


def test_size_puts_the_bytes_of_utf_8_in_the_place_of_a_string() -> None:
    assert without_payloads(OPERATION, "size")["StepDetails"]["Result"] == {"size": 7}


def test_size_puts_the_bytes_of_json_in_the_place_of_anything_else() -> None:
    error = without_payloads(OPERATION, "size")["StepDetails"]["Error"]
    assert error["StackTrace"] == {"size": len('["secret line"]')}


def test_hash_puts_size_and_sha_256_in_its_place() -> None:
    expected = {"size": 7, "sha256": hashlib.sha256("Grüße".encode()).hexdigest()}
    assert without_payloads(OPERATION, "hash")["StepDetails"]["Result"] == expected


def test_a_lone_surrogate_has_a_size_too() -> None:
    wire = {"StepDetails": {"Result": "\ud800"}}
    assert without_payloads(wire, "size")["StepDetails"]["Result"] == {"size": 3}
