"""durastate reads from AWS's own emulator what aiobotocore's own paginator reads.

Both read the same held execution of a real durable function, one after the other, while nothing
about it changes. What a member is called and which members there are comes from botocore's
service model, so none is left out of the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiobotocore.session import AioSession
from botocore import xform_name
from yarl import URL

import durastate
from durastate import ExecutionRef, Failed, Fetched
from durastate.errors import ExecutionNotFoundError, InvalidRequestError, InvalidTokenError

from .botocore_reader import BotocoreReader, fields_of, in_botocore, operation_shape
from .conftest import BY_BYTES, BY_COUNT, SMALL_PAGE_BYTES
from .peer import REGION, HeldExecution

pytestmark = pytest.mark.asyncio

ALL = (*BY_COUNT, *BY_BYTES)
# At 0 the emulator gives pages of one operation (the service: of 100), so the execution with
# 1,301 pages is left to the other sizes.
NAMES_AND_SIZES = [
    (name, max_items)
    for name in ALL
    for max_items in (1000, 100, 7, 0)
    if (name, max_items) != ("many-steps", 0)
]


def ref_of(held: HeldExecution) -> ExecutionRef:
    return ExecutionRef(held.arn, held.token)


def connect(held: HeldExecution, session: AioSession) -> durastate.StateClient:
    return durastate.StateClient(
        session=session, region_name=REGION, endpoint_url=held.endpoint_url
    )


def in_python(operations: Iterable[durastate.Operation]) -> list[Any]:
    """Our operations, by attributes named like the service's members, in snake case."""
    shape = operation_shape()

    def attribute(owner: Any, name: str) -> Any:
        value = getattr(owner, xform_name(name))
        assert not isinstance(value, datetime) or value.tzinfo is timezone.utc
        return value

    return [fields_of(operation, shape, attribute) for operation in operations]


def in_milliseconds(value: Any) -> Any:
    """Timestamps as an invocation event holds them: AWS's SDK cuts them to milliseconds."""
    if isinstance(value, dict):
        return {name: in_milliseconds(member) for name, member in value.items()}
    if not isinstance(value, datetime):
        return value
    milliseconds = int(value.timestamp() * 1000)
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


@pytest.mark.parametrize(("held", "max_items"), NAMES_AND_SIZES, indirect=["held"])
async def test_a_state_equals_what_aiobotocore_reads(
    held: HeldExecution, session: AioSession, botocore: BotocoreReader, max_items: int
) -> None:
    pages = await botocore.pages(held, max_items)
    async with connect(held, session) as client:
        state = await client.get_state(ref_of(held), max_items=max_items)
        requests = client.statistics().requests

    assert in_python(state.operations) == in_botocore(*pages)
    assert requests == len(pages)
    assert state.arn == held.arn
    assert state.source == "state"


async def test_the_executions_show_every_type_and_all_but_one_status(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    operations: list[durastate.Operation] = []
    for name in ALL:
        held = held_executions[name]
        async with connect(held, session) as client:
            operations += (await client.get_state(ref_of(held))).operations

    assert {each.type for each in operations} == set(durastate.OperationType)
    # The Python SDK never cancels an operation.
    assert {each.status for each in operations} == {
        each for each in durastate.OperationStatus if each != "CANCELLED"
    }
    assert {each.sub_type for each in operations} == {
        *("Step", "Wait", "Callback", "RunInChildContext", "Map", "MapIteration", "Parallel"),
        *("ParallelBranch", "WaitForCallback", "WaitForCondition", "ChainedInvoke"),
        *("MyStep", "MyCallback", None),
    }
    assert any(each.context_details and each.context_details.replay_children for each in operations)
    errors = [each.step_details.error for each in operations if each.step_details]
    assert any(error and error.stack_trace and error.error_data for error in errors)


@pytest.mark.parametrize("held", BY_COUNT[:-1], indirect=True)
async def test_to_dict_gives_back_what_the_server_sent(
    held: HeldExecution, session: AioSession
) -> None:
    url = (
        f"{held.endpoint_url}/2025-12-01/durable-executions/{quote(held.arn, safe='')}/state"
        f"?CheckpointToken={quote(held.token, safe='')}&MaxItems=1000"
    )
    # The emulator looks at no signature.
    async with aiohttp.ClientSession() as http, http.get(URL(url, encoded=True)) as response:
        sent = without_nulls(await response.json())["Operations"]
    async with connect(held, session) as client:
        state = await client.get_state(ref_of(held))

    assert [each.to_dict() for each in state.operations] == sent
    assert json.loads(state.to_json()) == state.to_dict()


def without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value


async def test_a_state_knows_its_tree_and_its_input(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held = held_executions["contexts"]
    async with connect(held, session) as client:
        state = await client.get_state(ref_of(held))

    [outer] = [each for each in state.roots if each.name == "outer"]
    [inner] = state.children(outer.id)
    assert [each.name for each in state.children(inner.id)] == ["leaf", "innermost"]
    assert state.by_id[inner.id] is inner
    assert state.execution is state.operations[0]
    assert state.execution.name == "contexts"
    assert state.input_payload == '["a", "list"]'


@pytest.mark.parametrize("held", ["many-steps", *BY_BYTES], indirect=True)
@pytest.mark.parametrize("max_items", [1000, 100])
async def test_pages_by_hand_are_the_service_s_pages(
    held: HeldExecution, session: AioSession, botocore: BotocoreReader, max_items: int
) -> None:
    expected = await botocore.pages(held, max_items)
    async with connect(held, session) as client:
        pages = [await client.get_page(ref_of(held), max_items=max_items)]
        while (marker := pages[-1].next_marker) is not None:
            page = await client.get_page(ref_of(held), marker=marker, max_items=max_items)
            pages.append(page)

    assert [page.next_marker for page in pages] == [page.get("NextMarker") for page in expected]
    assert [in_python(page) for page in pages] == [in_botocore(page) for page in expected]


@pytest.mark.parametrize("held", ["many-steps", *BY_BYTES], indirect=True)
async def test_iter_pages_goes_on_from_a_marker(
    held: HeldExecution, session: AioSession, botocore: BotocoreReader
) -> None:
    expected = await botocore.pages(held, 100)
    async with connect(held, session) as client:
        every = [page async for page in client.iter_pages(ref_of(held), max_items=100)]
        marker = every[1].next_marker
        rest = client.iter_pages(ref_of(held), marker=marker, max_items=100)
        after_two = [page async for page in rest]

    assert [len(page) for page in every] == [len(page["Operations"]) for page in expected]
    assert after_two == every[2:]


async def test_pages_end_by_bytes_before_they_end_by_count(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held = held_executions["large-payloads"]
    async with connect(held, session) as client:
        pages = [page async for page in client.iter_pages(ref_of(held), max_items=1000)]

    sizes = [[result_size(operation) for operation in page] for page in pages]
    assert max(map(max, sizes)) > SMALL_PAGE_BYTES
    assert all(sum(page) <= SMALL_PAGE_BYTES for page in sizes if len(page) > 1)
    assert len(pages) > 5


def result_size(operation: durastate.Operation) -> int:
    details = operation.step_details
    return len(details.result.encode()) if details and details.result else 0


@pytest.mark.parametrize("names", [BY_COUNT, BY_BYTES], ids=["by count", "by bytes"])
async def test_many_executions_at_once_equal_one_by_one(
    names: tuple[str, ...],
    held_executions: dict[str, HeldExecution],
    session: AioSession,
    botocore: BotocoreReader,
) -> None:
    every = [held_executions[name] for name in names]
    expected = {held.arn: in_botocore(*await botocore.pages(held)) for held in every}
    refs = [ref_of(held) for held in every]
    states: dict[str, list[Any]] = {}
    pages: dict[str, list[Any]] = {ref.arn: [] for ref in refs}
    ended: list[str] = []
    async with connect(every[0], session) as client:
        async with client.fetch_many(refs) as results:
            async for result in results:
                assert isinstance(result, Fetched), result
                assert refs[result.index] == result.ref
                states[result.ref.arn] = in_python(result.state.operations)
        async with client.stream_pages(refs, max_items=100) as stream:
            async for each in stream:
                assert not isinstance(each, Failed), each
                assert each.ref.arn not in ended
                pages[each.ref.arn] += in_python(each.page)
                ended += [each.ref.arn] if each.is_last else []

    assert states == expected
    assert pages == expected
    assert sorted(ended) == sorted(expected)


async def test_one_refused_token_fails_one_execution(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    good, bad = held_executions["steps"], held_executions["contexts"]
    refs = [ref_of(good), ExecutionRef(bad.arn, bad.stale_token)]
    async with connect(good, session) as client, client.fetch_many(refs) as results:
        by_index = {result.index: result async for result in results}

    assert isinstance(by_index[0], Fetched)
    assert isinstance(by_index[1], Failed)
    assert isinstance(by_index[1].error, InvalidTokenError)


@pytest.mark.parametrize("held", ["steps", "many-steps"], indirect=True)
async def test_the_token_of_an_earlier_invocation_is_refused(
    held: HeldExecution, session: AioSession
) -> None:
    await assert_token_refused(held, held.stale_token, session)


async def test_the_token_of_a_finished_execution_is_refused(
    finished: HeldExecution, session: AioSession
) -> None:
    await assert_token_refused(finished, finished.token, session)


async def test_the_token_of_another_execution_is_refused(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held, other = held_executions["steps"], held_executions["contexts"]
    await assert_token_refused(held, other.stale_token, session)


async def assert_token_refused(held: HeldExecution, token: str, session: AioSession) -> None:
    async with connect(held, session) as client:
        with pytest.raises(InvalidTokenError) as caught:
            await client.get_state(ExecutionRef(held.arn, token))
        requests = client.statistics().requests

    error = caught.value
    assert (error.status, error.code) == (400, "InvalidParameterValueException")
    assert error.message == "Invalid checkpoint token"
    assert (error.arn, error.operation) == (held.arn, "GetDurableExecutionState")
    assert not error.retryable
    assert token not in str(error)
    assert requests == 1


async def test_a_marker_of_nobody_is_an_invalid_request_and_no_token_error(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held = held_executions["steps"]
    async with connect(held, session) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.get_page(ref_of(held), marker="999:1")

    assert caught.value.message == "Invalid marker"


async def test_an_unknown_execution_is_not_found(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held = held_executions["steps"]
    async with connect(held, session) as client:
        with pytest.raises(ExecutionNotFoundError) as caught:
            await client.get_state(ExecutionRef("no-such-uuid/no-such-invocation", held.token))

    # The live service's model has no such error for GetDurableExecutionState; the emulator does.
    assert (caught.value.status, caught.value.code) == (404, "ResourceNotFoundException")
    assert caught.value.message == "Durable Execution does not exist"


@pytest.mark.parametrize("held", BY_COUNT, indirect=True)
@pytest.mark.parametrize(
    "as_sent",
    [dict, json.dumps, lambda event: json.dumps(event).encode()],
    ids=["dict", "str", "bytes"],
)
async def test_a_complete_invocation_event_is_the_state_without_a_request(
    held: HeldExecution,
    session: AioSession,
    botocore: BotocoreReader,
    as_sent: Callable[[dict[str, Any]], Any],
) -> None:
    expected = in_botocore(*await botocore.pages(held))
    ref = ExecutionRef.from_event(as_sent(held.event))
    async with connect(held, session) as client:
        state = await client.get_state(ref)
        requests = client.statistics().requests

    assert requests == 0
    assert state.source == "event"
    assert in_python(state.operations) == [in_milliseconds(each) for each in expected]


@pytest.mark.parametrize("held", BY_BYTES, indirect=True)
@pytest.mark.parametrize("max_items", [1000, 7])
async def test_an_event_with_a_marker_is_completed_from_there(
    held: HeldExecution, session: AioSession, botocore: BotocoreReader, max_items: int
) -> None:
    initial = held.event["InitialExecutionState"]
    inline = len(initial["Operations"])
    expected = in_botocore(*await botocore.pages(held))
    ref = ExecutionRef.from_event(held.event)
    async with connect(held, session) as client:
        state = await client.get_state(ref, max_items=max_items)
        async with client.fetch_many([ref], max_items=max_items) as results:
            [fetched] = [result async for result in results]

    assert initial["NextMarker"]
    assert 0 < inline < len(expected)
    assert state.source == "state"
    assert in_python(state.operations) == [
        in_milliseconds(each) if place < inline else each for place, each in enumerate(expected)
    ]
    assert isinstance(fetched, Fetched)
    assert fetched.state == state


async def test_the_events_of_invocations_that_are_over_read_the_same_way(
    held_executions: dict[str, HeldExecution],
) -> None:
    events = [event for held in held_executions.values() for event in held.events]
    refs = [ExecutionRef.from_event(event) for event in events]

    assert [ref.arn for ref in refs] == [event["DurableExecutionArn"] for event in events]
    assert [ref.checkpoint_token for ref in refs] == [each["CheckpointToken"] for each in events]


async def test_milliseconds_become_the_moment_they_mean(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held = held_executions["unfinished"]
    async with connect(held, session) as client:
        state = await client.get_state(ExecutionRef.from_event(held.event))

    now = datetime.now(timezone.utc)
    [wait] = [each for each in state.operations if each.name == "an-hour"]
    assert now - timedelta(minutes=10) < wait.start_timestamp <= now
    assert wait.wait_details
    assert wait.wait_details.scheduled_end_timestamp == wait.start_timestamp + timedelta(hours=1)
