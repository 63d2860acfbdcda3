"""What arrived, when: so that a test can count requests instead of trusting the client.

No token, no marker and no credential is kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import overload

from durastate.emulator.names import Call


@dataclass(frozen=True)
class LoggedRequest:
    """One request. ``at`` is monotonic seconds of its arrival.

    ``call`` is None for what is no call that is known here; ``function`` is what a List asked for.
    ``status`` is what was decided for it (0 for a connection that is reset without an answer),
    ``region`` the one it was signed for, ``connection`` the client's port.
    """

    at: float
    method: str
    path: str
    arn: str | None
    marker_given: bool
    max_items: int | None
    page: int | None
    status: int
    fault: str | None
    region: str | None
    connection: int
    call: Call | None = None
    function: str | None = None


class RequestLog(Sequence[LoggedRequest]):
    """All requests in the order of their arrival."""

    def __init__(self) -> None:
        self._requests: list[LoggedRequest] = []
        self._waiting: list[asyncio.Event] = []
        self.in_flight = 0
        self.max_concurrent = 0
        """The most requests that were ever being answered at one time."""

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoggedRequest]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | list[LoggedRequest]:
        return self._requests[index]

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: LoggedRequest) -> None:
        self._requests.append(request)
        self._changed()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count one request as in flight while the block runs."""
        self.in_flight += 1
        self.max_concurrent = max(self.max_concurrent, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1
            self._changed()

    async def wait_for(self, count: int) -> None:
        """Return when ``count`` requests have arrived, those that came before included."""
        await self._wait_until(lambda: len(self._requests) >= count)

    async def wait_idle(self) -> None:
        """Return when no request is in flight."""
        await self._wait_until(lambda: self.in_flight == 0)

    async def _wait_until(self, reached: Callable[[], bool]) -> None:
        changed = asyncio.Event()
        self._waiting.append(changed)
        try:
            while not reached():
                changed.clear()
                await changed.wait()
        finally:
            self._waiting.remove(changed)

    def _changed(self) -> None:
        for changed in self._waiting:
            changed.set()

    def clear(self) -> None:
        """Forget all requests, and the most at one time."""
        self._requests.clear()
        self.max_concurrent = self.in_flight

    def of(self, arn: str) -> list[LoggedRequest]:
        """The requests for one execution."""
        return [request for request in self._requests if request.arn == arn]

    def per_call(self) -> Counter[Call]:
        """How many requests each call got."""
        return Counter(request.call for request in self._requests if request.call is not None)

    def per_execution(self) -> Counter[str]:
        """How many requests each execution got."""
        return Counter(request.arn for request in self._requests if request.arn is not None)

    def max_in_window(self, seconds: float, call: Call | None = None) -> int:
        """The most requests, or requests of one call, within any span of that length."""
        times = [request.at for request in self._requests if call in (None, request.call)]
        first = most = 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def connections(self) -> int:
        """How many connections the requests came over."""
        return len({request.connection for request in self._requests})
