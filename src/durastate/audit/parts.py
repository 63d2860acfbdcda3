"""The files of the tables: how a new one comes in, and whether an old one is as it was written."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from .errors import DirectoryError
from .files import NewFile, new_file, sha256_of, temporary_name, writing
from .journal import File, Journal
from .schema import Format, Table
from .tables import TableWriter


class NewPart:
    """A file of a table that is being written; it counts once the journal has entered it."""

    def __init__(self, file: NewFile, number: int, table: Table, format: Format) -> None:  # noqa: A002
        self._file = file
        self._number = number
        self._table = table
        self._writer = TableWriter(file, table, format)

    def write(self, found: pa.Table) -> None:
        self._writer.write(found)

    def copy(self, lines: list[bytes]) -> None:
        self._writer.copy(lines)

    def let_go(self) -> None:
        """pyarrow's writer would write its end when it is collected, and complain in vain."""
        self._writer.close()

    def commit(self) -> File:
        """Whole and under its name; to be entered in the journal."""
        self._writer.close()
        name = self._file.path.name
        return File(self._number, self._table, name, self._writer.rows, self._file.commit())


class Parts:
    """The files of one directory."""

    def __init__(self, directory: Path, journal: Journal, format: Format) -> None:  # noqa: A002
        self._directory = directory
        self._journal = journal
        self.format: Format = format

    @contextmanager
    def new(self, table: Table) -> Iterator[NewPart]:
        """A file for the block to write and commit; otherwise nothing is left of it."""
        number, name = self._journal.announce(table, self.format)
        path = self._directory / name
        if os.path.lexists(path):
            raise DirectoryError(self._directory, f"{name} is in the way, and not of this audit")
        with new_file(path) as file:
            part = NewPart(file, number, table, self.format)
            try:
                yield part
            finally:
                file.discard()
                part.let_go()

    def path(self, file: File) -> Path:
        return self._directory / file.name

    def check(self, file: File, *, thoroughly: bool = False) -> None:
        """Refuse a file that was changed since. Its content is read only where its size or time
        is another, or `thoroughly`.
        """
        path = self.path(file)
        try:
            found = path.lstat()
            same = found.st_size == file.stamp.size and (
                (found.st_mtime_ns == file.stamp.mtime_ns and not thoroughly)
                or sha256_of(path) == file.stamp.sha256
            )
        except FileNotFoundError:
            raise DirectoryError(
                self._directory, f"{file.name} is missing, so nothing is added here"
            ) from None
        except OSError as error:
            raise DirectoryError(
                self._directory, f"cannot read {file.name}: {error.strerror}"
            ) from None
        if not same:
            raise DirectoryError(
                self._directory, f"{file.name} was changed since, so nothing is added here"
            )

    def tidy(self, keep: Container[str]) -> None:
        """Remove what does not count: of runs that were killed, and what a newer file replaced.

        But not what is in `keep`, which readers still go by.
        """
        names = [each for each in self._journal.leftovers() if each not in keep]
        for name in names:
            path = self._directory / name
            with writing(path):
                path.unlink(missing_ok=True)
                temporary_name(path).unlink(missing_ok=True)
        if names:
            self._journal.forget_leftovers(names)
