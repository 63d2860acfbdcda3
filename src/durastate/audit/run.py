"""A run of an audit: find the executions, say what reading them costs, read them, keep them.

    run = Run(places, order, store, …)
    await run.find(now)     # lists; asks for no history
    await run.read()        # until all is read, or something ends it earlier
    run.finish()

What is found is remembered in the store before it is read, so that a run which is killed goes on.
`stop()` ends either step in order: nothing more is begun, what is under way is finished. The
store is written to on the event loop, which serves nobody else.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, cast

from durastate import (
    AccessDeniedError,
    ConfigurationError,
    DurastateError,
    ExecutionRef,
    ExecutionSummary,
    Failed,
    FetchResult,
    FunctionNotFoundError,
)
from durastate.refs import parse_arn
from durastate.requests import GET_HISTORY

from .errors import DirectoryError
from .functions import FunctionName, without_repetitions
from .journal import CLOSED
from .journal import NAME as JOURNAL
from .manifest import Manifest, worth_saying
from .order import Order, Pins
from .places import Opened, Place, Places
from .plan import Experience, Plan, make_plan, time_left
from .rows import ExecutionRow, row_listed, row_read, row_unlisted
from .store import Store
from .summary import Scope

_BATCH = 1_000
# A function that was deleted, or that somebody may not list, is no reason to leave out the others.
_OF_ONE_FUNCTION = (FunctionNotFoundError, AccessDeniedError)
# What a ceiling lets through in a second is enough to be under way: no answer takes as long as
# that, as a rule, and more would only make Ctrl-C wait for them.
_FEWEST_AT_ONCE = 4
_MOST_AT_ONCE = 64
_AHEAD_S = 1.0
# How exactly the service takes the moments that it is given, and whether they are among those that
# it looks for, is not known. So it is asked for a second more at each end.
_MORE = timedelta(seconds=1)
_FIRST = datetime.min.replace(tzinfo=timezone.utc)
_LAST = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(slots=True)
class Reading:
    """How far the reading of one place is."""

    opened: Opened
    to_read: int
    read: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        return self.read + self.failed

    @property
    def left(self) -> int:
        return self.to_read - self.done


@dataclass
class Progress:
    """How far a run is. `found` counts what the listing has given so far.

    Of what was read, `unended` executions are listed as ended and have histories that do not say
    so yet, and `cut` operations have payloads that the service has cut off or left out. `unlisted`
    are functions that could not be listed, and why.
    """

    found: int = 0
    already: int = 0
    unended: int = 0
    cut: int = 0
    unlisted: dict[str, DurastateError] = field(default_factory=dict)
    is_reading: bool = False
    began: float = 0.0
    readings: list[Reading] = field(default_factory=list)

    @property
    def to_read(self) -> int:
        return sum(each.to_read for each in self.readings)

    @property
    def read(self) -> int:
        return sum(each.read for each in self.readings)

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.readings)

    def time_left(self, now: float) -> float | None:
        """Seconds until the last place is done, at the pace of each so far."""
        waiting = [each for each in self.readings if each.left]
        found = [time_left(each.left, each.done, now - self.began) for each in waiting]
        known = [each for each in found if each is not None]
        return max(known) if known and len(known) == len(found) else None


class Run:
    """One run, into a `store`; with `only_plan` it changes nothing there and needs none.

    `resolve` gives the versions that an alias points to. `clock` is the event loop's.
    """

    def __init__(
        self,
        places: Places,
        order: Order,
        store: Store | None,
        *,
        resolve: Callable[[FunctionName, Place], Awaitable[list[FunctionName]]],
        clock: Callable[[], float],
        max_duration_s: float | None = None,
        only_plan: bool = False,
    ) -> None:
        assert only_plan or store is not None
        self.progress = Progress()
        self.is_stopped = False
        self._places = places
        self._order = order
        self._store = store
        self._resolve = resolve
        self._clock = clock
        self._until = math.inf if max_duration_s is None else clock() + max_duration_s
        self._only_plan = only_plan
        self._is_listed = False
        self._counts: Counter[Place] = Counter()
        self._pins: Pins | None = None

    def stop(self) -> None:
        """Begin nothing more."""
        self.is_stopped = True

    @property
    def is_complete(self) -> bool:
        """Whether all that was ordered is read or failed."""
        return self._is_listed and not any(each.left for each in self.progress.readings)

    @property
    def _is_over(self) -> bool:
        return self.is_stopped or self._clock() >= self._until

    # Find

    async def find(self, now: datetime) -> Plan:
        """List what is ordered, as of `now` or of the run that is gone on with; remember it.

        `now` is by this machine's clock; what counts is the service's, which the first answers
        have told by the time it is needed.
        """
        names = await self._check()
        pins = self._pins = self._pinned(names, now + self._places.clock_skew)
        known = self._experience()
        batch: list[ExecutionRow] = []
        async with aclosing(self._found(pins)) as rows:
            async for row in rows if self._order.sample is None else self._sampled(rows):
                batch.append(row)
                if len(batch) >= _BATCH:
                    self._take(batch)
        self._take(batch)
        self._is_listed = not self._is_over
        return await self._plan(known)

    async def _check(self) -> list[FunctionName]:
        """The versions to list. Each is asked for one execution: a wrong name changes nothing.

        One that is missing among others stays as it is; it is a failure when it is listed.
        """
        if not self._places.any_key:
            for key in self._order.keys:
                parse_arn(key)
        resolved: list[FunctionName] = []
        unresolved: list[FunctionName] = []
        missing: list[DurastateError] = []
        for name in self._order.functions:
            try:
                resolved += await self._versions(name)
            except _OF_ONE_FUNCTION as error:
                unresolved.append(name)
                missing.append(error)
        names = without_repetitions(resolved + unresolved)
        there = bool(self._order.keys)
        for name in names:
            if name in unresolved:
                continue
            opened = await self._places.open(self._place_of(name))
            try:
                async with aclosing(_listing(opened, name, max_items=1)) as listing:
                    await anext(listing, None)
                there = True
            except _OF_ONE_FUNCTION as error:
                missing.append(error)
        if missing and not there:
            raise missing[0]
        return names

    async def _versions(self, name: FunctionName) -> list[FunctionName]:
        place = (await self._places.open(self._place_of(name))).place
        return await self._resolve(name, place)

    def _pinned(self, names: list[FunctionName], now: datetime) -> Pins:
        since, until = self._order.between(now)
        pins = Pins(tuple(names), since, until)
        if self._only_plan or self._store is None:
            return pins
        selection = self._order.selection() | self._places.selection()
        kept = self._store.begin(selection, pins.written())
        try:
            return Pins.read(kept)
        except (KeyError, ValueError, OverflowError, ConfigurationError):
            problem = f"{JOURNAL} is damaged (pins that are none): choose another directory"
            raise DirectoryError(self._store.directory, problem) from None

    async def _found(self, pins: Pins) -> AsyncGenerator[ExecutionRow]:
        limit = math.inf if self._order.limit is None else self._order.limit
        async with aclosing(self._everything(pins)) as everything:
            async for row in everything:
                if self._is_over:
                    return
                self.progress.found += 1
                yield row
                if self.progress.found >= limit:
                    return

    async def _everything(self, pins: Pins) -> AsyncGenerator[ExecutionRow]:
        # AWS's emulator 1.4 takes no times of ISO 8601 and would list nothing, so that only what
        # the user asked for is sent to an endpoint of his own.
        is_sent = self._order.until is not None or not self._places.any_key
        unlisted = dict.fromkeys(self._order.keys)
        since = None if pins.since is None else max(pins.since, _FIRST + _MORE) - _MORE
        until = min(pins.until, _LAST - _MORE) + _MORE if is_sent else None
        for name in pins.names:
            async with aclosing(self._of_function(name, since, until)) as found:
                async for summary in found:
                    if pins.hold(summary.start_timestamp):
                        unlisted.pop(summary.arn, None)
                        yield row_listed(summary)
        for key in unlisted:
            yield ExecutionRow.of(key, status="")

    async def _of_function(
        self, name: FunctionName, since: datetime | None, until: datetime | None
    ) -> AsyncGenerator[ExecutionSummary]:
        """The executions of a function; where it cannot be listed that is a failure of its own."""
        try:
            # An alias that could not be resolved when the run began; others stay what they were.
            for version in await self._versions(name) if name.is_alias else [name]:
                found = _listed(
                    await self._places.open(self._place_of(version)),
                    version,
                    self._order.statuses,
                    started_after=since,
                    started_before=until,
                    max_items=self._order.max_items,
                )
                async with aclosing(found):
                    async for summary in found:
                        yield summary
        except _OF_ONE_FUNCTION as error:
            self.progress.unlisted[str(name)] = error
            if self._store is not None and not self._only_plan:
                self._store.fail(row_unlisted(name), error, source="list")
        else:
            if self._store is not None and not self._only_plan:
                self._store.forgive(str(name))

    async def _sampled(self, rows: AsyncIterator[ExecutionRow]) -> AsyncGenerator[ExecutionRow]:
        """Those with the lowest hashes: by chance, and the same ones when the run goes on."""
        kept: list[tuple[int, str, ExecutionRow]] = []
        names = set()
        async for row in rows:
            if row.arn in names:
                continue
            drawn = -int.from_bytes(hashlib.sha256(row.arn.encode()).digest()[:8])
            heapq.heappush(kept, (drawn, row.arn, row))
            names.add(row.arn)
            if len(kept) > (self._order.sample or 0):
                names.discard(heapq.heappop(kept)[1])
        for _, _, row in kept:
            yield row

    def _take(self, batch: list[ExecutionRow]) -> None:
        """Remember what is needed of the batch, or count it for a plan alone, and empty it."""
        store = self._store
        if store is not None and not self._only_plan:
            needed = store.plan(batch)
        else:
            rows = [row for row in batch if store is None or store.needs(row.arn, row.status)]
            self._counts.update(map(self._place_of, rows))
            needed = len(rows)
        self.progress.already += len(batch) - needed
        batch.clear()

    def _experience(self) -> Experience:
        if self._store is None:
            return Experience()
        counts = self._store.counts()
        return Experience(counts.read, counts.operations)

    async def _plan(self, known: Experience) -> Plan:
        if self._store is not None and not self._only_plan:
            # With what a run that was interrupted had planned, and each execution once.
            self._counts = Counter(self._place_of(row) for row in self._store.pending())
        for place, count in self._counts.items():
            self.progress.readings.append(Reading(await self._places.open(place), count))
        opened = self._places.opened
        return make_plan(
            dict(self._counts),
            {
                each.place: (each.rates[GET_HISTORY], each.facts.quotas[GET_HISTORY])
                for each in opened
            },
            already=self.progress.already,
            listings=sum(each.client.statistics().requests for each in opened),
            experience=known,
            max_items=self._order.max_items,
            format=self._order.format,
            payloads=self._order.payloads,
            clock_skew_s=worth_saying(self._places.clock_skew.total_seconds()),
        )

    def _place_of(self, one: ExecutionRow | FunctionName) -> Place:
        return self._places.of(one.region, one.account)

    # Read

    async def read(self) -> None:
        """Read what is planned; each place at its own pace, side by side."""
        from anyio import create_task_group

        self.progress.is_reading = True
        self.progress.began = self._clock()
        try:
            async with create_task_group() as group:
                for reading in self.progress.readings:
                    group.start_soon(self._read_place, reading)
        except BaseExceptionGroup as errors:
            # Bare, and an error rather than what followed from it.
            ours = [each for each in errors.exceptions if isinstance(each, DurastateError)]
            raise (ours or errors.exceptions)[0] from None

    async def _read_place(self, reading: Reading) -> None:
        under_way: dict[int, ExecutionRow] = {}
        results = reading.opened.client.fetch_many(
            self._refs(reading.opened.place, under_way),
            max_executions=at_once(reading.opened.rates[GET_HISTORY]),
            max_items=self._order.max_items,
            source="history",
        )
        async with results:
            async for result in results:
                self._keep(reading, under_way.pop(result.index), result)

    def _refs(self, place: Place, under_way: dict[int, ExecutionRow]) -> Iterator[ExecutionRef]:
        assert self._store is not None
        rows = (row for row in self._store.pending() if self._place_of(row) == place)
        for index, row in enumerate(rows):
            if self._is_over:
                return
            under_way[index] = row
            yield ExecutionRef(row.arn)

    def _keep(self, reading: Reading, row: ExecutionRow, result: FetchResult) -> None:
        assert self._store is not None
        if isinstance(result, Failed):
            self._store.fail(row, result.error, at=reading.opened.now())
            reading.failed += 1
        else:
            read = row_read(row, result.state)
            self._store.add(read, result.state, at=reading.opened.now())
            self.progress.unended += row.status in CLOSED and read.status not in CLOSED
            self.progress.cut += sum(1 for each in result.state.operations if each.truncated)
            reading.read += 1

    def finish(self) -> Manifest:
        """Save all, and put the directory in order."""
        assert self._store is not None
        skew = self._places.clock_skew
        return self._store.finish(complete=self.is_complete, clock_skew_s=skew.total_seconds())

    def scope(self) -> Scope:
        """What the run has looked at, and what it could not know of that."""
        assert self._store is not None
        assert self._pins is not None
        lists = bool(self._pins.names)
        return Scope(
            since=self._pins.since if lists else None,
            until=self._pins.until if lists else None,
            statuses=self._order.statuses,
            limit=self._order.limit,
            sample=self._order.sample,
            outdated=self._store.outdated(),
            unended=self.progress.unended,
            cut=self.progress.cut,
        )


def _listing(
    opened: Opened, name: FunctionName, **options: Any
) -> AsyncGenerator[ExecutionSummary]:
    # A generator, so that whoever leaves it early can close it at once.
    listing = opened.client.list_executions(name.function, qualifier=name.qualifier, **options)
    return cast("AsyncGenerator[ExecutionSummary]", listing)


async def _listed(
    opened: Opened, name: FunctionName, statuses: tuple[str, ...], **options: Any
) -> AsyncGenerator[ExecutionSummary]:
    """The executions of a function that have one of these statuses, each once.

    An execution whose status changes leaves the list of those that have it, and where markers
    count places, one that is on no page yet moves to a page that was read. So that list is gone
    through twice. One of all statuses shrinks at its end alone, where the oldest are forgotten.
    """
    if not statuses:
        async with aclosing(_listing(opened, name, **options)) as listing:
            async for summary in listing:
                yield summary
        return
    seen: set[str] = set()
    for _ in range(2):
        async with aclosing(_listing(opened, name, statuses=statuses, **options)) as listing:
            async for summary in listing:
                if summary.arn not in seen:
                    seen.add(summary.arn)
                    yield summary


def at_once(rate: float) -> int:
    """How many executions to read at once, so that this rate is used."""
    if rate == math.inf:
        return _MOST_AT_ONCE
    return min(_MOST_AT_ONCE, max(_FEWEST_AT_ONCE, math.ceil(rate * _AHEAD_S)))
