"""What an audit is going to cost, before one history is read. Pure.

How many requests a history takes depends on how many events it has, which no listing says. So it
is reckoned from what the directory has of earlier reads, or else from a guess, and the plan says
from which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .places import Place
from .quotas import Quota
from .schema import Format, Payloads

_ENOUGH_READ = 20
_OPERATIONS_GUESSED = 20.0
_EVENTS_AN_OPERATION = 2.2
_SERVICE_DEFAULT_ITEMS = 100
# Bytes of an execution and of an operation in tables and journal, without and with sizes or hashes:
# as measured over 1,000 executions of the embedded service, 48 operations each.
_BYTES: dict[tuple[Format, bool], tuple[float, float]] = {
    ("parquet", False): (1_700, 63),
    ("parquet", True): (1_850, 93),
    ("jsonl", False): (2_300, 466),
    ("jsonl", True): (2_350, 558),
}


@dataclass(frozen=True, slots=True)
class Experience:
    """What the directory holds already."""

    executions: int = 0
    operations: int = 0

    @property
    def is_enough(self) -> bool:
        return self.executions >= _ENOUGH_READ

    @property
    def operations_each(self) -> float:
        return self.operations / self.executions if self.is_enough else _OPERATIONS_GUESSED


@dataclass(frozen=True, slots=True)
class Share:
    """What one place has to do; `rate` is requests a second, infinite where nothing holds them."""

    place: Place
    executions: int
    requests: int
    rate: float
    quota: Quota

    @property
    def seconds(self) -> float:
        """How long it takes at least."""
        return self.requests / self.rate


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read. `already` were read before and are not asked for again.

    `bytes` are without payloads, whose size no listing says; `with_payloads`: they come on top.
    `clock_skew_s` is that of the manifest.
    """

    found: int
    already: int
    to_read: int
    listings: int
    requests: int
    shares: tuple[Share, ...]
    bytes: int
    with_payloads: bool
    experience: Experience
    clock_skew_s: int | None = None

    @property
    def seconds(self) -> float:
        """The places are read side by side."""
        return max((share.seconds for share in self.shares), default=0.0)


def make_plan(
    executions: dict[Place, int],
    rates: dict[Place, tuple[float, Quota]],
    *,
    already: int,
    listings: int,
    experience: Experience,
    max_items: int,
    format: Format,  # noqa: A002
    payloads: Payloads,
    clock_skew_s: int | None = None,
) -> Plan:
    """The plan for so many executions in each place."""
    each = pages_each(experience.operations_each, max_items)
    shares = tuple(
        Share(place, count, math.ceil(count * each), *rates[place])
        for place, count in executions.items()
        if count
    )
    to_read = sum(executions.values())
    of_execution, of_operation = _BYTES[format, payloads != "none"]
    return Plan(
        found=already + to_read,
        already=already,
        to_read=to_read,
        listings=listings,
        requests=sum(share.requests for share in shares),
        shares=shares,
        bytes=int(to_read * (of_execution + of_operation * experience.operations_each)),
        with_payloads=payloads == "full",
        experience=experience,
        clock_skew_s=clock_skew_s,
    )


def pages_each(operations: float, max_items: int) -> float:
    """Requests that an execution with so many operations takes."""
    return max(1.0, operations * _EVENTS_AN_OPERATION / (max_items or _SERVICE_DEFAULT_ITEMS))


def time_left(left: int, done: int, elapsed_s: float) -> float | None:
    """Seconds until what is left is done too, at the pace so far; None before anything is."""
    return None if not done else left * elapsed_s / done
