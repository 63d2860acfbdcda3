"""A coroutine driven by hand, to cancel it at whichever of its awaits."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any


@types.coroutine
def cancelled_at(
    coroutine: Coroutine[Any, Any, Any], step: int, when_ready: bool
) -> Generator[Any, Any, Any]:
    """Run `coroutine`, and cancel the task that does so at its suspension number `step`."""
    task = asyncio.current_task()
    assert task is not None
    count = 0
    error: BaseException | None = None
    value: Any = None
    while True:
        try:
            yielded = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            return stop.value
        count += 1
        if count == step:
            if when_ready and yielded is not None:
                yielded.add_done_callback(lambda _: task.cancel())
            else:
                task.cancel()
        error = value = None
        try:
            value = yield yielded
        except BaseException as caught:  # noqa: BLE001
            error = caught


async def driven(coroutine: Coroutine[Any, Any, Any], step: int, when_ready: bool) -> Any:
    return await cancelled_at(coroutine, step, when_ready)
