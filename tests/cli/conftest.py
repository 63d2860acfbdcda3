"""The service that most tests of the command share, and the command as a function."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from durastate.cli.app import run
from durastate.emulator import Emulator, World

from .support import KEYS, Done, serving, write_refs

Invoke = Callable[..., Done]


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """The command's event loop serves nobody else, so it writes its file without a detour."""


@pytest.fixture(scope="session")
def service() -> Iterator[Emulator]:
    """Thirty executions without a fault; the log is the test's to clear."""
    with serving(World(seed=4, executions=30, operations=(4, 9, 30))) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def settings(service: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment in which commands find the service; what they change is undone."""
    service.log.clear()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", service.endpoint_url)
    monkeypatch.setenv("COLUMNS", "100")
    thresholds = gc.get_threshold()
    before = dict(os.environ)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Invoke:
    """The command in this process: arguments, perhaps `stdin`, to its exit code and words."""

    def invoked(*arguments: str | Path, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["durastate", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capfd.readouterr()
        code = run()
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return invoked


@pytest.fixture
def refs(service: Emulator, tmp_path: Path) -> Path:
    """References to all executions of the service."""
    return write_refs(tmp_path / "refs.jsonl", service.world)


@pytest.fixture
def token(service: Emulator, tmp_path: Path) -> Path:
    """A file with the token of execution 1."""
    path = tmp_path / "token"
    path.write_text(service.world.token(1) + "\n")
    return path
