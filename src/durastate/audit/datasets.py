"""The tables of an audit as Arrow data sets: what a manifest names, or what a journal has saved.

A file that is a link is refused. What is no file of good Parquet that counts as a whole - JSON
Lines, parts with rows that do not count any more, the tables that a journal holds - becomes
Parquet in a file without a name first.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from . import scratch
from .compaction import live_pieces
from .errors import DirectoryError, QueryError
from .files import opened
from .journal import Journal
from .manifest import Manifest
from .schema import TABLES, Table, arrow_schema
from .tables import pieces, reading, rows_table

DataSets = dict[Table, ds.Dataset]
_ROWS_AT_ONCE = 10_000
# A changed byte is an error of the query that reads its page. Arrow would buffer whole files.
_PARQUET = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(
        page_checksum_verification=True, pre_buffer=False
    )
)


def of_manifest(directory: Path, manifest: Manifest, closing: ExitStack) -> DataSets:
    """The tables that a manifest names; `closing` ends what is held open for them."""
    for file in manifest.files:
        size = _size(directory / file.name)
        if size != file.size:
            raise DirectoryError(
                directory,
                f"{file.name} was changed since: it has {size:,} bytes instead of {file.size:,}",
            )
    return {table: _named(directory, manifest, table, closing) for table in TABLES}


def _size(path: Path) -> int:
    """Of a regular file, which is no link to one."""
    with reading(path), opened(path) as file:
        return os.fstat(file.fileno()).st_size


def _named(directory: Path, manifest: Manifest, table: Table, closing: ExitStack) -> ds.Dataset:
    paths = manifest.paths(directory, table)
    if manifest.format == "parquet" or not paths:
        return data_set(table, list(map(str, paths)))
    found = chain.from_iterable(pieces(path, table) for path in paths)
    return data_set(table, [_copied(directory, table, found, closing)])


def of_journal(directory: Path, journal: Journal, closing: ExitStack) -> DataSets:
    """What runs have saved by now, also those that have not ended."""
    live = journal.live_rows()
    whole: list[str] = []
    others = []
    for file in journal.files("operations"):
        path = directory / file.name
        count = live.get(file.number, 0)
        if count == file.rows == _rows_in(path):
            whole.append(str(path))
        elif count:
            others.append((path, None if count == file.rows else journal.live(file.number)))
    found: dict[Table, Iterable[pa.Table]] = {
        "executions": _of_rows(journal, "executions"),
        "operations": live_pieces(others),
        "failures": _of_rows(journal, "failures"),
    }
    return {
        table: data_set(
            table,
            [*whole * (table == "operations"), _copied(directory, table, rows, closing)],
        )
        for table, rows in found.items()
    }


def _rows_in(path: Path) -> int | None:
    """How many rows a file of Parquet has; None for other files."""
    if path.suffix != ".parquet":
        return None
    with reading(path), opened(path) as file:
        return int(pq.read_metadata(file).num_rows)


def _of_rows(journal: Journal, table: Table) -> Iterator[pa.Table]:
    return (rows_table(table, rows) for rows in journal.summaries(table))


def data_set(table: Table, paths: list[str]) -> ds.Dataset:
    """Files of Parquet as one table, which is read as it is asked for."""
    schema = arrow_schema(table)
    if not paths:
        return ds.dataset(schema.empty_table())
    found = ds.dataset(paths, schema=schema, format=_PARQUET)
    return _Streamed(list(found.get_fragments()), schema, found.format, found.filesystem)


class _Streamed(ds.FileSystemDataset):  # type: ignore[misc]
    """Read a row group at a time.

    Arrow reads ahead otherwise, which holds all of a table in memory and makes nothing faster.
    """

    def scanner(self, **wanted: Any) -> ds.Scanner:
        """What DuckDB calls, with the columns and the rows that it wants."""
        lean = {"use_threads": False, "batch_readahead": 0, "fragment_readahead": 0}
        return super().scanner(batch_size=_ROWS_AT_ONCE, **lean, **wanted)


def _copied(directory: Path, table: Table, found: Iterable[pa.Table], closing: ExitStack) -> str:
    """The path of a file with these rows, which has no name as long as it is there."""
    # Not a file of Python's: Arrow's threads would ask for the interpreter, which may wait for
    # them meanwhile.
    file = closing.enter_context(scratch.nameless(directory))
    try:
        with pq.ParquetWriter(file, arrow_schema(table)) as writer:
            for piece in found:
                writer.write_table(piece)
        file.flush()
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise QueryError(f"cannot write a copy of {table}: {why}") from None
    return f"/dev/fd/{file.fileno()}"
