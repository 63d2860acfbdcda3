"""What a run is to read, and what of it stays as it was when the run began."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, Self

from .errors import EmptyWindowError
from .functions import FunctionName, function_named
from .schema import Format, Payloads


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to read. `keys` are executions that are named themselves.

    `statuses`, `since` and `until` choose among the executions of functions; a timedelta is so long
    before the run. `sample` takes so many of all that are found, by chance and always the same;
    `limit` looks at the first so many only.
    """

    functions: tuple[FunctionName, ...] = ()
    keys: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    sample: int | None = None
    limit: int | None = None
    max_items: int = 1_000
    format: Format = "parquet"
    payloads: Payloads = "none"

    def selection(self) -> dict[str, Any]:
        """What makes it the same order as another one."""
        return {
            "functions": sorted(map(str, self.functions)),
            "keys": hashlib.sha256("\n".join(sorted(self.keys)).encode()).hexdigest(),
            "statuses": sorted(self.statuses),
            "since": str(self.since),
            "until": str(self.until),
            "sample": self.sample,
            "limit": self.limit,
        }

    def between(self, now: datetime) -> tuple[datetime | None, datetime]:
        """From when to when, for a run that begins now; nothing that starts later is looked at.

        `EmptyWindowError` where that is nothing.
        """
        since = now - self.since if isinstance(self.since, timedelta) else self.since
        until = now - self.until if isinstance(self.until, timedelta) else self.until
        end = now if until is None else min(now, until)
        if since is not None and since >= end:
            raise EmptyWindowError("since: nothing starts both after it and before until, or now")
        return since, end

    def check_window(self) -> None:
        """Find what needs no clock: two moments, or two spans, the wrong way round."""
        if type(self.since) is type(self.until):
            self.between(datetime.max.replace(tzinfo=timezone.utc))


class Pins(NamedTuple):
    """What stays as it was when a run began, also for the runs that go on with it."""

    names: tuple[FunctionName, ...]
    since: datetime | None
    until: datetime

    def hold(self, moment: datetime) -> bool:
        """Whether what started then is asked for."""
        return (self.since is None or self.since <= moment) and moment <= self.until

    def written(self) -> dict[str, str]:
        found = {"functions": "\n".join(map(str, self.names)), "until": self.until.isoformat()}
        return found if self.since is None else found | {"since": self.since.isoformat()}

    @classmethod
    def read(cls, pins: Mapping[str, str]) -> Self:
        """`KeyError`, `ValueError`, `OverflowError` or `ConfigurationError` for what was not
        written so.
        """
        since = pins.get("since")
        return cls(
            tuple(map(function_named, pins["functions"].split())),
            None if since is None else _moment(since),
            _moment(pins["until"]),
        )


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found.astimezone(timezone.utc)
