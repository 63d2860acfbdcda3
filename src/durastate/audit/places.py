"""Where executions are: a profile's Region each, with a client and ceilings of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple, Self

from durastate import StateClient
from durastate.requests import GET_HISTORY, LIST_EXECUTIONS

from .quotas import Facts, Share


class Place(NamedTuple):
    """A profile (None: the one that is set) and a Region."""

    profile: str | None
    region: str | None


Rates = Mapping[str, float]
Connect = Callable[[Place, Rates], StateClient]
"""Makes the client of a place, not entered yet, with these ceilings by call."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A place that is read from."""

    place: Place
    client: StateClient
    facts: Facts
    rates: dict[str, float]

    def now(self) -> datetime:
        """By the service's clock, once an answer has told it."""
        skew_s = self.client.statistics().clock_skew_s
        return datetime.now(timezone.utc) + timedelta(seconds=skew_s or 0.0)


class Places:
    """The places of a run, each opened when it is first needed; ``async with`` closes them.

    `profiles` says which profile an account is read with, where that is not `profile`. `rate` is
    requests a second of GetDurableExecutionHistory, instead of its share of the quota.
    """

    def __init__(
        self,
        connect: Connect,
        ask: Callable[[str | None, str | None], Awaitable[Facts]],
        *,
        profile: str | None = None,
        region: str | None = None,
        profiles: Mapping[str, str] | None = None,
        share: Share = "default",
        rate: float | None = None,
    ) -> None:
        self._connect = connect
        self._ask = ask
        self._profile = profile
        self._profiles = dict(profiles or {})
        self._share = share
        self._rate = rate
        self._region = region
        #: Whether what is no ARN may be an execution.
        self.any_key = False
        #: Whether credentials, an endpoint or quotas are being found out right now.
        self.is_opening = False
        self._facts: dict[Place, Facts] = {}
        self._opened: dict[Place, Opened] = {}
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        facts = await self._ask(self._profile, self._region)
        self._region = facts.region
        self.any_key = facts.is_own_endpoint
        self._facts[Place(self._profile, facts.region)] = facts
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._closing.aclose()

    def of(self, region: str | None, account: str | None) -> Place:
        """The place of an ARN with these parts, or of a name without any."""
        profile = self._profiles.get(account or "", self._profile)
        return Place(profile, region or self._region)

    async def open(self, place: Place) -> Opened:
        """The place, ready to be asked."""
        if place not in self._opened:
            self.is_opening = True
            try:
                self._opened[place] = await self._open(place)
            finally:
                self.is_opening = False
        return self._opened[place]

    async def _open(self, place: Place) -> Opened:
        facts = self._facts.get(place) or await self._ask(place.profile, place.region)
        rates = {call: facts.rate(call, self._share) for call in (LIST_EXECUTIONS, GET_HISTORY)}
        if self._rate is not None:
            rates[GET_HISTORY] = self._rate
        client = self._connect(place, rates)
        await self._closing.enter_async_context(client)
        return Opened(place, client, facts, rates)

    @property
    def opened(self) -> list[Opened]:
        """Those that were needed so far."""
        return list(self._opened.values())

    @property
    def clock_skew(self) -> timedelta:
        """How far the service's clock is ahead of this machine's, as far as answers have told.

        Regions agree on the time; of an endpoint of the user's own they are all the same one.
        """
        told = [each.client.statistics().clock_skew_s for each in self.opened]
        return timedelta(seconds=max((skew_s for skew_s in told if skew_s is not None), default=0))

    def selection(self) -> dict[str, object]:
        """What else makes names mean other functions: without a Region they are in any account."""
        return {
            "region": self._region,
            "profile": self._profile,
            "profiles": sorted(self._profiles.items()),
            "own_endpoint": self.any_key,
        }
