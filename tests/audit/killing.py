"""Kills real audits with SIGKILL and goes on with them; run as a program by test_run_killed.py.

    python -m audit.killing DIRECTORY ENDPOINT KILLS SEED

Each run is `durastate audit` in a fork of this process, which has imported everything and opened
nothing. A kill comes after a time that the seed chooses. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import aiobotocore.session
import botocore.session
import rich.live

import durastate.audit.run
import durastate.audit.summary
from durastate.audit import Store, read_manifest, verify
from durastate.cli.app import run

from .crashing import forked, left_whole
from .support import only_its_own

_PART_OPERATIONS = 60  # many parts, so that many moments lie around the saving of one
for loaded in (aiobotocore.session, rich.live, durastate.audit.run, durastate.audit.summary):
    assert loaded
# Read once, before the forks.
botocore.session.create_loader = cache(botocore.session.create_loader)
botocore.session.create_loader(None).load_service_model("lambda", "service-2")


def audit(directory: Path, endpoint_url: str) -> int:
    """The command; its exit code."""
    (Path(directory).parent / "said").mkdir(exist_ok=True)
    with (Path(directory).parent / "said" / directory.name).open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    Store.open.__func__.__kwdefaults__["part_operations"] = _PART_OPERATIONS  # type: ignore[attr-defined]
    sys.argv = ["durastate", "audit", "order-flow", "claims", "-o", str(directory)]
    sys.argv += ["--endpoint-url", endpoint_url, "--max-items", "40", "--quiet"]
    return run()


def result(directory: Path) -> dict[str, Any]:
    return {
        "digest": read_manifest(directory).digest,
        "complete": read_manifest(directory).complete,
        "problems": list(verify(directory)),
        "tidy": only_its_own(directory),
    }


def main(root: Path, endpoint_url: str, kills: int, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)  # noqa: S311
    began = time.monotonic()
    _, code = forked(lambda: audit(root / "whole", endpoint_url))
    seconds = time.monotonic() - began
    found = {"code": code, "expected": result(root / "whole"), "results": []}
    for number in range(kills):
        directory = root / str(number)
        after = chance.uniform(0.2, 1.0) * seconds
        killed, _ = forked(lambda: audit(directory, endpoint_url), kill_after_s=after)  # noqa: B023
        whole = not directory.exists() or left_whole(directory, "parquet")
        parts = len(list(directory.glob("operations-*.parquet"))) if directory.exists() else 0
        _, code = forked(lambda: audit(directory, endpoint_url))  # noqa: B023
        each = {"after": after, "killed": killed, "whole": whole, "parts": parts, "code": code}
        found["results"].append(each | {"result": result(directory)})
    return found


if __name__ == "__main__":
    assert threading.active_count() == 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    where, url, times, start = sys.argv[1:]
    print(json.dumps(main(Path(where), url, int(times), int(start))))  # noqa: T201
