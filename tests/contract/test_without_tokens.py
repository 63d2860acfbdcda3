"""List, Get and History on every server: durastate reads what aiobotocore reads.

How a history's operations differ from a state's is in `docs/history.md`, and tested where the
histories are made.
"""

from __future__ import annotations

from typing import Any

import pytest
from aws_emulator.botocore_reader import BotocoreReader

from durastate import (
    ExecutionNotFoundError,
    ExecutionRef,
    Failed,
    Fetched,
    HistoryEvent,
    StateClient,
    operations_from_history,
)
from durastate.errors import ServiceError
from durastate.refs import match_arn

from .servers import Server

pytestmark = pytest.mark.asyncio


def told(event: HistoryEvent) -> dict[str, Any]:
    """The members that botocore gives Python names too."""
    members = {
        "EventId": event.event_id,
        "EventType": event.event_type,
        "Id": event.id,
        "Name": event.name,
        "ParentId": event.parent_id,
        "SubType": event.sub_type,
        "EventTimestamp": event.event_timestamp,
    }
    return {name: value for name, value in members.items() if value is not None}


async def test_a_description_is_what_aiobotocore_reads(
    server: Server, client: StateClient, botocore: BotocoreReader
) -> None:
    for held in server.held:
        expected = await botocore.described(held.endpoint_url, held.arn)
        found = await client.get_execution(held.arn)

        assert (found.arn, found.name, found.function_arn, found.status) == tuple(
            expected[name]
            for name in ("DurableExecutionArn", "DurableExecutionName", "FunctionArn", "Status")
        )
        assert found.start_timestamp == expected["StartTimestamp"]
        assert (found.end_timestamp, found.input_payload, found.result, found.version) == tuple(
            expected.get(name) for name in ("EndTimestamp", "InputPayload", "Result", "Version")
        )


@pytest.mark.parametrize("max_items", [1000, 1])
async def test_a_listing_is_what_aiobotocore_reads(
    server: Server, client: StateClient, botocore: BotocoreReader, max_items: int
) -> None:
    for held in server.held:
        pages = await botocore.listed(
            held.endpoint_url,
            "list_durable_executions_by_function",
            FunctionName=held.function_name,
            PaginationConfig={"PageSize": max_items},
        )
        expected = [each for page in pages for each in page["DurableExecutions"]]
        before = client.statistics()
        found = [
            each async for each in client.list_executions(held.function_name, max_items=max_items)
        ]
        after = client.statistics()

        assert held.arn in [each.arn for each in found]
        assert [(each.arn, each.status, each.start_timestamp) for each in found] == [
            (each["DurableExecutionArn"], each["Status"], each["StartTimestamp"])
            for each in expected
        ]
        assert after.requests - before.requests == len(pages)
        assert after.executions - before.executions == len(expected)


@pytest.mark.parametrize("reverse_order", [None, True])
async def test_a_history_is_what_aiobotocore_reads(
    server: Server, client: StateClient, botocore: BotocoreReader, reverse_order: bool | None
) -> None:
    more = {} if reverse_order is None else {"ReverseOrder": reverse_order}
    # The last one has thousands of events, which botocore takes seconds to parse.
    for held in server.held[:-1]:
        pages = await botocore.listed(
            held.endpoint_url,
            "get_durable_execution_history",
            DurableExecutionArn=held.arn,
            IncludeExecutionData=True,
            PaginationConfig={"PageSize": 50},
            **more,
        )
        found = [
            page
            async for page in client.iter_history(
                held.arn, reverse_order=reverse_order, max_items=50
            )
        ]

        assert [[told(event) for event in page] for page in found] == [
            [{name: event[name] for name in told_names(event)} for event in page["Events"]]
            for page in pages
        ]


def told_names(event: dict[str, Any]) -> list[str]:
    return [name for name in event if not name.endswith("Details")]


async def test_a_state_from_the_history_has_what_its_events_tell(
    server: Server, client: StateClient
) -> None:
    for held in server.held:
        state = await client.get_state_from_history(held.arn)
        pages = client.iter_history(held.arn)
        events = [event async for page in pages for event in page]

        assert (state.arn, state.source) == (held.arn, "history")
        assert state.operations == operations_from_history(
            events,
            execution_id=held.arn.rpartition("/")[2],
            zero_delay_ends=match_arn(held.arn) is None,
        )
        assert state.execution is state.operations[0]
        described = await client.get_execution(held.arn)
        assert (state.execution.status == "STARTED") == (described.status == "RUNNING")
        assert state.status == described.status
        assert state.input_payload == described.input_payload


async def test_many_from_histories_equal_one_by_one_and_need_no_token(
    server: Server, client: StateClient
) -> None:
    refs = [*(ExecutionRef(held.arn) for held in server.held), ExecutionRef(server.unknown_arn)]
    async with client.fetch_many(refs, source="history") as results:
        found = {result.ref.arn: result async for result in results}

    for held in server.held:
        result = found[held.arn]
        assert isinstance(result, Fetched)
        assert result.state == await client.get_state_from_history(held.arn)
    failed = found[server.unknown_arn]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ExecutionNotFoundError)


async def test_an_execution_that_does_not_exist_is_not_found(
    server: Server, client: StateClient
) -> None:
    for ask in (client.get_execution, client.get_state_from_history):
        with pytest.raises(ServiceError) as caught:
            await ask(server.unknown_arn)
        assert type(caught.value) is ExecutionNotFoundError
        assert caught.value.status == 404
