"""On which event loop we are: asyncio's, as aiobotocore and aiohttp know no other."""

from __future__ import annotations

import asyncio

from .errors import ConfigurationError


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs here; `ConfigurationError` on trio, or without any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "no asyncio event loop runs here: durastate works on asyncio alone, so with "
            "`asyncio.run` or the like, and not on trio"
        ) from None


def check_loop(loop: asyncio.AbstractEventLoop, what: str) -> None:
    """Refuse to go on with what was begun on another event loop."""
    if running_loop() is not loop:
        is_over = ", which is closed" if loop.is_closed() else ""
        raise ConfigurationError(
            f"{what} belongs to another event loop{is_over}: each loop needs one of its own"
        )
