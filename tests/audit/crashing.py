"""Kills real audits with SIGKILL and goes on with them; run as a program by test_crash.py.

    python crashing.py DIRECTORY FORMAT KILLS SEED

Each run is a fork of this process, which itself never writes. A kill comes at a line of the
library's that the seed chooses, counted over the whole run, or for each fifth from outside after
a time that it chooses, which may be within a system call. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import durastate.audit
from durastate.audit import Store, verify

from .support import failure, only_its_own, row, state, step

EXECUTIONS = 12
_LIBRARY = str(Path(durastate.audit.__file__).parent)
# Lines that run once a value would be nearly all of the lines.
_COUNTED = ("store", "journal", "files", "parts", "compaction", "manifest")
# Where something changes on the disk, which is a small share of the lines, and most of the risk.
_CHANGING = (
    *("save", "enter", "replace", "announce", "forget_leftovers", "_enter_file", "_transaction"),
    *("new", "new_file", "commit", "discard", "tidy", "compact", "finish", "_write_manifest"),
)


def status_at(number: int, moment: int) -> str:
    """Every third runs at first; of these every other is closed later."""
    if number % 3 or (moment and number % 2):
        return "SUCCEEDED"
    return "RUNNING"


def read(store: Store, moment: int) -> None:
    """What the run loop of an audit does, with a service that answers at once."""
    pins = store.begin({"function": "orders"}, {"before": str(moment)})
    assert set(pins) == {"before"}
    store.plan(row(number, status_at(number, moment)) for number in range(EXECUTIONS))
    for planned in store.pending():
        number = _number(planned.arn)
        if number == 7 or (number == 8 and moment == 0):
            store.fail(planned, failure())
        else:
            operations = [step(at) for at in range(number % 9 + moment * (number % 3 == 0))]
            store.add(planned, state(number, operations))


def _number(text: str) -> int:
    return int(text.rpartition("/")[2], 16)


def audit(directory: Path, form: Any) -> str:
    """Two audits into one directory, the second with refresh; the digest.

    What was interrupted is run again: the first, or the second once the first has ended.
    """
    for moment in (0, 1):
        if moment == 0 and (directory / "manifest.json").exists():
            continue
        options = {"format": form, "part_operations": 12, "refresh": moment == 1}
        with Store.open(directory, **options) as store:
            read(store, moment)
            digest = store.finish(complete=True).digest
    return digest


def forked(work: Callable[[], Any], kill_after_s: float | None = None) -> tuple[int, Any]:
    """The work in a process of its own: its exit status, and its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.write(writing, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    if kill_after_s is not None:
        threading.Event().wait(kill_after_s)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as result:
        said = result.read()
    return os.waitpid(child, 0)[1], json.loads(said) if said else None


def counting_lines(
    work: Callable[[], Any], kill_at: int | None = None, *, changing: bool = False
) -> int:
    """Do it; how many lines of the library ran. At `kill_at` this process is no more."""
    count = 0
    files = {f"{_LIBRARY}/{name}.py" for name in _COUNTED}

    def line(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: Any, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        counts = code.co_filename in files and (not changing or code.co_name in _CHANGING)
        return line if counts else None

    sys.settrace(call)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def left_whole(directory: Path, form: str) -> bool:
    """Whether every file under a final name is a whole one, and readers have what they had."""
    # A file may be there that a finish has not come to name.
    if (directory / "manifest.json").exists() and any(
        "is not in the manifest" not in problem for problem in verify(directory)
    ):
        return False
    for path in directory.glob(f"*.{form}"):
        if form == "parquet":
            pq.ParquetFile(path).close()
        elif not (path.read_bytes() or b"\n").endswith(b"\n"):
            return False
    return True


def gone_on_with(directory: Path, form: str) -> dict[str, Any]:
    """The same command again, and what it left."""
    whole = left_whole(directory, form)
    Store.open(directory, format=form).close()
    return {
        "whole": whole and left_whole(directory, form),
        "digest": audit(directory, form),
        "problems": list(verify(directory)),
        "tidy": only_its_own(directory),
    }


def main(root: Path, form: str, kills: int, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)  # noqa: S311
    counted = root / "counted"
    _, expected = forked(lambda: gone_on_with_new(root / "whole", form))
    lines = {
        changing: forked(
            lambda: counting_lines(lambda: audit(counted / str(changing), form), changing=changing)  # noqa: B023
        )[1]
        for changing in (True, False)
    }
    began = time.monotonic()
    forked(lambda: audit(root / "timed", form))
    seconds = time.monotonic() - began
    results = []
    for number in range(kills):
        directory = root / str(number)
        if number % 5 == 4:
            after = chance.uniform(0, seconds)
            status, _ = forked(lambda: audit(directory, form), kill_after_s=after)  # noqa: B023
            where = f"{after:.4f} s"
        else:
            changing = number % 5 < 3
            at = chance.randint(1, lines[changing])
            status, _ = forked(
                lambda: counting_lines(lambda: audit(directory, form), at, changing=changing)  # noqa: B023
            )
            where = f"line {at} of {lines[changing]}{' that change something' * changing}"
        ended, result = forked(lambda: gone_on_with(directory, form))  # noqa: B023
        results.append({"where": where, "killed": status, "ended": ended, "result": result})
    return {"expected": expected, "results": results}


def gone_on_with_new(directory: Path, form: str) -> dict[str, Any]:
    directory.mkdir()
    return gone_on_with(directory, form)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))  # noqa: T201
