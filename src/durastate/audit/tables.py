"""From operations to columns, and from columns to Parquet or JSON Lines.

Everything that runs once an operation is a list comprehension or one short loop over details;
Arrow does the rest a column at a time. An execution's columns are also what its digest is taken
of, so the digest is the same for every format, every division into files and every order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from durastate.details import DETAILS_OF_TYPE, OperationStatus, OperationType
from durastate.models import ExecutionState, Operation, dump_json

from .errors import DirectoryError
from .files import NewFile, opened
from .rows import clean, measures, microseconds
from .schema import COLUMNS, Format, Payloads, Table, arrow_schema, columns

_LINES_OF_A_PIECE = 10_000
_INT64 = 2**63 - 1
# Looked up instead of called: a StrEnum's own str() is slow, and orjson and Arrow want it plain.
_TEXTS = {str(each): str(each.value) for each in (*OperationType, *OperationStatus)}
_KNOWN_OF_DETAILS = frozenset(
    (
        *("InputPayload", "ReplayChildren", "Result", "Error", "Attempt"),
        *("NextAttemptTimestamp", "ScheduledEndTimestamp", "CallbackId"),
    )
)
_KNOWN_OF_ERROR = frozenset(("ErrorType", "ErrorMessage", "ErrorData", "StackTrace"))
_PAYLOADS_OF_DETAILS = {"InputPayload": "input", "Result": "result"}
_PAYLOADS_OF_ERROR = {
    "ErrorMessage": "error_message",
    "ErrorData": "error_data",
    "StackTrace": "stack_trace",
}

_COLUMNS_OF_TRUNCATED = {
    **{member: (column,) for member, column in _PAYLOADS_OF_DETAILS.items()},
    "Error": tuple(_PAYLOADS_OF_ERROR.values()),
}

# What comes of reading a file that is damaged, whatever it holds now; of Arrow an OSError too.
_DAMAGED = (
    *(pa.ArrowException, ValueError, TypeError, AttributeError, KeyError, IndexError),
    *(OverflowError, OSError),
)

Columns = dict[str, list[Any]]


class Encoded(NamedTuple):
    """One execution's operations as columns, without `arn`, and what is counted in them."""

    operations: int
    failed: int
    retries: int
    columns: Columns
    sha256: str
    size: int  # of the columns as JSON, in bytes: about what they take in memory


def encode(state: ExecutionState, payloads: Payloads) -> Encoded:
    """The columns that hold something with these `payloads`, in the schema's order."""
    found = _columns(state, payloads)
    try:
        data = orjson.dumps(list(found.values()))
    except orjson.JSONEncodeError:  # a lone surrogate
        found = {name: [clean(value) for value in column] for name, column in found.items()}
        data = orjson.dumps(list(found.values()))
    return Encoded(
        operations=len(state.operations),
        failed=sum(status in ("FAILED", "TIMED_OUT") for status in found["status"]),
        retries=min(_INT64, sum(each - 1 for each in found["attempt"] if each and each > 1)),
        columns=found,
        sha256=sha256(data).hexdigest(),
        size=len(data),
    )


def digest_of(found: Columns) -> str:
    """The digest that `encode` gives to an execution's operations, of columns read back."""
    return sha256(orjson.dumps(list(found.values()))).hexdigest()


def _columns(state: ExecutionState, payloads: Payloads) -> Columns:
    operations = state.operations
    count = len(operations)
    texts = _TEXTS.get
    found: Columns = {
        "sequence": list(range(count)),
        "id": [each.id for each in operations],
        "parent_id": [each.parent_id for each in operations],
        "name": [each.name for each in operations],
        "type": [texts(each.type, each.type) for each in operations],
        "sub_type": [each.sub_type for each in operations],
        "status": [texts(each.status, each.status) for each in operations],
        "started_at": [round(each._start * 1_000_000) for each in operations],
        "ended_at": [
            None if each._end is None else round(each._end * 1_000_000) for each in operations
        ],
    }
    for name in columns("operations", payloads):
        if name not in found and name != "arn":
            found[name] = [None] * count
    found["source"] = [str(state.source)] * count
    attempts, error_types = found["attempt"], found["error_type"]
    next_attempts, scheduled_ends = found["next_attempt_at"], found["scheduled_end_at"]
    replays = found["replay_children"]
    for at, operation in enumerate(operations):
        details = operation._details
        if details is None:
            continue
        for name, value in details.items():
            if name == "Attempt":
                attempts[at] = value if -_INT64 <= value <= _INT64 else None
            elif name == "Error":
                error_types[at] = value.get("ErrorType")
            elif name == "NextAttemptTimestamp":
                next_attempts[at] = round(value * 1_000_000)
            elif name == "ScheduledEndTimestamp":
                scheduled_ends[at] = round(value * 1_000_000)
            elif name == "ReplayChildren":
                replays[at] = value
    if payloads != "none":
        _add_payloads(operations, payloads, found)
    return found


def _add_payloads(operations: Sequence[Operation], payloads: Payloads, found: Columns) -> None:
    for at, operation in enumerate(operations):
        details = operation._details
        if details is not None:
            held = _texts(details, _PAYLOADS_OF_DETAILS)
            held |= _texts(details.get("Error") or {}, _PAYLOADS_OF_ERROR)
            if operation._rest is not None and payloads != "full":
                _drop_cut(operation, held)
            for name, text in held.items():
                for column, value in measures(name, text, payloads).items():
                    found[column][at] = value
        if payloads == "full":
            found["callback_id"][at] = details.get("CallbackId") if details else None
            found["other"][at] = _other(operation)


def _drop_cut(operation: Operation, held: dict[str, str]) -> None:
    """Keep no size and no hash of a part, which would be taken for those of the whole."""
    for member in operation.truncated:
        for name in _COLUMNS_OF_TRUNCATED.get(member, ()):
            held.pop(name, None)


def _texts(members: dict[str, Any], wanted: dict[str, str]) -> dict[str, str]:
    """The payloads among `members` by their columns; a stack trace as a JSON array."""
    return {
        column: value if isinstance(value, str) else dump_json(value).decode()
        for member, column in wanted.items()
        if (value := members.get(member)) is not None
    }


def _other(operation: Operation) -> str | None:
    """What has no column of its own, as JSON in the wire form: mostly nothing."""
    details = operation._details or {}
    error = details.get("Error") or {}
    unknown = details.keys() - _KNOWN_OF_DETAILS
    unknown_of_error = error.keys() - _KNOWN_OF_ERROR
    other = dict(operation._rest or {})
    if unknown or unknown_of_error:
        left: dict[str, Any] = {name: details[name] for name in details if name in unknown}
        if unknown_of_error:
            left["Error"] = {name: error[name] for name in error if name in unknown_of_error}
        other[DETAILS_OF_TYPE[operation.type]] = left
    return dump_json(other).decode() if other else None


class TableWriter:
    """Rows of one table into one new file."""

    def __init__(self, file: NewFile, table: Table, format: Format) -> None:  # noqa: A002
        self.rows = 0
        self._file = file
        self._parquet = _parquet_writer(file, table) if format == "parquet" else None

    def write(self, found: pa.Table) -> None:
        """One row group, or its lines."""
        self.rows += found.num_rows
        if self._parquet is not None:
            self._parquet.write_table(found, row_group_size=max(1, found.num_rows))
        elif found.num_rows:
            self._file.write(_lines(found))

    def copy(self, lines: list[bytes]) -> None:
        """Lines of another file of this table."""
        self.rows += len(lines)
        self._file.write(b"".join(lines))

    def close(self) -> None:
        """After this the file can be committed."""
        if self._parquet is not None:
            self._parquet.close()


def _parquet_writer(file: NewFile, table: Table) -> pq.ParquetWriter:
    """Without dictionaries of times, which hardly repeat. Ids do: AWS makes them of the place."""
    repeated = [each.name for each in COLUMNS[table] if each.kind != "time"]
    return pq.ParquetWriter(
        file,
        arrow_schema(table),
        compression="zstd",
        compression_level=1,
        use_dictionary=repeated,
        write_page_checksum=True,
    )


def operations_table(batches: Iterable[tuple[str, Encoded]]) -> pa.Table:
    """The operations of many executions, given by their ARNs, as one Arrow table."""
    pairs = [(arn, encoded) for arn, encoded in batches if encoded.operations]
    indices = [at for at, (_, encoded) in enumerate(pairs) for _ in range(encoded.operations)]
    arns = pa.array([arn for arn, _ in pairs], pa.string())
    merged: Columns = {}
    if pairs:
        merged = {
            name: list(chain.from_iterable(encoded.columns[name] for _, encoded in pairs))
            for name in pairs[0][1].columns
        }
    table = as_table("operations", merged, len(indices))
    of_arn = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), arns)
    return table.set_column(0, table.schema.field(0), of_arn)


def as_table(table: Table, found: Columns, count: int) -> pa.Table:
    """Columns as an Arrow table of the schema; what is not given is null."""
    schema = arrow_schema(table)
    arrays = [
        _array(found[field.name], field.type)
        if field.name in found
        else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)


def rows_table(table: Table, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as dicts, times in microseconds, as an Arrow table."""
    found = {each.name: [row.get(each.name) for row in rows] for each in COLUMNS[table]}
    return as_table(table, found, len(rows))


def plain_columns(found: pa.Table, names: Iterable[str]) -> Columns:
    """Columns of an Arrow table as they were given to `as_table`: times in microseconds."""
    return {name: _plain(found.column(name)) for name in names}


def _plain(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return _values(column)


def _values(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())  # 30 times as fast as value by value
    values: list[Any] = column.to_pylist()
    return values


def _lines(found: pa.Table) -> bytes:
    # Most columns of most tables are null from top to bottom.
    names = [each for each in found.column_names if found.column(each).null_count < len(found)]
    taken = [_for_json(found.column(name)) for name in names]
    return b"".join(
        orjson.dumps({k: v for k, v in zip(names, row, strict=True) if v is not None}) + b"\n"
        for row in zip(*taken, strict=True)
    )


def _for_json(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        column = pc.replace_substring(column.cast(pa.string()), " ", "T")
    return _values(column)


def table_of_lines(table: Table, lines: Sequence[bytes]) -> pa.Table:
    """Lines of JSON as an Arrow table of the schema."""
    times = [each.name for each in COLUMNS[table] if each.kind == "time"]
    rows = [orjson.loads(line) for line in lines]
    for row in rows:
        for name in times:
            if name in row:
                row[name] = microseconds(datetime.fromisoformat(row[name]))
    return rows_table(table, rows)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """The block reads a table's file; `DirectoryError` where that is missing or damaged."""
    try:
        yield
    except FileNotFoundError:
        raise DirectoryError(path.parent, f"{path.name} is missing") from None
    except _DAMAGED as error:
        # Arrow's own errors have no number, and their text may quote what the file holds.
        told = isinstance(error, OSError) and error.strerror
        problem = f"cannot read {path.name}: {told}" if told else f"{path.name} is damaged"
        raise DirectoryError(path.parent, problem) from None


def pieces(path: Path, table: Table) -> Iterator[pa.Table]:
    """A file of a table, a piece at a time: a row group, or some thousands of lines."""
    with reading(path), opened(path) as file:
        for piece in _row_groups(file) if path.suffix == ".parquet" else _of_lines(file, table):
            if not piece.schema.equals(arrow_schema(table)):
                raise ValueError("another schema")
            yield piece


def _row_groups(file: BinaryIO) -> Iterator[pa.Table]:
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        for at in range(parquet.num_row_groups):
            # Each thread of Arrow's would keep memory of its own.
            yield parquet.read_row_group(at, use_threads=False)


def _of_lines(file: BinaryIO, table: Table) -> Iterator[pa.Table]:
    while some := list(islice(file, _LINES_OF_A_PIECE)):
        yield table_of_lines(table, some)


def lines_of(path: Path, arns: Iterable[str] | None) -> Iterator[list[bytes]]:
    """The lines of `operations` as they are, some thousands at a time; with `arns`, of those."""
    wanted = None if arns is None else {orjson.dumps(arn) for arn in arns}
    with reading(path), opened(path) as lines:
        while some := list(islice(lines, _LINES_OF_A_PIECE)):
            if wanted is None:
                yield some
            else:
                yield [each for each in some if _arn_in_json(each) in wanted]


def _arn_in_json(line: bytes) -> bytes:
    # A quote within the ARN would have a backslash before it.
    return line[len(b'{"arn":') : line.index(b',"sequence":')]


def of_executions(found: pa.Table, arns: pa.Array) -> pa.Table:
    """The rows whose execution is among `arns`."""
    return found.filter(pc.is_in(found.column("arn").cast(pa.string()), value_set=arns))


def together(found: Sequence[pa.Table]) -> pa.Table:
    """Tables one after the other, with one dictionary for each column."""
    return pa.concat_tables(found).unify_dictionaries().combine_chunks()
