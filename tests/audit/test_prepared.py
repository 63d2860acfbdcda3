"""A directory that somebody else has prepared: nothing outside is read, written or removed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from durastate.audit import DirectoryError, Store, WriteError, read_manifest, verify
from durastate.audit.journal import NAMES
from durastate.audit.query import QueryError, query

from .support import add, arn, written

MAGIC = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return written(tmp_path / "audit", 1)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing is changed, made or removed."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "precious").write_text("precious")
    yield made
    assert {path.name: path.read_text() for path in made.iterdir()} == {"precious": "precious"}


def journal(directory: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "journal.sqlite", isolation_level=None)) as database:
        database.execute(sql, values)


def everything(directory: Path) -> list[str]:
    """All that is done with a directory; what was refused of it."""
    refused = []

    def write() -> None:
        with Store.open(directory) as store:
            add(store, 2)
            store.save()
            add(store, 3)
            store.finish(complete=True)

    def ask(partial: bool) -> None:
        with query(directory, "select * from operations", partial=partial) as answer:
            for _ in answer:
                pass

    for work in (
        lambda: Store.look(directory),
        lambda: list(verify(directory)),
        lambda: ask(partial=False),
        lambda: ask(partial=True),
        write,
    ):
        try:
            found = work()
        except (DirectoryError, QueryError, WriteError) as error:
            refused.append(str(error))
        else:
            if isinstance(found, Store):
                found.close()
    return refused


@pytest.mark.parametrize(
    "name",
    [
        *("../outside/precious", "{outside}/precious", "./../outside/precious", "", ".", "lock"),
        *("manifest.json", "operations-000001.parquet/../../outside/precious"),
        *("operations-000001.parquet\0", "operations-\u0661\u0661\u0661\u0661\u0661\u0661.parquet"),
    ],
)
def test_a_journal_has_nothing_removed_but_what_an_audit_writes(
    directory: Path, outside: Path, name: str
) -> None:
    journal(directory, "INSERT INTO leftover VALUES (?)", name.format(outside=outside))
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(DirectoryError, match=r"journal\.sqlite is damaged \(a file to remove"):
        Store.open(directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_a_journal_does_not_have_removed_what_it_counts(directory: Path) -> None:
    (path,) = directory.glob("operations-*")
    journal(directory, "INSERT INTO leftover VALUES (?)", path.name)
    with pytest.raises(DirectoryError, match="is damaged"):
        Store.open(directory)
    assert path.exists()


LONG = bool(os.environ.get("DURASTATE_LONG"))
LED_ELSEWHERE = (
    *("lock", *NAMES, "manifest.json", ".manifest.json.tmp", "operations-000001.parquet"),
    *("executions-000002.parquet", ".operations-000004.parquet.tmp"),
    *("operations-000004.parquet", ".query-0123456789abcdef"),
)
ALL_KINDS = LED_ELSEWHERE if LONG else ("manifest.json", "operations-000001.parquet")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("link", name) for name in LED_ELSEWHERE),
        *((kind, name) for kind in ("link to nowhere", "pipe", "directory") for name in ALL_KINDS),
    ],
)
def test_nothing_in_a_directory_leads_out_of_it_or_keeps_it_waiting(
    directory: Path, outside: Path, name: str, kind: str
) -> None:
    path = directory / name
    if path.exists() and kind == "link":
        # Even to what would pass for the file itself.
        path.rename(directory.parent / "itself")
        path.symlink_to(directory.parent / "itself")
    else:
        path.unlink(missing_ok=True)
        if kind == "link":
            path.symlink_to(outside if name.startswith(".query") else outside / "precious")
        elif kind == "link to nowhere":
            path.symlink_to(outside / "new")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
    itself = directory.parent / "itself"
    before = itself.read_bytes() if itself.exists() else None
    refused = everything(directory)
    assert all("\n" not in each for each in refused)
    assert before is None or itself.read_bytes() == before
    if kind == "link" and name in ("manifest.json", "operations-000001.parquet"):
        assert len(refused) >= 3


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("name", ["lock", *NAMES])
def test_a_hard_link_to_something_outside_is_refused_and_not_written_to(
    directory: Path, outside: Path, tmp_path: Path, name: str, is_empty: bool
) -> None:
    if is_empty:
        directory = tmp_path / "empty"
        directory.mkdir()
    (outside / "precious").chmod(0o644)
    (directory / name).unlink(missing_ok=True)
    os.link(outside / "precious", directory / name)
    refused = everything(directory)
    assert f"{directory}: {name} has another name elsewhere (a hard link)" in refused
    assert (outside / "precious").stat().st_mode & 0o777 == 0o644


def test_a_hard_link_under_a_temporary_name_is_not_written_through(
    directory: Path, outside: Path
) -> None:
    for name in (".manifest.json.tmp", ".operations-000004.parquet.tmp"):
        os.link(outside / "precious", directory / name)
    assert everything(directory) == []


def test_a_journal_of_sqlites_has_no_other_file_removed(directory: Path, outside: Path) -> None:
    """A rollback journal may name a second one, which SQLite removes after it has rolled back."""
    page = (directory / "journal.sqlite").read_bytes()[:4096]
    checksum = sum(page[at] for at in range(len(page) - 200, 0, -200)) & 0xFFFFFFFF
    pages = (directory / "journal.sqlite").stat().st_size // len(page)
    head = MAGIC + struct.pack(">IIIII", 1, 0, pages, 512, len(page))
    name = os.fsencode(outside / "precious")
    (directory / "journal.sqlite-journal").write_bytes(
        head.ljust(512, b"\0")
        + struct.pack(">I", 1) + page + struct.pack(">I", checksum)
        + struct.pack(">I", 0x40000000 // len(page) + 1) + name
        + struct.pack(">II", len(name), sum(name)) + MAGIC
    )  # fmt: skip
    refused = everything(directory)
    assert any("names another file" in each for each in refused)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER INSERT ON setting BEGIN DELETE FROM execution; END",
        "CREATE TABLE other (x)",
        "DROP INDEX execution_of_part",
        "ALTER TABLE leftover RENAME TO leftover_",
        "ALTER TABLE leftover ADD COLUMN y",
    ],
)
def test_a_journal_with_other_tables_is_refused(directory: Path, sql: str) -> None:
    journal(directory, sql)
    with pytest.raises(DirectoryError, match="is damaged"):
        Store.open(directory)


def test_a_view_that_never_ends_in_the_place_of_a_table_is_refused(directory: Path) -> None:
    journal(directory, "DROP TABLE setting")
    journal(
        directory,
        "CREATE VIEW setting AS WITH RECURSIVE x(name) AS "
        "(SELECT 1 UNION ALL SELECT name + 1 FROM x) SELECT name, name AS value FROM x",
    )
    with pytest.raises(DirectoryError, match="is no journal"):
        Store.open(directory)


def test_to_look_changes_and_removes_nothing(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, 2)
        store.save()
        left = directory / f"operations-{int(store._journal.settings()['next_number']):06d}.parquet"
        store._journal.announce("operations", "parquet")
    left.write_text("left over")
    folder = directory / ".query-0123456789abcdef"
    folder.mkdir()
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    looked = Store.look(directory)
    assert looked is not None
    with looked as store:
        assert (store.needs(arn(1), "SUCCEEDED"), store.needs(arn(3), "SUCCEEDED")) == (False, True)
        assert store.counts().read == 2
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    Store.open(directory).close()
    assert not left.exists()
    assert not folder.exists()


def test_to_look_leaves_what_a_killed_run_has_left(directory: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    with Store.open(directory) as store:
        add(store, 2)
        store.save()
        shutil.copytree(directory, killed)  # as a kill leaves it: the log is not in the journal yet
    assert (killed / "journal.sqlite-wal").stat().st_size
    before = saved(killed)
    looked = Store.look(killed)
    assert looked is not None
    with looked as store:
        assert store.counts().read == 2
    with query(killed, "select arn from executions", partial=True) as answer:
        assert sum(batch.num_rows for batch in answer) == 2
    assert saved(killed) == before


def saved(directory: Path) -> dict[str, bytes]:
    """All files but SQLite's index of its log, in which readers leave marks."""
    paths = (path for path in directory.iterdir() if not path.name.endswith("-shm"))
    return {path.name: path.read_bytes() for path in paths}


def test_to_look_begins_nothing(tmp_path: Path) -> None:
    assert Store.look(tmp_path / "not there") is None
    assert Store.look(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_files_that_others_could_read_are_for_their_owner_again(directory: Path) -> None:
    for name in ("lock", "journal.sqlite"):
        (directory / name).chmod(0o666)
    with Store.open(directory) as store:
        add(store, 2)
        store.save()
        assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_the_region_of_a_planned_execution_is_that_of_its_arn(directory: Path) -> None:
    with Store.open(directory) as store:
        store.begin({}, {})
        summary = f'{{"arn":"{arn(7)}","status":"RUNNING","region":"x.example.com","account":"1"}}'
        journal(directory, "INSERT INTO planned VALUES (1, ?, ?)", arn(7), summary.encode())
        with pytest.raises(DirectoryError, match="is damaged"):
            list(store.pending())


def test_what_a_manifest_names_is_what_an_audit_writes(directory: Path) -> None:
    text = (directory / "manifest.json").read_text()
    name = read_manifest(directory).files[0].name
    for other in ("../outside/precious", "/etc/passwd", "lock", "failures-000001.parquet"):
        (directory / "manifest.json").write_text(text.replace(name, other))
        with suppress(StopIteration), pytest.raises(DirectoryError, match="is damaged"):
            next(verify(directory))
