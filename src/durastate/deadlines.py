"""The time-outs of what is under way, so that all of it can be ended before they run out."""

from __future__ import annotations

import asyncio


class Deadlines:
    """Those of one owner, who adds each once it is entered and removes it once it is left."""

    def __init__(self) -> None:
        self._entered: set[asyncio.Timeout] = set()
        self._all_left = asyncio.Event()

    def add(self, deadline: asyncio.Timeout) -> None:
        self._entered.add(deadline)

    def remove(self, deadline: asyncio.Timeout) -> None:
        self._entered.discard(deadline)
        if not self._entered:
            self._all_left.set()

    async def end_all(self) -> None:
        """Let all of them run out now, and come back when they are left."""
        self._all_left.clear()
        now = asyncio.get_running_loop().time()
        for deadline in self._entered:
            if not deadline.expired():
                deadline.reschedule(now)
        if self._entered:
            await self._all_left.wait()
