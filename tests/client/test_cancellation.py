"""Cancel at every await there is, then show that nothing is held and the client still works.

A coroutine is driven by hand: at its n-th suspension its task is cancelled, either at once or in
the instant between what it waits for being ready and its own next step. The second is where a
slot that was just granted, or an answer that just came, may get lost.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durastate import (
    CredentialsError,
    DurastateError,
    Limits,
    RetryPolicy,
    ServiceError,
    StateClient,
)
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World
from durastate.retries import Retries

from .steps import driven
from .support import (
    assert_at_rest,
    calls_of,
    client_tasks,
    held,
    reading,
    ref_of,
    refs_of,
    settled,
    turns,
    until,
    warm,
    wire,
)

pytestmark = pytest.mark.asyncio

WORLD = World(seed=6, executions=12, operations=25)
_MOST_STEPS = 400
LONG = bool(os.environ.get("DURASTATE_LONG"))
READY = [False, True]


async def cancel_at_each_step(
    read: Callable[[], Coroutine[Any, Any, Any]],
    after: Callable[[bool], Awaitable[None]],
    *,
    when_ready: bool,
    ends_in: type[BaseException] | None = None,
    at_least: int = 3,
) -> None:
    """Cancel at step 1, 2, … until it runs to its end; `after` each run hears whether it did."""
    for step in range(1, _MOST_STEPS):
        task = asyncio.create_task(driven(read(), step, when_ready))
        await asyncio.wait([task], timeout=10)
        assert task.done(), f"hangs when cancelled at step {step}"
        if task.cancelled():
            await after(False)
            continue
        error = task.exception()
        assert type(error) is (ends_in or type(None)), f"step {step}: {error!r}"
        await after(True)
        assert step > at_least, f"only {step} steps: nothing was tested"
        return
    raise AssertionError(f"still not complete after {_MOST_STEPS} steps")


def then_still_good(
    emulator: Emulator, client: StateClient, index: int = 0
) -> Callable[[bool], Awaitable[None]]:
    before = client_tasks()

    async def check(_: bool) -> None:
        assert client_tasks() - before == set()
        assert_at_rest(client)
        assert wire(await client.get_state(ref_of(emulator, index))) == held(emulator, index)
        assert_at_rest(client)

    return check


@asynccontextmanager
async def warmed(
    faults: FaultPlan | None = None, **options: Any
) -> AsyncIterator[tuple[Emulator, StateClient]]:
    async with Emulator(WORLD, faults) as emulator, reading(emulator, **options) as client:
        await warm(emulator, client)
        yield emulator, client


@pytest.mark.parametrize("when_ready", READY)
@pytest.mark.parametrize("timeout_s", [None, 30])
async def test_get_state_at_each_await(when_ready: bool, timeout_s: float | None) -> None:
    async with warmed() as (emulator, client):
        ref = ref_of(emulator, 1)
        await cancel_at_each_step(
            lambda: client.get_state(ref, max_items=10, timeout_s=timeout_s),
            then_still_good(emulator, client),
            when_ready=when_ready,
        )


@pytest.mark.parametrize("when_ready", READY)
async def test_the_very_first_request_at_each_await(when_ready: bool) -> None:
    """With the endpoint looked up and the HTTP session made on the way, in threads."""
    async with Emulator(WORLD) as emulator:
        for step in range(1, 40):
            async with reading(emulator) as client:
                read = client.get_state(ref_of(emulator))
                task = asyncio.create_task(driven(read, step, when_ready))
                await asyncio.wait([task], timeout=10)
                assert task.done()
                if not task.cancelled():
                    assert wire(task.result()) == held(emulator)
                    assert step > 3
                    return
                assert_at_rest(client)
                if step % 2:  # Otherwise the client is left at once.
                    assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
            assert len(await settled(client_tasks)) == 1


@pytest.mark.parametrize("when_ready", READY)
async def test_an_iteration_of_pages_at_each_await(when_ready: bool) -> None:
    async with warmed() as (emulator, client):

        async def read() -> None:
            async for _ in client.iter_pages(ref_of(emulator, 1), max_items=10):
                await asyncio.sleep(0)

        await cancel_at_each_step(read, then_still_good(emulator, client), when_ready=when_ready)


@pytest.mark.parametrize("when_ready", READY)
async def test_below_a_rate_ceiling_at_each_await(when_ready: bool) -> None:
    limits = Limits(rates={"GetDurableExecutionState": 400}, burst=1)
    async with warmed(limits=limits) as (emulator, client):
        await cancel_at_each_step(
            lambda: client.get_state(ref_of(emulator, 1), max_items=10),
            then_still_good(emulator, client),
            when_ready=when_ready,
        )
        assert client.statistics().waited_for_rate_s > 0


@pytest.mark.parametrize("when_ready", READY)
async def test_in_line_for_the_only_slot_at_each_await(when_ready: bool) -> None:
    async with warmed(limits=Limits(max_requests=1)) as (emulator, client):
        others: list[asyncio.Task[Any]] = []

        async def read_between_others() -> None:
            others.append(asyncio.create_task(client.get_state(ref_of(emulator, 2))))
            others.append(asyncio.create_task(client.get_state(ref_of(emulator, 3))))
            await asyncio.sleep(0)
            others.append(asyncio.create_task(client.get_state(ref_of(emulator, 4))))
            await client.get_state(ref_of(emulator, 1), max_items=10)

        async def others_come_whole(_: bool) -> None:
            for task in others:
                state = await task
                assert len(state.operations) == len(held(emulator, 2))
            others.clear()
            await check(_)

        check = then_still_good(emulator, client)
        await cancel_at_each_step(read_between_others, others_come_whole, when_ready=when_ready)


@pytest.mark.parametrize("when_ready", READY)
@pytest.mark.parametrize("rate", [None, 1_000])
async def test_those_in_line_behind_a_cancelled_one_move_up(
    when_ready: bool, rate: float | None
) -> None:
    rates = {} if rate is None else {"GetDurableExecutionState": rate}
    async with warmed(limits=Limits(max_requests=1, rates=rates, burst=1)) as (emulator, client):
        tasks = [asyncio.create_task(client.get_state(ref)) for ref in refs_of(emulator)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
            if when_ready:
                await turns(3)
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=10)
        for state in ended[1::2]:
            assert not isinstance(state, BaseException)
        assert_at_rest(client)


@pytest.mark.parametrize("when_ready", READY)
async def test_between_attempts_at_each_await(when_ready: bool) -> None:
    faults = FaultPlan(on={1: Fault(FaultKind.SERVICE_ERROR)})
    async with warmed(faults) as (emulator, client):
        calls = calls_of(client)
        check = then_still_good(emulator, client)

        async def fresh(_: bool) -> None:
            calls._retries = Retries(3, lambda: 0.01)  # The quota of retries is not the subject.
            await check(_)

        await fresh(True)
        await cancel_at_each_step(
            lambda: client.get_state(ref_of(emulator, 1)),
            fresh,
            when_ready=when_ready,
            ends_in=ServiceError,
        )


@pytest.mark.parametrize("when_ready", READY)
async def test_while_the_clock_is_corrected_at_each_await(when_ready: bool) -> None:
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)

    async with Emulator(WORLD, now=now) as emulator, reading(emulator) as client:
        await warm(emulator, client)
        transport: Any = calls_of(client)._transport
        check = then_still_good(emulator, client)

        async def wrong_again(_: bool) -> None:
            await check(_)
            transport._skew_s = 0.0

        await wrong_again(True)
        await cancel_at_each_step(
            lambda: client.get_state(ref_of(emulator, 1), max_items=10),
            wrong_again,
            when_ready=when_ready,
        )


@pytest.mark.parametrize("when_ready", READY)
async def test_while_credentials_are_renewed_at_each_await(when_ready: bool) -> None:
    faults = FaultPlan(on={1: Fault(FaultKind.EXPIRED_CREDENTIALS)})
    async with warmed(faults) as (emulator, client):
        check = then_still_good(emulator, client)

        async def settle_first(_: bool) -> None:
            # A refresh outlives the cancellation of one who waits for it: others may too.
            await settled(client_tasks, quiet_turns=5)
            await check(_)

        await cancel_at_each_step(
            lambda: client.get_state(ref_of(emulator, 1)),
            settle_first,
            when_ready=when_ready,
            ends_in=CredentialsError,
            at_least=2,
        )


@pytest.mark.parametrize("when_ready", READY)
async def test_waiting_for_room_for_bytes_at_each_await(when_ready: bool) -> None:
    async with warmed(limits=Limits(max_bytes_in_flight=1)) as (emulator, client):
        gate = calls_of(client).shared.gate
        check = then_still_good(emulator, client)

        async def read_with_all_room_taken() -> None:
            hold = gate.hold()
            assert hold.try_add(10)

            async def make_room() -> None:
                await until(lambda: gate.waiting == 1)
                await turns(2)
                hold.release()

            making = asyncio.create_task(make_room())
            try:
                await client.get_state(ref_of(emulator, 1), max_items=10)
            finally:
                making.cancel()
                await asyncio.wait([making])
                hold.release()

        await cancel_at_each_step(read_with_all_room_taken, check, when_ready=when_ready)
        assert client.statistics().waited_for_bytes_s > 0


async def test_one_that_gave_up_waiting_for_room_is_not_waited_for() -> None:
    async with warmed(limits=Limits(max_bytes_in_flight=1)) as (emulator, client):
        hold = calls_of(client).shared.gate.hold()
        assert hold.try_add(10)
        first, second = (
            asyncio.create_task(client.get_state(ref_of(emulator, index))) for index in (1, 2)
        )
        await until(lambda: client.statistics().waiting == 2)
        first.cancel()
        await asyncio.wait([first])
        # Until then it waited for the first one's slot: no two pages fit into the limit.
        await until(lambda: client.statistics().waiting == 1)
        hold.release()
        assert wire(await second) == held(emulator, 2)
        assert_at_rest(client)


async def test_a_request_that_is_cancelled_is_gone_from_the_server_too() -> None:
    async with warmed() as (emulator, client):
        emulator.hold()
        task = asyncio.create_task(client.get_state(ref_of(emulator)))
        await emulator.log.wait_for(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await emulator.log.wait_idle()
        assert_at_rest(client)
        emulator.release()
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


@pytest.mark.parametrize("kind", [FaultKind.SLOW_BODY, FaultKind.STALL])
async def test_a_body_half_read_is_dropped(kind: FaultKind) -> None:
    faults = FaultPlan(on={1: Fault(kind, delay_s=0.001, chunk_bytes=40)})
    policy = RetryPolicy(max_attempts=1, attempt_timeout_s=5)
    async with warmed(faults, retry=policy) as (emulator, client):
        check = then_still_good(emulator, client)
        for after in range(0, 200, 20):
            task = asyncio.create_task(client.get_state(ref_of(emulator, 1)))
            await turns(after)
            task.cancel()
            await asyncio.wait([task])
            await check(task.cancelled())


# Many at once

WAYS = ["fetch_many", "stream_pages"]
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one slot": {"limits": Limits(max_requests=1)},
    "a ceiling": {"limits": Limits(rates={"GetDurableExecutionState": 2_000}, burst=1)},
    "no room": {"limits": Limits(max_bytes_in_flight=1)},
    "retries": {},
}


def fresh(setting: str) -> dict[str, Any]:
    """The options of a setting; limits are never shared between tests."""
    options = dict(SETTINGS[setting])
    given = options.get("limits")
    if given is not None:
        options["limits"] = Limits(
            max_requests=given.max_requests,
            max_bytes_in_flight=given.max_bytes_in_flight,
            rates=given.rates,
            burst=given.burst,
        )
    return options


def consuming(client: StateClient, way: str, emulator: Emulator) -> Coroutine[Any, Any, None]:
    async def consume() -> None:
        bulk = getattr(client, way)(refs_of(emulator)[1:], max_executions=4, max_items=10)
        async with bulk as results:
            async for _ in results:
                await asyncio.sleep(0)

    return consume()


@pytest.mark.parametrize("when_ready", READY)
@pytest.mark.parametrize("way", WAYS)
async def test_the_consumer_of_a_bulk_read_at_each_await(way: str, when_ready: bool) -> None:
    async with warmed() as (emulator, client):
        await cancel_at_each_step(
            lambda: consuming(client, way, emulator),
            then_still_good(emulator, client),
            when_ready=when_ready,
        )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_bulk_read_after_each_turn_of_the_loop(way: str, setting: str) -> None:
    failing = {n: Fault(FaultKind.UNAVAILABLE) for n in range(1, 12, 2)}
    faults = FaultPlan(on=failing) if setting == "retries" else None
    async with warmed(faults, **fresh(setting)) as (emulator, client):
        check = then_still_good(emulator, client)
        completed = 0
        for number in range(0, 240, 1 if LONG else 6):
            calls_of(client)._retries = Retries(3, lambda: 0.005)
            task = asyncio.create_task(consuming(client, way, emulator))
            await turns(number)
            task.cancel()
            await asyncio.wait([task], timeout=10)
            assert task.done(), f"hangs when cancelled after {number} turns"
            await check(task.cancelled())
            if not task.cancelled():
                assert task.exception() is None
                completed += 1
                if completed == 2:
                    break


@pytest.mark.parametrize("way", WAYS)
async def test_one_of_two_bulk_reads_is_cancelled_and_the_other_comes_whole(way: str) -> None:
    async with warmed(limits=Limits(max_requests=2)) as (emulator, client):
        check = then_still_good(emulator, client)
        for number in range(0, 100, 7):
            given_up = asyncio.create_task(consuming(client, way, emulator))
            kept = asyncio.create_task(consuming(client, way, emulator))
            await turns(number)
            given_up.cancel()
            await asyncio.wait([given_up, kept], timeout=10)
            assert kept.done()
            assert kept.exception() is None
            await check(True)


async def test_a_cancel_never_becomes_an_error_of_ours() -> None:
    async with warmed() as (emulator, client):
        for number in range(60):
            task = asyncio.create_task(client.get_state(ref_of(emulator, 1), timeout_s=30))
            await turns(number)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or not isinstance(task.exception(), DurastateError)
