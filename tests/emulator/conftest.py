"""No AWS settings from outside, a clock to move, and a caller for a running emulator."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
import pytest_asyncio

from durastate.emulator import Emulator

from .wire import Caller, Clock


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def call() -> AsyncIterator[Callable[[Emulator], Caller]]:
    """A function that gives a :class:`Caller` for a running emulator."""
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        yield lambda emulator: Caller(emulator, http)
