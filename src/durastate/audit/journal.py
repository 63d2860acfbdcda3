"""What an audit has planned, read and failed to read, and which file holds it: SQLite, WAL mode.

The journal decides what counts. A file is announced here before it is begun, and belongs to the
audit with the transaction that enters its executions; what was announced and never entered is
left over from a run that was killed, and so is what a later transaction has replaced. An
execution is in one part at a time: entering it again moves it, and its old rows are dead.

It holds ARNs, names, statuses and counts; of payloads only what `--payloads` puts into the
`executions` table, and no callback id ever.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from .errors import DirectoryError, WriteError
from .files import Stamp
from .schema import Table

NAME = "journal.sqlite"
NAMES = (NAME, f"{NAME}-wal", f"{NAME}-shm", f"{NAME}-journal")
#: Executions of which nothing more is to come.
CLOSED = frozenset(("SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "DELETING"))

_PAGE = 500
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
        path = directory / NAME
        self._directory = directory
        self._path = path
        with self._trouble():
            # SQLite gives the files beside it the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            # Not bound to a thread, so that a caller may write in one; never in two at once.
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._trouble():
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
                self._create()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._database.close()

    def _create(self) -> None:
        tables = "SELECT count(*), total(name = 'setting') FROM sqlite_master"
        count, ours = self._row(tables)
        if count == 0:
            # One transaction, so that a journal that was begun is empty or complete.
            self._database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        elif not ours:
            raise DirectoryError(self._directory, f"{NAME} is no journal of an audit")

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise WriteError(self._path, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise DirectoryError(self._directory, f"{NAME} is damaged: {error}") from None
        except OSError as error:
            raise WriteError(self._path, error.strerror or str(error)) from None

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

    def _one(self, query: str, *values: Any) -> Any:
        row = self._row(query, *values)
        return None if row is None else row[0]

    def _row(self, query: str, *values: Any) -> Any:
        with self._trouble():
            return self._database.execute(query, values).fetchone()

    # Settings

    def setting(self, name: str) -> str | None:
        """What was kept under a name."""
        value: str | None = self._one("SELECT value FROM setting WHERE name = ?", name)
        return value

    def settings(self) -> dict[str, str]:
        """All that was kept."""
        with self._trouble():
            return dict(self._database.execute("SELECT name, value FROM setting").fetchall())

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
        row: tuple[str, int] | None = self._row(
            "SELECT status, run FROM execution WHERE arn = ?", arn
        )
        return row

    def outdated(self, run: int) -> int:
        """How many executions had not ended when they were read, before that run."""
        closed = ", ".join("?" * len(CLOSED))
        found: int = self._one(
            f"SELECT count(*) FROM execution WHERE run < ? AND status NOT IN ({closed})",  # noqa: S608
            run,
            *CLOSED,
        )
        return found

    def failed_in(self, arn: str) -> int | None:
        """The run in which an execution could not be read."""
        run: int | None = self._one("SELECT run FROM failure WHERE arn = ?", arn)
        return run

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
            with self._trouble():
                rows = self._database.execute(
                    "SELECT number, summary FROM planned WHERE number > ? ORDER BY number LIMIT ?",
                    (last, _PAGE),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _, summary in rows:
                yield orjson.loads(summary)

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

    def counts(self) -> Counts:
        """How many there are."""
        return Counts(
            *self._row(
                "SELECT (SELECT count(*) FROM execution), (SELECT count(*) FROM failure), "
                "(SELECT count(*) FROM planned), "
                "(SELECT coalesce(sum(operations), 0) FROM execution)"
            )
        )

    def summaries(self, table: Table) -> Iterator[list[dict[str, Any]]]:
        """The rows of `executions` or `failures` in the order of their ARNs, in batches."""
        query = (
            "SELECT arn, summary FROM execution WHERE arn > ? ORDER BY arn LIMIT ?"
            if table == "executions"
            else "SELECT arn, summary FROM failure WHERE arn > ? ORDER BY arn LIMIT ?"
        )
        last = ""
        while True:
            with self._trouble():
                rows = self._database.execute(query, (last, 10 * _PAGE)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [orjson.loads(summary) for _, summary in rows]

    # Files

    def announce(self, table: Table, extension: str) -> tuple[int, str]:
        """A number and a name for a new file; until it is entered it counts as left over."""
        with self._transaction() as database:
            number = int(self.setting("next_number") or 1)
            name = f"{table}-{number:06d}.{extension}"
            database.execute("REPLACE INTO setting VALUES ('next_number', ?)", (str(number + 1),))
            database.execute("REPLACE INTO leftover VALUES (?)", (name,))
        return number, name

    def files(self, table: Table | None = None) -> list[File]:
        """The files that count, in the order in which they were written."""
        with self._trouble():
            rows = self._database.execute("SELECT * FROM file ORDER BY number").fetchall()
        return [
            File(number, kind, name, count, Stamp(size, sha256, mtime_ns))
            for number, kind, name, count, size, sha256, mtime_ns in rows
            if table in (None, kind)
        ]

    def live(self, part: int) -> list[str]:
        """The executions whose operations are in a file, and nowhere else."""
        with self._trouble():
            rows = self._database.execute("SELECT arn FROM execution WHERE part = ?", (part,))
            return [arn for (arn,) in rows]

    def live_rows(self) -> dict[int, int]:
        """How many operations of each file count."""
        with self._trouble():
            return dict(
                self._database.execute(
                    "SELECT part, sum(operations) FROM execution WHERE part IS NOT NULL "
                    "GROUP BY part"
                ).fetchall()
            )

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
        with self._trouble():
            return [name for (name,) in self._database.execute("SELECT name FROM leftover")]

    def forget_leftovers(self, names: Iterable[str]) -> None:
        with self._transaction() as database:
            database.executemany("DELETE FROM leftover WHERE name = ?", [(each,) for each in names])


def _enter_file(database: sqlite3.Connection, file: File) -> None:
    database.execute(
        "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?)",
        (file.number, file.table, file.name, file.rows, *file.stamp),
    )
    database.execute("DELETE FROM leftover WHERE name = ?", (file.name,))


def _json(summary: dict[str, Any]) -> bytes:
    return orjson.dumps(summary)
