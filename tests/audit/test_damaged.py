"""Every member of every file of an audit with what it never has: one clear line, or none."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from durastate.audit import DirectoryError, Store, WriteError, read_manifest, verify
from durastate.audit.query import QueryError, query
from durastate.audit.states import find

from .support import add, arn, failure, names, row, table, write_manifest

LONG = bool(os.environ.get("DURASTATE_LONG"))
# Of JSON; for SQLite those that it can hold, and text that is no UTF-8.
VALUES = (
    *(None, True, -1, 0, 1.5, 1e308, 2**53, 2**62, 2**63 - 1, "", "x", "../x", "infinity", "0"),
    *("9" * 30, "\u0661", "294247-01-10T04:00:54Z", "a\nb\x1b[31m", "x" * 100_000, [], {}, [{}]),
    *({"arn": 1}, {"a": {"b": []}}),
)
OF_SQLITE = [each for each in VALUES if each is None or isinstance(each, int | float | str)]
FEW = 3
Work = Callable[[Path], Any]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished audit, and a run after it that was killed; every table of the journal has rows."""
    made = tmp_path_factory.mktemp("damaged") / "audit"
    with Store.open(made, part_operations=3) as store:
        store.begin({}, {"until": "2026-01-01T00:00:00+00:00", "functions": "orders"})
        add(store, 1)
        store.fail(row(3), failure())
        store.finish(complete=False)
    with Store.open(made, part_operations=3) as store:
        store.begin({}, {})
        store.plan([row(7)])
        add(store, 2, status="RUNNING")
        store.save()
        store._journal.announce("operations", "parquet")
        store._journal.keep(next_manifest="0" * 64)
    return made


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "audit"))


def ask(directory: Path, *, partial: bool = False) -> None:
    with query(directory, "select * from executions, operations", partial=partial) as answer:
        for _ in answer:
            pass


def go_on(directory: Path) -> None:
    with Store.open(directory, refresh=True) as store:
        store.begin({}, {})
        store.needs(arn(2), "SUCCEEDED")
        for planned in list(store.pending()):
            store.fail(planned, failure())
        store.finish(complete=True)


def check(directory: Path) -> None:
    for problem in verify(directory):
        raise DirectoryError(directory, problem)


def refusals(directory: Path, *works: Work) -> list[str]:
    """What is refused, a line each; any other error is the test's."""
    found = []
    for work in works:
        try:
            work(directory)
        except (DirectoryError, QueryError, WriteError) as error:
            found.append(str(error))
    for each in found:
        assert "\n" not in each
        assert len(each) < 1_000
        assert "cannot write" not in each
    return found


def some(values: Any, seed: str) -> list[Any]:
    """A few of the values, others for each member; all of them in the long run."""
    return list(values) if LONG else random.Random(seed).sample(list(values), FEW)  # noqa: S311


# The manifest


def test_every_member_of_the_manifest(directory: Path) -> None:
    path = directory / "manifest.json"
    whole = path.read_bytes()
    members = json.loads(whole)
    places = [(members, name) for name in members] + [
        (members["files"][0], name) for name in members["files"][0]
    ]
    for holder, name in places:
        before = holder[name]
        for value in VALUES:
            holder[name] = value
            write_manifest(directory, members)
            refused = refusals(directory, check, read_manifest)
            free = ("durastate", "executions", "operations", "failures", "rows", "size")
            # A name that is none of ours, a table, a digest: never believed.
            assert refused or name in free or value == before or value in (True, 0), (name, value)
        del holder[name]
        write_manifest(directory, members)
        refusals(directory, check, read_manifest)
        holder[name] = before
    path.write_bytes(whole)
    assert refusals(directory, read_manifest) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"complete": false', '"complete": true'),
        ('"executions": 1', '"executions": 2'),
        ('"durastate": "0', '"durastate": "9'),
        ('"written_at": "2', '"written_at": "3'),
        ('"manifest_sha256": "', '"manifest_sha256": "0'),
    ],
)
def test_a_word_of_the_manifest_that_was_edited_is_found(
    directory: Path, old: str, new: str
) -> None:
    path = directory / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert "manifest.json: was changed since it was written" in list(verify(directory))
    for read in (read_manifest, ask, Store.open):
        assert len(refusals(directory, read)) == 1


def test_the_manifest_of_an_earlier_durastate_is_read_and_not_vouched_for(tmp_path: Path) -> None:
    directory = tmp_path / "a"
    with Store.open(directory) as store:
        add(store, 1)
        store.finish(complete=True)
        members = json.loads((directory / "manifest.json").read_text())
        for name in ("manifest_version", "manifest_sha256"):
            del members[name]
        (directory / "manifest.json").write_bytes(orjson.dumps(members))
    assert read_manifest(directory).manifest_version == 1
    (problem,) = verify(directory)
    assert "an earlier durastate wrote it" in problem
    members["manifest_version"] = 99
    (directory / "manifest.json").write_bytes(orjson.dumps(members))
    (refused,) = refusals(directory, read_manifest)
    assert "the version of manifest.json is 99" in refused


# The journal


def cells(directory: Path) -> Iterator[tuple[str, str, int]]:
    """Table, column and row of every value in the journal."""
    with closing(sqlite3.connect(directory / "journal.sqlite")) as database:
        for name in ("setting", "planned", "execution", "failure", "file", "leftover"):
            columns = [each[1] for each in database.execute(f"PRAGMA table_info({name})")]
            (count,) = database.execute(f"SELECT count(*) FROM {name}").fetchone()  # noqa: S608
            assert count
            for column in columns:
                yield from ((name, column, at) for at in range(count))


def test_every_value_of_the_journal(original: Path, tmp_path: Path) -> None:
    works = (go_on, lambda directory: ask(directory, partial=True)) if LONG else (go_on,)
    values = [*OF_SQLITE, b"\xff"]
    for name, column, at in cells(original):
        for value in values if LONG else some(values, f"{name} {column} {at}")[:1]:
            directory = Path(shutil.copytree(original, tmp_path / "audit"))
            if changed(directory, name, column, at, value):
                refusals(directory, *works)
            shutil.rmtree(directory)


def changed(directory: Path, name: str, column: str, at: int, value: object) -> bool:
    """Whether the value could be put into the journal."""
    given = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    with closing(sqlite3.connect(directory / "journal.sqlite", isolation_level=None)) as database:
        key = database.execute(f"PRAGMA table_info({name})").fetchone()[1]
        where = f"{key} = (SELECT {key} FROM {name} LIMIT 1 OFFSET {at})"  # noqa: S608
        try:
            database.execute(f"UPDATE {name} SET {column} = {given} WHERE {where}", (value,))  # noqa: S608
        except (sqlite3.Error, OverflowError):
            return False
    return True


@pytest.mark.parametrize("change", ["part = 77", "part = NULL", "operations = 4"])
def test_operations_that_are_in_no_file_are_not_taken_for_dead_ones(
    directory: Path, change: str
) -> None:
    with closing(sqlite3.connect(directory / "journal.sqlite", isolation_level=None)) as database:
        database.execute(f"UPDATE execution SET {change}")  # noqa: S608
    parts = set(directory.glob("operations-*"))
    refused = refusals(directory, go_on, lambda path: ask(path, partial=True), Store.look)
    assert len(refused) == 3
    assert all("is damaged (operations that are in no file of it)" in each for each in refused)
    assert set(directory.glob("operations-*")) == parts


def test_a_number_with_which_files_get_names_that_nobody_reads_is_refused(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "journal.sqlite", isolation_level=None)) as database:
        database.execute("UPDATE setting SET value = '999999999999998' WHERE name = 'next_number'")
    (refused,) = refusals(directory, go_on)
    assert "is damaged (next_number is no number)" in refused


SUMMARIES = {"planned": "executions", "execution": "executions", "failure": "failures"}


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_member_of_a_row_in_the_journal(directory: Path, name: str) -> None:
    with closing(sqlite3.connect(directory / "journal.sqlite", isolation_level=None)) as database:
        ((key, data),) = database.execute(f"SELECT arn, summary FROM {name} LIMIT 1")  # noqa: S608
        whole = orjson.loads(data)
        for member in whole:
            for value in some(VALUES, f"{name} {member}"):
                database.execute(
                    f"UPDATE {name} SET summary = ? WHERE arn = ?",  # noqa: S608
                    (orjson.dumps(whole | {member: value}), key),
                )
                looked = Store.look(directory)
                assert looked is not None
                with looked as store:
                    refused = refusals(directory, lambda _, store=store: all_of(store))
                if member in ("arn", "region", "account"):
                    assert refused, (member, value)


def all_of(store: Store) -> None:
    """Everything that a run reads of a journal."""
    list(store.pending())
    for name in ("executions", "failures"):
        for rows in store._journal.summaries(name):  # type: ignore[arg-type]
            assert rows


# The tables


@pytest.mark.parametrize("name", ["executions", "operations", "failures"])
def test_every_column_of_a_table_of_lines(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "audit"
    with Store.open(directory, format="jsonl", payloads="full") as store:
        add(store, 1)
        store.fail(row(3), failure())
        store.finish(complete=True)
    (path,) = directory.glob(f"{name}-*")
    lines = path.read_bytes().splitlines(keepends=True)
    members = orjson.loads(lines[0])
    for member in members:
        for value in some(VALUES, f"{name} {member}"):
            path.write_bytes(orjson.dumps(members | {member: value}) + b"\n" + b"".join(lines[1:]))
            as_if_written(directory, path)
            refusals(directory, check)
            if LONG:
                refusals(directory, ask, lambda directory: find(directory, arn(1)))


def as_if_written(directory: Path, path: Path) -> None:
    """The manifest has the file as it is now."""
    members = json.loads((directory / "manifest.json").read_text())
    for file in members["files"]:
        if file["name"] == path.name:
            file["size"] = path.stat().st_size
            file["sha256"] = __import__("hashlib").sha256(path.read_bytes()).hexdigest()
    write_manifest(directory, members)


TIMES = (2**63 - 1, -(2**63) + 1, 9_223_371_331_200_000_000, 253_402_300_800_000_000)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(
    ("name", "column"),
    [("executions", "read_at"), ("executions", "started_at"), ("operations", "ended_at")],
)
def test_a_time_that_python_has_not(directory: Path, name: Any, column: str, time: int) -> None:
    """DuckDB's infinity, the year 294247, and the first moment that Python has not."""
    found = table(directory, name)
    at = found.column_names.index(column)
    times = pa.array([time] * len(found), pa.int64()).cast(found.schema.field(at).type)
    (path, *_) = read_manifest(directory).paths(directory, name)
    pq.write_table(found.set_column(at, found.schema.field(at), times), path)
    as_if_written(directory, path)
    refusals(directory, check, ask)
    refused = refusals(directory, lambda directory: find(directory, arn(1)))
    assert bool(refused) == (column != "started_at")


def test_no_byte_of_a_table_changes_what_is_shown(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    with Store.open(directory) as store:
        add(store, 1, 7)
        store.finish(complete=True)
    (path,) = directory.glob("operations-*")
    whole = path.read_bytes()
    expected = find(directory, arn(1))
    chance = random.Random(1)  # noqa: S311
    for at in range(len(whole)) if LONG else chance.sample(range(len(whole)), 12):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        found = []
        refusals(directory, lambda directory, found=found: found.append(find(directory, arn(1))))
        assert found in ([], [expected])
    path.write_bytes(whole + b"x")
    with pytest.raises(DirectoryError, match="was changed since: it has"):
        find(directory, arn(1))


def test_operations_that_are_not_there_are_missed(directory: Path) -> None:
    found = table(directory, "operations")
    (path,) = read_manifest(directory).paths(directory, "operations")
    for changed in (found.slice(1), found.schema.empty_table()):
        pq.write_table(changed, path)
        as_if_written(directory, path)
        (refused,) = refusals(directory, lambda directory: find(directory, arn(1)))
        assert "was read with 3 operations" in refused
    assert "journal.sqlite" in names(directory)
