"""The directory that an audit writes into, whatever ends the run.

Executions are gathered and saved as a *part*, a file of bounded size, every so many operations,
bytes or seconds: announced in the journal, written under a temporary name, forced to the disk,
renamed, and entered in the journal with its executions in one transaction. A run that is killed
loses at most the part that it was gathering, and those executions are read again; what it left
half done is removed at the next opening.

An execution that is read anew is entered again, so that its old rows are dead. `finish` rewrites
the parts that hold dead rows, merges small ones, writes the tables of executions and failures
from the journal, and last of all the manifest, which is what readers go by: until then it names
the files of the finish before, and they are still there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from datetime import datetime, timedelta, timezone
from os import PathLike
from pathlib import Path
from typing import Any, Self

import orjson

from durastate import __version__
from durastate.arguments import shown
from durastate.errors import ConfigurationError, DurastateError
from durastate.models import ExecutionState

from . import manifest as manifests
from . import scratch
from .compaction import compact
from .errors import DirectoryError
from .files import LOCK, directory_named, lock, new_file, writing
from .journal import CLOSED, Counts, File, Journal, Read
from .kept import pins as pins_of
from .manifest import (
    MANIFEST_VERSION,
    ContentDigest,
    Manifest,
    ManifestFile,
    worth_saying,
)
from .opening import check_ours, check_settings, settle
from .parts import Parts
from .rows import ExecutionRow, clean, microseconds, row_of, summary_of
from .schema import FORMATS, PAYLOADS, SCHEMA_VERSION, TABLES, Format, Payloads, Table
from .tables import Encoded, encode, operations_table, rows_table

_PART_OPERATIONS = 25_000
_PART_BYTES = 16 * 1024**2
_SAVE_EVERY_S = 30.0
_BYTES_OF_A_ROW = 1_000  # about what an execution takes besides its operations


class Store:
    """An open audit directory; nobody else writes into it meanwhile. Not for two threads at once.

    Every method may block for a part's writing, a fraction of a second. `WriteError` means that
    the disk does not take more: close it, and the same command goes on later.
    """

    def __init__(
        self,
        directory: Path,
        journal: Journal,
        *,
        format: Format,  # noqa: A002
        payloads: Payloads,
        refresh: bool,
        part_operations: int,
        clock: Callable[[], float],
    ) -> None:
        self.directory = directory
        self.format = format
        self.payloads = payloads
        self._journal = journal
        self._closing = ExitStack()
        self._refresh = refresh
        self._part_operations = part_operations
        self._clock = clock
        self._parts = Parts(directory, journal, format)
        self._run = self._began = int(journal.settings().get("run", 0)) + 1
        self._reads: dict[str, tuple[Read, Encoded]] = {}
        self._failures: dict[str, dict[str, Any]] = {}
        self._operations = 0
        self._bytes = 0
        self._since = 0.0

    @classmethod
    def open(
        cls,
        directory: str | PathLike[str],
        *,
        format: Format = "parquet",  # noqa: A002
        payloads: Payloads = "none",
        refresh: bool = False,
        part_operations: int = _PART_OPERATIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Begin an audit in a directory, or go on with one.

        With `refresh`, executions that were still running when they were read are needed again.
        `DirectoryError` where the directory holds something else, was written with another
        schema version, format or `payloads`, has been changed since, or is in use.
        """
        directory = directory_named(directory)
        for name, given, known in (("format", format, FORMATS), ("payloads", payloads, PAYLOADS)):
            if not isinstance(given, str) or given not in known:
                expected = ", ".join(known)
                raise ConfigurationError(f"{name}: expected {expected}, found {shown(given)}")
        with writing(directory):
            if directory.exists() and not directory.is_dir():
                raise DirectoryError(directory, "is no directory")
            is_made = not directory.exists()
            if is_made and directory.is_symlink():
                raise DirectoryError(directory, "is a symbolic link to nothing")
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            in_use = check_ours(directory)
            is_new = is_made or not any(directory.iterdir())
        with ExitStack() as opened:
            opened.callback(os.close, lock(directory))
            scratch.remove_left(directory)
            journal = opened.enter_context(closing(Journal(directory)))
            settle(directory, journal, format, payloads)
            store = cls(
                directory,
                journal,
                format=format,
                payloads=payloads,
                refresh=refresh,
                part_operations=part_operations,
                clock=clock,
            )
            store._begin_run(in_use)
            if is_made:
                store._closing.callback(_remove_folder, directory)
            store._closing.push(opened.pop_all())
            if is_new:
                store._closing.callback(store._undo_nothing)
        return store

    @classmethod
    def look(
        cls,
        directory: Path,
        *,
        format: Format = "parquet",  # noqa: A002
        payloads: Payloads = "none",
        refresh: bool = False,
    ) -> Self | None:
        """What `open` would find, for `needs` and `counts` alone: nothing is changed or removed.

        None where nothing was begun. `DirectoryError` where `open` would refuse the directory.
        """
        if directory.exists() and not directory.is_dir():
            raise DirectoryError(directory, "is no directory")
        if not directory.exists():
            return None
        with writing(directory):
            check_ours(directory)
        journal = Journal.look(directory)
        if journal is None:
            return None
        with ExitStack() as opened:
            opened.enter_context(closing(journal))
            check_settings(directory, journal.settings(), format, payloads)
            journal.check_parts()
            store = cls(
                directory,
                journal,
                format=format,
                payloads=payloads,
                refresh=refresh,
                part_operations=_PART_OPERATIONS,
                clock=time.monotonic,
            )
            store._closing = opened.pop_all()
        return store

    def _begin_run(self, in_use: set[str]) -> None:
        """Count it, once the directory is as the last run has left it, and rid of what is not."""
        self._journal.check_parts()
        for file in self._journal.files():
            self._parts.check(file)
        self._parts.tidy(keep=in_use)
        self._journal.keep(run=str(self._run))

    def close(self) -> None:
        """Let go of the directory. What was added since the last save is not kept.

        A new directory in which nothing was begun is left as it was before.
        """
        self._closing.close()

    def _undo_nothing(self) -> None:
        if self._journal.is_blank():
            self._journal.remove()
            (self.directory / LOCK).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What to read

    def begin(self, selection: Mapping[str, Any], pins: Mapping[str, str]) -> dict[str, str]:
        """What a run is pinned to: of the unfinished run with this selection, or else `pins`.

        So that a run that was killed goes on with the moment it began at, and with what it has
        read anew. Another selection than the unfinished run's, or `refresh` instead of none,
        forgets what that one had planned.
        """
        wanted = orjson.dumps(
            [dict(selection), self._refresh], option=orjson.OPT_SORT_KEYS
        ).decode()
        kept = self._journal.settings()
        if "pins" in kept and kept["selection"] == wanted:
            self._began = int(kept["began"])
            with self._journal.checking():
                return pins_of(kept["pins"])
        self._began = self._run
        self._journal.forget_plan()
        self._journal.keep(
            selection=wanted, pins=orjson.dumps(dict(pins)).decode(), began=str(self._began)
        )
        return dict(pins)

    def needs(self, arn: str, status: str | None = None) -> bool:
        """Whether an execution is to be read; `status` is what it is listed with now, if it is.

        No for one that was read when it was closed, and for one that this run has read or failed
        to read. Yes for one that an earlier run failed to read. One that was running when it was
        read is needed if its status is another now, or with `refresh`, unless the unfinished run
        that this one goes on with has read it anew.
        """
        arn = clean(arn)
        if arn in self._reads or arn in self._failures:
            return False
        if self._journal.failed_in(arn) == self._run:
            return False
        known = self._journal.known(arn)
        if known is None:
            return True
        status_then, run = known
        if run == self._run or status_then in CLOSED:
            return False
        has_changed = bool(status) and status != status_then
        return has_changed or (self._refresh and run < self._began)

    def plan(self, rows: Iterable[ExecutionRow]) -> int:
        """Remember those of a listing that are needed, and say how many they are."""
        summaries = [
            summary_of(row, self.payloads) for row in rows if self.needs(row.arn, row.status)
        ]
        if summaries:
            self._journal.plan(summaries)
        return len(summaries)

    def pending(self) -> Iterator[ExecutionRow]:
        """What is planned and neither read nor failed, in the order of planning.

        Meanwhile the store may be written to. What an interrupted run had planned is among it.
        """
        for summary in self._journal.planned():
            arn = summary["arn"]
            if arn not in self._reads and arn not in self._failures:
                yield row_of(summary)

    def counts(self) -> Counts:
        """What the directory holds by now; saves first."""
        self.save()
        return self._journal.counts()

    def outdated(self) -> int:
        """How many executions ran on when an earlier run read them; saves first."""
        self.save()
        return self._journal.outdated(self._began)

    # What was read

    def add(self, row: ExecutionRow, state: ExecutionState, *, at: datetime | None = None) -> None:
        """Take an execution with all its operations; from time to time this saves.

        `at` is when it was read, by the service's clock; otherwise by this machine's.
        """
        encoded = encode(state, self.payloads)
        summary = summary_of(row, self.payloads) | {
            "operation_count": encoded.operations,
            "failed_count": encoded.failed,
            "retry_count": encoded.retries,
            "operations_sha256": encoded.sha256,
            "read_at": microseconds(at or _now()),
        }
        arn = summary["arn"]
        self._failures.pop(arn, None)
        self._first_of_part()
        self._reads[arn] = (Read(arn, summary["status"], encoded.operations, summary), encoded)
        self._operations += encoded.operations
        self._bytes += encoded.size + _BYTES_OF_A_ROW
        self._save_if_due()

    def fail(
        self,
        row: ExecutionRow,
        error: DurastateError,
        *,
        source: str = "history",
        at: datetime | None = None,
    ) -> None:
        """Take note that an execution could not be read; what an earlier run read of it stays.

        `source` is the call that failed, `at` as in `add`.
        """
        summary = summary_of(row, self.payloads)
        kept = ("arn", "region", "account", "function", "version", "name", "status")
        code = getattr(error, "code", None)
        failure = {name: summary[name] for name in kept if name in summary} | {
            "error": type(error).__name__,
            "code": None if code is None else clean(str(code)),
            "message": clean(str(error)),
            "source": source,
            "failed_at": microseconds(at or _now()),
        }
        self._first_of_part()
        self._failures[failure["arn"]] = failure
        self._bytes += _BYTES_OF_A_ROW
        self._save_if_due()

    def forgive(self, arn: str) -> None:
        """Forget that something could not be read, in an earlier run."""
        self._failures.pop(arn, None)
        self._journal.forgive(arn)

    def save(self) -> None:
        """Write what was taken since the last time; it is safe after this."""
        if not self._reads and not self._failures:
            return
        file = self._write_part() if self._operations else None
        reads = [read for read, _ in self._reads.values()]
        self._journal.enter(file, reads, list(self._failures.values()), self._run)
        self._reads.clear()
        self._failures.clear()
        self._operations = self._bytes = 0

    def _first_of_part(self) -> None:
        if not self._reads and not self._failures:
            self._since = self._clock()

    def _save_if_due(self) -> None:
        if (
            self._operations >= self._part_operations
            or self._bytes >= _PART_BYTES
            or self._clock() - self._since >= _SAVE_EVERY_S
        ):
            self.save()

    def _write_part(self) -> File:
        found = operations_table((arn, encoded) for arn, (_, encoded) in self._reads.items())
        with self._parts.new("operations") as new:
            new.write(found)
            return new.commit()

    # The end of a run

    def finish(self, *, complete: bool, clock_skew_s: float = 0.0) -> Manifest:
        """Save, put the tables in order, write the manifest, and say what it says.

        `complete` is False for a run that was broken off: the files are as good, and the same
        selection goes on where this one was. May be called again after more was added.
        `clock_skew_s` is how far the service's clock is ahead of this machine's.
        """
        self.save()
        compact(self._journal, self._parts)
        digest = ContentDigest(self.payloads)
        old = [each for each in self._journal.files() if each.table != "operations"]
        new = [
            self._write_table("executions", digest.executions),
            self._write_table("failures", digest.failures),
        ]
        self._journal.replace(old, new)
        manifest = self._manifest(digest.hexdigest(), complete=complete, clock_skew_s=clock_skew_s)
        self._write_manifest(manifest)
        if complete:
            self._journal.forget_plan()
            self._journal.keep(selection=None, pins=None, began=None)
        self._parts.tidy(keep=())
        return manifest

    def _write_table(
        self, table: Table, count_in: Callable[[Iterable[dict[str, Any]]], None]
    ) -> File:
        """A table from the journal, in the order of the ARNs."""
        with self._parts.new(table) as new:
            for rows in self._journal.summaries(table):
                count_in(rows)
                new.write(rows_table(table, rows))
            return new.commit()

    def _write_manifest(self, manifest: Manifest) -> None:
        """The journal knows the new manifest before it is there, and the old one until it is."""
        data = manifest.to_json()
        sha256 = hashlib.sha256(data).hexdigest()
        self._journal.keep(next_manifest=sha256)
        with new_file(self.directory / manifests.NAME) as file:
            file.write(data)
            file.commit()
        self._journal.keep(manifest=sha256, next_manifest=None)

    def _manifest(self, digest: str, *, complete: bool, clock_skew_s: float) -> Manifest:
        counts = self._journal.counts()
        files = sorted(self._journal.files(), key=lambda each: TABLES.index(each.table))
        return Manifest(
            manifest_version=MANIFEST_VERSION,
            schema_version=SCHEMA_VERSION,
            durastate=__version__,
            written_at=(_now() + timedelta(seconds=clock_skew_s)).isoformat(timespec="seconds"),
            complete=complete,
            format=self.format,
            payloads=self.payloads,
            digest=digest,
            executions=counts.read,
            operations=counts.operations,
            failures=counts.failed,
            clock_skew_s=worth_saying(clock_skew_s),
            files=tuple(
                ManifestFile(each.name, each.table, each.rows, each.stamp.size, each.stamp.sha256)
                for each in files
            ),
        )


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _remove_folder(directory: Path) -> None:
    """Remove a directory that was made for nothing; one with anything in it stays."""
    with suppress(OSError):
        directory.rmdir()
