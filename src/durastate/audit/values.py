"""Values of Arrow's as Python's; a time that Python has not is the text that DuckDB has for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from .errors import QueryError

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - DuckDB's times without a zone
_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY_S = 86_400
_YEARS = 400  # after which the calendar repeats
_YEARS_S = 146_097 * _DAY_S


def values_of(column: pa.Array) -> list[Any]:
    """The values of a column; `QueryError` for a time within another value."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        pass
    if pa.types.is_timestamp(column.type):
        per_second, kind = _A_SECOND[column.type.unit], pa.int64()
        zone = "" if column.type.tz is None else "+00"
        return [_time(value, per_second, zone) for value in column.cast(kind).to_pylist()]
    if pa.types.is_date32(column.type):
        return [_date(value) for value in column.cast(pa.int32()).to_pylist()]
    raise QueryError(f"a value of {column.type} is out of the range that can be shown: cast it")


def _time(value: int | None, per_second: int, zone: str) -> str | None:
    if value is None or abs(value) == 2**63 - 1:
        return _infinity(value)
    seconds, rest = divmod(value, per_second)
    day, moment = _moment(seconds)
    fraction = f".{rest * 1_000_000_000 // per_second:09d}".rstrip("0").rstrip(".")
    return f"{day} {moment:%H:%M:%S}{fraction}{zone}"


def _date(days: int | None) -> str | None:
    if days is None or abs(days) == 2**31 - 1:
        return _infinity(days)
    return _moment(days * _DAY_S)[0]


def _infinity(value: int | None) -> str | None:
    if value is None:
        return None
    return "infinity" if value > 0 else "-infinity"


def _moment(seconds: int) -> tuple[str, datetime]:
    """The day, and a moment with the same time of day."""
    cycles, left = divmod(seconds, _YEARS_S)
    moment = _EPOCH + timedelta(seconds=left)
    year = moment.year + cycles * _YEARS
    before_christ = "" if year > 0 else " (BC)"
    return f"{year if year > 0 else 1 - year:04d}-{moment:%m-%d}{before_christ}", moment
