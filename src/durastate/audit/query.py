"""SQL over an audit's files: DuckDB with the three tables as views, and nothing else in reach.

The files reach DuckDB as Arrow data sets, so DuckDB itself may neither open a file nor a
connection, nor load or install an extension, and that cannot be switched on again. One statement
that reads is admitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from . import datasets, scratch
from .errors import DirectoryError, QueryError
from .files import directory_named
from .journal import Counts, Journal
from .manifest import load_manifest, read_manifest
from .schema import Payloads
from .texts import Shape

__all__ = ["Answer", "QueryError", "Tables", "query", "tables"]

_ROWS_OF_A_BATCH = 10_000
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


class Answer:
    """The columns of an answer, and its rows as Arrow batches as DuckDB finds them.

    `columns` are the names and DuckDB's types, as they are before a `Shape` makes text of them.
    Of an audit that is read partially, the last one is `partial` and true in every row.
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
        self.schema: pa.Schema = reader.schema
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
    """The tables of an audit, open for any number of questions.

    `partial` is what runs have saved by now, and what is planned; None where a run's end is read.
    `is_complete` is False where that run was broken off.
    """

    def __init__(
        self,
        aside: _Aside,
        duck: duckdb.DuckDBPyConnection,
        *,
        payloads: Payloads,
        partial: Counts | None,
        is_complete: bool,
    ) -> None:
        self.payloads = payloads
        self.partial = partial
        self.is_complete = is_complete
        self._aside = aside
        self._duck = duck

    def ask(
        self,
        sql: str,
        values: Sequence[Any] = (),
        shape: Shape | None = None,
        *,
        marked: bool = True,
    ) -> Answer:
        """The answer to one statement, to be read before the next; `values` are for its `?`.

        With a `shape` of `texts` the rows are text. Without `marked` also a partial audit's has
        no column more.
        """
        statement = _one_that_reads(self._aside.do(lambda: self._duck.extract_statements(sql)))
        is_plan, given = statement.type == duckdb.StatementType.EXPLAIN, list(values) or None

        def asking() -> Answer:
            relation = self._duck.sql(statement.query, params=given)
            if marked and self.partial is not None and not is_plan:
                relation = relation.project("*, true AS partial")
            kinds = [kind.id for kind in relation.types]
            columns = list(zip(relation.columns, kinds, strict=True))
            shaped = relation if shape is None else shape(relation)
            reader = shaped.to_arrow_reader(_ROWS_OF_A_BATCH)
            return Answer(reader, self._aside, columns, is_plan=is_plan)

        answer: Answer = self._aside.do(asking)
        return answer


@contextmanager
def query(
    directory: str | PathLike[str],
    sql: str,
    shape: Shape | None = None,
    *,
    partial: bool = False,
) -> Iterator[Answer]:
    """The answer to one statement over `executions`, `operations` and `failures`.

    The block has it; it is gone after that. Times are UTC. `QueryError` for what DuckDB refuses,
    `DirectoryError` where there is no audit. `shape` is as with `Tables.ask`, `partial` as with
    `tables`.
    """
    if not isinstance(sql, str):
        raise QueryError(f"sql: expected a statement, found {type(sql).__name__}")
    with tables(directory, partial=partial) as opened:
        yield opened.ask(sql, shape=shape)


@contextmanager
def tables(directory: str | PathLike[str], *, partial: bool = False) -> Iterator[Tables]:
    """The same for several statements.

    With `partial`, what runs have saved by now, whether they were killed or go on: an answer of
    that has one column more, `partial`.
    """
    directory = directory_named(directory)
    with ExitStack() as held:
        counts: Counts | None = None
        if partial:
            journal = held.enter_context(_saved(directory))
            payloads: Payloads = journal.settings()["payloads"]  # type: ignore[assignment]
            counts, is_complete = journal.counts(), False
            sets = datasets.of_journal(directory, journal, held)
        else:
            manifest = read_manifest(directory)
            payloads, is_complete = manifest.payloads, manifest.complete
            sets = datasets.of_manifest(directory, manifest, held)
        scratch.remove_left(directory)
        duck = held.enter_context(_connection(held.enter_context(scratch.folder(directory))))
        aside = _Aside(duck, held.enter_context(ThreadPoolExecutor(1)))
        for table, found in sets.items():
            duck.register(table, found)
        duck.execute("SET lock_configuration = true")
        yield Tables(aside, duck, payloads=payloads, partial=counts, is_complete=is_complete)


@contextmanager
def _saved(directory: Path) -> Iterator[Journal]:
    """The journal, where it says that something was begun."""
    journal = Journal.look(directory)
    if journal is None:
        load_manifest(directory)  # says what is wrong with a directory without an audit
        raise DirectoryError(directory, "has no journal, so it has no more than its manifest says")
    with closing(journal):
        if "payloads" not in journal.settings():
            raise DirectoryError(directory, "an audit was begun here, and it has saved nothing yet")
        journal.check_parts()
        yield journal


def _one_that_reads(statements: list[duckdb.Statement]) -> duckdb.Statement:
    if len(statements) != 1 or statements[0].type not in _READING:
        raise QueryError("expected one statement that reads, such as SELECT, DESCRIBE or EXPLAIN")
    return statements[0]


@contextmanager
def _connection(aside: Path | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """What does not fit into memory goes into `aside`, or nowhere."""
    duck = duckdb.connect(
        ":memory:",
        config={
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "temp_directory": "" if aside is None else str(aside),
        },
    )
    try:
        # Not above: DuckDB may take that first, and then refuses the folder.
        duck.execute("SET enable_external_access = false")
        duck.execute("SET TimeZone = 'UTC'")
        yield duck
    finally:
        duck.close()
