"""A table of operations in the width there is: what matters least goes first, reasons never do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.padding import Padding
from rich.text import Text

OPERATION, NOTE = "Operation", "Note"
COLUMNS = (OPERATION, "Type", "Status", "Attempt", "Started (UTC)", "Took", NOTE)
_TO_THE_RIGHT = ("Attempt", "Took")
_GAP = 2
_SHORTEST_NAME = 12
# One after the other these go until a name has so much room. A note has only gone below.
_FIRST_TO_GO = {"": 24, "Type": 24, NOTE: 16, "Started (UTC)": 16, "Attempt": 16, "Took": 0}

Row = Mapping[str, Text]


def table(rows: Sequence[Row], room: int) -> Iterator[Text | Padding]:
    """The lines, a head first. A note that has no room beside its operation follows below it."""
    needed = {
        name: max(len(name), *(row[name].cell_len for row in rows))
        for name in COLUMNS
        if name != NOTE or any(row[NOTE] for row in rows)
    }
    widths = that_fit(needed, room)
    yield _line({name: Text(name, "bold") for name in COLUMNS}, widths)
    for row in rows:
        yield _line(row, widths)
        if NOTE not in widths and row[NOTE]:
            yield Padding(row[NOTE], (0, 0, 0, _indent(row[OPERATION], widths) + _GAP))


def that_fit(needed: Mapping[str, int], room: int) -> dict[str, int]:
    """The columns to show, with their widths. Names are cut to some length before anything goes."""
    widths = dict(needed)
    for gone, name_room in _FIRST_TO_GO.items():
        widths.pop(gone, None)
        left = room - sum(_GAP + width for name, width in widths.items() if name != OPERATION)
        if left >= min(name_room, needed[OPERATION]):
            break
    widths[OPERATION] = max(min(_SHORTEST_NAME, needed[OPERATION]), min(needed[OPERATION], left))
    return widths


def _line(row: Row, widths: Mapping[str, int]) -> Text:
    cells = []
    for name, width in widths.items():
        cell = row[name].copy()
        if name == OPERATION:
            cell = cell[_leading(cell) - _indent(cell, widths) :]
        if name in _TO_THE_RIGHT:
            cell.align("right", width)
        cell.truncate(width, overflow="ellipsis", pad=True)
        cells.append(cell)
    line = Text(" " * _GAP).join(cells)
    line.rstrip()
    return line


def _indent(cell: Text, widths: Mapping[str, int]) -> int:
    """How far an operation is moved in: never so far that nothing of its name is left."""
    return min(_leading(cell), max(0, widths[OPERATION] - _SHORTEST_NAME))


def _leading(cell: Text) -> int:
    return len(cell.plain) - len(cell.plain.lstrip(" "))
