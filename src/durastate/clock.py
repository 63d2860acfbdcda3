"""What time it is at the service, going by the `Date` of its answers. Pure.

The service takes a signature for five minutes, so an answer that came of one proves when it was
signed to within that. A Date that says otherwise is another's, of a middlebox with a clock of its
own, and is not believed. An endpoint of the user's own may take any signature, so its Date is
all there is to go by. No answer of this API is older than the API.
"""

from __future__ import annotations

from collections.abc import Callable

_SIGNATURE_LASTS_S = 300.0
_EARLIEST = 1_764_547_200.0  # 2025-12-01, the version of the API
_LATEST = 4_102_444_800.0  # 2100
_LONGEST = 64  # characters of a Date, which has 29


class ServiceClock:
    """How far the service's clock is ahead of this machine's.

    `skew_s` is None until a good answer has told it. A Date says the second, and was written
    between sending and receiving: where the two clocks may agree, they do, and otherwise the
    service's is as late as it can be, so that nothing which has happened there is to come.
    """

    def __init__(self, here: Callable[[], float]) -> None:
        self.skew_s: float | None = None
        self._here = here
        self._last = ""

    def hear(self, date: str, took_s: float, proven_at: float = 0.0) -> None:
        """Take the Date of a good answer that has just come, `took_s` after its request was sent.

        `proven_at` is by the service's clock, to five minutes; 0 where nothing is proven.
        """
        if date == self._last:
            return
        self._last = date
        there = seconds_of(date)
        if there is None:
            return
        if proven_at and abs(there - proven_at) > _SIGNATURE_LASTS_S + took_s:
            return
        now = self._here()
        least, most = there - now, there + 1 - (now - took_s)
        if self.skew_s is not None and least <= self.skew_s <= most:
            return  # A slow answer says less than what is known.
        self.skew_s = 0.0 if least <= 0 <= most else most


def seconds_of(date: str) -> float | None:
    """The epoch seconds of a Date header; None for what is none that the service can have sent."""
    from email.utils import mktime_tz, parsedate_tz

    try:
        parsed = parsedate_tz(date[:_LONGEST])
        seconds = None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return seconds if seconds is not None and _EARLIEST <= seconds < _LATEST else None
