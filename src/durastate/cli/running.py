"""Runs the asynchronous part of a command, in a process that is all its own."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

# Whole states are hundreds of thousands of objects without cycles. With Python's threshold of
# 700 the collector looks through them again and again, for up to 250 ms at a time.
_GC_THRESHOLDS = (100_000, 20, 50)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` to its end; the first Ctrl-C or SIGTERM cancels it, then `KeyboardInterrupt`."""
    try:
        return asyncio.run(_until_terminated(main))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def tune_collector() -> None:
    """Let the garbage collector leave alone what is there now, and come seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def on_signal(number: signal.Signals, act: Callable[[], object]) -> None:
    """Have the running loop do that instead; but what this process was begun to ignore stays so.

    A shell starts what a script puts into the background with Ctrl-C ignored.
    """
    if signal.getsignal(number) is not signal.SIG_IGN:
        asyncio.get_running_loop().add_signal_handler(number, act)


async def _until_terminated(main: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.current_task()
    assert task is not None
    on_signal(signal.SIGTERM, task.cancel)
    return await main
