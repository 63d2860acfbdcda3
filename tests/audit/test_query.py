"""SQL over an audit: the answer, and what it cannot reach."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from durastate.audit import DirectoryError, Store
from durastate.audit.datasets import data_set
from durastate.audit.query import QueryError, query
from durastate.audit.tables import rows_table

from .support import add, failure, row, state, step, written


@pytest.fixture(scope="module", params=["parquet", "jsonl"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return audit(tmp_path_factory.mktemp("query"), request.param)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return audit(tmp_path_factory.mktemp("query"), "parquet")


def audit(folder: Path, form: Any) -> Path:
    # Characters that a path within SQL, or a pattern, would stumble over.
    made = folder / "au[d]it*'s"
    with Store.open(made, format=form) as store:
        add(store, 1)
        add(store, 2, 5, status="RUNNING")
        store.add(row(4, "FAILED"), state(4, [step(7, Status="FAILED")]))
        store.fail(row(3), failure())
        store.finish(complete=True)
    return made


def asked(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    with query(directory, sql) as answer:
        return [tuple(each.values()) for batch in answer for each in batch.to_pylist()]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "select status, count(*) from executions group by 1 order by 1",
            [("FAILED", 1), ("RUNNING", 1), ("SUCCEEDED", 1)],
        ),
        ("select count(*) from operations", [(9,)]),
        ("select error, code from failures", [("DecodingError", None)]),
        (
            "select e.name, id from executions e join operations using (arn) where id = 'op-7'",
            [("order-4", "op-7")],
        ),
        (
            "select started_at from executions where started_at > timestamptz '2026-01-01' limit 1",
            [(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc),)],
        ),
        (
            "select date_trunc('day', started_at)::varchar from executions limit 1",
            [("2026-01-02 00:00:00+00",)],
        ),
        ("with x as (select 1) from x", [(1,)]),
        ("select count(*) from operations a, operations b", [(81,)]),
    ],
)
def test_the_answer(either: Path, sql: str, expected: list[Any]) -> None:
    assert asked(either, sql) == expected


def test_the_columns_can_be_asked_for(directory: Path) -> None:
    found = {name: kind for name, kind, *_ in asked(directory, "describe operations")}
    assert (found["arn"], found["started_at"]) == ("VARCHAR", "TIMESTAMP WITH TIME ZONE")


@pytest.mark.parametrize(
    "sql",
    [
        "copy executions to '{elsewhere}/stolen.csv'",
        "copy (select 1) to '{directory}/manifest.json'",
        "attach '{elsewhere}/new.db'",
        "create table x as select 1",
        "drop view executions",
        "delete from executions",
        "set enable_external_access = true",
        "install httpfs",
        "load httpfs",
        "select 1; select 2",
        "",
        "selec",
        "select * from nothing",
        "select * from '{secret}'",
        "select * from read_text('{secret}')",
        "select * from read_csv('{secret}')",
        "select * from glob('/*')",
        "select * from read_parquet('https://example.com/x.parquet')",
        "select * from directory",
        "select error('a\nb')",
        "select cast(arn as int) from executions",
    ],
)
def test_what_is_refused_is_one_line_and_changes_nothing(
    directory: Path, tmp_path: Path, sql: str
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    before = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(QueryError) as caught:
        asked(directory, sql.format(elsewhere=tmp_path, directory=directory, secret=secret))
    assert len(str(caught.value).splitlines()) == 1
    assert "SECRET" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [secret]
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_an_audit_of_nothing_can_be_asked(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        store.finish(complete=True)
    for table in ("executions", "operations", "failures"):
        assert asked(tmp_path / "a", f"select count(*) from {table}") == [(0,)]  # noqa: S608


def test_what_a_query_puts_aside_is_in_the_directory_and_goes_with_it(
    either: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {path.name for path in either.iterdir()}
    with query(either, "select * from operations order by id") as answer:
        (folder,) = {path.name for path in either.iterdir()} - before
        assert (either / folder).stat().st_mode & 0o777 == 0o700
        assert list((either / folder).iterdir()) == []  # copies have no name
        assert sum(batch.num_rows for batch in answer) == 9
    assert {path.name for path in either.iterdir()} == before
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_an_audit_or_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DirectoryError, match="no manifest"):
        asked(tmp_path, "select 1")
    with Store.open(tmp_path / "a") as store:
        add(store, 1)
        store.finish(complete=True)
    next((tmp_path / "a").glob("operations-*")).unlink()
    with pytest.raises(DirectoryError, match=r"operations-\d+\.parquet is missing"):
        asked(tmp_path / "a", "select 1")


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        *(b"{]\n", b"[]\n", b"\xff\n", b'{"arn":1}\n'),
        *(b'{"arn":"x","started_at":"soon"}\n', b'{"arn":"x","started_at":1}\n'),
    ],
)
def test_a_file_that_is_damaged_is_one_line(tmp_path: Path, form: Any, content: bytes) -> None:
    directory = written(tmp_path / "a", 1, format=form)
    (path,) = directory.glob("operations-*")
    path.write_bytes(content)
    with pytest.raises((DirectoryError, QueryError), match=r"operations") as caught:
        asked(directory, "select count(name) from operations")
    assert len(str(caught.value).splitlines()) == 1


def test_a_large_table_is_read_a_row_group_at_a_time(tmp_path: Path) -> None:
    group = rows_table("operations", [{"arn": f"a{at}", "id": "x" * 500} for at in range(1_000)])
    with pq.ParquetWriter(tmp_path / "operations.parquet", group.schema) as writer:
        for _ in range(100):
            writer.write_table(group)
    before = pa.total_allocated_bytes()
    most = 0
    found = data_set("operations", [str(tmp_path / "operations.parquet")])
    scanner = found.scanner(columns=["arn", "id"])
    for batch in scanner.to_reader():
        assert len(batch) <= 1_000
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 30 * group.nbytes  # of a hundred
