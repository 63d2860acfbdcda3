"""SQL over an audit's files: DuckDB with the three tables as views, and nothing else in reach.

The files reach DuckDB as Arrow data sets, so DuckDB itself may neither open a file nor a
connection, nor load or install an extension, and that cannot be switched on again. One statement
that reads is admitted. JSON Lines become Parquet in a temporary folder first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from durastate.errors import DurastateError

from .errors import DirectoryError
from .manifest import Manifest, read_manifest
from .schema import TABLES, Table, arrow_schema
from .tables import DAMAGED, pieces
from .texts import Shape

_ROWS_OF_A_BATCH = 10_000
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


class QueryError(DurastateError):
    """DuckDB refuses the query, or it is none that only reads."""


class Answer:
    """The columns of an answer, and its rows as Arrow batches as DuckDB finds them.

    `columns` are the names and DuckDB's types, as they are before a `Shape` makes text of them.
    """

    def __init__(
        self,
        reader: pa.RecordBatchReader,
        aside: _Aside,
        columns: Sequence[tuple[str, str]],
        *,
        is_plan: bool,
    ) -> None:
        self.columns = columns
        self.is_plan = is_plan  # of an EXPLAIN, whose text has lines
        self._reader = reader
        self._aside = aside

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._aside.do(self._next)) is not None:
            yield batch

    def _next(self) -> pa.RecordBatch | None:
        return next(self._reader, None)


class _Aside:
    """DuckDB works in another thread, so that Ctrl-C reaches this one and can be passed on."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, thread: ThreadPoolExecutor) -> None:
        self._duck = duck
        self._thread = thread

    def do(self, work: Callable[[], Any]) -> Any:
        """The result of the work; an error of DuckDB's, whose text has several lines, in one."""
        doing = self._thread.submit(work)
        try:
            return doing.result()
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            raise QueryError(" ".join(str(error).split())) from None
        except BaseException:
            self._duck.interrupt()
            raise


class Tables:
    """The tables of an audit, open for any number of questions."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, thread: ThreadPoolExecutor) -> None:
        self._duck = duck
        self._aside = _Aside(duck, thread)

    def ask(self, sql: str, values: Sequence[Any] = (), shape: Shape | None = None) -> Answer:
        """The answer to one statement, to be read before the next; `values` are for its `?`."""
        statement = _one_that_reads(self._aside.do(lambda: self._duck.extract_statements(sql)))
        is_plan, given = statement.type == duckdb.StatementType.EXPLAIN, list(values) or None

        def asking() -> Answer:
            relation = self._duck.sql(statement.query, params=given)
            kinds = [kind.id for kind in relation.types]
            columns = list(zip(relation.columns, kinds, strict=True))
            shaped = relation if shape is None else shape(relation)
            reader = shaped.to_arrow_reader(_ROWS_OF_A_BATCH)
            return Answer(reader, self._aside, columns, is_plan=is_plan)

        answer: Answer = self._aside.do(asking)
        return answer


@contextmanager
def query(directory: Path, sql: str, shape: Shape | None = None) -> Iterator[Answer]:
    """The answer to one statement over `executions`, `operations` and `failures`.

    The block has it; it is gone after that. Times are UTC. With a `shape` of `texts` the rows are
    text. `QueryError` for what DuckDB refuses, `DirectoryError` where there is no audit.
    """
    with tables(directory) as opened:
        yield opened.ask(sql, shape=shape)


@contextmanager
def tables(directory: Path) -> Iterator[Tables]:
    """The same for several statements."""
    manifest = read_manifest(directory)
    with (
        tempfile.TemporaryDirectory(prefix="durastate-") as scratch,
        _connection(scratch) as duck,
        ThreadPoolExecutor(1) as thread,
    ):
        for table in TABLES:
            duck.register(table, _data_set(directory, manifest, table, Path(scratch)))
        duck.execute("SET lock_configuration = true")
        yield Tables(duck, thread)


def _one_that_reads(statements: list[duckdb.Statement]) -> duckdb.Statement:
    if len(statements) != 1 or statements[0].type not in _READING:
        raise QueryError("expected one statement that reads, such as SELECT, DESCRIBE or EXPLAIN")
    return statements[0]


@contextmanager
def _connection(scratch: str) -> Iterator[duckdb.DuckDBPyConnection]:
    duck = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": False,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "temp_directory": scratch,
        },
    )
    try:
        duck.execute("SET TimeZone = 'UTC'")
        yield duck
    finally:
        duck.close()


def _data_set(directory: Path, manifest: Manifest, table: Table, scratch: Path) -> ds.Dataset:
    paths = manifest.paths(directory, table)
    for path in paths:
        if not path.is_file():
            raise DirectoryError(directory, f"{path.name} is missing")
    if manifest.format == "jsonl":
        paths = [_as_parquet(directory, path, table, scratch) for path in paths]
    schema = arrow_schema(table)
    if not paths:
        return ds.dataset(schema.empty_table())
    options = ds.ParquetFragmentScanOptions(pre_buffer=False)  # of whole files otherwise
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    found = ds.dataset([str(path) for path in paths], schema=schema, format=form)
    return _Streamed(list(found.get_fragments()), schema, found.format, found.filesystem)


class _Streamed(ds.FileSystemDataset):  # type: ignore[misc]
    """Read a row group at a time.

    Arrow reads ahead otherwise, which holds all of a table in memory and makes nothing faster.
    """

    def scanner(self, **wanted: Any) -> ds.Scanner:
        """What DuckDB calls, with the columns and the rows that it wants."""
        lean = {"use_threads": False, "batch_readahead": 0, "fragment_readahead": 0}
        return super().scanner(batch_size=_ROWS_OF_A_BATCH, **lean, **wanted)


def _as_parquet(directory: Path, path: Path, table: Table, scratch: Path) -> Path:
    made = scratch / f"{path.stem}.parquet"
    try:
        with pq.ParquetWriter(made, arrow_schema(table)) as writer:
            for piece in pieces(path, table):
                writer.write_table(piece)
    except OSError as error:
        raise QueryError(" ".join(str(error).split())) from None
    except DAMAGED:
        raise DirectoryError(directory, f"{path.name} is damaged") from None
    return made
