"""Reading one execution: a page, page after page, a whole state."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from durastate import (
    ConfigurationError,
    DeadlineError,
    ExecutionRef,
    InvalidRequestError,
    Limits,
    RetryPolicy,
    StateClient,
)
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World

from .support import assert_at_rest, client_tasks, held, reading, ref_of, refs_of, wire

pytestmark = pytest.mark.asyncio

LARGE = World(seed=3, executions=2, operations=(2_345, 7))


def an_event(
    emulator: Emulator, inline: list[dict[str, Any]], next_marker: str | None, index: int = 0
) -> dict[str, Any]:
    """An invocation event that holds these operations; like AWS's, in milliseconds."""

    def milliseconds(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: round(part * 1_000) if name.endswith("Timestamp") else milliseconds(part)
            for name, part in value.items()
        }

    state = {"Operations": [milliseconds(operation) for operation in inline]}
    if next_marker is not None:
        state["NextMarker"] = next_marker  # type: ignore[assignment]
    return {
        "DurableExecutionArn": emulator.world.arn(index),
        "CheckpointToken": emulator.world.token(index),
        "InitialExecutionState": state,
    }


# get_page


async def test_pages_by_hand_from_marker_to_marker() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        marker: str | None = None
        sizes, operations = [], []
        while True:
            page = await client.get_page(ref_of(emulator), marker=marker)
            sizes.append(len(page.operations))
            operations += page.operations
            marker = page.next_marker
            if marker is None:
                break
        assert sizes == [1_000, 1_000, 345]
        assert [operation.to_dict() for operation in operations] == held(emulator)
        assert [entry.marker_given for entry in emulator.log] == [False, True, True]


@pytest.mark.parametrize(("max_items", "expected"), [(0, 100), (1, 1), (1_000, 1_000)])
async def test_max_items_reaches_the_service(max_items: int, expected: int) -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        page = await client.get_page(ref_of(emulator), max_items=max_items)
        assert len(page.operations) == expected
        assert emulator.log[0].max_items == expected


@pytest.mark.parametrize("max_items", [-1, 1_001, True, 1.5, "10", None])
async def test_max_items_out_of_range_is_refused_before_any_request(
    emulator: Emulator, client: StateClient, max_items: Any
) -> None:
    ref = ref_of(emulator)
    with pytest.raises(ConfigurationError, match="max_items"):
        await client.get_page(ref, max_items=max_items)
    with pytest.raises(ConfigurationError, match="max_items"):
        await client.get_state(ref, max_items=max_items)
    with pytest.raises(ConfigurationError, match="max_items"):
        await anext(client.iter_pages(ref, max_items=max_items))
    for many in (client.fetch_many, client.stream_pages):
        with pytest.raises(ConfigurationError, match="max_items"):
            many([ref], max_items=max_items)
    assert len(emulator.log) == 0
    assert client.statistics().requests == 0


async def test_a_marker_of_another_execution_is_a_refused_request() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        page = await client.get_page(ref_of(emulator, 0), max_items=1)
        with pytest.raises(InvalidRequestError, match="Invalid marker"):
            await client.get_page(ref_of(emulator, 1), marker=page.next_marker)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
async def test_a_timeout_that_is_no_time_is_refused(
    emulator: Emulator, client: StateClient, timeout_s: float
) -> None:
    for read in (client.get_page, client.get_state):
        with pytest.raises(ConfigurationError, match="timeout_s"):
            await read(ref_of(emulator), timeout_s=timeout_s)
    assert len(emulator.log) == 0


# iter_pages


async def test_iter_pages_gives_every_page_in_order() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        pages = [page async for page in client.iter_pages(ref_of(emulator), max_items=500)]
        assert [len(page.operations) for page in pages] == [500, 500, 500, 500, 345]
        together = [operation.to_dict() for page in pages for operation in page.operations]
        assert together == held(emulator)


async def test_iter_pages_asks_for_nothing_before_the_first_step_nor_ahead_of_a_step() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        pages = client.iter_pages(ref_of(emulator), max_items=500)
        assert len(emulator.log) == 0
        for step in (1, 2, 3):
            await anext(pages)
            assert len(emulator.log) == step
            assert_at_rest(client)
        await pages.aclose()  # type: ignore[attr-defined]


async def test_iter_pages_left_early_leaves_nothing() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        before = client_tasks()
        async for _ in client.iter_pages(ref_of(emulator), max_items=500):
            break
        assert_at_rest(client)
        assert client_tasks() == before
        assert len(emulator.log) == 1
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


async def test_iter_pages_goes_on_from_a_marker() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        first = await client.get_page(ref_of(emulator), max_items=1_000)
        rest = client.iter_pages(ref_of(emulator), marker=first.next_marker)
        operations = [operation async for page in rest for operation in page.operations]
        together = [operation.to_dict() for operation in [*first.operations, *operations]]
        assert together == held(emulator)


# get_state


@pytest.mark.parametrize(
    ("max_items", "requests"), [(0, 12), (1, 1_101), (7, 158), (999, 2), (1_000, 2)]
)
async def test_a_state_is_whole_whatever_the_page_size(max_items: int, requests: int) -> None:
    world = World(executions=1, operations=1_101)
    async with Emulator(world) as emulator, reading(emulator) as client:
        state = await client.get_state(ref_of(emulator), max_items=max_items)
        assert wire(state) == held(emulator)
        assert len(emulator.log) == requests
        assert state.source == "state"


async def test_short_and_empty_pages_go_on() -> None:
    async with Emulator(World(seed=5, executions=40), short_pages=0.7) as emulator:
        async with reading(emulator) as client:
            for index, ref in enumerate(refs_of(emulator)):
                assert wire(await client.get_state(ref, max_items=10)) == held(emulator, index)
            seen = client.statistics()
        operations = sum(len(held(emulator, index)) for index in range(40))
        assert seen.operations == operations
        assert seen.pages == len(emulator.log) > operations / 10 + 40


async def test_pages_may_be_bounded_by_bytes() -> None:
    world = World(executions=1, operations=60, payload_size=2_000)
    async with Emulator(world, page_bytes=5_000) as emulator, reading(emulator) as client:
        state = await client.get_state(ref_of(emulator), max_items=1_000)
        assert wire(state) == held(emulator)
        assert len(emulator.log) > 10


async def test_a_state_shows_its_execution_and_input() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        state = await client.get_state(ref_of(emulator))
        operations = held(emulator)
        first = operations[0]
        assert first["Type"] == "EXECUTION"
        assert state.execution is state.operations[0]
        assert state.execution.to_dict() == first
        assert state.input_payload == first["ExecutionDetails"]["InputPayload"]
        assert state.arn == emulator.world.arn(0)
        assert set(state.by_id) == {operation["Id"] for operation in operations}


async def test_statistics_count_what_was_read() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        await client.get_state(ref_of(emulator), max_items=1_000)
        seen = client.statistics()
        assert (seen.requests, seen.pages, seen.operations) == (3, 3, 2_345)
        assert seen.bytes > 2_345 * 100
        assert (seen.retries, seen.throttles) == (0, 0)


# Invocation events


async def test_a_complete_event_needs_no_request(emulator: Emulator, client: StateClient) -> None:
    for marker in (None, ""):
        event = an_event(emulator, held(emulator), marker)
        for form in (event, json.dumps(event), json.dumps(event).encode()):
            ref = ExecutionRef.from_event(form)
            state = await client.get_state(ref)
            assert wire(state) == held(emulator)
            assert state.source == "event"
    assert len(emulator.log) == 0


@pytest.mark.parametrize("inline", [0, 1, 500])
async def test_of_an_incomplete_event_only_the_rest_is_read(inline: int) -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        page = await client.get_page(ref_of(emulator), max_items=max(1, inline))
        marker = page.next_marker
        if inline == 0:  # As from a server whose first page was empty.
            emulator.faults = FaultPlan(on={0: Fault(FaultKind.EMPTY_PAGE)})
            page = await client.get_page(ref_of(emulator))
            marker = page.next_marker
            emulator.faults = FaultPlan()
        emulator.log.clear()
        ref = ExecutionRef.from_event(an_event(emulator, held(emulator)[:inline], marker))
        state = await client.get_state(ref)
        assert wire(state) == held(emulator)
        assert state.source == "state"
        assert all(entry.marker_given for entry in emulator.log)
        assert len(emulator.log) == -(-(2_345 - inline) // 1_000)


async def test_iter_pages_starts_with_what_the_event_holds() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        marker = (await client.get_page(ref_of(emulator), max_items=10)).next_marker
        emulator.log.clear()
        ref = ExecutionRef.from_event(an_event(emulator, held(emulator)[:10], marker))
        pages = client.iter_pages(ref)
        first = await anext(pages)
        assert len(emulator.log) == 0
        assert [operation.to_dict() for operation in first.operations] == held(emulator)[:10]
        rest = [operation.to_dict() async for page in pages for operation in page.operations]
        assert rest == held(emulator)[10:]


async def test_get_page_asks_the_service_whatever_an_event_holds(
    emulator: Emulator, client: StateClient
) -> None:
    ref = ExecutionRef.from_event(an_event(emulator, held(emulator), None))
    page = await client.get_page(ref)
    assert [operation.to_dict() for operation in page.operations] == held(emulator)
    assert len(emulator.log) == 1


async def test_bulk_reads_take_events_too() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        marker = (await client.get_page(ref_of(emulator), max_items=500)).next_marker
        emulator.log.clear()
        refs = [
            ExecutionRef.from_event(an_event(emulator, held(emulator)[:500], marker)),
            ExecutionRef.from_event(an_event(emulator, held(emulator, 1), None, index=1)),
        ]
        async with client.fetch_many(refs) as results:
            states = {result.index: result.state async for result in results}
        async with client.stream_pages(refs) as pages:
            sizes = {0: 0, 1: 0}
            async for result in pages:
                sizes[result.index] += len(result.page.operations)  # type: ignore[union-attr]
        assert [wire(states[0]), wire(states[1])] == [held(emulator, 0), held(emulator, 1)]
        assert [states[0].source, states[1].source] == ["state", "event"]
        assert sizes == {0: 2_345, 1: 7}
        assert set(emulator.log.per_execution()) == {emulator.world.arn(0)}


# Time


@pytest.mark.parametrize("method", ["get_page", "get_state"])
async def test_a_call_ends_at_its_timeout_and_the_client_goes_on(method: str) -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.STALL, first=1, delay_s=30)})
    async with Emulator(LARGE, faults) as emulator, reading(emulator) as client:
        read = getattr(client, method)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(DeadlineError, match=r"timeout_s=0\.2") as raised:
            await read(ref_of(emulator), timeout_s=0.2)
        assert loop.time() - began < 2
        assert isinstance(raised.value, TimeoutError)
        assert emulator.world.arn(0) in str(raised.value)
        assert_at_rest(client)
        await read(ref_of(emulator), timeout_s=20)
        assert_at_rest(client)


async def test_a_timeout_counts_the_waiting_for_a_slot() -> None:
    async with (
        Emulator(LARGE) as emulator,
        reading(emulator, limits=Limits(max_requests=1)) as client,
    ):
        emulator.hold()
        first = asyncio.create_task(client.get_state(ref_of(emulator)))
        await emulator.log.wait_for(1)
        with pytest.raises(DeadlineError):
            await client.get_state(ref_of(emulator, 1), timeout_s=0.05)
        assert (client.statistics().in_flight, client.statistics().waiting) == (1, 0)
        emulator.release()
        assert wire(await first) == held(emulator)
        assert_at_rest(client)


async def test_a_timeout_counts_the_sleep_between_attempts() -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.THROTTLE, retry_after_s=30)})
    async with Emulator(LARGE, faults) as emulator, reading(emulator) as client:
        with pytest.raises(DeadlineError):
            await client.get_state(ref_of(emulator), timeout_s=0.3)
        assert len(emulator.log) == 1
        assert_at_rest(client)


async def test_a_timeout_from_outside_stays_a_timeout_error() -> None:
    async with Emulator(LARGE) as emulator, reading(emulator) as client:
        emulator.hold()
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.05):
                await client.get_state(ref_of(emulator), timeout_s=30)
        assert type(raised.value) is TimeoutError
        emulator.release()
        assert_at_rest(client)


async def test_one_attempt_has_a_deadline_as_a_whole_however_the_bytes_trickle() -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.SLOW_BODY, delay_s=0.02, chunk_bytes=1)})
    policy = RetryPolicy(max_attempts=2, attempt_timeout_s=0.15)
    async with Emulator(LARGE, faults) as emulator, reading(emulator, retry=policy) as client:
        with pytest.raises(DeadlineError, match=r"0\.15 s"):
            await client.get_state(ref_of(emulator))
        assert len(emulator.log) == 2
        assert_at_rest(client)


async def test_reading_logs_nothing(
    emulator: Emulator, client: StateClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await client.get_state(ref_of(emulator))
    assert [r for r in caplog.records if r.name.startswith(("durastate", "aiohttp"))] == []
