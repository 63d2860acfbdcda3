"""What an audit has planned, read and failed to read, and which file holds it: SQLite, WAL mode.

The journal decides what counts. A file is announced here before it is begun, and belongs to the
audit with the transaction that enters its executions; what was announced and never entered is
left over from a run that was killed, and so is what a later transaction has replaced. An
execution is in one part at a time: entering it again moves it, and its old rows are dead.

It holds ARNs, names, statuses and counts; of payloads only what `--payloads` puts into the
`executions` table, and no callback id ever.

A directory may have been prepared by somebody else, so every value is checked as it is read.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from . import kept
from .errors import DirectoryError, WriteError
from .files import HARD_LINK, Stamp, open_own, opened, table_file, writing
from .schema import FORMATS, Table

NAME = "journal.sqlite"
_ROLLBACK = f"{NAME}-journal"
_LOG = f"{NAME}-wal"
NAMES = (NAME, _LOG, f"{NAME}-shm", _ROLLBACK)
_USE_ANOTHER = "choose another directory"
_OF_EVERY_JOURNAL = {"schema_version", "format", "payloads", "run"}
#: Executions of which nothing more is to come.
CLOSED = frozenset(("SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "DELETING"))

_PAGE = 500
# The last bytes of a rollback journal that names a second file, which SQLite would then remove.
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE planned (number INTEGER PRIMARY KEY, arn TEXT UNIQUE NOT NULL, summary BLOB NOT NULL);
CREATE TABLE execution (
    arn TEXT PRIMARY KEY, status TEXT NOT NULL, run INTEGER NOT NULL, part INTEGER,
    operations INTEGER NOT NULL, summary BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX execution_of_part ON execution (part);
CREATE TABLE failure (arn TEXT PRIMARY KEY, run INTEGER NOT NULL, summary BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE file (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, rows INTEGER NOT NULL,
    size INTEGER NOT NULL, sha256 TEXT NOT NULL, mtime_ns INTEGER NOT NULL
);
CREATE TABLE leftover (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class File(NamedTuple):
    """A file of the audit, as it was written."""

    number: int
    table: Table
    name: str
    rows: int
    stamp: Stamp


class Read(NamedTuple):
    """An execution that was read."""

    arn: str
    status: str
    operations: int
    summary: dict[str, Any]


class Counts(NamedTuple):
    """Executions that were read, that could not be, that are planned; operations that were read."""

    read: int
    failed: int
    planned: int
    operations: int


class Journal:
    """An open journal. Every method that changes something is one transaction."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / NAME
        self._only_looks = False
        self._check_files()
        with writing(self._path):
            # SQLite gives the files beside it the same mode.
            os.close(open_own(self._path, create=True))
        self._connect()
        try:
            with self._trouble():
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
                self._create()
        except BaseException:
            self.close()
            raise

    @classmethod
    def look(cls, directory: Path) -> Self | None:
        """The journal as it is at this moment, to read alone; None where nothing was begun.

        Another process may go on writing it.
        """
        journal = cls.__new__(cls)
        journal._directory = directory
        journal._path = directory / NAME
        journal._only_looks = True
        journal._check_files()
        if not journal._path.exists():
            return None
        journal._connect()
        try:
            with journal._trouble():
                journal._database.execute("PRAGMA query_only = ON")
                journal._database.execute("BEGIN")
                if journal._is_begun():
                    return journal
        except BaseException:
            journal.close()
            raise
        journal.close()
        return None

    def _connect(self) -> None:
        with self._trouble():
            # Not bound to a thread, so that a caller may write in one; never in two at once.
            self._database = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?{self._access()}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )

    def _access(self) -> str:
        """How SQLite opens it, as a part of its URI: so that to look leaves no trace."""
        if self._only_looks and (self._directory / _LOG).exists():
            return "mode=ro"  # or closing would move a killed run's log into the journal
        if self._only_looks and not os.access(self._directory, os.W_OK):
            return "immutable=1"  # or SQLite asks for a log, which it cannot make
        return "mode=rw"  # also to look, since "ro" leaves an empty log behind

    def close(self) -> None:
        self._database.close()

    def is_blank(self) -> bool:
        """Whether nothing was begun: no run, no execution."""
        return self.settings().keys() <= _OF_EVERY_JOURNAL and not any(self.counts())

    def remove(self) -> None:
        """Close it and remove its files."""
        self.close()
        for name in NAMES:
            (self._directory / name).unlink(missing_ok=True)

    def _check_files(self) -> None:
        """Refuse what would lead SQLite elsewhere, or keep it waiting.

        They are not opened: to close a file gives up the locks that this process has on it.
        """
        for name in NAMES:
            path = self._directory / name
            if not os.path.lexists(path):
                continue
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise DirectoryError(self._directory, f"{name} is no regular file")
            if found.st_nlink > 1:  # SQLite would write into the other one
                raise DirectoryError(self._directory, f"{name} {HARD_LINK}")
        path = self._directory / _ROLLBACK
        if path.exists():
            with writing(path), opened(path) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - len(_NAMES_ANOTHER)))
                if file.read() == _NAMES_ANOTHER:
                    raise self._damaged(f"{_ROLLBACK} names another file")

    def _is_begun(self) -> bool:
        """Whether it has its tables. They are ours to the letter: no view, no trigger."""
        found = self._database.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        if found and set(found) != _tables():
            if ("setting", "table") not in {(name, kind) for kind, name, _ in found}:
                raise DirectoryError(self._directory, f"{NAME} is no journal of an audit")
            raise self._damaged("its tables are others")
        return bool(found)

    def _create(self) -> None:
        if not self._is_begun():
            # One transaction, so that a journal that was begun is empty or complete.
            self._database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")

    def _damaged(self, why: str) -> DirectoryError:
        return DirectoryError(self._directory, f"{NAME} is damaged ({why}): {_USE_ANOTHER}")

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code == sqlite3.SQLITE_ERROR:  # nothing of the disk's
                raise self._damaged(str(error)) from None
            if self._only_looks:
                raise DirectoryError(self._directory, f"cannot read {NAME}: {error}") from None
            raise WriteError(self._path, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from None

    @contextmanager
    def checking(self) -> Iterator[None]:
        """The block interprets what it has read; where that fails the journal is damaged."""
        try:
            yield
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            why = str(error) if isinstance(error, kept.NotOurs) else "a value that is none of ours"
            raise self._damaged(why) from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._trouble():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._trouble():
            return self._database.execute(query, values).fetchall()

    # Settings

    def settings(self) -> dict[str, str]:
        """All that was kept."""
        with self.checking():
            return kept.settings(dict(self._rows("SELECT name, value FROM setting")))

    def keep(self, **settings: str | None) -> None:
        """Keep settings; None forgets one."""
        with self._transaction() as database:
            for name, value in settings.items():
                if value is None:
                    database.execute("DELETE FROM setting WHERE name = ?", (name,))
                else:
                    database.execute("REPLACE INTO setting VALUES (?, ?)", (name, value))

    # Executions

    def known(self, arn: str) -> tuple[str, int] | None:
        """Status and run of an execution that was read."""
        for status, run in self._rows("SELECT status, run FROM execution WHERE arn = ?", arn):
            with self.checking():
                return kept.text(status), kept.count(run)
        return None

    def outdated(self, run: int) -> int:
        """How many executions had not ended when they were read, before that run."""
        closed = ", ".join("?" * len(CLOSED))
        ((found,),) = self._rows(
            f"SELECT count(*) FROM execution WHERE run < ? AND status NOT IN ({closed})",  # noqa: S608
            run,
            *CLOSED,
        )
        with self.checking():
            return kept.count(found)

    def failed_in(self, arn: str) -> int | None:
        """The run in which an execution could not be read."""
        for (run,) in self._rows("SELECT run FROM failure WHERE arn = ?", arn):
            with self.checking():
                return kept.count(run)
        return None

    def plan(self, summaries: Iterable[dict[str, Any]]) -> None:
        """Remember executions that are to be read."""
        rows = [(each["arn"], _json(each)) for each in summaries]
        with self._transaction() as database:
            database.executemany(
                "INSERT INTO planned (arn, summary) VALUES (?, ?) "
                "ON CONFLICT (arn) DO UPDATE SET summary = excluded.summary",
                rows,
            )

    def forget_plan(self) -> None:
        with self._transaction() as database:
            database.execute("DELETE FROM planned")

    def planned(self) -> Iterator[dict[str, Any]]:
        """What is planned and was neither read nor failed, in order; may change meanwhile."""
        last = 0
        while True:
            rows = self._rows(
                "SELECT number, arn, summary FROM planned WHERE number > ? ORDER BY number LIMIT ?",
                *(last, _PAGE),
            )
            if not rows:
                return
            last = rows[-1][0]
            with self.checking():
                found = [kept.summary("executions", arn, data) for _, arn, data in rows]
            yield from found

    def enter(
        self, file: File | None, reads: Sequence[Read], failures: Sequence[dict[str, Any]], run: int
    ) -> None:
        """What was read, with the file that holds its operations, and what could not be read."""
        number = None if file is None else file.number
        done = [(each.arn,) for each in reads] + [(each["arn"],) for each in failures]
        with self._transaction() as database:
            if file is not None:
                _enter_file(database, file)
            database.executemany(
                "REPLACE INTO execution VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (each.arn, each.status, run, number, each.operations, _json(each.summary))
                    for each in reads
                ],
            )
            database.executemany("DELETE FROM failure WHERE arn = ?", done)
            database.executemany(
                "INSERT INTO failure (arn, run, summary) VALUES (?, ?, ?)",
                [(each["arn"], run, _json(each)) for each in failures],
            )
            database.executemany("DELETE FROM planned WHERE arn = ?", done)

    def forgive(self, arn: str) -> None:
        """Forget a failure, if there is one."""
        if self.failed_in(arn) is not None:
            with self._transaction() as database:
                database.execute("DELETE FROM failure WHERE arn = ?", (arn,))

    def counts(self) -> Counts:
        """How many there are."""
        (found,) = self._rows(
            "SELECT (SELECT count(*) FROM execution), (SELECT count(*) FROM failure), "
            "(SELECT count(*) FROM planned), "
            "(SELECT coalesce(sum(operations), 0) FROM execution)"
        )
        with self.checking():
            return Counts(*map(kept.count, found))

    def summaries(self, table: Table) -> Iterator[list[dict[str, Any]]]:
        """The rows of `executions` or `failures` in the order of their ARNs, in batches."""
        query = (
            "SELECT arn, summary FROM execution WHERE arn > ? ORDER BY arn LIMIT ?"
            if table == "executions"
            else "SELECT arn, summary FROM failure WHERE arn > ? ORDER BY arn LIMIT ?"
        )
        last = ""
        while True:
            rows = self._rows(query, last, 10 * _PAGE)
            if not rows:
                return
            with self.checking():
                last = kept.text(rows[-1][0])
                found = [kept.summary(table, arn, data) for arn, data in rows]
            yield found

    # Files

    def announce(self, table: Table, extension: str) -> tuple[int, str]:
        """A number and a name for a new file; until it is entered it counts as left over."""
        with self._transaction() as database:
            number = int(self.settings().get("next_number", 1))
            name = table_file(table, number, extension)
            database.execute("REPLACE INTO setting VALUES ('next_number', ?)", (str(number + 1),))
            database.execute("REPLACE INTO leftover VALUES (?)", (name,))
        return number, name

    def files(self, table: Table | None = None) -> list[File]:
        """The files that count, in the order in which they were written."""
        with self.checking():
            found = [_file(row) for row in self._rows("SELECT * FROM file ORDER BY number")]
        return [each for each in found if table in (None, each.table)]

    def live(self, part: int) -> list[str]:
        """The executions whose operations are in a file, and nowhere else."""
        rows = self._rows("SELECT arn FROM execution WHERE part = ?", part)
        with self.checking():
            return [kept.text(arn) for (arn,) in rows]

    def live_rows(self) -> dict[int, int]:
        """How many operations of each file count."""
        rows = self._rows(
            "SELECT part, sum(operations) FROM execution WHERE part IS NOT NULL GROUP BY part"
        )
        with self.checking():
            return {kept.count(part): kept.count(operations) for part, operations in rows}

    def check_parts(self) -> None:
        """Refuse operations that are in no file, or more of them than it has rows.

        The parts would be taken for dead, and removed with all that is in them.
        """
        rows = {file.number: file.rows for file in self.files("operations")}
        lost = self._rows("SELECT 1 FROM execution WHERE part IS NULL AND operations LIMIT 1")
        if lost or any(live > rows.get(part, -1) for part, live in self.live_rows().items()):
            raise self._damaged("operations that are in no file of it")

    def replace(self, old: Sequence[File], new: Sequence[File]) -> None:
        """New files in the place of old ones, which are left over from now on."""
        part = next((each.number for each in new if each.table == "operations"), None)
        with self._transaction() as database:
            for file in new:
                _enter_file(database, file)
            for file in old:
                database.execute("DELETE FROM file WHERE number = ?", (file.number,))
                database.execute("REPLACE INTO leftover VALUES (?)", (file.name,))
                database.execute(
                    "UPDATE execution SET part = ? WHERE part = ?", (part, file.number)
                )

    def leftovers(self) -> list[str]:
        """Names of files that do not count."""
        counting = {each.name for each in self.files()}
        rows = self._rows("SELECT name FROM leftover")
        with self.checking():
            return [kept.leftover(name, counting) for (name,) in rows]

    def forget_leftovers(self, names: Iterable[str]) -> None:
        with self._transaction() as database:
            database.executemany("DELETE FROM leftover WHERE name = ?", [(each,) for each in names])


def _file(row: tuple[Any, ...]) -> File:
    number, table, name, rows, size, sha256, mtime_ns = row
    kept.count(number)
    if name not in [table_file(table, number, each) for each in FORMATS]:
        raise kept.NotOurs("a file whose name is none of an audit's")
    stamp = Stamp(kept.count(size), kept.digest(sha256), kept.count(mtime_ns))
    return File(number, kept.table(table), name, kept.count(rows), stamp)


@cache
def _tables() -> set[tuple[str, str, str]]:
    """What SQLite says of the tables of a journal."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(_SCHEMA)
        return set(database.execute("SELECT type, name, sql FROM sqlite_master").fetchall())


def _enter_file(database: sqlite3.Connection, file: File) -> None:
    database.execute(
        "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?)",
        (file.number, file.table, file.name, file.rows, *file.stamp),
    )
    database.execute("DELETE FROM leftover WHERE name = ?", (file.name,))


def _json(summary: dict[str, Any]) -> bytes:
    return orjson.dumps(summary)
