"""The surroundings of a page: the settings that a user has in the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from durastate import ExecutionRef
from durastate.emulator import Emulator

from .page import settings_of


@pytest.fixture
def in_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The embedded service, where `StateClient()` without arguments finds it."""
    for name, value in settings_of(emulator).items():
        monkeypatch.setenv(name, value)
    return emulator


@pytest.fixture
def refs(emulator: Emulator) -> list[ExecutionRef]:
    return [ExecutionRef(arn, token) for arn, token in emulator.world.refs()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refs_file(here: Path, refs: list[ExecutionRef]) -> Path:
    """`refs.jsonl` with all executions of the service."""
    records = [{"arn": ref.arn, "checkpoint_token": ref.checkpoint_token} for ref in refs]
    path = here / "refs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
