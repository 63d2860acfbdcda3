"""How far an audit is: what `progress` shows, of several clients and against their quotas."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

from durastate import Statistics
from durastate.audit.run import Run
from durastate.requests import GET_HISTORY

from .progress import Absence, Pace, Progress, Tally, counted, span


class AuditDisplay(Progress):
    """Shows a run; ``async with`` starts and ends it."""

    def __init__(
        self,
        run: Run,
        statistics: Callable[[], Statistics],
        absence: Absence,
        *,
        quiet: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._requests = Pace()
        super().__init__(Tally(), statistics, absence, quiet=quiet, clock=clock)

    def _look(self) -> None:
        progress, tally = self._run.progress, self._tally
        if progress.is_reading:
            tally.requested = progress.to_read
            tally.complete, tally.failed = progress.read, progress.failed
        self._requests.see(self._clock(), self._statistics().requests)
        super()._look()

    def _position(self) -> str:
        progress = self._run.progress
        return super()._position() if progress.is_reading else f"{progress.found:,} found"

    def _details(self) -> str:
        progress = self._run.progress
        statistics = self._statistics()
        pace = f"{self._requests.per_second():,.1f} requests/s"
        if not progress.is_reading:
            return f"listing, {counted(statistics.requests, 'request')}, {pace}"
        allowed = sum(each.opened.rates[GET_HISTORY] for each in progress.readings if each.left)
        of = "" if allowed == math.inf else f" of {allowed:,.1f}"
        return (
            f"{counted(statistics.requests, 'request')}, {pace}{of}, {self._tally.failed:,} failed"
        )

    def _time_left(self) -> str:
        progress = self._run.progress
        if self._run.is_stopped or not progress.is_reading:
            return ""
        left = progress.time_left(self._clock())
        return "" if left is None else f"{span(left)} left"


def total(several: list[Statistics]) -> Statistics:
    """Of several clients together."""
    others = ("transport", "clock_skew_s")
    names = [each.name for each in dataclasses.fields(Statistics) if each.name not in others]
    sums: dict[str, Any] = {name: sum(getattr(each, name) for each in several) for name in names}
    return Statistics(**sums, transport=", ".join(sorted({each.transport for each in several})))
