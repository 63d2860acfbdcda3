"""Times and spans of time as users write them: `7d`, `90m`, `2026-01-31T08:00Z`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from .ending import USAGE, Problem

_SPAN = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST = timedelta(days=36_500)


def span_of(text: str, option: str) -> timedelta:
    """So many seconds, minutes, hours, days or weeks."""
    found = _SPAN.fullmatch(text.strip())
    seconds = 0.0 if found is None else float(found["number"]) * _SECONDS[found["unit"]]
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise Problem(f"{option}: expected a span such as 90m, 12h or 7d, found {text!r}", USAGE)
    return timedelta(seconds=seconds)


def moment_of(text: str, option: str) -> datetime | timedelta:
    """A moment, or how long before now."""
    if _SPAN.fullmatch(text.strip()):
        return span_of(text, option)
    try:
        moment = datetime.fromisoformat(text.strip())
        return (
            moment.replace(tzinfo=timezone.utc)
            if moment.tzinfo is None
            else moment.astimezone(timezone.utc)
        )
    except (ValueError, OverflowError):
        raise Problem(
            f"{option}: expected a time such as 7d, 12h or 2026-01-31T08:00Z, found {text!r}",
            USAGE,
        ) from None
