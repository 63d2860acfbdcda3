"""An async context manager on an event loop of its own, beside a test that is not async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import TypeVar

_T = TypeVar("_T")


@contextmanager
def in_thread(make: Callable[[], AbstractAsyncContextManager[_T]]) -> Iterator[_T]:
    """What `make` gives, entered in another thread and left at the end of the block."""
    stack = AsyncExitStack()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def enter() -> _T:
        return await stack.enter_async_context(make())

    try:
        yield asyncio.run_coroutine_threadsafe(enter(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
