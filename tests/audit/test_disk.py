"""A disk that is full, a directory that cannot be written to: one clear line, and it goes on."""

from __future__ import annotations

import gc
import io
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durastate.audit import Store, WriteError, read_manifest, verify

from .support import add, arn, only_its_own, written

NOBODY = 65534
EXECUTIONS = range(8)


def forked(work: Callable[[], Any]) -> Any:
    """The result of the work in a process of its own, which may lose its rights and limits."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as result:
        said = result.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(said)


def without_a_word(work: Callable[[], Any]) -> Any:
    """The result, where nothing was said on stderr, not even by what is collected afterwards."""
    sys.stderr = said = io.StringIO()
    result = work()
    gc.collect()
    return result if not said.getvalue() else said.getvalue()


def audited(directory: Path) -> str:
    """An audit as its run loop writes it, or why it ended."""
    try:
        with Store.open(directory, part_operations=100, payloads="full") as store:
            for number in EXECUTIONS:
                if store.needs(arn(number), "SUCCEEDED"):
                    add(store, number, 120)
            return store.finish(complete=True).digest
    except WriteError as error:
        return f"WriteError: {error}"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return audited(tmp_path_factory.mktemp("whole") / "audit")


@pytest.mark.parametrize("limit", [0, 1_000, 7_000, 60_000, 100_000])
def test_a_full_disk_is_one_clear_line_and_the_same_command_goes_on(
    tmp_path: Path, expected: str, limit: int
) -> None:
    directory = tmp_path / "audit"

    def on_a_small_disk() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return without_a_word(lambda: audited(directory))

    said = forked(on_a_small_disk)
    assert said.startswith("WriteError: cannot write ")
    assert "\n" not in said
    assert "the same command goes on" in said
    assert not (directory / "manifest.json").exists()
    assert audited(directory) == expected
    assert list(verify(directory)) == []
    assert only_its_own(directory)


def test_a_disk_full_at_the_finish_leaves_the_finish_before(tmp_path: Path) -> None:
    directory = written(tmp_path / "audit", *range(40))
    before = read_manifest(directory)

    def on_a_small_disk() -> str:
        with Store.open(directory) as store:
            add(store, 99, 1)
            store.save()
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
            try:
                store.finish(complete=True)
            except WriteError:
                return "full"
        return "done"

    assert forked(on_a_small_disk) == "full"
    assert read_manifest(directory) == before
    for each in before.files:
        assert (directory / each.name).exists()
    written(directory, 99)
    assert read_manifest(directory).executions == 41
    assert list(verify(directory)) == []


@pytest.fixture
def in_reach() -> Iterator[Path]:
    """A directory that another user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="durastate-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.parametrize("exists", [True, False])
def test_a_read_only_directory_is_one_clear_line(in_reach: Path, exists: bool) -> None:
    directory = in_reach / "audit"
    if exists:
        written(directory, 1)
        for path in directory.iterdir():
            path.chmod(0o644)
    (directory if exists else in_reach).chmod(0o555)

    def as_somebody_without_rights() -> str:
        if os.geteuid() == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)
        return audited(directory)

    said = forked(as_somebody_without_rights)
    (directory if exists else in_reach).chmod(0o755)
    assert said.startswith(f"WriteError: cannot write {directory}")
    assert "Permission denied" in said
