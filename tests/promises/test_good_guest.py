"""Cancelled anywhere, under faults: back within a second, nothing left, and it still works.

`client/test_cancellation.py` cancels at each await of one thing at a time. Here everything runs
beside everything, from a seed: calls of every kind on one client, faults, a rate, few slots, little
room, an endpoint that goes away, and cancellations in the midst of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
from client.steps import driven
from client.support import (
    assert_at_rest,
    calls_of,
    client_tasks,
    held,
    reading,
    refs_of,
    turns,
    until,
    warm,
    wire,
)
from virtual_clock import now, run, settle

from durastate import DurastateError, ExecutionRef, Limits, RetryPolicy, StateClient
from durastate.emulator import PASSING, Emulator, Fault, FaultKind, FaultPlan, World
from durastate.requests import GET_STATE
from durastate.retries import Retries
from durastate.testing import Answer, Asked, ScriptedTransport, page, service_error, step

from .scripts import WAYS, refs

LONG = bool(os.environ.get("DURASTATE_LONG"))
SEEDS = range(200 if LONG else 12)
CANCELLATIONS = 30
QUOTA = 500

Call = Callable[[StateClient, list[ExecutionRef], Random], Coroutine[Any, Any, object]]


async def one_page(client: StateClient, wanted: list[ExecutionRef], random: Random) -> None:
    await client.get_page(random.choice(wanted), max_items=random.randint(0, 9))


async def one_state(client: StateClient, wanted: list[ExecutionRef], random: Random) -> None:
    timeout_s = random.choice([None, 20])
    await client.get_state(random.choice(wanted), max_items=9, timeout_s=timeout_s)


async def all_pages(client: StateClient, wanted: list[ExecutionRef], random: Random) -> None:
    async for _ in client.iter_pages(random.choice(wanted), max_items=9):
        await asyncio.sleep(0)


async def many(client: StateClient, wanted: list[ExecutionRef], random: Random) -> None:
    at_once = random.randint(1, 6)
    async with client.fetch_many(wanted, max_executions=at_once, max_items=9) as results:
        async for _ in results:
            await asyncio.sleep(0)


async def many_by_pages(client: StateClient, wanted: list[ExecutionRef], random: Random) -> None:
    at_once = random.randint(1, 6)
    async with client.stream_pages(wanted, max_executions=at_once, max_items=9) as results:
        async for _ in results:
            if random.random() < 0.02:
                break
            await asyncio.sleep(0)


CALLS: list[Call] = [one_page, one_state, all_pages, many, many_by_pages]


def limits_of(random: Random) -> Limits:
    return Limits(
        max_requests=random.choice([1, 2, 64]),
        max_bytes_in_flight=random.choice([1, 5_000, 64 * 1024**2]),
        rates=random.choice([{}, {GET_STATE: 2_000}]),
        burst=random.choice([None, 1]),
    )


async def cancelled_in_the_midst(
    client: StateClient, wanted: list[ExecutionRef], random: Random, wait: Callable[[int], Any]
) -> None:
    """Some calls beside each other, of which a few are cancelled; those come back at once."""
    loop = asyncio.get_running_loop()
    tasks = []
    for _ in range(random.randint(1, 4)):
        call = random.choice(CALLS)(client, wanted, random)
        if random.random() < 0.5:
            # At one of its awaits, or when what it waits for there is ready.
            call = driven(call, random.randint(1, 40), when_ready=random.random() < 0.5)
        tasks.append(asyncio.create_task(call))
    await wait(random.randint(1, 60))
    for task in tasks:
        task.cancel()
    since = loop.time()
    await asyncio.wait(tasks, timeout=10)
    assert loop.time() - since < 1, "late"
    for task in tasks:
        assert task.done()
        error = None if task.cancelled() else task.exception()
        assert error is None or isinstance(error, DurastateError)


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", SEEDS)
async def test_cancellations_under_faults_leave_nothing_behind(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    world = World(seed=seed, executions=8, operations=25, payload_size=20)
    lasting = {3: Fault(FaultKind.SERVICE_ERROR), 5: Fault(FaultKind.SLOW_BODY, delay_s=0.001)}
    plan = FaultPlan(seed=seed, on=lasting, rate=0.2, kinds=PASSING)
    before = client_tasks()
    async with Emulator(world, plan) as emulator:
        async with reading(emulator, limits=limits_of(random)) as client:
            emulator.faults = FaultPlan()
            await warm(emulator, client)
            emulator.faults = plan
            wanted = refs_of(emulator)
            for _ in range(CANCELLATIONS):
                retries = calls_of(client)._retries = Retries(3, lambda: random.random() * 0.02)
                await cancelled_in_the_midst(client, wanted, random, turns)
                assert_at_rest(client)
                assert client_tasks() == before
                assert 0 <= retries.available <= QUOTA
            # It still works, and no connection is in use.
            emulator.faults = FaultPlan()
            calls_of(client)._retries = Retries(3, random.random)
            for index, ref in enumerate(wanted[:2]):
                assert wire(await client.get_state(ref)) == held(emulator, index)
            await emulator.log.wait_idle()
            assert_at_rest(client)
        await until(lambda: client_tasks() == before)


@pytest.mark.parametrize("seed", SEEDS)
def test_cancellations_while_the_endpoint_comes_and_goes(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    is_away = True

    def script(asked: Asked) -> Answer:
        if is_away:
            return random.choice(list(WAYS.values()))()
        if random.random() < 0.1:
            return service_error("", status=random.choice([500, 429, 404]))
        marker = int(asked.marker or 0) + 1
        return page(step(str(marker)), next_marker=str(marker) if marker < 4 else None)

    async def wait(steps: int) -> None:
        nonlocal is_away
        is_away = False
        await asyncio.sleep(random.random() * steps / 100)
        is_away = random.random() < 0.7
        await asyncio.sleep(random.random() * steps / 2)

    async def scenario() -> None:
        nonlocal is_away
        transport = ScriptedTransport(script, takes_s=0.02)
        retry = RetryPolicy(outage_limit_s=random.choice([1, 10, 300]))
        async with transport.client(limits=limits_of(random), retry=retry, hooks=[]) as client:
            this = asyncio.current_task()
            for _ in range(CANCELLATIONS):
                await cancelled_in_the_midst(client, refs(30), random, wait)
                await settle()
                assert_at_rest(client)
                assert asyncio.all_tasks() == {this}
                assert transport.in_flight == 0
            transport.script = [page(step("1"))]
            calls_of(client)._retries = Retries(3, random.random)
            began = now()
            assert len((await client.get_state(refs(1)[0])).operations) == 1
            async with client.fetch_many(refs(20)) as results:
                assert [result.error async for result in results] == [None] * 20
            # A probe may be due in 20 s, and the pace may be low.
            assert now() - began < 100
            assert_at_rest(client)

    run(scenario())


def test_a_cancelled_call_costs_no_more_of_the_retry_quota_than_its_retries() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([page(step("1")), service_error("", status=500)])
        async with transport.client() as client:
            await client.get_state(refs(1)[0])
            for number in range(1, 11):
                task = asyncio.create_task(client.get_state(refs(1)[0]))
                await settle()
                task.cancel()
                await asyncio.wait([task])
                spent = QUOTA - calls_of(client)._retries.available
                assert spent <= 14 * number
            assert_at_rest(client)

    run(scenario())
