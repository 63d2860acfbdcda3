"""Which parts become one file at the end of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from durastate.audit import DirectoryError, Store, compaction, verify
from durastate.audit.compaction import groups
from durastate.audit.files import Stamp
from durastate.audit.journal import File

from .support import add, rows


def grouped(*parts: tuple[int, int]) -> list[list[int]]:
    """By the numbers of the parts, given as (rows, rows that count)."""
    files = [
        File(at, "operations", f"{at}", count, Stamp(count, "", 0))
        for at, (count, _) in enumerate(parts)
    ]
    live = {at: count for at, (_, count) in enumerate(parts)}
    found = groups(files, live, rows=100, size=1_000)
    return [[each.number for each in group] for group in found]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], []),
        ([(3, 3)], []),
        ([(3, 3), (4, 4)], [[0, 1]]),
        ([(3, 2)], [[0]]),
        ([(90, 90), (90, 90)], []),
        ([(90, 90), (90, 89), (90, 90)], [[1]]),
        ([(40, 40), (40, 40), (40, 40), (40, 40)], [[0, 1], [2, 3]]),
        ([(3, 3), (90, 90), (3, 3)], [[0, 2]]),
        ([(3, 0)], [[0]]),
    ],
)
def test_small_parts_and_those_with_dead_rows_are_rewritten(
    parts: Any, expected: list[list[int]]
) -> None:
    assert grouped(*parts) == expected


def test_parts_become_one_file_with_few_row_groups(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a", part_operations=1) as store:
        for number in range(30):
            add(store, number)
        store.finish(complete=True)
    (path,) = (tmp_path / "a").glob("operations-*")
    assert pq.read_metadata(path).num_row_groups == 1
    assert len(rows(tmp_path / "a", "operations")) == 90


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_an_execution_may_go_over_the_end_of_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    monkeypatch.setattr(compaction, "_ROWS_OF_A_PIECE", 7)
    monkeypatch.setattr("durastate.audit.tables._LINES_OF_A_PIECE", 7)
    with Store.open(tmp_path / "a", part_operations=40, format=form) as store:
        for number in range(12):
            add(store, number, 10)
        store.finish(complete=True)
    assert list(verify(tmp_path / "a")) == []


def test_a_file_changed_behind_its_time_is_not_rewritten(tmp_path: Path) -> None:
    directory = tmp_path / "a"
    with Store.open(directory) as store:
        add(store, 1, status="RUNNING")
        store.save()
        (path,) = directory.glob("operations-*")
        data, time = path.read_bytes(), path.stat().st_mtime_ns
        path.write_bytes(data[:-9] + b"x" + data[-8:])
        os.utime(path, ns=(time, time))
        add(store, 2)
        with pytest.raises(DirectoryError, match="changed since"):
            store.finish(complete=True)
    assert path.read_bytes() != data
