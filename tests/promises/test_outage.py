"""An endpoint that goes away pauses a bulk read, and fails nothing; single calls fail fast."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from client.support import assert_at_rest, held, reading, refs_of, until, wire
from virtual_clock import now, run, settle

from durastate import (
    DurastateError,
    Event,
    ExecutionRef,
    OutageError,
    Paused,
    Resumed,
    RetryPolicy,
    ServiceError,
    StateClient,
    Statistics,
    TransportError,
)
from durastate.emulator import Emulator, World
from durastate.testing import Answer, Asked, ScriptedTransport

from .scripts import WAYS, Endpoint, refs

LONG = bool(os.environ.get("DURASTATE_LONG"))
TAKES_S = 0.05
MOST_EXTRA = 100


@dataclass
class Run:
    """What came of a bulk read: how many of each error, and what ended it, if anything did."""

    errors: Counter[str] = field(default_factory=Counter)
    ended: DurastateError | None = None
    events: list[Event] = field(default_factory=list)
    statistics: Statistics | None = None
    took_s: float = 0.0

    @property
    def extra(self) -> int:
        assert self.statistics is not None
        return self.statistics.requests - self.statistics.pages


async def read(
    transport: ScriptedTransport,
    wanted: Sequence[ExecutionRef],
    *,
    at_once: int = 64,
    retry: RetryPolicy | None = None,
    way: str = "fetch_many",
) -> Run:
    seen, began = Run(), now()

    def note(event: Event) -> None:
        if isinstance(event, Paused | Resumed):
            seen.events.append(event)

    async with transport.client(retry=retry, hooks=[note]) as client:
        try:
            async with getattr(client, way)(wanted, max_executions=at_once) as results:
                async for result in results:
                    seen.errors[type(result.error).__name__] += 1
        except DurastateError as error:
            seen.ended = error
        assert_at_rest(client)
        seen.statistics = client.statistics()
    seen.took_s = now() - began
    return seen


def probes_of(endpoint: Endpoint, events: list[Event]) -> list[Asked]:
    """What was asked after the endpoint was known to be away and all under way had ended."""
    assert isinstance(events[0], Paused)
    return [asked for asked in endpoint.asked_while_away if asked.at > endpoint.away_from + 1]


@pytest.mark.parametrize("away_s", [1, 30])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_fails_and_nothing_new_is_begun_while_it_is_away(
    way: str, away_s: float, record_property: Callable[[str, object], None]
) -> None:
    count = 40_000 if LONG else 1_600

    async def scenario() -> None:
        endpoint = Endpoint(way, away_s=away_s)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        seen = await read(transport, refs(count))
        assert seen.errors == {"NoneType": count}
        assert seen.ended is None
        record_property("outage: extra attempts", seen.extra)
        # Those under way when it went, and the one execution that every probe asked for.
        assert len({asked.arn for asked in endpoint.asked_while_away}) <= 64 + 1
        assert seen.extra <= MOST_EXTRA
        assert [type(event) for event in seen.events] == [Paused, Resumed]
        # A pause of 20 s at most comes after it is back; reading takes the rest.
        assert seen.took_s <= 1 + away_s + 20 + 1 + count / 64 * TAKES_S * 1.1

    run(scenario())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at_once", [1, 3, 8, 20])
def test_nothing_fails_with_few_at_once_or_few_left(at_once: int, way: str) -> None:
    """Where the executions under way are too few to use up the retry quota."""

    async def scenario() -> None:
        for count in (at_once * 25, at_once * 21):
            endpoint = Endpoint(way, away_at=0.975, away_s=30)
            transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
            seen = await read(transport, refs(count), at_once=at_once)
            assert len(endpoint.asked_while_away) > 3
            assert seen.errors == {"NoneType": count}
            assert seen.extra <= MOST_EXTRA

    run(scenario())


@pytest.mark.parametrize("way", ["fetch_many", "stream_pages"])
def test_one_probe_at_a_time_goes_out_with_growing_pauses(way: str) -> None:
    async def scenario() -> None:
        endpoint = Endpoint("refused", away_s=250)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        seen = await read(transport, refs(1_500), way=way)
        probes = probes_of(endpoint, seen.events)
        pauses = [later.at - sooner.at - TAKES_S for sooner, later in pairwise(probes)]
        # They double up to 20 s; by chance each is between half of that and the whole of it.
        assert transport.most_at_once == 64
        assert min(pauses) > 0.25
        assert max(pauses) <= 20
        assert min(pauses[-5:]) >= 10
        assert all(later >= sooner for sooner, later in pairwise([0, pauses[0], pauses[2]]))
        assert len(probes) <= 4 + 250 / 10
        assert seen.errors == {"NoneType": 1_500}

    run(scenario())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_after_the_limit_it_ends_and_nothing_is_failed(at_once: int, way: str) -> None:
    async def scenario() -> None:
        endpoint = Endpoint(way, away_s=10_000)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        wanted = refs(22 * at_once)
        seen = await read(transport, wanted, at_once=at_once)
        assert type(seen.ended) is OutageError
        assert "outage_limit_s=300" in str(seen.ended)
        assert set(seen.errors) == {"NoneType"}
        assert 300 <= now() - endpoint.away_from <= 303
        assert seen.extra <= MOST_EXTRA + at_once
        assert [type(event) for event in seen.events] == [Paused]
        # Nobody asks after that.
        assert endpoint.asked_while_away[-1].at <= endpoint.away_from + 302

    run(scenario())


def test_a_probe_under_way_at_the_limit_does_not_begin_another_outage() -> None:
    async def scenario() -> None:
        endpoint = Endpoint("reset", away_s=10_000)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)

        def slowly_while_away(asked: Asked) -> Answer:
            transport.takes_s = TAKES_S if asked.at < endpoint.away_from else 29.0
            return endpoint(asked)

        transport.script = slowly_while_away
        seen = await read(transport, refs(100), at_once=1, retry=RetryPolicy(outage_limit_s=40))
        assert type(seen.ended) is OutageError
        assert [type(event) for event in seen.events] == [Paused]
        assert now() - endpoint.away_from < 3 * 30 + 40 + 30

    run(scenario())


@pytest.mark.parametrize("limit_s", [0.01, 0.2])
def test_however_short_the_limit_there_is_a_probe_before_it(limit_s: float) -> None:
    async def scenario() -> None:
        endpoint = Endpoint("refused", away_at=limit_s, away_s=limit_s / 10)
        transport = ScriptedTransport(endpoint, takes_s=limit_s / 100)
        retry = RetryPolicy(outage_limit_s=limit_s)
        count = 200
        seen = await read(transport, refs(count), at_once=1, retry=retry)
        assert (seen.ended, seen.errors) == (None, {"NoneType": count})
        assert [type(event) for event in seen.events] == [Paused, Resumed]

    run(scenario())


@pytest.mark.parametrize("way", ["refused", "reset", "closed while idle"])
def test_an_endpoint_that_fails_before_any_answer_ends_the_run_at_once(way: str) -> None:
    async def scenario() -> None:
        endpoint = Endpoint(way, away_at=0, away_s=1e9)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        seen = await read(transport, refs(1_000))
        assert type(seen.ended) is TransportError
        assert seen.errors == {}
        assert seen.events == []
        assert seen.took_s < 2
        assert len(transport.asked) <= 64 + MOST_EXTRA

    run(scenario())


@pytest.mark.parametrize("way", WAYS)
def test_single_calls_fail_fast(way: str) -> None:
    async def scenario() -> None:
        endpoint = Endpoint(way, away_at=0.1, away_s=1e9)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        async with transport.client() as client:
            await client.get_state(refs(1)[0])
            await asyncio.sleep(1)
            bulk = asyncio.create_task(take_all(client, 10))
            await asyncio.sleep(5)
            began = now()
            for _ in range(3):
                with pytest.raises((TransportError, ServiceError)) as caught:
                    await client.get_state(refs(1)[0])
                assert not isinstance(caught.value, OutageError)
            assert now() - began < 3
            assert not bulk.done()
            bulk.cancel()
            await asyncio.wait([bulk])
            assert_at_rest(client)

    run(scenario())


async def take_all(client: StateClient, count: int, at_once: int = 64) -> list[str]:
    async with client.fetch_many(refs(count), max_executions=at_once) as results:
        return [type(result.error).__name__ async for result in results]


def test_cancelling_the_one_whose_turn_it_is_hands_the_probe_on() -> None:
    async def scenario() -> None:
        endpoint = Endpoint("refused", away_at=0.1, away_s=60)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        async with transport.client() as client:
            await client.get_state(refs(1)[0])
            await asyncio.sleep(0.2)
            reads = []
            for _ in range(8):
                reads.append(asyncio.create_task(take_all(client, 1)))
                await asyncio.sleep(0.001)
            transport.takes_s = 5
            await asyncio.sleep(1)
            # The line is in order, so it is the first one's turn; then each next one's.
            for number, read_ in enumerate(reads[:-1]):
                assert (transport.in_flight, client.statistics().waiting) == (1, 7 - number)
                asked = len(transport.asked)
                read_.cancel()
                await settle()
                assert read_.cancelled()
                assert len(transport.asked) == asked + 1
            endpoint.away_until = now()
            assert await reads[-1] == ["NoneType"]
            assert_at_rest(client)

    run(scenario())


@pytest.mark.parametrize("at_once", [1, 4, 64])
@pytest.mark.parametrize("away_s", [0, 30])
def test_a_poisoned_execution_fails_alone(at_once: int, away_s: float) -> None:
    async def scenario() -> None:
        wanted = refs(at_once * 24)
        # One right at the start of the outage, whatever its place in the line is.
        poisoned = frozenset(ref.arn for ref in wanted[at_once * 19 : at_once * 21 : 7])
        endpoint = Endpoint(away_s=away_s, poisoned=poisoned)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        seen = await read(transport, wanted, at_once=at_once)
        assert seen.ended is None
        failed = len(poisoned)
        assert seen.errors == {"NoneType": len(wanted) - failed, "ServiceError": failed}
        assert seen.took_s < 1 + away_s + 20 + 40 * TAKES_S + 15

    run(scenario())


@pytest.mark.parametrize("at_once", [1, 4, 64])
def test_many_poisoned_executions_neither_hang_nor_end_a_run(at_once: int) -> None:
    async def scenario() -> None:
        wanted = refs(1_000)
        poisoned = frozenset(ref.arn for ref in wanted[5::20])
        transport = ScriptedTransport(Endpoint(poisoned=poisoned), takes_s=TAKES_S)
        seen = await read(transport, wanted, at_once=at_once)
        assert seen.ended is None
        assert seen.errors == {"NoneType": 950, "ServiceError": 50}
        assert seen.took_s < 1_000 / at_once * TAKES_S + 50

    run(scenario())


def test_of_two_regions_the_one_that_is_there_is_read_on() -> None:
    async def scenario() -> None:
        here, gone = "eu-west-1", "us-east-1"
        wanted = [ref for n in range(600) for ref in (refs(1, here, n)[0], refs(1, gone, n)[0])]
        endpoint = Endpoint("refused", away_at=0.2, away_s=30, region=gone)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        done: list[tuple[float, str]] = []
        async with (
            transport.client() as client,
            client.fetch_many(wanted, max_executions=1_200) as results,
        ):
            async for result in results:
                assert result.error is None
                done.append((now() - endpoint.began, result.ref.region))
            assert_at_rest(client)
        assert max(at for at, region in done if region == here) < 5
        assert max(at for at, region in done if region == gone) > 30
        assert len(done) == 1_200

    run(scenario())


def test_leaving_during_an_outage_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        endpoint = Endpoint("refused", away_s=30)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        async with transport.client() as client:
            async with client.fetch_many(refs(1_600)) as results:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(endpoint.away_from + 5):
                        async for _ in results:
                            pass
                assert client.statistics().waiting > 60
            await settle()
            assert_at_rest(client)
            asked = len(transport.asked)
            await asyncio.sleep(60)
            assert len(transport.asked) == asked
            assert await take_all(client, 100) == ["NoneType"] * 100
            assert_at_rest(client)

    run(scenario())


def test_an_outage_that_nobody_waits_for_any_longer_ends_no_later_run() -> None:
    async def scenario() -> None:
        endpoint = Endpoint("refused", away_s=290)
        transport = ScriptedTransport(endpoint, takes_s=TAKES_S)
        async with transport.client() as client:
            left = asyncio.create_task(take_all(client, 100_000))
            await asyncio.sleep(1 + 289)
            left.cancel()
            await asyncio.wait([left])
            assert left.cancelled()
            # The limit of 300 s would be up in 11 s, the next probe may be due later than that.
            await asyncio.sleep(5)
            began = now()
            assert await take_all(client, 100) == ["NoneType"] * 100
            assert now() - began < 1

    run(scenario())


@pytest.mark.asyncio
async def test_a_server_that_is_stopped_and_started_again() -> None:
    world = World(seed=4, executions=200, operations=2)
    async with Emulator(world) as first:
        port = int(first.endpoint_url.rpartition(":")[2])
        results = []
        async with reading(first) as client:
            async with client.fetch_many(refs_of(first), max_executions=8) as many:
                async for result in many:
                    results.append(result)
                    if len(results) == 50:
                        await first.__aexit__()
                        break
                # What was under way ends one way or the other, and then all wait.
                await until(lambda: client.statistics().waiting > 0, "an outage")
                async with Emulator(world, port=port) as second:
                    results += [result async for result in many]
                    assert len(second.log) >= 100
            assert_at_rest(client)
            assert client.statistics().waited_for_outages_s > 0
    assert sorted(result.index for result in results) == list(range(200))
    for result in results:
        assert result.error is None
        assert wire(result.state) == held(first, result.index)
