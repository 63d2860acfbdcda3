"""The public names of `durastate.audit`, for mypy; nothing here is run."""

from __future__ import annotations

from pathlib import Path

from durastate import DurastateError, ExecutionState
from durastate.audit import (
    SCHEMA_VERSION,
    DirectoryError,
    ExecutionRow,
    Manifest,
    Store,
    WriteError,
    read_manifest,
    verify,
)
from durastate.audit.query import QueryError, query


def keeping(directory: Path, states: dict[str, ExecutionState]) -> Manifest:
    with Store.open(directory, format="jsonl", payloads="size", refresh=True) as store:
        pins: dict[str, str] = store.begin({"functions": ["a"]}, {"before": "2026-01-01"})
        count: int = store.plan(ExecutionRow.of(arn, status=pins["before"]) for arn in states)
        for row in store.pending():
            needed: bool = store.needs(row.arn, row.status)
            if needed and count:
                store.add(row, states[row.arn])
            else:
                store.fail(row, DurastateError("x"), source="get")
        store.save()
        read, failed = store.counts().read, store.counts().failed
        assert read + failed >= 0
        return store.finish(complete=True)


def reading(directory: Path) -> str:
    try:
        problems: list[str] = list(verify(directory))
        with query(directory, "select 1") as answer:
            rows = sum(batch.num_rows for batch in answer)
    except (DirectoryError, WriteError) as error:
        return str(error)
    except QueryError as error:
        return str(error)
    manifest: Manifest = read_manifest(directory)
    assert manifest.schema_version == SCHEMA_VERSION
    return f"{manifest.digest} {problems} {rows} {manifest.complete}"
