"""Executions to write, and a directory as readers see it."""

from __future__ import annotations

from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from durastate import AccessDeniedError, ExecutionState, decode_page
from durastate.audit import ExecutionRow, Store, read_manifest
from durastate.errors import DecodingError
from durastate.models import dump_json

START = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)


def arn(number: int) -> str:
    return (
        f"arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST"
        f"/durable-execution/order-{number}/{number:08x}"
    )


def row(number: int, status: str = "SUCCEEDED", **members: Any) -> ExecutionRow:
    return ExecutionRow.of(arn(number), status=status, started_at=START, **members)


def step(number: int = 0, **members: Any) -> dict[str, Any]:
    """An operation in the wire form."""
    made = {
        "Id": f"op-{number}",
        "Type": "STEP",
        "Name": f"step {number % 3}",
        "StartTimestamp": 1_767_323_045.678 + number,
        "EndTimestamp": 1_767_323_046 + number,
        "Status": "SUCCEEDED",
        "StepDetails": {"Attempt": 1 + number % 3, "Result": f'"result {number}"'},
    }
    return {name: value for name, value in (made | members).items() if value is not None}


def state(key: str | int, operations: list[dict[str, Any]], source: Any = "history") -> Any:
    page = decode_page(dump_json({"Operations": operations}))
    name = arn(key) if isinstance(key, int) else key
    return ExecutionState(name, page.operations, source=source)


def add(store: Store, number: int, count: int = 3, status: str = "SUCCEEDED") -> None:
    """An execution with so many operations."""
    store.add(row(number, status), state(number, [step(at) for at in range(count)]))


def failure() -> DecodingError:
    return DecodingError("Events[3].Id", "is missing")


def access_denied(number: int) -> AccessDeniedError:
    return AccessDeniedError(
        operation="GetDurableExecutionHistory",
        arn=arn(number),
        code="AccessDeniedException",
        message="not allowed",
        status=403,
    )


def written(directory: Path, *numbers: int, **options: Any) -> Path:
    """A finished audit of these executions."""
    with Store.open(directory, **options) as store:
        for number in numbers:
            add(store, number)
        store.finish(complete=True)
    return directory


def table(directory: Path, name: Any) -> pa.Table:
    """A table as pyarrow alone reads it from the files of the manifest."""
    manifest = read_manifest(directory)
    return pa.concat_tables(pq.read_table(each) for each in manifest.paths(directory, name))


def rows(directory: Path, name: str, *wanted: str) -> list[Any]:
    """Rows of a table: dicts, or tuples of the columns that are named."""
    found = table(directory, name).to_pylist()
    return [tuple(each[name] for name in wanted) for each in found] if wanted else found


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


def write_manifest(directory: Path, members: dict[str, Any]) -> None:
    """A manifest by somebody who knows that it has a digest of its members, too."""
    sealed = {name: value for name, value in members.items() if name != "manifest_sha256"}
    sealed["manifest_sha256"] = sha256(orjson.dumps(sealed)).hexdigest()
    (directory / "manifest.json").write_bytes(orjson.dumps(sealed))


def only_its_own(directory: Path) -> bool:
    """Whether there is nothing but what the manifest names, the journal and the lock."""
    listed = {each.name for each in read_manifest(directory).files}
    return names(directory) == listed | {"lock", "journal.sqlite", "manifest.json"}
