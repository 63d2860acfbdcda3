"""What holds for every server: one set of tests, and aiobotocore's paginator as the judge.

Whatever a server does differently is in `differences`.
"""

from __future__ import annotations

import pytest
from aws_emulator.botocore_reader import BotocoreReader, in_botocore
from aws_emulator.test_state import in_python

from durastate import ExecutionRef, Failed, Fetched, OperationType, StateClient
from durastate.errors import ServiceError

from .differences import Refusal
from .servers import Server

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transport")]


@pytest.mark.parametrize("max_items", [1000, 100, 7])
async def test_a_state_equals_what_aiobotocore_reads(
    server: Server, client: StateClient, botocore: BotocoreReader, max_items: int
) -> None:
    for held in server.held:
        pages = await botocore.pages(held, max_items)
        before = client.statistics().requests
        state = await client.get_state(held.ref, max_items=max_items)

        assert in_python(state.operations) == in_botocore(*pages)
        assert client.statistics().requests - before == len(pages)
        assert (state.arn, state.source, len(state.operations)) == (held.arn, "state", held.count)


async def test_operations_come_in_the_order_of_their_start(
    server: Server, client: StateClient
) -> None:
    for held in server.held:
        state = await client.get_state(held.ref)
        started = [each.start_timestamp for each in state.operations]

        assert started == sorted(started)
        assert state.operations[0] is state.execution
        seen: set[str | None] = {None}
        for each in state.operations:
            assert each.parent_id in seen
            seen.add(each.id)


async def test_the_executions_show_every_type_and_more_than_a_page(
    server: Server, client: StateClient
) -> None:
    states = [await client.get_state(held.ref) for held in server.held]

    assert {each.type for state in states for each in state.operations} == set(OperationType)
    assert server.held[-1].count > 1_000
    deep = [each for each in states[0].operations if each.parent_id]
    assert any(states[0].by_id[each.parent_id or ""].parent_id for each in deep)


async def test_pages_by_hand_are_the_paginator_s_pages(
    server: Server, client: StateClient, botocore: BotocoreReader
) -> None:
    held = server.held[-1]
    expected = await botocore.pages(held, 100)
    pages = [await client.get_page(held.ref, max_items=100)]
    while (marker := pages[-1].next_marker) is not None:
        pages.append(await client.get_page(held.ref, marker=marker, max_items=100))

    assert [in_python(page) for page in pages] == [in_botocore(page) for page in expected]


async def test_iter_pages_goes_on_from_a_marker(server: Server, client: StateClient) -> None:
    held = server.held[-1]
    every = [page async for page in client.iter_pages(held.ref, max_items=100)]
    rest = client.iter_pages(held.ref, marker=every[1].next_marker, max_items=100)

    assert [page.operations async for page in rest] == [page.operations for page in every[2:]]
    assert sum(map(len, every)) == held.count


async def test_max_items_of_0_is_the_server_s_own_page_size(
    server: Server, client: StateClient
) -> None:
    held = server.held[-1]
    state = await client.get_state(held.ref)
    page = await client.get_page(held.ref, max_items=0)

    assert page.operations == state.operations[: server.differences.default_items]
    assert page.next_marker


async def test_many_executions_at_once_equal_one_by_one(
    server: Server, client: StateClient
) -> None:
    refs = [held.ref for held in server.held]
    one_by_one = {ref.arn: (await client.get_state(ref)).operations for ref in refs}
    many = {}
    async with client.fetch_many(refs, max_items=100) as results:
        async for result in results:
            assert isinstance(result, Fetched), result
            assert refs[result.index] == result.ref
            many[result.ref.arn] = result.state.operations
    streamed: dict[str, list[object]] = {ref.arn: [] for ref in refs}
    ended = []
    async with client.stream_pages(refs, max_items=100) as stream:
        async for each in stream:
            assert not isinstance(each, Failed), each
            assert each.ref.arn not in ended
            streamed[each.ref.arn] += each.page.operations
            ended += [each.ref.arn] if each.is_last else []

    assert many == one_by_one
    assert streamed == one_by_one
    assert sorted(ended) == sorted(one_by_one)


async def test_a_marker_of_another_execution(server: Server, client: StateClient) -> None:
    held, other = server.held[0], server.held[-1]
    own = (await client.get_page(held.ref, max_items=7)).next_marker
    foreign = (await client.get_page(other.ref, max_items=7)).next_marker
    refusal = server.differences.foreign_marker
    if refusal is None:
        page = await client.get_page(held.ref, marker=foreign, max_items=7)
        assert page == await client.get_page(held.ref, marker=own, max_items=7)
        return
    with pytest.raises(ServiceError) as caught:
        await client.get_page(held.ref, marker=foreign, max_items=7)

    assert_refused(caught.value, refusal, held.ref)


async def test_a_stale_token_is_refused_and_says_so(server: Server, client: StateClient) -> None:
    for held in server.held:
        ref = ExecutionRef(held.arn, held.stale_token)
        with pytest.raises(ServiceError) as caught:
            await client.get_state(ref)

        assert_refused(caught.value, server.differences.stale_token, ref)
    assert client.statistics().requests == len(server.held)


async def test_an_unknown_execution_is_refused(server: Server, client: StateClient) -> None:
    ref = ExecutionRef(server.unknown_arn, server.held[0].token)
    with pytest.raises(ServiceError) as caught:
        await client.get_state(ref)

    assert_refused(caught.value, server.differences.unknown_execution, ref)
    assert client.statistics().requests == 1


async def test_what_is_refused_is_a_value_among_the_others(
    server: Server, client: StateClient
) -> None:
    first = server.held[0]
    stale = ExecutionRef(first.arn, first.stale_token)
    unknown = ExecutionRef(server.unknown_arn, first.token)
    refs = [stale, *(held.ref for held in server.held), unknown]
    async with client.fetch_many(refs) as results:
        by_index = {result.index: result async for result in results}

    assert sorted(by_index) == list(range(len(refs)))
    failed = {index: each.error for index, each in by_index.items() if isinstance(each, Failed)}
    assert sorted(failed) == [0, len(refs) - 1]
    assert_refused(failed[0], server.differences.stale_token, stale)
    assert_refused(failed[len(refs) - 1], server.differences.unknown_execution, unknown)


def assert_refused(error: object, refusal: Refusal, ref: ExecutionRef) -> None:
    assert isinstance(error, ServiceError)
    assert (error.status, error.code) == (refusal.status, refusal.code)
    assert error.message == refusal.message.replace("{arn}", ref.arn)
    assert (error.operation, error.arn) == ("GetDurableExecutionState", ref.arn)
    assert not error.retryable
    assert ref.checkpoint_token
    assert ref.checkpoint_token not in str(error)
    assert type(error) is refusal.error
