"""Where a read waits: for a request slot, for room among the bytes in flight, for its turn.

The decisions are plain functions of state and time, and each has a synchronous way in, because
the common case is that nobody has to wait. `Admission` gives a request slot and a place in the
pace together, so that neither is held while waiting for the other; `ByteGate` counts undecoded
response bytes; `Turns` says which page is decoded in this turn of the event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .pace import Pace

_BYTES_A_TURN = 64 * 1024
# Until the first pages have shown how large they are.
_OPEN_AT_FIRST = 64
_PAGES_REMEMBERED = 10


#: Requests with the same pace, and of the same stream if any, wait in one line. No pace: the
#: response is open already.
_Line: TypeAlias = "tuple[Pace | None, Stream | None]"


class Admission:
    """Lets requests go: a slot among `max_requests` and a place in the pace, at once.

    Waiting requests queue up by pace, in order; one whose pace is used up does not hold up those
    of another account, Region or call.

    An open response costs memory before the byte gate sees its bytes, so no more are opened than
    whole pages fit into `max_bytes`, going by the size of the last ones. A streamed response that
    is paused for its consumer has no slot, so that the consumer can make requests of his own;
    others of its stream count it still.
    """

    def __init__(
        self, max_requests: int, clock: Callable[[], float], max_bytes: float = math.inf
    ) -> None:
        self.free = max_requests
        self.waiting = 0
        self.waited_for_slot_s = 0.0
        self.waited_for_rate_s = 0.0
        self.waited_for_throttling_s = 0.0
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._page_bytes = max_bytes / _OPEN_AT_FIRST
        self._kept_free = max(0, max_requests - _OPEN_AT_FIRST) if max_bytes < math.inf else 0
        self._clock = clock
        self._queues: dict[_Line, deque[asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        return self._max_requests - self.free

    def learn(self, page_bytes: int) -> None:
        """A page has arrived whole, with that many bytes."""
        self._page_bytes += (page_bytes - self._page_bytes) / _PAGES_REMEMBERED
        if self._page_bytes * self._max_requests <= self._max_bytes:
            kept_free = 0
        else:
            kept_free = self._max_requests - max(1, int(self._max_bytes / self._page_bytes))
        if kept_free < self._kept_free and self._queues:
            self._kept_free = kept_free
            self._admit()
        self._kept_free = kept_free

    def _has_room(self, line: _Line) -> bool:
        pace, stream = line
        if pace is None:
            return self.free > 0  # Its response is open already.
        return self.free - (0 if stream is None else stream.paused) > self._kept_free

    def try_enter(self, pace: Pace, stream: Stream | None = None) -> bool:
        """Enter without waiting, where nobody waits and there is room."""
        line = (pace, stream)
        if not self._has_room(line) or line in self._queues:
            return False
        if pace.take(self._clock()) > 0:
            return False
        self.free -= 1
        return True

    async def enter(self, pace: Pace | None, stream: Stream | None = None) -> None:
        """Enter, after waiting in line. Cancelling gives back whatever was granted."""
        line = (pace, stream)
        place = asyncio.get_running_loop().create_future()
        self._queues.setdefault(line, deque()).append(place)
        since = self._clock()
        for_slot = not self._has_room(line)
        self.waiting += 1
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.withdraw(pace)
            raise
        finally:
            self.waiting -= 1
            waited_s = self._clock() - since
            if for_slot:
                self.waited_for_slot_s += waited_s
            elif pace is not None and pace.is_throttled:
                self.waited_for_throttling_s += waited_s
            else:
                self.waited_for_rate_s += waited_s

    def leave(self) -> None:
        """A request is over."""
        self.free += 1
        if self._queues:
            self._admit()

    def withdraw(self, pace: Pace | None) -> None:
        """Give back slot and place: the request is not sent after all."""
        if pace is not None:
            pace.give_back()
        self.leave()

    async def step_aside(self, stream: Stream, waiting: Awaitable[None]) -> None:
        """Wait without the slot of a streamed response, and have it again afterwards."""
        stream.paused += 1
        self.leave()
        try:
            await waiting
            await self.enter(None)
        except BaseException:
            self.free -= 1  # It is about to be left, whether there was one or not.
            raise
        finally:
            stream.paused -= 1
            if self._queues:
                self._admit()

    def _admit(self) -> None:
        """Let in whoever may, one of each queue in turn, and come back when the next may."""
        now = self._clock()
        soonest: float | None = None
        candidates = deque(self._queues)
        while candidates:
            line = candidates.popleft()
            if not self._has_room(line) or not self._drop_cancelled(line):
                continue
            pace = line[0]
            wait = 0.0 if pace is None else pace.take(now)
            if wait > 0:
                soonest = wait if soonest is None else min(soonest, wait)
                continue
            # The queue goes to the back, so that the next free slot is another's.
            self._queues[line] = queue = self._queues.pop(line)
            queue.popleft().set_result(None)
            self.free -= 1
            candidates.append(line)
        self._wake_in(soonest)

    def _drop_cancelled(self, line: _Line) -> bool:
        """Whether anybody waits in this line."""
        queue = self._queues[line]
        while queue and queue[0].cancelled():
            queue.popleft()
        if not queue:
            del self._queues[line]
        return bool(queue)

    def _wake_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._admit)


class ByteGate:
    """Counts the response bytes that are held undecoded, and pauses reading at the limit.

    If all responses had to wait for each other's bytes, none would ever be complete. So one at
    a time is privileged: it is let through whatever it needs. A streamed page that is complete
    and waits for its consumer is *parked*. A stream with parked pages gets no privilege, since
    its consumer is what gets it going; and no other read waits for them, since it may be that
    very consumer who reads. For the same reason a streamed read that waits gives its request
    slot back meanwhile.
    """

    def __init__(
        self, limit: int, clock: Callable[[], float], admission: Admission | None = None
    ) -> None:
        self.held = 0
        self._admission = admission
        self.waited_s = 0.0
        self._limit = limit
        self._clock = clock
        self._parked = 0
        self._privileged: Hold | None = None
        self._queue: list[tuple[Hold, int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def hold(self, stream: Stream | None = None) -> Hold:
        """A new, empty hold, for one response; of a stream, until its consumer has the page."""
        return Hold(self, stream or Stream(), is_streamed=stream is not None)

    def _try_add(self, hold: Hold, count: int) -> bool:
        in_the_way = self.held - self._parked + hold.stream.parked
        if in_the_way + count > self._limit and hold is not self._privileged:
            if self._privileged is not None or hold.stream.parked:
                return False
            self._privileged = hold
        self.held += count
        hold.count += count
        return True

    def _is_in_turn(self, hold: Hold) -> bool:
        """Whether nobody who could go on was there before."""
        return hold is self._privileged or all(
            other.stream.parked and other.stream is not hold.stream for other, _, _ in self._queue
        )

    async def _add(self, hold: Hold, count: int) -> None:
        place = asyncio.get_running_loop().create_future()
        entry = (hold, count, place)
        self._queue.append(entry)
        since = self._clock()
        try:
            if hold.is_streamed and self._admission is not None:
                await self._admission.step_aside(hold.stream, place)
            else:
                await place
        finally:
            if entry in self._queue:
                self._queue.remove(entry)
            self.waited_s += self._clock() - since

    def _park(self, hold: Hold) -> None:
        hold.is_parked = True
        hold.stream.parked += hold.count
        self._parked += hold.count
        if self._privileged is hold:
            self._privileged = None
            self._admit()

    def _release(self, hold: Hold) -> None:
        self.held -= hold.count
        if hold.is_parked:
            hold.stream.parked -= hold.count
            self._parked -= hold.count
            hold.is_parked = False
        hold.count = 0
        if self._privileged is hold:
            self._privileged = None
        self._admit()

    def _admit(self) -> None:
        still_waiting = []
        for entry in self._queue:
            hold, count, place = entry
            if place.done():
                continue
            if self._try_add(hold, count):
                place.set_result(None)
            else:
                still_waiting.append(entry)
        self._queue = still_waiting


class Stream:
    """What of one stream waits for its consumer: bytes of whole pages, and paused responses."""

    __slots__ = ("parked", "paused")

    def __init__(self) -> None:
        self.parked = 0
        self.paused = 0


class Hold:
    """The undecoded bytes of one response."""

    __slots__ = ("_gate", "count", "is_parked", "is_streamed", "stream")

    def __init__(self, gate: ByteGate, stream: Stream, *, is_streamed: bool) -> None:
        self._gate = gate
        self.count = 0
        self.stream = stream
        self.is_streamed = is_streamed
        self.is_parked = False

    def try_add(self, count: int) -> bool:
        """Count bytes that have arrived; False, uncounted, where there is no room for them."""
        gate = self._gate
        in_turn = not gate._queue or gate._is_in_turn(self)
        return in_turn and gate._try_add(self, count)

    async def add(self, count: int) -> None:
        """Count bytes that have arrived, after waiting for room."""
        await self._gate._add(self, count)

    def park(self) -> None:
        """The page is complete and waits for its consumer."""
        if self.count:
            self._gate._park(self)

    def release(self) -> None:
        """The bytes are decoded, taken or dropped. Releasing twice does no harm."""
        if self.count:
            self._gate._release(self)


class Turns:
    """Spreads the decoding of pages over turns of the event loop, so that others get theirs.

    A page of 1,000 operations takes 2 ms to decode. When many arrive in one turn of the loop,
    whoever else lives on it would wait for all of them. So a turn decodes one such page, or
    small ones up to `_BYTES_A_TURN`; what arrives beyond that waits in line.
    """

    def __init__(self) -> None:
        self._used = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, size: int) -> bool:
        """Whether a page of `size` bytes may be decoded in this turn."""
        if self._used >= _BYTES_A_TURN or self._queue:
            return False
        if self._used == 0:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._used += size
        return True

    async def take(self, size: int) -> None:
        """Wait for the turn in which a page of `size` bytes may be decoded."""
        place = asyncio.get_running_loop().create_future()
        self._queue.append((size, place))
        await place

    def _next_turn(self) -> None:
        self._used = 0
        while self._queue and self._used < _BYTES_A_TURN:
            size, place = self._queue.popleft()
            if not place.cancelled():
                self._used += size
                place.set_result(None)
        if self._used:
            # Whoever was let in goes on in the next turn, which is then theirs alone.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._next_turn)
