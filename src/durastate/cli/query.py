"""`durastate query`: SQL over an audit's tables, as a table, JSON or CSV on stdout.

Names and errors in the tables were written by others. What goes to a terminal has no control
characters, and a text of a CSV that a spreadsheet would take for a formula has an apostrophe
before it.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from .extras import audit_extra, directory_problems, say_how_complete
from .plain import plain, plain_json
from .signals import ends_tidily
from .streams import results

_ROWS_TO_MEASURE = 1_000
_WIDEST = 80
# What spreadsheets begin a formula with, in East Asian full width too.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")

Rows = Iterator[tuple[Any, ...]]


def run_query(directory: Path, sql: str, output: str, *, partial: bool) -> None:
    """Ask, and print the answer as it comes."""
    with audit_extra():
        from durastate.audit.query import tables
    with ends_tidily(), directory_problems(), tables(directory, partial=partial) as opened:
        say_how_complete(opened.partial, is_complete=opened.is_complete)
        answer = opened.ask(sql)
        with results():
            _PRINTERS[output](list(answer.schema.names), answer.rows())


def _print_table(names: list[str], rows: Rows) -> None:
    """In columns as wide as the first thousand rows need."""
    first = [[_cell(value) for value in row] for row in islice(rows, _ROWS_TO_MEASURE)]
    head = [_cell(name) for name in names]
    widths = [max(map(len, column)) for column in zip(head, *first, strict=True)]
    _print_line(head, widths)
    _print_line(["-" * width for width in widths], widths)
    for cells in chain(first, ([_cell(value) for value in row] for row in rows)):
        _print_line(cells, widths)


def _print_line(cells: list[str], widths: list[int]) -> None:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    click.echo("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    text = "NULL" if value is None else plain(_text(value))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _print_json(names: list[str], rows: Rows) -> None:
    """One array with an object for each row, a row a line."""
    names = _distinct(names)
    show = plain_json if sys.stdout.isatty() else str
    click.echo("[", nl=False)
    separator = "\n"
    for row in rows:
        members = {name: _jsonable(value) for name, value in zip(names, row, strict=True)}
        text = json.dumps(members, ensure_ascii=False, allow_nan=False)
        click.echo(f"{separator}{show(text)}", nl=False)
        separator = ",\n"
    click.echo("\n]")


def _distinct(names: list[str]) -> list[str]:
    """An object has each name once: `a`, `a_2`, …"""
    found: list[str] = []
    for name in names:
        number, distinct = 1, name
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return found


def _print_csv(names: list[str], rows: Rows) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([_harmless(name) for name in names])
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row])


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float | Decimal):
        return _text(value)
    return _harmless(_text(value))


def _harmless(text: str) -> str:
    shown = plain(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _text(value: Any) -> str:
    value = _jsonable(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    """A value of Arrow's as one of JSON's; a number that JSON does not have as null."""
    if isinstance(value, dict):
        return {str(key): _jsonable(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int) else str(value)


_PRINTERS: dict[str, Callable[[list[str], Rows], None]] = {
    "table": _print_table,
    "json": _print_json,
    "csv": _print_csv,
}
