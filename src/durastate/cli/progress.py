"""How far a long read is: a live display on a terminal, otherwise a line every ten seconds.

It looks at the counters from time to time instead of being told of each execution, so that it
costs nothing and shows something even while everything waits.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from durastate import Event, Paused, Resumed, Statistics

from .plain import plain
from .streams import say, unheard

_LINE_EVERY_S = 10.0
_FRAME_EVERY_S = 0.2
_RATE_OVER_S = 30.0
_WIDEST_BAR = 40
_LONGEST_S = 1_000 * 365.25 * 86_400


@dataclass
class Tally:
    """What became of the executions so far.

    `requested` is None while it is unknown, `taken` how many were begun.
    """

    requested: int | None = None
    taken: int = 0
    already: int = 0
    complete: int = 0
    failed: int = 0

    @property
    def read(self) -> int:
        """How many are done with, of those that were asked for."""
        return self.complete + self.failed

    @property
    def left(self) -> int | None:
        """How many are still to do."""
        if self.requested is None:
            return None
        return max(0, self.requested - self.already - self.read)


class Absence:
    """The endpoints that have gone away; a client's hook, which says so on stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._regions: set[str] = set()
        self._quiet = quiet

    def __bool__(self) -> bool:
        return bool(self._regions)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Paused):
            self._regions.add(event.region)
            self._say(f"The service has gone away; waiting for it: {event.reason}")
        elif isinstance(event, Resumed):
            self._regions.discard(event.region)
            self._say(f"The service answers again, after {span(event.seconds)}.")

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(plain(text))


class Progress:
    """Shows a tally and a client's statistics on stderr; ``async with`` starts and ends it."""

    def __init__(
        self,
        tally: Tally,
        statistics: Callable[[], Statistics],
        absence: Absence | None = None,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        on_terminal = sys.stderr.isatty()
        self._console = _Console(stderr=True, force_terminal=on_terminal, highlight=False)
        self._is_live = on_terminal and not self._console.is_dumb_terminal
        self._tally = tally
        self._statistics = statistics
        self._quiet = quiet
        self._clock = clock
        self._pace = Pace()
        self._waits = Waits()
        self._absence = absence or Absence()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._look()
        if not self._quiet:
            self._task = asyncio.create_task(self._live() if self._is_live else self._lines())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            # Not awaited itself: a Ctrl-C in this very turn of the loop is no end of this task.
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _live(self) -> None:
        with (
            unheard(),
            Live(console=self._console, auto_refresh=False, transient=True) as display,
        ):
            while True:
                self._look()
                display.update(self._frame(), refresh=True)
                await asyncio.sleep(_FRAME_EVERY_S)

    async def _lines(self) -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            self._look()
            say(self.line())

    def _look(self) -> None:
        now = self._clock()
        self._pace.see(now, self._tally.read)
        self._waits.see(now, self._statistics(), is_away=bool(self._absence))

    def line(self) -> str:
        """Everything in one line."""
        return f"{self._position()}, {self._details()}; {self._outlook()}"

    def _frame(self) -> Group:
        bar = Table.grid(padding=(0, 1))
        width = max(10, min(_WIDEST_BAR, self._console.width - 40))
        left = self._tally.left
        done = self._tally.read
        total = None if left is None else done + left
        bar.add_row(
            Text(self._position()),
            ProgressBar(total=total, completed=done, width=width, pulse=total is None),
            Text(self._time_left()),
        )
        return Group(bar, Text(self._details()), Text(self._waits.reason(), style="dim"))

    def _position(self) -> str:
        left, done = self._tally.left, self._tally.read
        of = "" if left is None else f" of {done + left:,}"
        return f"{done:,}{of} executions"

    def _details(self) -> str:
        statistics = self._statistics()
        return (
            f"{statistics.pages:,} pages, {statistics.operations:,} operations, "
            f"{self._pace.per_second():,.0f} executions/s, {self._tally.failed:,} failed"
        )

    def _outlook(self) -> str:
        return f"{self._waits.reason()}{', ' + left if (left := self._time_left()) else ''}"

    def _time_left(self) -> str:
        left, pace = self._tally.left, self._pace.per_second()
        return f"{span(left / pace)} left" if left is not None and pace > 0 else ""


class _Console(Console):
    def on_broken_pipe(self) -> Never:
        """Nothing of rich's own, which ends the process."""
        raise  # noqa: PLE0704 - called where the error is handled


class Pace:
    """Executions a second over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, now: float, done: int) -> None:
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _RATE_OVER_S:
            self._seen.popleft()

    def per_second(self) -> float:
        (since, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - since) if now > since else 0.0


_REASONS = {
    "answers": "waiting for the service's answers",
    "rate": "held by the rate ceiling (--rate, --quota-share)",
    "throttling": "limited by throttling",
    "slots": "held by --max-requests",
    "bytes": "held by the bytes in flight",
    "retries": "waiting to try again after errors",
    "outage": "waiting for the endpoint to come back",
    "consumer": "waiting for what was read to be written",
    "refs": "waiting for references",
}


class Waits:
    """What a run waits for: whatever took the most of its requests' time since the last look."""

    def __init__(self) -> None:
        self._at = 0.0
        self._before: Statistics | None = None
        self._reason = _REASONS["answers"]

    def see(self, now: float, statistics: Statistics, *, is_away: bool = False) -> None:
        if is_away:
            self._reason = _REASONS["outage"]
        elif self._before is not None:
            found = longest_wait(self._before, statistics, now - self._at)
            self._reason = _REASONS[found]
        self._at, self._before = now, statistics

    def reason(self) -> str:
        return self._reason


def longest_wait(before: Statistics, now: Statistics, seconds: float) -> str:
    """A key of `_REASONS`, from two snapshots."""
    waits = {
        "answers": now.in_flight * seconds,
        "rate": now.waited_for_rate_s - before.waited_for_rate_s,
        "slots": now.waited_for_requests_s - before.waited_for_requests_s,
        "bytes": now.waited_for_bytes_s - before.waited_for_bytes_s,
        "retries": now.waited_for_retries_s - before.waited_for_retries_s,
        "throttling": now.waited_for_throttling_s - before.waited_for_throttling_s,
        "consumer": now.waited_for_consumer_s - before.waited_for_consumer_s,
    }
    if now.waiting and not any(waits[name] for name in ("rate", "slots", "bytes", "throttling")):
        # A wait is counted when it ends. Until the first one does, this is what is known.
        waits["slots" if now.in_flight >= now.waiting else "rate"] += now.waiting * seconds
    longest = max(waits, key=lambda name: waits[name])
    return longest if waits[longest] > 0 else "refs"


def counted(count: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def span(seconds: float) -> str:
    """A stretch of time for people: `12 s`, `3 min 20 s`, `5 h 10 min`, `4 d 7 h`.

    At a rate next to nothing it is infinite. Clocks that differ make it negative, which is shown as
    none at all.
    """
    seconds = max(0.0, seconds)
    if seconds > _LONGEST_S:
        return "1,000 years or more"
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest} s"
    days, hours_rest = divmod(hours, 24)
    return f"{days} d {hours_rest} h" if days else f"{hours} h {minutes_rest} min"
