"""What is on the disk before what: a name only for a whole file, the journal after the name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from durastate.audit import Store
from durastate.audit.journal import Journal

from .support import add


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is forced, renamed and entered, in order; SQLite forces its own."""
    found: list[str] = []

    def noting(holder: Any, name: str, text: Any) -> None:
        unpatched = getattr(holder, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            found.append(text(*arguments, **options))
            return unpatched(*arguments, **options)

        monkeypatch.setattr(holder, name, noted)

    def forced(descriptor: int) -> str:
        return "force folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "force file"

    noting(os, "fsync", forced)
    noting(Path, "rename", lambda old, new: f"{kind(old)} becomes {kind(new)}")
    noting(Journal, "enter", lambda *_: "enter")
    noting(Journal, "replace", lambda *_: "replace")
    noting(Journal, "keep", lambda _, **settings: f"keep {' '.join(settings)}")
    return found


def kind(path: Path) -> str:
    return path.name.partition("-")[0]


def new(table: str) -> list[str]:
    """The file is on the disk, then it gets its name, then the name is on the disk."""
    return ["force file", f".{table} becomes {table}", "force folder"]


def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_the_journal_says_so(
    tmp_path: Path, done: list[str]
) -> None:
    with Store.open(tmp_path / "a") as store:
        add(store, 1)
        done.clear()
        store.save()
        assert done == [*new("operations"), "enter"]
        done.clear()
        store.finish(complete=True)
    assert done == [
        *new("executions"),
        *new("failures"),
        "replace",
        "keep next_manifest",
        *("force file", ".manifest.json.tmp becomes manifest.json", "force folder"),
        "keep manifest next_manifest",
        "keep selection pins began",
    ]
