"""From a request as it arrived to the answer, without I/O: what is the same for every call.

Each call has its family, which knows its parameters and its data; here are the order in which the
service judges, the rates and the faults.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_bytes
from typing import Protocol

from durastate.emulator import answers, spoiling
from durastate.emulator.answers import Answer
from durastate.emulator.asking import Asked, parse
from durastate.emulator.behaviour import Allowance, Behaviour
from durastate.emulator.execution_call import ExecutionCall
from durastate.emulator.faults import Fault, FaultKind, FaultPlan, Moment
from durastate.emulator.history_call import HistoryCall
from durastate.emulator.list_call import ListCall
from durastate.emulator.markers import MarkerRefused, Markers, Place
from durastate.emulator.names import Call
from durastate.emulator.pages import Listing, Pages
from durastate.emulator.signatures import (
    Credentials,
    Received,
    SignatureRefused,
    claimed_region,
    verify,
)
from durastate.emulator.state_call import StateCall
from durastate.emulator.world import World, next_token


class Family(Protocol):
    """One call of one world."""

    def index(self, asked: Asked) -> int | None:
        """Where the execution stands; None for an unknown one and for a call about a function."""

    def bound(self, asked: Asked) -> tuple[str, str]:
        """What the call's markers are bound to: whose listing, and which of them."""

    def wrong(self, asked: Asked) -> str | None:
        """What is wrong with the parameters."""

    def refused(self, asked: Asked) -> Answer | None:
        """The refusal of a request whose parameters are right."""

    def body(self, asked: Asked, listing: Listing, fault: Fault | None) -> bytes:
        """The answer from a place on."""


@dataclass(frozen=True)
class Decision:
    """The answer, and what the log should know about the request."""

    answer: Answer
    asked: Asked | None = None
    page: int | None = None
    region: str | None = None


class Calls:
    """Answers for one world; holds what changes: newest tokens, counters, allowances."""

    def __init__(
        self,
        world: World,
        faults: FaultPlan,
        behaviour: Behaviour,
        *,
        credentials: Iterable[Credentials],
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.known_credentials = {known.access_key_id: known for known in credentials}
        self.faults = faults
        self._behaviour = behaviour
        self._now = now
        self._markers = Markers(token_bytes(32), now)
        self._allowances = {
            call: Allowance(rate, behaviour.burst, monotonic)
            for call, rate in behaviour.rates().items()
        }
        self._renewed: dict[str, str] = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._asked_page: Counter[tuple[str, str, int]] = Counter()
        self.serve(world)

    def serve(self, world: World) -> None:
        """Answer for this world from now on."""
        self._world = world
        pages = Pages(world.seed, self._behaviour, self._markers)
        self._families: dict[Call, Family] = {
            Call.STATE: StateCall(world, pages, self._renewed),
            Call.HISTORY: HistoryCall(
                world,
                pages,
                self._behaviour.event_payload_size,
                is_by_time=self._behaviour.history_by_time,
            ),
            Call.GET: ExecutionCall(world),
            Call.LIST: ListCall(world, pages),
        }

    def renew_token(self, arn: str) -> str:
        """Make the execution's token an old one, as a checkpoint does, and return the newest."""
        index = self._world.index_of(arn)
        if index is None:
            raise KeyError(arn)
        self._renewed[arn] = next_token(self._renewed.get(arn) or self._world.token(index))
        return self._renewed[arn]

    def decide(self, received: Received) -> Decision:
        """Judge one request in the service's order: call, signature, rate, parameters, the rest."""
        asked = parse(received, claimed_region(received) or "")
        if asked is None:
            return Decision(answers.unknown_call())
        family = self._families[asked.call]
        place = self._place(asked, family)
        page = place.page if place else 0
        fault = self._fault(asked, family.index(asked), page)
        skewed = fault is not None and fault.kind is FaultKind.WRONG_CLOCK
        skew_s = fault.skew_s if fault is not None and skewed else 0
        region = None
        try:
            now = self._now() + timedelta(seconds=skew_s)
            region = verify(received, self.known_credentials, now, self._behaviour.region)
        except SignatureRefused as refused:
            answer = answers.error(refused.code, refused.message)
            counts = skewed
        else:
            counts = self._allowances[asked.call].take()
            answer = self._answer(asked, family, place, fault) if counts else self._throttled()
        if counts:
            self._asked[asked.call, asked.subject] += 1
            self._asked_page[asked.call, asked.subject, page] += 1
        if skewed:
            answer = answer.changed(fault=str(FaultKind.WRONG_CLOCK), clock_skew_s=skew_s)
        return Decision(answer, asked, page, region)

    def _fault(self, asked: Asked, index: int | None, page: int) -> Fault | None:
        moment = Moment(
            call=asked.call,
            subject=asked.subject,
            index=index,
            page=page,
            asked=self._asked[asked.call, asked.subject],
            on_page=self._asked_page[asked.call, asked.subject, page],
        )
        return self.faults.choose(moment)

    def _place(self, asked: Asked, family: Family) -> Place | None:
        if not asked.marker:
            return Place()
        try:
            return self._markers.read(asked.marker, *family.bound(asked))
        except MarkerRefused:
            return None

    def _throttled(self) -> Answer:
        return answers.throttled(self._behaviour.retry_after_s, self._behaviour.retry_after_ms)

    def _answer(
        self, asked: Asked, family: Family, place: Place | None, fault: Fault | None
    ) -> Answer:
        wrong = family.wrong(asked)
        if wrong is not None:
            return answers.error("InvalidParameterValueException", wrong)
        replaced = spoiling.instead(fault, asked.call) if fault is not None else None
        if replaced is not None:
            return replaced
        refused = family.refused(asked)
        if refused is not None:
            return refused
        if place is None:
            return answers.error("InvalidParameterValueException", "Invalid marker")
        listing = Listing(*family.bound(asked), asked.marker, asked.items or 0, place)
        page = Answer(200, family.body(asked, listing, fault))
        return page if fault is None else spoiling.spoil(page, fault, asked.call)
