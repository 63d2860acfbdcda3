"""An endpoint that has gone away, as a bulk read goes through it.

Everything that needs the endpoint waits in one line. One at a time is let through to send a
probe, after pauses that double; when any answer comes, all go on. An outage that lasts longer
than the limit ends for everybody who waits with an `OutageError`, and with that the run.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from copy import copy

from .errors import DurastateError, OutageError

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 20.0
# Where an endpoint comes and goes many times a second, nobody wants to hear of each time: an
# outage that comes so soon after another is told only once it has lasted.
_SOON_S = 10.0
_LASTING_S = 1.0


class Outage:
    """The outages of one endpoint, one after the other.

    `on_change` is told the seconds since the outage began: 0 at its beginning. Of one that follows
    another soon it is told when a probe fails after a second, or not at all. What it raises ends
    the request whose answer made it known, and nothing else.
    """

    def __init__(
        self,
        limit_s: float,
        random: Callable[[], float],
        on_change: Callable[[DurastateError, float], None],
    ) -> None:
        self.is_on = False
        self.waited_s = 0.0
        self._is_told = False
        self._ended_at = -math.inf
        self._limit_s = limit_s
        self._random = random
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._is_probing = False
        self._pause_s = 0.0
        self._began_at = 0.0
        self._reason: DurastateError
        self._given_up: OutageError | None = None

    async def turn(self) -> bool:
        """Wait until the outage is over (False), or to be the request that probes (True).

        A probe ends with `over` or `failed`, or with `hand_on` where it is never sent.
        """
        place: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append(place)
        since = self._loop.time()
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None and place.result():
                self.hand_on()
            elif self.is_on and not self._is_probing and not self._anybody_waits():
                self.close()  # Whoever comes later finds out anew.
            raise
        finally:
            self.waited_s += self._loop.time() - since

    @property
    def waiting(self) -> int:
        """How many requests wait for its end."""
        return sum(not place.done() for place in self._waiting)

    def failed(self, reason: DurastateError, *, is_probe: bool) -> None:
        """The endpoint has been found gone: the first time, or by the probe.

        A probe that was under way when the limit was reached gets the `OutageError` here.
        """
        self._is_probing = self._is_probing and not is_probe
        if is_probe and self._given_up is not None:
            raise self._given_up
        self._reason = reason
        if not self.is_on:
            self._given_up = None
            self.is_on = True
            self._began_at = self._loop.time()
            # There is a probe before the limit, however short that is.
            self._pause_s = min(_FIRST_PAUSE_S, self._limit_s / 4)
            self._call_in(self._limit_s, self._give_up)
            self._call_for_probe()
            self._is_told = self._began_at - self._ended_at >= _SOON_S
            if self._is_told:
                self._on_change(reason, 0.0)  # Last, as it may raise.
        elif is_probe:
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._call_for_probe()
            if not self._is_told and self._loop.time() - self._began_at >= _LASTING_S:
                self._is_told = True
                self._on_change(reason, 0.0)

    def _call_for_probe(self) -> None:
        # Half of it by chance, so that many processes do not ask in step.
        self._call_in(self._pause_s * (0.5 + 0.5 * self._random()), self.hand_on)

    def hand_on(self) -> None:
        """Let the next in line probe."""
        self._is_probing = self.is_on and self._anybody_waits()
        if self._is_probing:
            self._waiting.popleft().set_result(True)
        else:
            self.close()

    def _anybody_waits(self) -> bool:
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        return bool(self._waiting)

    def over(self) -> None:
        """The endpoint has answered."""
        self.close()
        for place in self._waiting:
            if not place.done():
                place.set_result(False)
        self._waiting.clear()
        self._ended_at = self._loop.time()
        if self._is_told:
            self._on_change(self._reason, self._ended_at - self._began_at)

    def close(self) -> None:
        """Forget the outage; nothing of it happens later."""
        self.is_on = self._is_probing = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _give_up(self) -> None:
        self.close()
        self._given_up = OutageError(
            f"no answer for outage_limit_s={self._limit_s:g} s, so the run ends here; "
            f"what was not complete can be read again. The last failure: {self._reason}"
        )
        for place in self._waiting:
            if not place.done():
                place.set_exception(copy(self._given_up))
        self._waiting.clear()

    def _call_in(self, seconds: float, what: Callable[[], None]) -> None:
        if what in self._timers:
            self._timers[what].cancel()
        self._timers[what] = self._loop.call_later(seconds, what)
