"""Which of the two transports the tests go over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_FORCED = os.environ.get("DURASTATE_TRANSPORT")
#: What a fixture or a test that runs with each is parametrized with.
TRANSPORTS = [_FORCED] if _FORCED else ["httptools", "aiohttp"]


@contextmanager
def over(transport: str | None) -> Iterator[None]:
    """Clients that are opened meanwhile go over this one; over their usual one without a name."""
    with pytest.MonkeyPatch.context() as patch:
        if transport == "aiohttp":
            # As if every user had a connector of his own.
            patch.setattr("durastate.aws._USUAL_CONNECTOR", {})
        yield


@contextmanager
def over_the_forced_one() -> Iterator[None]:
    """With `DURASTATE_TRANSPORT=aiohttp`, as `.ci/long` sets it, every test goes over that."""
    with over(_FORCED):
        yield
