"""How the service behaves towards everybody, as plain data: time, rate and the size of pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from durastate.emulator.names import Call


class Options(TypedDict, total=False):
    """The fields of :class:`Behaviour` as keyword arguments."""

    latency_s: float
    rate: float | None
    history_rate: float | None
    get_rate: float | None
    list_rate: float | None
    burst: int | None
    retry_after_s: int | None
    retry_after_ms: int | None
    page_bytes: int
    max_page_items: int
    short_pages: float
    event_payload_size: int
    history_by_time: bool
    region: str | None


@dataclass(frozen=True)
class Behaviour:
    """What holds for every request.

    ``rate`` is requests/s that the service allows of GetDurableExecutionState, ``history_rate``,
    ``get_rate`` and ``list_rate`` those of the other calls, each with ``burst`` at once (by default
    a second's worth); what is above gets a 429 with the hints of ``retry_after_s`` and
    ``retry_after_ms``. ``short_pages`` is the share of pages that are shorter than they could be, a
    quarter of them empty. Payloads of more than ``event_payload_size`` characters are cut in a
    history. ``history_by_time`` sends its events as the service does, in the order of their times,
    and of two of one time the one with the higher EventId first. ``region`` is the only Region to
    accept in a signature; None accepts each.
    """

    latency_s: float = 0
    rate: float | None = None
    history_rate: float | None = None
    get_rate: float | None = None
    list_rate: float | None = None
    burst: int | None = None
    retry_after_s: int | None = None
    retry_after_ms: int | None = None
    page_bytes: int = 5 * 1024**2
    max_page_items: int = 1_000
    short_pages: float = 0
    event_payload_size: int = 256 * 1024
    history_by_time: bool = False
    region: str | None = None

    def rates(self) -> dict[Call, float | None]:
        """The requests/s that each call allows."""
        return {
            Call.STATE: self.rate,
            Call.HISTORY: self.history_rate,
            Call.GET: self.get_rate,
            Call.LIST: self.list_rate,
        }


class Allowance:
    """A token bucket: ``take`` says whether one more request is allowed now."""

    def __init__(
        self, rate: float | None, burst: int | None, monotonic: Callable[[], float]
    ) -> None:
        self._rate = rate
        self._most = max(1.0, burst if burst is not None else rate or 0)
        self._level = self._most
        self._monotonic = monotonic
        self._since = monotonic()

    def take(self) -> bool:
        if self._rate is None:
            return True
        now = self._monotonic()
        self._level = min(self._most, self._level + (now - self._since) * self._rate)
        self._since = now
        if self._level < 1:
            return False
        self._level -= 1
        return True
