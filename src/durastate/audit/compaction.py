"""Rewrites the parts of `operations` so that each execution is there once, in files of good size.

A part that holds dead rows, or a small one, goes together with its neighbours into a new file; a
large one without dead rows stays the file it is, however often the audit goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from .journal import File, Journal
from .parts import NewPart, Parts
from .tables import lines_of, of_executions, pieces, together

_ROWS = 1_000_000
_BYTES = 256 * 1024**2
_ROWS_OF_A_PIECE = 25_000  # twice as many took 50 MB more while parts are merged
_BYTES_OF_A_PIECE = 32 * 1024**2


def compact(journal: Journal, parts: Parts) -> None:
    """Rewrite what has to be; each group of parts is one step that is done or not."""
    live = journal.live_rows()
    for group in groups(journal.files("operations"), live):
        if not any(live.get(each.number) for each in group):
            journal.replace(group, [])
            continue
        with parts.new("operations") as new:
            _rewrite(group, live, journal, parts, new)
            journal.replace(group, [new.commit()])


def _rewrite(
    group: Sequence[File], live: Mapping[int, int], journal: Journal, parts: Parts, new: NewPart
) -> None:
    def sources() -> Iterator[tuple[Path, list[str] | None]]:
        for file in group:
            parts.check(file, thoroughly=True)
            is_clean = live.get(file.number, 0) == file.rows
            yield parts.path(file), None if is_clean else journal.live(file.number)

    if parts.format == "jsonl":
        for path, arns in sources():
            for lines in lines_of(path, arns):
                new.copy(lines)
    else:
        for piece in _regrouped(live_pieces(sources())):
            new.write(piece)


def groups(
    files: Sequence[File], live: Mapping[int, int], *, rows: int = _ROWS, size: int = _BYTES
) -> Iterator[list[File]]:
    """The parts that are to become one, in order."""
    group: list[File] = []
    for file in files:
        is_clean = live.get(file.number, 0) == file.rows
        if is_clean and (2 * file.rows > rows or 2 * file.stamp.size > size):
            continue
        full = (
            sum(live.get(each.number, 0) for each in group) + file.rows > rows
            or sum(each.stamp.size for each in group) + file.stamp.size > size
        )
        if group and full:
            yield from _worth_it(group, live)
            group = []
        group.append(file)
    yield from _worth_it(group, live)


def _worth_it(group: list[File], live: Mapping[int, int]) -> Iterator[list[File]]:
    if len(group) > 1 or any(live.get(each.number, 0) != each.rows for each in group):
        yield group


def live_pieces(sources: Iterable[tuple[Path, list[str] | None]]) -> Iterator[pa.Table]:
    """The rows of parts; with ARNs, of those executions alone."""
    for path, arns in sources:
        wanted = None if arns is None else pa.array(arns, pa.string())
        for piece in pieces(path, "operations"):
            yield piece if wanted is None else of_executions(piece, wanted)


def _regrouped(found: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer, larger tables."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for piece in found:
        waiting.append(piece)
        rows += piece.num_rows
        size += piece.nbytes
        if rows >= _ROWS_OF_A_PIECE or size >= _BYTES_OF_A_PIECE:
            yield together(waiting)
            waiting.clear()
            rows = size = 0
    if rows:
        yield together(waiting)
