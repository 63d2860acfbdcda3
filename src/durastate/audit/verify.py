"""Whether a directory is as its audit wrote it: every file, every row, the digest of it all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa

from .errors import DirectoryError
from .files import NotRegular, directory_named, is_table_file, opened, sha256_of
from .manifest import NAME, ContentDigest, Manifest, ManifestFile, load_manifest
from .schema import Table, columns
from .tables import Columns, digest_of, pieces, plain_columns, reading


def verify(directory: str | PathLike[str]) -> Iterator[str]:
    """What is wrong, one line each; nothing if all is well.

    Needs the files and the manifest, not the journal. `DirectoryError` where there is no manifest
    to go by. Rows are looked at only where every file is byte for byte what was written.
    """
    directory = directory_named(directory)
    manifest, is_as_written = load_manifest(directory)
    if not is_as_written:
        yield f"{NAME}: was changed since it was written"
    elif manifest.manifest_version == 1:
        yield (
            f"{NAME}: an earlier durastate wrote it, without a digest of its members, so nobody "
            f"can say whether they were changed; the next run of the audit writes one"
        )
    found = [problem for file in manifest.files for problem in _of_file(directory, file)]
    yield from found
    yield from _strangers(directory, manifest)
    if not found:
        yield from _of_rows(directory, manifest)


def _of_file(directory: Path, file: ManifestFile) -> Iterator[str]:
    path = directory / file.name
    try:
        with opened(path) as opening:
            status = os.fstat(opening.fileno())
        if status.st_size != file.size:
            yield f"{file.name}: has {status.st_size:,} bytes instead of {file.size:,}"
        elif sha256_of(path) != file.sha256:
            yield f"{file.name}: its SHA-256 is another"
        elif status.st_mode & 0o077:
            yield f"{file.name}: others may read it, with mode {status.st_mode & 0o777:o}"
    except FileNotFoundError:
        yield f"{file.name}: is missing"
    except NotRegular as error:
        yield f"{file.name}: {error.strerror}"
    except OSError as error:
        yield f"{file.name}: cannot be read: {error.strerror}"


def _strangers(directory: Path, manifest: Manifest) -> Iterator[str]:
    known = {each.name for each in manifest.files}
    for path in sorted(directory.iterdir()):
        if is_table_file(path.name) and path.name not in known:
            yield (
                f"{path.name}: is not in the manifest: a run has not come to its end, or somebody "
                f"put it here"
            )


def _of_rows(directory: Path, manifest: Manifest) -> Iterator[str]:
    try:
        with reading(directory / "a table"):
            yield from _Rows(directory, manifest).problems()
    except DirectoryError as error:
        yield error.problem


class _Rows:
    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory = directory
        self._manifest = manifest
        self._operations: dict[str, tuple[int, str]] = {}

    def problems(self) -> Iterator[str]:
        yield from self._read_operations()
        digest = ContentDigest(self._manifest.payloads)
        nothing = digest_of({name: [] for name in self._names()})
        executions, failures = 0, 0
        last = b""
        for row in self._rows("executions"):
            executions += 1
            arn = row["arn"].encode()
            if executions > 1 and arn <= last:
                yield f"{row['arn']}: is there twice in executions, or out of order"
            last = arn
            found = self._operations.pop(row["arn"], None)
            if (row["operation_count"], row["operations_sha256"]) != (found or (0, nothing)):
                yield f"{row['arn']}: its operations are others than were read"
            digest.executions([row])
        for row in self._rows("failures"):
            failures += 1
            digest.failures([row])
        for arn in self._operations:
            yield f"{arn}: has operations and is not in executions"
        expected = (self._manifest.executions, self._manifest.failures)
        if (executions, failures) != expected:
            yield f"there are {executions} executions and {failures} failures instead of {expected}"
        if digest.hexdigest() != self._manifest.digest:
            yield "the digest is another than the manifest's"

    def _rows(self, table: Table) -> Iterator[dict[str, Any]]:
        for piece in self._pieces(table):
            found = plain_columns(piece, piece.column_names)
            for values in zip(*found.values(), strict=True):
                yield dict(zip(found, values, strict=True))

    def _pieces(self, table: Table) -> Iterator[pa.Table]:
        for path in self._manifest.paths(self._directory, table):
            yield from pieces(path, table)

    def _read_operations(self) -> Iterator[str]:
        rows = 0
        for arn, found in self._executions():
            rows += len(found["id"])
            if arn in self._operations:
                yield f"{arn}: its operations are there twice, or not together"
            self._operations[arn] = (len(found["id"]), digest_of(found))
        if rows != self._manifest.operations:
            yield f"there are {rows} operations instead of {self._manifest.operations}"

    def _executions(self) -> Iterator[tuple[str, Columns]]:
        """The columns of each execution, which may go over the end of a piece."""
        last: str | None = None
        gathered: Columns = {}
        for piece in self._pieces("operations"):
            start = 0
            arns = plain_columns(piece, ["arn"])["arn"]
            found = plain_columns(piece, self._names())
            for arn, run in groupby(arns):
                end = start + sum(1 for _ in run)
                part = {name: column[start:end] for name, column in found.items()}
                start = end
                if arn == last:
                    gathered = {name: [*gathered[name], *part[name]] for name in part}
                    continue
                if last is not None:
                    yield last, gathered
                last, gathered = arn, part
        if last is not None:
            yield last, gathered

    def _names(self) -> list[str]:
        return [each for each in columns("operations", self._manifest.payloads) if each != "arn"]
