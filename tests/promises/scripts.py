"""What the tests of outages share: many references, and an endpoint that goes away by the clock."""

from __future__ import annotations

from collections.abc import Callable

from virtual_clock import now

from durastate import ExecutionRef, TransportError
from durastate.testing import Answer, Asked, Response, no_answer, page, service_error, step

ARN = "arn:aws:lambda:{}:123456789012:function:f:1/durable-execution/run-{}/id"
PAGE = page(step("1"))
WAYS: dict[str, Callable[[], Response | TransportError]] = {
    "refused": lambda: no_answer("cannot connect", connected=False),
    "closed while idle": lambda: no_answer("closed", was_idle=True),
    "reset": no_answer,
    "unavailable": lambda: service_error("", status=503),
}


def refs(count: int, region: str = "eu-west-1", first: int = 0) -> list[ExecutionRef]:
    return [ExecutionRef(ARN.format(region, n), "dG9rZW4=") for n in range(first, first + count)]


class Endpoint:
    """A script: a page for everything, but from `away_at` for `away_s` whatever `way` says.

    Times are seconds since it was made. `poisoned` are ARNs that always get a 500.
    """

    def __init__(
        self,
        way: str = "unavailable",
        *,
        away_at: float = 1.0,
        away_s: float = 0.0,
        region: str | None = None,
        poisoned: frozenset[str] = frozenset(),
    ) -> None:
        self.began = now()
        self.away_from = self.began + away_at
        self.away_until = self.away_from + away_s
        self.way = way
        self.poisoned = poisoned
        self.region = region
        self.asked_while_away: list[Asked] = []

    def __call__(self, asked: Asked) -> Answer:
        is_here = self.region in (None, asked.region)
        if is_here and self.away_from <= asked.at < self.away_until:
            self.asked_while_away.append(asked)
            return WAYS[self.way]()
        if asked.arn in self.poisoned:
            return service_error("ServiceException", status=500)
        return PAGE
