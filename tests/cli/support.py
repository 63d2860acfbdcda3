"""Running the command, here or in a process of its own, against the embedded service."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import durastate
from durastate.emulator import Emulator, FaultPlan, World

KEYS = {"AWS_ACCESS_KEY_ID": "emulator-key", "AWS_SECRET_ACCESS_KEY": "emulator-secret"}


@dataclass
class Done:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str


@contextmanager
def serving(
    world: World | None = None,
    faults: FaultPlan | None = None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    **options: Any,
) -> Iterator[Emulator]:
    """The emulator on a loop of its own in another thread, so that its log is at hand."""
    emulator = Emulator(world, faults, ssl_context=ssl_context, **options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(emulator.__aenter__(), loop).result(10)
        yield emulator
        asyncio.run_coroutine_threadsafe(emulator.__aexit__(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def environment(endpoint_url: str, **more: str) -> dict[str, str]:
    """What a process needs to find the service."""
    source = str(Path(durastate.__file__).parents[1])
    found = os.environ | KEYS | {"AWS_REGION": "eu-west-1", "PYTHONPATH": source}
    return found | {"AWS_ENDPOINT_URL_LAMBDA": endpoint_url, "COLUMNS": "100"} | more


def start(
    *arguments: str | Path,
    env: dict[str, str],
    program: tuple[str, str] = ("-m", "durastate.cli"),
    **options: Any,
) -> subprocess.Popen[bytes]:
    """The command as a process."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        env=env,
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        },
    )


def finish(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Done:
    out, err = process.communicate(stdin, timeout=30)
    return Done(process.returncode, (out or b"").decode(), err.decode())


def write_refs(path: Path, world: World, *more: str) -> Path:
    """References to all of a world, and other lines after them."""
    lines = [json.dumps({"arn": arn, "checkpoint_token": token}) for arn, token in world.refs()]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def records(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON Lines, every one of which is whole."""
    text = path.read_bytes()
    assert text.endswith(b"\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"


def wait_for_lines(path: Path, process: subprocess.Popen[bytes], count: int) -> None:
    """Until a running command has written that many."""
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, process)


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Until a running command is as far as that."""
    pause = threading.Event()
    for _ in range(2_000):
        if reached():
            return
        assert process.poll() is None, process.communicate()
        pause.wait(0.01)
    raise AssertionError("the command did not get that far")


def clear_aws(monkeypatch: Any) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
