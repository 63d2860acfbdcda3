"""Executions of real durable functions, found by List and read from History, as an auditor does."""

from __future__ import annotations

import pytest
from aiobotocore.session import AioSession

from durastate import ExecutionRef, ExecutionStatus, Fetched, InvalidTokenError

from .conftest import BY_COUNT
from .peer import HeldExecution
from .test_state import connect, ref_of

pytestmark = pytest.mark.asyncio


async def test_a_closed_execution_is_found_and_its_history_agrees_with_its_description(
    finished: HeldExecution, session: AioSession
) -> None:
    async with connect(finished, session) as client:
        (summary,) = [each async for each in client.list_executions(finished.name)]
        described = await client.get_execution(summary.arn)
        state = await client.get_state_from_history(summary.arn)
        with pytest.raises(InvalidTokenError):
            await client.get_state(ref_of(finished))

    assert summary.arn == finished.arn
    assert summary.status is described.status is ExecutionStatus.SUCCEEDED
    assert (state.source, len(state.operations)) == ("history", 2)
    execution = state.execution
    assert execution is not None
    assert execution.status == described.status
    assert execution.end_timestamp == described.end_timestamp == summary.end_timestamp
    assert execution.execution_details is not None
    assert execution.execution_details.result == described.result == "null"


async def test_every_function_s_executions_are_read_at_once_without_a_token(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held = [held_executions[name] for name in BY_COUNT if name != "many-steps"]
    async with connect(held[0], session) as client:
        refs = [
            ExecutionRef(summary.arn)
            for each in held
            async for summary in client.list_executions(each.name)
            if summary.status is ExecutionStatus.RUNNING
        ]
        async with client.fetch_many(refs, source="history", max_items=20) as results:
            states = {result.ref.arn: result.state async for result in results}
        for each in held:
            from_token = await client.get_state(ref_of(each))
            assert states[each.arn] is not None
            assert set(from_token.by_id) <= set(states[each.arn].by_id)

    assert len(states) >= len(held)


async def test_one_execution_has_the_same_operations_either_way(
    held_executions: dict[str, HeldExecution], session: AioSession
) -> None:
    held = held_executions["only-waits"]
    async with connect(held, session) as client:
        async with client.fetch_many([ExecutionRef(held.arn)], source="history") as results:
            (result,) = [each async for each in results]
        state = await client.get_state(ref_of(held))

    assert isinstance(result, Fetched)
    assert result.state.operations == state.operations
