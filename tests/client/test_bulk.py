"""Many executions at once: what comes, in which order, how much at a time, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from durastate import (
    ConfigurationError,
    ExecutionRef,
    Failed,
    Fetched,
    FetchedPage,
    InvalidTokenError,
    Limits,
    MissingTokenError,
    ServiceError,
    StateClient,
    TransportError,
)
from durastate.emulator import Credentials, Emulator, Fault, FaultKind, FaultPlan, World

from .support import (
    assert_at_rest,
    calls_of,
    client_tasks,
    endless_refs,
    held,
    reading,
    ref_of,
    refs_of,
    settled,
    standard_session,
    turns,
    until,
    warm,
    wire,
    without_delays,
)

pytestmark = pytest.mark.asyncio

SMALL = World(seed=4, executions=40, operations=(1, 5, 12))
WAYS = ["fetch_many", "stream_pages"]


async def assert_over(emulator: Emulator, client: StateClient) -> None:
    """Nothing is under way any more and nothing more arrives."""
    assert_at_rest(client)
    assert len(client_tasks()) == 1
    requests = len(emulator.log)
    await turns(100)
    assert len(emulator.log) == requests


# What comes


@pytest.mark.parametrize("max_executions", [1, 3, 64])
@pytest.mark.parametrize("kind", ["list", "generator", "async generator"])
async def test_every_execution_comes_once_with_its_place(max_executions: int, kind: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        refs = refs_of(emulator)

        async def one_by_one() -> AsyncIterator[ExecutionRef]:
            for ref in refs:
                await asyncio.sleep(0)
                yield ref

        given: Any = {"list": refs, "generator": iter(refs), "async generator": one_by_one()}[kind]
        results = []
        async with client.fetch_many(given, max_executions=max_executions, max_items=5) as many:
            async for result in many:
                match result:
                    case Fetched(ref, state):
                        assert ref is refs[result.index]
                        assert (state.arn, result.error) == (ref.arn, None)
                        assert wire(state) == held(emulator, result.index)
                    case Failed():
                        pytest.fail("nothing is broken")
                results.append(result)
        assert sorted(result.index for result in results) == list(range(40))
        if max_executions == 1:
            assert [result.index for result in results] == list(range(40))
        await assert_over(emulator, client)


@pytest.mark.parametrize("max_executions", [1, 3, 64])
async def test_pages_of_one_execution_come_in_order_and_end_once(max_executions: int) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        pages: dict[int, list[FetchedPage]] = defaultdict(list)
        refs = refs_of(emulator)
        async with client.stream_pages(refs, max_executions=max_executions, max_items=2) as many:
            async for result in many:
                assert isinstance(result, FetchedPage)
                pages[result.index].append(result)
        assert sorted(pages) == list(range(40))
        for index, results in pages.items():
            together = [o.to_dict() for result in results for o in result.page.operations]
            assert together == held(emulator, index)
            assert [result.is_last for result in results] == [False] * (len(results) - 1) + [True]
        await assert_over(emulator, client)


async def test_results_come_in_order_of_completion() -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.STALL, delay_s=0.3)})
    async with Emulator(SMALL, faults) as emulator, reading(emulator) as client:
        async with client.fetch_many(refs_of(emulator)[:5]) as many:
            order = [result.index async for result in many]
        assert order[-1] == 0
        assert sorted(order) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_in_nothing_out(way: str, emulator: Emulator, client: StateClient) -> None:
    async def nothing() -> AsyncIterator[ExecutionRef]:
        for ref in ():
            yield ref

    for refs in ([], iter(()), nothing()):
        async with getattr(client, way)(refs) as many:
            assert [result async for result in many] == []
            # Whoever asks again gets the same answer.
            assert [result async for result in many] == []
    assert len(emulator.log) == 0


async def test_one_ref_given_many_times_is_read_each_time() -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        async with client.fetch_many([ref_of(emulator)] * 10) as many:
            results = [result async for result in many]
        assert sorted(result.index for result in results) == list(range(10))
        assert all(wire(result.state) == held(emulator) for result in results)  # type: ignore[arg-type]


async def test_a_failure_is_a_value_beside_the_others() -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        refs = refs_of(emulator)[:6]
        refs[1] = ExecutionRef(refs[1].arn, SMALL.token(2))
        refs[3] = ExecutionRef(refs[3].arn)
        async with client.fetch_many(refs, max_executions=2) as many:
            results = {result.index: result async for result in many}
        assert {index: type(result.error) for index, result in results.items()} == {
            0: type(None),
            1: InvalidTokenError,
            2: type(None),
            3: MissingTokenError,
            4: type(None),
            5: type(None),
        }
        match results[1]:
            case Failed(ref, error):
                assert ref is refs[1]
                assert SMALL.token(2) not in f"{error} {results[1]!r}"
        assert results[1].state is None


async def test_a_page_that_fails_ends_its_execution_only() -> None:
    faults = FaultPlan(on={2: Fault(FaultKind.KMS_DISABLED, page=1)})
    async with Emulator(SMALL, faults) as emulator, reading(emulator) as client:
        async with client.stream_pages(refs_of(emulator)[:3], max_items=5) as many:
            results = [result async for result in many]
        of_two = [result for result in results if result.index == 2]
        assert [type(result) for result in of_two] == [FetchedPage, Failed]
        assert not of_two[0].is_last  # type: ignore[union-attr]
        assert sum(isinstance(r, FetchedPage) and r.is_last for r in results) == 2


# How much at a time


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_input_is_read_no_further_than_needed(way: str, asynchronous: bool) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        read: list[int] = []

        async def one_by_one() -> AsyncIterator[ExecutionRef]:
            for ref in endless_refs(emulator, read):
                await asyncio.sleep(0)
                yield ref

        refs = one_by_one() if asynchronous else endless_refs(emulator, read)
        bulk = getattr(client, way)(refs, max_executions=5)
        await turns(20)
        assert read == []
        async with bulk as many:
            for consumed in range(1, 13):
                await anext(many)
                assert len(read) <= 5 + consumed
            assert await settled(lambda: len(read), quiet_turns=200) <= 5 + 12
        assert len(read) <= 5 + 12
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
async def test_no_more_executions_and_requests_at_once_than_allowed(way: str) -> None:
    async with Emulator(SMALL) as emulator:
        for executions, requests, expected in ((7, 64, 7), (64, 3, 3), (1, 64, 1)):
            emulator.log.clear()
            async with reading(emulator, limits=Limits(max_requests=requests)) as client:
                emulator.hold()
                async with getattr(client, way)(
                    refs_of(emulator), max_executions=executions, max_items=4
                ) as many:
                    await emulator.log.wait_for(expected)
                    assert await settled(lambda: len(emulator.log)) == expected
                    emulator.release()
                    last = {result.index async for result in many}
                assert last == set(range(40))
                assert emulator.log.max_concurrent == expected
                await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
async def test_a_consumer_that_stops_taking_stops_the_fetching(way: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        async with getattr(client, way)(
            endless_refs(emulator, []), max_executions=6, max_items=1_000
        ) as many:
            assert await settled(lambda: len(emulator.log), quiet_turns=200) == 6
            for consumed in range(1, 6):
                await anext(many)
                assert await settled(lambda: len(emulator.log), quiet_turns=200) == 6 + consumed
            assert (client.statistics().in_flight, client.statistics().waiting) == (0, 0)
        await assert_over(emulator, client)


async def test_a_slow_consumer_of_pages_stops_a_long_execution_too() -> None:
    world = World(executions=1, operations=1_000)
    async with Emulator(world) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        async with client.stream_pages(refs_of(emulator), max_executions=4, max_items=10) as many:
            before = await settled(lambda: len(emulator.log), quiet_turns=200)
            assert 1 <= before <= 4
            await anext(many)
            assert await settled(lambda: len(emulator.log), quiet_turns=200) <= before + 1
        await assert_over(emulator, client)


BIG_PAGES = World(executions=24, operations=40, payload_size=3_000)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limit", [1, 50_000, 300_000])
async def test_few_bytes_in_flight_slow_down_and_never_lock_up(way: str, limit: int) -> None:
    async with (
        Emulator(BIG_PAGES) as emulator,
        reading(emulator, limits=Limits(max_bytes_in_flight=limit)) as client,
    ):
        gate = calls_of(client).shared.gate
        most = 0
        operations: Counter[int] = Counter()
        async with getattr(client, way)(
            refs_of(emulator), max_executions=12, max_items=1_000
        ) as many:
            async for result in many:
                most = max(most, gate.held)
                got = result.state if way == "fetch_many" else result.page
                operations[result.index] += len(got.operations)
                await turns(3)
        assert operations == {index: len(held(emulator, index)) for index in range(24)}
        pages = client.statistics().bytes / client.statistics().pages
        assert most <= limit + 1.5 * pages
        if limit < 300_000:
            assert client.statistics().waited_for_bytes_s > 0
        await assert_over(emulator, client)


async def test_a_page_counts_as_bytes_in_flight_until_the_consumer_has_it() -> None:
    async with Emulator(BIG_PAGES) as emulator, reading(emulator) as client:
        gate = calls_of(client).shared.gate
        async with client.stream_pages(refs_of(emulator), max_executions=5) as many:
            await until(lambda: client.statistics().pages == 5)
            full = gate.held
            assert full == client.statistics().bytes
            await anext(many)
            assert gate.held < full
        assert gate.held == 0


@pytest.mark.parametrize("limit", [1, 100_000])
async def test_a_consumer_of_pages_may_read_with_the_same_client_in_between(limit: int) -> None:
    async with (
        Emulator(BIG_PAGES) as emulator,
        reading(emulator, limits=Limits(max_bytes_in_flight=limit)) as client,
    ):
        await warm(emulator, client)
        async with client.stream_pages(refs_of(emulator), max_executions=8) as many:
            await settled(lambda: len(emulator.log), quiet_turns=300)
            async for result in many:
                state = await client.get_state(result.ref, timeout_s=2)
                assert len(state.operations) == len(held(emulator, result.index))
        await assert_over(emulator, client)


async def test_a_consumer_of_pages_may_stream_others_with_the_same_client_in_between() -> None:
    limits = Limits(max_bytes_in_flight=100_000)
    async with Emulator(BIG_PAGES) as emulator, reading(emulator, limits=limits) as client:
        await warm(emulator, client)
        refs = refs_of(emulator)
        async with asyncio.timeout(5), client.stream_pages(refs[:8]) as outer:
            await settled(lambda: len(emulator.log), quiet_turns=300)
            async for _ in outer:
                async with client.stream_pages(refs[8:10]) as inner:
                    assert len([result async for result in inner]) == 2
        await assert_over(emulator, client)


# Bad arguments


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("max_executions", [0, -1, True, 1.5, "8", None])
async def test_max_executions_out_of_range_is_refused(
    way: str, max_executions: Any, client: StateClient
) -> None:
    with pytest.raises(ConfigurationError, match="max_executions"):
        getattr(client, way)([], max_executions=max_executions)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("item", [None, "arn:aws:lambda", ("arn", "token"), ExecutionRef])
async def test_an_item_that_is_no_ref_is_a_type_error(way: str, item: Any) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        taken = []
        with pytest.raises(TypeError, match="ExecutionRef"):  # noqa: PT012
            async with getattr(client, way)(
                [*refs_of(emulator)[:3], item, *refs_of(emulator)], max_executions=1
            ) as many:
                async for result in many:
                    taken.append(result.index)  # noqa: PERF401
        assert taken == [0, 1, 2]
        await assert_over(emulator, client)


@pytest.mark.parametrize("refs", [None, 5, ExecutionRef("arn", "token")])
async def test_what_cannot_be_iterated_is_a_type_error_at_once(
    refs: Any, client: StateClient
) -> None:
    with pytest.raises(TypeError):
        client.fetch_many(refs)


async def test_a_bulk_read_is_entered_once_and_only_then_iterated(
    emulator: Emulator, client: StateClient
) -> None:
    bulk = client.fetch_many(refs_of(emulator)[:2])
    with pytest.raises(ConfigurationError, match="async with"):
        await anext(aiter(bulk))
    async with bulk as many:
        assert len([result async for result in many]) == 2
    with pytest.raises(ConfigurationError, match="once"):
        await bulk.__aenter__()


# How it ends


class OfTheInput(Exception):
    pass


class OfTheCaller(Exception):
    pass


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_exception_of_the_input_comes_out_as_itself(way: str, asynchronous: bool) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        error = OfTheInput("the file ended in the middle of a line")

        def sync_refs() -> Iterator[ExecutionRef]:
            yield from refs_of(emulator)[:3]
            raise error

        async def async_refs() -> AsyncIterator[ExecutionRef]:
            for ref in sync_refs():
                yield ref

        taken = []
        with pytest.raises(OfTheInput) as raised:  # noqa: PT012
            async with getattr(client, way)(
                async_refs() if asynchronous else sync_refs(), max_executions=1, max_items=1_000
            ) as many:
                async for result in many:
                    taken.append(result.index)  # noqa: PERF401
        assert raised.value is error
        assert taken == [0, 1, 2]
        await assert_over(emulator, client)


@pytest.mark.parametrize("workers", [1, 4])
async def test_an_input_that_is_cancelled_from_within_is_not_taken_for_its_end(
    workers: int,
) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)

        async def refs() -> AsyncIterator[ExecutionRef]:
            for ref in refs_of(emulator)[:3]:
                yield ref
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled
            yield ref_of(emulator)

        came_to_its_end = False
        with suppress(asyncio.CancelledError, Exception):
            async with asyncio.timeout(3):
                async with client.fetch_many(refs(), max_executions=workers) as many:
                    async for _ in many:
                        pass
                    came_to_its_end = True
        assert not came_to_its_end
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("broken", [False, True], ids=["", "with-a-failure-pending"])
async def test_the_callers_own_exception_comes_out_bare(way: str, broken: bool) -> None:
    kinds = {n: Fault(FaultKind.ACCESS_DENIED) for n in range(1, 40)} if broken else {}
    async with Emulator(SMALL, FaultPlan(on=kinds)) as emulator, reading(emulator) as client:
        error = OfTheCaller()
        with pytest.raises(OfTheCaller) as raised:  # noqa: PT012
            async with getattr(client, way)(refs_of(emulator)) as many:
                async for _ in many:
                    await turns(30)
                    raise error
        assert raised.value is error
        assert (error.__cause__, error.__context__) == (None, None)
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
async def test_a_broken_setup_does_not_hide_the_callers_exception(way: str) -> None:
    faults = FaultPlan(on={n: Fault(FaultKind.EXPIRED_CREDENTIALS) for n in range(1, 40)})
    async with Emulator(SMALL, faults) as emulator, reading(emulator) as client:
        with pytest.raises(OfTheCaller):  # noqa: PT012
            async with getattr(client, way)(refs_of(emulator), max_executions=1) as many:
                async for _ in many:
                    await turns(50)
                    raise OfTheCaller
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("taken", [0, 1, 5])
async def test_leaving_by_break_ends_everything(way: str, taken: int) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        async with getattr(client, way)(endless_refs(emulator, []), max_items=3) as many:
            if taken:
                count = 0
                async for _ in many:
                    count += 1
                    if count == taken:
                        break
        await assert_over(emulator, client)
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_ends_requests_that_have_no_answer(way: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        emulator.hold()
        async with getattr(client, way)(refs_of(emulator), max_executions=8):
            await emulator.log.wait_for(8)
        await assert_over(emulator, client)
        await emulator.log.wait_idle()
        emulator.release()
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


async def _consume(client: StateClient, way: str, refs: Any) -> None:
    async with getattr(client, way)(refs, max_executions=8, max_items=3) as many:
        async for _ in many:
            pass


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("while_", ["waiting for an answer", "taking"])
async def test_a_cancel_is_a_cancel(way: str, while_: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        if while_ == "waiting for an answer":
            emulator.hold()
        task = asyncio.create_task(_consume(client, way, endless_refs(emulator, [])))
        await emulator.log.wait_for(8 if while_ == "waiting for an answer" else 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        emulator.release()
        await assert_over(emulator, client)
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


@pytest.mark.parametrize("way", WAYS)
async def test_a_second_cancel_while_leaving_still_leaves_nothing(way: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        for between in range(8):
            emulator.hold()
            emulator.log.clear()
            task = asyncio.create_task(_consume(client, way, refs_of(emulator)))
            await emulator.log.wait_for(8)
            task.cancel()
            await turns(between)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            emulator.release()
            await assert_over(emulator, client)


async def test_a_cancel_while_leaving_still_gives_back_the_bytes_of_pages_not_taken() -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        pages = client.statistics().pages

        async def leave_with_pages_waiting() -> None:
            async with client.stream_pages(refs_of(emulator), max_executions=4):
                await until(lambda: client.statistics().pages == pages + 4)
                asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.create_task(leave_with_pages_waiting())
        with pytest.raises(asyncio.CancelledError):
            await task
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
async def test_timeouts_and_scopes_of_the_callers_hold(way: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        emulator.hold()
        few = refs_of(emulator)[:8]  # So few that all have been sent when the time is up.
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.05):
                await _consume(client, way, few)
        assert type(raised.value) is TimeoutError
        await assert_over(emulator, client)
        with anyio.move_on_after(0.05) as scope:
            await _consume(client, way, few)
        assert scope.cancelled_caught
        await assert_over(emulator, client)
        with anyio.move_on_after(0.05) as inner:
            async with getattr(client, way)(few) as many:
                async for _ in many:
                    pass
        assert inner.cancelled_caught
        emulator.release()
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
async def test_it_may_sit_in_an_async_generator_that_another_task_closes(way: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:

        async def indices() -> AsyncIterator[int]:
            async with getattr(client, way)(endless_refs(emulator, []), max_executions=4) as many:
                async for result in many:
                    yield result.index

        generator: Any = indices()
        await asyncio.create_task(anext(generator))
        await asyncio.create_task(anext(generator))
        await asyncio.create_task(generator.aclose())
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
async def test_it_may_be_entered_and_left_inside_a_task_group_of_the_callers(way: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012
            async with anyio.create_task_group() as group:
                group.start_soon(_consume, client, way, endless_refs(emulator, []))
                await emulator.log.wait_for(20)
                raise OfTheCaller
        assert [type(error) for error in raised.value.exceptions] == [OfTheCaller]
        await assert_over(emulator, client)


# Several at once


@pytest.mark.parametrize("way", WAYS)
async def test_two_bulk_reads_share_one_client(way: str) -> None:
    async with (
        Emulator(SMALL, latency_s=0.005) as emulator,
        reading(emulator, limits=Limits(max_requests=4)) as client,
    ):
        refs = refs_of(emulator)

        async def indices(part: list[ExecutionRef]) -> list[int]:
            async with getattr(client, way)(part, max_executions=8, max_items=1_000) as many:
                return [result.index async for result in many]

        one, two = await asyncio.gather(indices(refs[:25]), indices(refs[25:]))
        assert (sorted(one), sorted(two)) == (list(range(25)), list(range(15)))
        assert emulator.log.max_concurrent == 4
        await assert_over(emulator, client)


@pytest.mark.parametrize("way", WAYS)
async def test_two_consumers_share_one_bulk_read(way: str) -> None:
    async with Emulator(SMALL) as emulator, reading(emulator) as client:
        async with getattr(client, way)(refs_of(emulator), max_items=1_000) as many:

            async def indices() -> list[int]:
                taken = []
                async for result in many:
                    taken.append(result.index)
                    await asyncio.sleep(0)
                return taken

            one, two = await asyncio.gather(indices(), indices())
        assert one
        assert two
        assert sorted(one + two) == list(range(40))
        await assert_over(emulator, client)


async def test_an_error_of_the_setup_reaches_every_consumer() -> None:
    faults = FaultPlan(on={n: Fault(FaultKind.EXPIRED_CREDENTIALS) for n in range(40)})
    async with Emulator(SMALL, faults) as emulator, reading(emulator) as client:
        async with client.fetch_many(refs_of(emulator)) as many:

            async def consume() -> None:
                async for _ in many:
                    pass

            ended = await asyncio.gather(consume(), consume(), return_exceptions=True)
        assert [type(error).__name__ for error in ended] == ["CredentialsError"] * 2


# An endpoint that is not there


@pytest.mark.parametrize("way", WAYS)
async def test_an_endpoint_that_never_answered_ends_the_run(way: str) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()
    read: list[int] = []

    def refs() -> Iterator[ExecutionRef]:
        for number in itertools.count():
            read.append(number)
            yield ExecutionRef(SMALL.arn(number % 40), SMALL.token(number % 40))

    async with StateClient(session=standard_session(), endpoint_url=url) as client:
        without_delays(client)
        results = []
        with pytest.raises(TransportError, match="cannot connect"):  # noqa: PT012
            async with getattr(client, way)(refs(), max_executions=4) as many:
                async for result in many:
                    results.append(result)  # noqa: PERF401
        assert results == []
        assert len(read) <= 4
        assert client.statistics().requests <= 4 * 3
        assert_at_rest(client)


async def test_executions_that_fail_beside_one_that_is_answered_are_failed_ones() -> None:
    async with Emulator(SMALL, credentials=Credentials()) as emulator:
        async with reading(emulator) as client:
            without_delays(client)
            await client.get_state(ref_of(emulator))
            emulator.faults = FaultPlan(on={n: Fault(FaultKind.RESET) for n in range(1, 10)})
            async with client.fetch_many(refs_of(emulator)[:10], max_executions=4) as many:
                results = [result async for result in many]
        errors = {result.index: type(result.error) for result in results}
        assert errors == {0: type(None)} | dict.fromkeys(range(1, 10), TransportError)


async def test_an_error_of_the_service_is_an_answer() -> None:
    faults = FaultPlan(on={n: Fault(FaultKind.SERVICE_ERROR) for n in range(10)})
    async with Emulator(SMALL, faults) as emulator, reading(emulator) as client:
        without_delays(client)
        async with client.fetch_many(refs_of(emulator)[:10], max_executions=4) as many:
            results = [result async for result in many]
        assert [type(result.error) for result in results] == [ServiceError] * 10
