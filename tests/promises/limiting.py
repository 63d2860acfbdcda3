"""A service that limits to a rate, and clients that follow `Pace`, in simulated time."""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from durastate.pace import Pace
from durastate.retries import Retries

Rate = Callable[[float], float]
# A loop's timers are no finer than that.
_TIMER_S = 0.001


class Bucket:
    """A token bucket, filled at a rate that may change, which holds `burst_s` of it at most."""

    def __init__(self, rate: Rate, burst_s: float, level: float = 1.0) -> None:
        self._rate = rate
        self._burst_s = burst_s
        self._level = level * max(1.0, rate(0.0) * burst_s)
        self._at = 0.0

    def take(self, now: float) -> bool:
        rate = self._rate(now)
        most = max(1.0, rate * self._burst_s)
        self._level = min(most, self._level + (now - self._at) * rate)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


@dataclass
class Traffic:
    """When our requests were sent, and when those taken and those refused arrived."""

    sent: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    rival_refused: list[float] = field(default_factory=list)

    def good(self, since: float, until: float) -> float:
        """Successful answers a second."""
        return within(self.taken, since, until) / (until - since)

    def asked(self, since: float, until: float) -> float:
        """Requests a second, throttled ones too."""
        return self.good(since, until) + within(self.refused, since, until) / (until - since)

    def throttled(self, since: float, until: float) -> float:
        """The share of our requests that were refused."""
        refused = within(self.refused, since, until)
        return refused / max(1, refused + within(self.taken, since, until))

    def first_refusal(self, since: float) -> float:
        """When anybody, the rival too, was first refused after `since`."""
        return min(at for at in (*self.refused, *self.rival_refused) if at >= since)


def within(times: list[float], since: float, until: float) -> int:
    """How many of `times`, which ascend, lie there."""
    return bisect_left(times, until) - bisect_left(times, since)


@dataclass(eq=False, slots=True)
class _Page:
    sent_at: float = 0.0
    refused: int = 0
    refused_since: float = 0.0


def simulate(
    rate: Rate,
    seconds: float,
    *,
    burst_s: float,
    seed: int,
    rtt_s: float = 0.02,
    rival: tuple[float, float] | None = None,
    ceiling: float = math.inf,
    workers: int = 64,
    pages: float = math.inf,
    stray: float = 0.0,
) -> Traffic:
    """`workers` that have `pages` to ask for, against a service that limits.

    `rival` is when another client comes, and its requests a second, which it sends whatever
    happens, at jittered times. `stray` is the share of requests that are refused whatever the
    rate.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    astray = random.Random(f"{seed}/stray")  # noqa: S311 - so that all else stays the same
    service = Bucket(rate, burst_s, level=chance.random())
    pace = Pace(ceiling, math.inf if ceiling == math.inf else ceiling * 0.05)
    back_off = Retries(1, chance.random).throttled_s
    traffic, events, number = Traffic(), [], count()
    idle, timer = deque(_Page() for _ in range(workers)), _Page()
    left = pages - workers

    def later(at: float, what: str, page: _Page = timer) -> None:
        heapq.heappush(events, (at, next(number), what, page))

    if rival is not None:
        later(rival[0], "rival")
    later(chance.random() * 0.01, "timer", timer)
    while events:
        now, _, what, page = heapq.heappop(events)
        if now > seconds:
            break
        if what == "rival":
            assert rival is not None
            if not service.take(now):
                traffic.rival_refused.append(now)
            later(now + chance.uniform(0.5, 1.5) / rival[1], "rival")
            continue
        if what == "arrives":
            is_good = service.take(now) and astray.random() >= stray
            (traffic.taken if is_good else traffic.refused).append(now)
            later(now + rtt_s / 2, "good" if is_good else "bad", page)
            continue
        if what == "timer" and page is not timer:
            continue  # It was set anew since.
        if what == "good":
            pace.succeeded(now)
            if left > 0:
                left -= 1
                idle.append(_Page())
        elif what == "bad":
            # As `Calls` does it.
            if not page.refused or pace.succeeded_at < page.refused_since:
                pace.throttled(page.sent_at, now)
            page.refused_since = page.refused_since or now
            page.refused += 1
            later(now + back_off(page.refused, {}, is_limited=pace.is_throttled), "again", page)
        elif what == "again":
            idle.append(page)
        while idle:
            wait_s = pace.take(now)
            if wait_s > 0:
                timer = _Page()
                later(now + max(wait_s, _TIMER_S), "timer", timer)
                break
            page = idle.popleft()
            page.sent_at = now
            traffic.sent.append(now)
            later(now + rtt_s * chance.uniform(0.4, 0.6), "arrives", page)
    return traffic
