"""An event loop whose clock jumps to the next timer when nothing is ready: no test sleeps.

    def test_something():
        async def scenario() -> None: ...
        run(scenario())

Waiting for nothing (no timer, nothing ready, so that a real loop would hang for ever) raises
`Stuck`. Sockets and threads do not work here: they need real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_START = 1_000.0


class Stuck(RuntimeError):
    """Every task waits, and nothing that could wake one is scheduled."""


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = _START

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("every task waits for something that will never come")
            self.now += max(0.0, timeout)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`time()` stands still while anything is ready and then jumps to the next timer."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(scenario: Coroutine[Any, Any, _T]) -> _T:
    """The result of `scenario`, on a new loop; whatever it leaves behind is an error."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        try:
            result = runner.run(scenario)
            left = asyncio.all_tasks(runner.get_loop())
        except Stuck:
            _abandon(runner.get_loop())
            raise
        assert not left, f"left behind: {left}"
        return result


def _abandon(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def now() -> float:
    """Seconds on the running loop's clock; they start at no particular value."""
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let every task run until it waits for time or for another task."""
    for _ in range(20):
        await asyncio.sleep(0)
