"""What a client may have under way at once, and how fast: requests, bytes, requests a second.

The decisions are plain functions of state and time. Waiting happens in three places only:
`Admission` (a request slot and the rate ceiling, taken together so that neither is held while
waiting for the other), `ByteGate` (undecoded response bytes) and `Turns` (which page is decoded
in this turn of the loop). Each has a synchronous way in, because the common case is that nobody
has to wait.

Quotas: AWS Lambda Developer Guide, durable functions quotas, per account and Region.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .errors import ConfigurationError

_QUOTAS = {"GetDurableExecutionState": 10_000}
_LARGE_REGIONS = frozenset(("us-east-1", "us-west-2", "eu-west-1"))
_LARGE_QUOTAS = {"GetDurableExecutionState": 20_000}
# Every durable function that runs replays with the State call, so a bulk reader leaves it most.
_DEFAULT_SHARES = {"GetDurableExecutionState": 0.2}
_DEFAULT_MAX_REQUESTS = 64
_BYTES_A_TURN = 64 * 1024


@dataclass(frozen=True, eq=False)
class Limits:
    """The limits of a client; give one to several clients of an event loop and they share it.

    `max_requests`: HTTP requests in flight; a streamed page whose reading is paused until its
    consumer has taken others does not count. None: `max_pool_connections` of the `AioConfig`
    where one is given, otherwise 64.
    `max_bytes_in_flight`: response bytes that have arrived and are not decoded yet. At the limit
    reading pauses; one response may always proceed, so the bytes held can exceed the limit by
    one page.
    `max_page_bytes`: a response with more is a `TransportError`.
    `max_state_bytes`: an execution whose pages have more is a `StateTooLargeError`.
    `quota_share`: the share of AWS's published quota that may be used. `"default"` is 20 % for
    GetDurableExecutionState, which production uses too, and no ceiling at an `endpoint_url` of
    the user's own; None switches the ceilings off.
    `rates`: requests a second by call name, instead of a share of the quota.
    `burst`: requests that may go at once on top of the rate; None is 5 % of a second's.
    Every ceiling holds per account, Region and call, and within this process only.
    """

    max_requests: int | None = None
    max_bytes_in_flight: int = 64 * 1024**2
    max_page_bytes: int = 32 * 1024**2
    max_state_bytes: int = 256 * 1024**2
    quota_share: float | Literal["default"] | None = "default"
    rates: Mapping[str, float] = field(default_factory=dict)
    burst: int | None = None
    _shared: SharedLimits | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_bytes_in_flight", "max_page_bytes", "max_state_bytes"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigurationError(f"{name}: expected an integer from 1, found {value!r}")
        share = self.quota_share
        if not (share is None or share == "default" or _is_share(share)):
            raise ConfigurationError(
                f"quota_share: expected None, 'default' or a number above 0, at most 1, "
                f"found {share!r}"
            )
        if not isinstance(self.rates, Mapping):
            raise ConfigurationError("rates: expected a mapping of requests a second by call name")
        for call, rate in self.rates.items():
            if call not in _QUOTAS:
                raise ConfigurationError(f"rates: expected one of {list(_QUOTAS)}, found {call!r}")
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
                raise ConfigurationError(
                    f"rates: expected requests a second above 0 for {call}, found {rate!r}"
                )
        if self.burst is not None and (type(self.burst) is not int or self.burst < 1):
            raise ConfigurationError(f"burst: expected an integer from 1, found {self.burst!r}")

    def shared(
        self, clock: Callable[[], float], *, max_requests: int | None = None
    ) -> SharedLimits:
        """The counters behind these limits, made when the first client with them opens."""
        if self._shared is None:
            slots = self.max_requests or max_requests or _DEFAULT_MAX_REQUESTS
            object.__setattr__(self, "_shared", SharedLimits(self, slots, clock))
        shared = self._shared
        assert shared is not None
        return shared


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


class SharedLimits:
    """What several clients with the same `Limits` count together."""

    def __init__(self, limits: Limits, max_requests: int, clock: Callable[[], float]) -> None:
        self.max_requests = max_requests
        self.admission = Admission(max_requests, clock)
        self.gate = ByteGate(limits.max_bytes_in_flight, clock, self.admission)
        self.turns = Turns()
        self._limits = limits
        self._ceilings: dict[tuple[str, str | None, str | None, bool], Ceiling | None] = {}

    def ceiling(
        self, call: str, account: str | None, region: str | None, *, own_endpoint: bool
    ) -> Ceiling | None:
        """The ceiling of one account, Region and call; None for no ceiling."""
        key = (call, account, region, own_endpoint)
        if key not in self._ceilings:
            rate = self._rate(call, region, own_endpoint)
            burst = self._limits.burst
            self._ceilings[key] = (
                None if rate is None else Ceiling(rate, rate * 0.05 if burst is None else burst)
            )
        return self._ceilings[key]

    def _rate(self, call: str, region: str | None, own_endpoint: bool) -> float | None:
        if call in self._limits.rates:
            return self._limits.rates[call]
        share = self._limits.quota_share
        if share == "default":
            share = None if own_endpoint else _DEFAULT_SHARES[call]
        quotas = _LARGE_QUOTAS if region in _LARGE_REGIONS else _QUOTAS
        return None if share is None else share * quotas[call]


class Ceiling:
    """A token bucket: `rate` a second, `burst` at once. Pure: it is told the time.

    Time in which nobody asked is worth `burst` at most, so a stalled event loop is never
    followed by all the requests that it missed.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = max(1.0, burst)
        self._tokens = self.burst
        self._at: float | None = None

    def take(self, now: float) -> float:
        """0 where a request may go, which is then counted; otherwise the seconds until then."""
        if self._at is not None and now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        if self._at is None or now > self._at:
            self._at = now
        # A wait of (1 - tokens) / rate must not fall short by a rounding error.
        if self._tokens >= 1.0 - 1e-9:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate

    def give_back(self) -> None:
        """Undo a `take` whose request was never sent."""
        self._tokens = min(self.burst, self._tokens + 1.0)


class Admission:
    """Lets requests go: a slot among `max_requests` and a place below the ceiling, at once.

    Waiting requests queue up by ceiling, in order; one that is at its ceiling does not hold up
    those of another account, Region or call.
    """

    def __init__(self, max_requests: int, clock: Callable[[], float]) -> None:
        self.free = max_requests
        self.waiting = 0
        self._max_requests = max_requests
        self.waited_for_slot_s = 0.0
        self.waited_for_rate_s = 0.0
        self._clock = clock
        self._queues: dict[Ceiling | None, deque[asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        return self._max_requests - self.free

    def try_enter(self, ceiling: Ceiling | None) -> bool:
        """Enter without waiting, where nobody waits and there is room."""
        if self.free <= 0 or ceiling in self._queues:
            return False
        if ceiling is not None and ceiling.take(self._clock()) > 0:
            return False
        self.free -= 1
        return True

    async def enter(self, ceiling: Ceiling | None) -> None:
        """Enter, after waiting in line. Cancelling gives back whatever was granted."""
        place = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(ceiling, deque())
        queue.append(place)
        since = self._clock()
        for_slot = self.free <= 0
        self.waiting += 1
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self._undo(ceiling)
            raise
        finally:
            self.waiting -= 1
            if for_slot:
                self.waited_for_slot_s += self._clock() - since
            else:
                self.waited_for_rate_s += self._clock() - since

    def enter_anyway(self) -> None:
        """Take a slot that is about to be left, whether there is one or not."""
        self.free -= 1

    def leave(self) -> None:
        """A request is over."""
        self.free += 1
        if self._queues:
            self._admit()

    def _undo(self, ceiling: Ceiling | None) -> None:
        if ceiling is not None:
            ceiling.give_back()
        self.leave()

    def _admit(self) -> None:
        """Let in whoever may, one of each queue in turn, and come back when the next may."""
        now = self._clock()
        soonest: float | None = None
        candidates = deque(self._queues)
        while candidates and self.free > 0:
            ceiling = candidates.popleft()
            if not self._drop_cancelled(ceiling):
                continue
            wait = 0.0 if ceiling is None else ceiling.take(now)
            if wait > 0:
                soonest = wait if soonest is None else min(soonest, wait)
                continue
            # The queue goes to the back, so that the next free slot is another's.
            self._queues[ceiling] = queue = self._queues.pop(ceiling)
            queue.popleft().set_result(None)
            self.free -= 1
            candidates.append(ceiling)
        self._wake_in(soonest)

    def _drop_cancelled(self, ceiling: Ceiling | None) -> bool:
        """Whether anybody waits below this ceiling."""
        queue = self._queues[ceiling]
        while queue and queue[0].cancelled():
            queue.popleft()
        if not queue:
            del self._queues[ceiling]
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
        admission = self._admission if hold.is_streamed else None
        if admission is not None:
            admission.leave()
        try:
            await place
            if admission is not None:
                await admission.enter(None)
        except BaseException:
            if admission is not None:
                admission.enter_anyway()
            raise
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
    """The bytes of one stream's pages that wait for its consumer."""

    __slots__ = ("parked",)

    def __init__(self) -> None:
        self.parked = 0


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
            asyncio.get_running_loop().call_soon(self._next_turn)
