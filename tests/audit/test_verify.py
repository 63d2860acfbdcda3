"""What `verify` finds in a directory that is not as it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from durastate.audit import DirectoryError, Store, read_manifest, verify
from durastate.audit.schema import columns

from .support import add, arn, failure, row, rows, table, write_manifest, written


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "audit"
    with Store.open(made) as store:
        add(store, 1)
        add(store, 2)
        store.fail(row(3), failure())
        store.finish(complete=True)
    return made


def only(directory: Path, table_name: str) -> Path:
    (path,) = directory.glob(f"{table_name}-*")
    return path


def test_a_directory_as_it_was_written_has_no_problem(directory: Path) -> None:
    assert list(verify(directory)) == []


def test_the_files_and_the_manifest_are_enough(directory: Path) -> None:
    for name in ("journal.sqlite", "lock"):
        (directory / name).unlink()
    assert list(verify(directory)) == []


@pytest.mark.parametrize("name", ["executions", "operations", "failures"])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "bytes instead of"),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), "SHA-256 is another"),
        (lambda path: path.chmod(0o644), "others may read it, with mode 644"),
        (lambda path: path.rename(path.with_suffix(".x")) and path.mkdir(), "no regular file"),
    ],
)
def test_a_file_that_was_changed_is_named(
    directory: Path, name: str, change: Callable[[Path], Any], problem: str
) -> None:
    path = only(directory, name)
    change(path)
    found = list(verify(directory))
    assert len(found) == 1
    assert found[0].startswith(f"{path.name}: ")
    assert problem in found[0]


def test_a_file_that_the_manifest_does_not_know_is_named(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, 4)
        store.save()
    (problem,) = verify(directory)
    assert "not in the manifest" in problem
    (directory / "notes.txt").write_text("mine")
    assert list(verify(directory)) == [problem]


def forged(directory: Path, name: Any, change: Callable[[list[dict[str, Any]]], Any]) -> list[str]:
    """Rows changed by somebody who knows the manifest, and puts the file's digest right."""
    path = only(directory, name)
    found = table(directory, name)
    changed = found.to_pylist()
    change(changed)
    pq.write_table(found.schema.empty_table().from_pylist(changed, schema=found.schema), path)
    put_right(directory, path)
    return list(verify(directory))


def put_right(directory: Path, path: Path) -> None:
    """The manifest has the file as it is now."""
    manifest = json.loads((directory / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["name"] == path.name:
            file |= {
                "size": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
    write_manifest(directory, manifest)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("operations", lambda rows: rows[0].update(status="X"), f"{arn(1)}: its operations are"),
        ("operations", lambda rows: rows.pop(), "there are 5 operations instead of 6"),
        ("operations", lambda rows: rows.extend(rows[:3]), f"{arn(1)}: its operations are there"),
        ("executions", lambda rows: rows.pop(0), f"{arn(1)}: has operations and is not in"),
        ("executions", lambda rows: rows.insert(0, rows[0]), f"{arn(1)}: is there twice"),
        ("executions", lambda rows: rows[0].update(status="X"), "the digest is another"),
        ("failures", lambda rows: rows[0].update(code="X"), "the digest is another"),
        ("failures", lambda rows: rows.pop(), "2 executions and 0 failures instead of"),
    ],
)
def test_rows_that_are_others_are_found(
    directory: Path, name: str, change: Callable[[list[dict[str, Any]]], Any], problem: str
) -> None:
    assert problem in "\n".join(forged(directory, name, change))


@pytest.mark.parametrize("line", [b"[]", b'"x"', b'{"arn":"x","started_at":1}', b"{]"])
def test_a_line_that_is_no_row_is_a_problem_and_no_traceback(tmp_path: Path, line: bytes) -> None:
    directory = written(tmp_path / "a", 1, format="jsonl")
    path = only(directory, "operations")
    path.write_bytes(line + b"\n")
    put_right(directory, path)
    assert list(verify(directory)) == [f"{path.name} is damaged"]


def test_when_an_execution_was_read_is_no_part_of_the_digest(directory: Path) -> None:
    assert forged(directory, "executions", lambda rows: rows[0].update(read_at=None)) == []


def test_the_digest_can_be_made_from_the_tables(directory: Path) -> None:
    wanted = [each for each in columns("executions", "none") if each != "read_at"]
    lines = [[wire(each[name]) for name in wanted] for each in rows(directory, "executions")]
    lines += [list(each) for each in rows(directory, "failures", "arn", "error", "code")]
    data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    assert hashlib.sha256(data).hexdigest() == read_manifest(directory).digest


def wire(value: Any) -> Any:
    return round(value.timestamp() * 1_000_000) if hasattr(value, "timestamp") else value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no json", "is damaged"),
        ("{}", "is damaged"),
        ('{"schema_version": 1}', "is damaged"),
        ('{"schema_version": 2}', "its schema version is 2"),
    ],
)
def test_a_manifest_that_is_none_is_refused(directory: Path, text: str, problem: str) -> None:
    (directory / "manifest.json").write_text(text)
    with pytest.raises(DirectoryError, match=problem):
        list(verify(directory))


def test_a_manifest_leads_nowhere_else(directory: Path, tmp_path: Path) -> None:
    text = (directory / "manifest.json").read_text()
    name = only(directory, "operations").name
    (directory / "manifest.json").write_text(text.replace(name, "../other"))
    with pytest.raises(DirectoryError, match="is damaged"):
        list(verify(directory))


def test_a_directory_without_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DirectoryError, match=r"no manifest\.json"):
        list(verify(tmp_path))
    written(tmp_path / "a")
    assert list(verify(tmp_path / "a")) == []
