"""From operations to columns and files; pyarrow, reading them back, is the oracle."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pure.strategies import as_body, few, operations

from durastate import ExecutionState, Operation, decode_page
from durastate.audit import SCHEMA_VERSION, Store
from durastate.audit.schema import PAYLOADS, TABLES, arrow_schema, columns
from durastate.audit.tables import (
    TableWriter,
    digest_of,
    encode,
    operations_table,
    pieces,
    plain_columns,
)

from .support import arn, names, row, rows, state, step, table

some = settings(few, max_examples=1_000 if os.environ.get("DURASTATE_LONG") else 20)


def state_of(wires: list[dict[str, Any]], key: str) -> ExecutionState:
    page = decode_page(as_body({"Operations": wires}))
    return ExecutionState(key, page.operations, source="history")


def shown(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def written_and_read(path: Path, states: list[ExecutionState], payloads: Any) -> pa.Table:
    encoded = [(shown(each.arn) or "", encode(each, payloads)) for each in states]
    form: Any = path.suffix[1:]
    with path.open("wb") as file:  # nothing is forced to the disk, which takes long
        writer = TableWriter(file, "operations", form)  # type: ignore[arg-type]
        writer.write(operations_table(encoded))
        writer.close()
    return pa.concat_tables([arrow_schema("operations").empty_table(), *pieces(path, "operations")])


def members(operation: Operation) -> dict[str, Any]:
    """What the public attributes of an operation say that its row must say."""
    details = next(
        (
            found
            for found in (
                operation.step_details if operation.type == "STEP" else None,
                operation.wait_details if operation.type == "WAIT" else None,
                operation.context_details if operation.type == "CONTEXT" else None,
                operation.callback_details if operation.type == "CALLBACK" else None,
                operation.chained_invoke_details if operation.type == "CHAINED_INVOKE" else None,
                operation.execution_details if operation.type == "EXECUTION" else None,
            )
            if found is not None
        ),
        None,
    )
    raw = {} if details is None else details.to_dict()
    error = raw.get("Error", {})
    trace = error.get("StackTrace")
    return {
        "id": operation.id,
        "parent_id": operation.parent_id,
        "name": operation.name,
        "type": str(operation.type),
        "sub_type": operation.sub_type,
        "status": str(operation.status),
        "attempt": raw.get("Attempt"),
        "replay_children": raw.get("ReplayChildren"),
        "error_type": error.get("ErrorType"),
        "input": raw.get("InputPayload"),
        "result": raw.get("Result"),
        "error_message": error.get("ErrorMessage"),
        "error_data": error.get("ErrorData"),
        "stack_trace": trace,
        "callback_id": raw.get("CallbackId"),
    }


def nearly(expected: datetime | None, found: datetime | None) -> bool:
    """Equal, but for the precision of a float of seconds."""
    if expected is None or found is None:
        return expected is found
    coarse = max(2e-6, abs(expected.timestamp()) * 2**-51)
    return abs((expected - found).total_seconds()) <= coarse


@some
@pytest.mark.timeout(600)
@given(
    wires=st.lists(st.lists(operations(), max_size=4), max_size=3),
    suffix=st.sampled_from(("parquet", "jsonl")),
)
def test_arbitrary_operations_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, wires: list[list[Any]], suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round-trip.{suffix}"
    states = [state_of(each, f"{number}/x") for number, each in enumerate(wires)]
    found = written_and_read(path, states, "full").to_pylist()
    expected = [(each.arn, at, op) for each in states for at, op in enumerate(each.operations)]
    assert [(each["arn"], each["sequence"]) for each in found] == [each[:2] for each in expected]
    for (_, _, operation), each in zip(expected, found, strict=True):
        wanted = members(operation)
        trace = wanted.pop("stack_trace")
        assert {name: each[name] for name in wanted} == {
            name: shown(value) if isinstance(value, str) else value
            for name, value in wanted.items()
        }
        assert json.loads(each["stack_trace"] or "null") == trace
        assert nearly(operation.start_timestamp, each["started_at"])
        assert nearly(operation.end_timestamp, each["ended_at"])
        assert each["source"] == "history"


@some
@pytest.mark.timeout(600)
@given(wires=st.lists(operations(), max_size=5), payloads=st.sampled_from(PAYLOADS))
def test_the_digest_of_what_is_read_back_is_that_of_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, wires: list[Any], payloads: Any
) -> None:
    given_state = state_of(wires, "a/b")
    expected = encode(given_state, payloads).sha256
    wanted = [each for each in columns("operations", payloads) if each != "arn"]
    for suffix in ("parquet", "jsonl"):
        path = tmp_path_factory.getbasetemp() / f"digest.{suffix}"
        found = written_and_read(path, [given_state], payloads)
        assert digest_of(plain_columns(found, wanted)) == expected


def test_the_digest_is_the_sha256_of_the_columns_as_json() -> None:
    made = state(1, [step(0), step(1, Type="NEW_IN_2031", StepDetails=None)])
    found = [
        *([0, 1], ["op-0", "op-1"], [None, None], ["step 0", "step 1"]),
        *(["STEP", "NEW_IN_2031"], [None, None], ["SUCCEEDED", "SUCCEEDED"]),
        *([1767323045678000, 1767323046678000], [1767323046000000, 1767323047000000]),
        *([1, None], [None, None], [None, None], [None, None], [None, None]),
        ["history", "history"],
    ]
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    assert encode(made, "none").sha256 == hashlib.sha256(text.encode()).hexdigest()


UNUSUAL = step(
    1,
    Status="NEW_IN_2031",
    Name="\ud800",
    StartTimestamp=-62_135_596_800,
    EndTimestamp=253_402_300_799,
    Unknown={"a": 1},
    StepDetails={
        "Attempt": 2,
        "NewDetail": [1],
        "Error": {"ErrorType": "E", "StackTrace": ["a", "b"], "NewError": 2},
    },
)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_what_no_version_knows_is_kept_with_full(tmp_path: Path, form: Any) -> None:
    made = state_of([UNUSUAL], arn(1))
    found = written_and_read(tmp_path / f"x.{form}", [made], "full").to_pylist()[0]
    assert (found["status"], found["name"]) == ("NEW_IN_2031", "\\ud800")
    assert found["started_at"] == datetime(1, 1, 1, tzinfo=timezone.utc)
    assert found["ended_at"] == datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    assert json.loads(found["other"]) == {
        "Unknown": {"a": 1},
        "StepDetails": {"NewDetail": [1], "Error": {"NewError": 2}},
    }


SECRETS = {
    "EXECUTION": {"InputPayload": "CANARY-input"},
    "STEP": {
        "Result": "CANARY-result",
        "Error": {
            "ErrorType": "Bad",
            "ErrorMessage": "CANARY-message",
            "ErrorData": "CANARY-data",
            "StackTrace": ["CANARY-frame"],
            "New": "CANARY-new-of-error",
        },
        "New": "CANARY-new-of-details",
    },
    "CALLBACK": {"CallbackId": "CANARY-callback", "Result": "CANARY-callback-result"},
}
DETAILS = {"EXECUTION": "ExecutionDetails", "STEP": "StepDetails", "CALLBACK": "CallbackDetails"}


def secret_state() -> ExecutionState:
    wires = [
        step(at, Type=kind, **{"StepDetails": None, DETAILS[kind]: details}, New="CANARY-new")
        for at, (kind, details) in enumerate(SECRETS.items())
    ]
    # Details of another type than the operation's are no less secret.
    wires.append(step(9, Type="WAIT", StepDetails=None, CallbackDetails=SECRETS["CALLBACK"]))
    return state(1, wires)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("payloads", ["none", "size", "hash"])
def test_without_full_no_payload_and_no_callback_id_reaches_a_file(
    tmp_path: Path, payloads: Any, form: Any
) -> None:
    for finished in (False, True):
        directory = tmp_path / str(finished)
        store = Store.open(directory, payloads=payloads, format=form)
        planned = row(1, error_message="CANARY-message-of-execution")
        store.plan([planned])
        store.add(planned, secret_state())
        store.save()
        if finished:
            store.finish(complete=True)
        # While it is open: SQLite's own files are there too.
        files = [path.read_bytes() for path in directory.iterdir()]
        store.close()
        assert len(files) > 3
        assert not [data for data in files if b"CANARY" in data]
        for path in directory.glob("*.parquet"):
            assert "CANARY" not in str(pq.read_table(path).to_pylist())


def test_with_full_everything_is_there(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a", payloads="full") as store:
        store.add(row(1, error_message="CANARY-message-of-execution"), secret_state())
        store.finish(complete=True)
    found = str(rows(tmp_path / "a", "operations")) + str(rows(tmp_path / "a", "executions"))
    wanted = str(SECRETS) + "CANARY-message-of-execution"
    for canary in {part.split("'")[0] for part in wanted.split("CANARY")[1:]}:
        assert f"CANARY{canary}" in found


def test_size_and_hash_stand_in_for_a_payload(tmp_path: Path) -> None:
    text = '"Grüße"'
    made = state_of([step(StepDetails={"Result": text})], arn(1))
    found = {
        payloads: written_and_read(tmp_path / f"{payloads}.parquet", [made], payloads).to_pylist()
        for payloads in PAYLOADS
    }
    stand_ins = {
        payloads: (one["result"], one["result_size"], one["result_sha256"])
        for payloads, (one,) in found.items()
    }
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    assert stand_ins == {
        "none": (None, None, None),
        "size": (None, 9, None),
        "hash": (None, 9, sha256),
        "full": (text, None, None),
    }


@pytest.mark.parametrize("name", TABLES)
def test_a_file_has_the_documented_schema_and_its_version(tmp_path: Path, name: Any) -> None:
    with Store.open(tmp_path / "a") as store:
        store.add(row(1), state(1, [step()]))
        store.finish(complete=True)
    found = table(tmp_path / "a", name).schema
    assert found.equals(arrow_schema(name), check_metadata=True)
    assert found.metadata[b"durastate.schema_version"] == str(SCHEMA_VERSION).encode()


def test_json_lines_hold_what_parquet_holds(tmp_path: Path) -> None:
    digests = set()
    for form in ("parquet", "jsonl"):
        with Store.open(tmp_path / form, format=form, payloads="full") as store:
            store.add(row(1), state_of([UNUSUAL, step(2)], arn(1)))
            store.add(row(2), state(2, []))
            digests.add(store.finish(complete=True).digest)
    assert len(digests) == 1
    (path,) = (tmp_path / "jsonl").glob("operations-*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [
        {name: value for name, value in each.items() if value is not None}
        for each in rows(tmp_path / "parquet", "operations")
    ]
    assert [as_lines_have_it(each) for each in kept] == lines


def as_lines_have_it(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
        if isinstance(value, datetime)
        else value
        for name, value in found.items()
    }


def test_texts_that_repeat_are_dictionaries_in_the_file(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        store.add(row(1), state(1, [step(at) for at in range(500)]))
        store.finish(complete=True)
    (path,) = (tmp_path / "a").glob("operations-*.parquet")
    group = pq.ParquetFile(path).metadata.row_group(0)
    encodings = {
        group.column(at).path_in_schema: group.column(at).encodings
        for at in range(group.num_columns)
    }
    for name in ("arn", "name", "type", "status", "source"):
        assert any("DICTIONARY" in each for each in encodings[name])


def test_nothing_else_is_in_the_directory(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        store.finish(complete=True)
    kinds = {name.split("-")[0] for name in names(tmp_path / "a")}
    assert kinds == {"executions", "failures", "journal.sqlite", "lock", "manifest.json"}
