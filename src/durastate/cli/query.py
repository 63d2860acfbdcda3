"""`durastate query`: SQL over an audit's tables, as a table, JSON or CSV on stdout.

Names and errors in the tables were written by others. What goes to a terminal has no control
characters, and what a spreadsheet would take for a formula has an apostrophe before it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from .ending import USAGE, Problem
from .extras import audit_extra, directory_problems, say_how_complete
from .plain import plain
from .signals import ends_tidily
from .streams import results, write_json, write_utf8

if TYPE_CHECKING:
    from durastate.audit.query import Answer

_ROWS_TO_MEASURE = 1_000
_LONGEST_TEXT = 1_024  # as long as an ARN can be
_WIDEST_COLUMN = 200  # of a table in a file; what is longer moves the rest of its line
_GAP = "  "
# What spreadsheets begin a formula with, in East Asian full width too. Which separator divides a
# line into cells depends on the country: `name;=1+1` is two cells where that is a semicolon,
# whatever the quotes around both.
_FORMULA = re.compile(r'(?:^|(?<=[,;|]))(?=[\s"]*[=+\-@\uff1d\uff0b\uff0d\uff20])')

Batches = Iterable[Any]  # of Arrow, every column text


def run_query(directory: Path, sql: str, output: str, *, partial: bool) -> None:
    """Ask, and print the answer as it comes."""
    with audit_extra():
        from durastate.audit.query import tables
        from durastate.audit.texts import as_json, as_texts
    try:
        sql = os.fsencode(sql).decode()  # whatever the locale takes arguments for
    except UnicodeError:
        raise Problem("the SQL is not in UTF-8", USAGE) from None
    shape = as_json if output == "json" else as_texts
    with ends_tidily(), directory_problems(), tables(directory, partial=partial) as opened:
        say_how_complete(opened.partial, is_complete=opened.is_complete)
        answer = opened.ask(sql, shape=shape)
        with results():
            _PRINTERS[output](answer)


def _print_json(answer: Answer) -> None:
    """One array with an object for each row, a row a line."""
    before = "[\n"
    for batch in answer:
        if rows := batch.column(0).to_pylist():
            write_json((before + ",\n".join(rows)).encode())
            before = ",\n"
    write_json(b"\n]\n" if before == ",\n" else b"[\n]\n")


def _print_csv(answer: Answer) -> None:
    """Every cell in quotes but numbers; NULL is an empty field without them."""
    from durastate.audit.texts import NUMBERS, TIMES

    write_utf8(",".join(_quoted(_harmless(name)) for name, _ in answer.columns) + "\n")
    renders = [
        _number if kind in NUMBERS else _time if kind in TIMES else _text
        for _, kind in answer.columns
    ]
    for batch in answer:
        lines = map(",".join, zip(*map(_words, batch.columns, renders), strict=True))
        write_utf8("".join(f"{line}\n" for line in lines))


def _number(value: str | None) -> str:
    return value or ""


def _time(value: str | None) -> str:
    return "" if value is None else _quoted(value)  # DuckDB's, as `-1 day`, and no formula


def _text(value: str | None) -> str:
    return "" if value is None else _quoted(_harmless(value))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _harmless(text: str) -> str:
    return _FORMULA.sub("'", plain(text))


def _print_table(answer: Answer) -> None:
    """In columns; a terminal that is too narrow for them gets a line for each value."""
    if answer.is_plan:
        _print_plan(answer)
        return
    names = [_cell(name) for name, _ in answer.columns]
    batches = iter(answer)
    first: list[Any] = []
    seen = [{name} for name in names]
    while sum(map(len, first)) < _ROWS_TO_MEASURE and (batch := next(batches, None)) is not None:
        first.append(batch)
        for words, column in zip(seen, batch.columns, strict=True):
            words.update(_words(column, _cell))
    widths = [max(map(cell_len, words)) for words in seen]
    needed = sum(widths) + len(_GAP) * (len(widths) - 1)
    if first and sys.stdout.isatty() and needed > shutil.get_terminal_size().columns:
        _print_values(names, chain(first, batches))
    else:
        widths = [min(width, _WIDEST_COLUMN) for width in widths]
        _print_columns(names, widths, chain(first, batches))


def _print_columns(names: list[str], widths: list[int], batches: Batches) -> None:
    """As wide as the first thousand rows need."""
    head = (names, ["-" * width for width in widths])
    for row in head:
        sys.stdout.write(_line(map(_ljust, row, widths)))
    renders = [partial(_padded, width=width) for width in widths]
    for batch in batches:
        rows = zip(*map(_words, batch.columns, renders), strict=True)
        sys.stdout.write("".join(map(_line, rows)))


def _print_values(names: list[str], batches: Batches) -> None:
    """The terminal breaks what is longer than its lines, so that it is copied whole."""
    width = max(map(cell_len, names))
    labels = [_ljust(name, width) for name in names]
    number = 0
    for batch in batches:
        for row in zip(*(_words(column, _cell) for column in batch.columns), strict=True):
            number += 1
            lines = (_line(pair) for pair in zip(labels, row, strict=True))
            sys.stdout.write(f"- row {number:,} -\n" + "".join(lines))


def _print_plan(answer: Answer) -> None:
    """DuckDB draws it over several lines."""
    for batch in answer:
        for text in batch.column(1).to_pylist():
            sys.stdout.write("".join(f"{plain(line)}\n" for line in text.splitlines()))


def _line(cells: Iterable[str]) -> str:
    return _GAP.join(cells).rstrip() + "\n"


def _cell(value: str | None) -> str:
    text = "NULL" if value is None else plain(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _padded(value: str | None, width: int) -> str:
    return _ljust(_cell(value), width)


def _ljust(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _words(column: Any, render: Callable[[str | None], str]) -> list[str]:
    """What stands in the cells of a column; a text that is there often is worked on once."""
    encoded = column.dictionary_encode()
    words = [*map(render, encoded.dictionary.to_pylist()), render(None)]
    indices = encoded.indices.fill_null(len(words) - 1).to_pylist()
    return [words[at] for at in indices]


_PRINTERS: dict[str, Callable[[Answer], None]] = {
    "table": _print_table,
    "json": _print_json,
    "csv": _print_csv,
}
