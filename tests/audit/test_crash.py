"""SIGKILL at any moment, then the same command: the same result, and nothing torn or left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import durastate

_TIMES = 10 if os.environ.get("DURASTATE_LONG") else 1
SEED = 1


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: what a kill leaves is the same, and forcing is cheap."""
    memory = Path("/dev/shm")  # noqa: S108
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="durastate-", dir=memory) as made:
        yield Path(made)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("form", "kills"), [("parquet", 15 * _TIMES), ("jsonl", 5 * _TIMES)])
def test_after_a_kill_the_result_is_that_of_an_uninterrupted_run(
    directory: Path, form: str, kills: int
) -> None:
    found = killed(directory, form, kills)
    expected = found["expected"]
    assert (expected["problems"], expected["tidy"]) == ([], True)
    assert len(found["results"]) == kills
    for each in found["results"]:
        assert (each["ended"], each["result"]) == (0, expected), each["where"]
    at_lines = [each for each in found["results"] if "line" in each["where"]]
    assert {each["killed"] for each in at_lines} == {signal.SIGKILL}


def killed(directory: Path, form: str, kills: int) -> dict[str, Any]:
    tests = Path(__file__).parents[1]
    source = Path(durastate.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "audit.crashing", directory, form, str(kills), str(SEED)],
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{source}"},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
