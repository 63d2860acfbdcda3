"""States that only ministack can hold, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from aws_emulator.test_state import without_nulls
from yarl import URL

import durastate
from durastate import ExecutionRef
from durastate.errors import InvalidRequestError

from .peer import REGION, Ministack, WrittenExecution, every_kind, running_ministack

pytestmark = pytest.mark.asyncio

GONE_LIMIT_S = 20.0


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Ministack]:
    async with running_ministack() as running:
        yield running


@pytest_asyncio.fixture
async def written(server: Ministack) -> WrittenExecution:
    return await server.write("every-kind", every_kind)


def connect(server: Ministack) -> durastate.StateClient:
    return durastate.StateClient(session=server.session, endpoint_url=server.endpoint_url)


async def sent_by(server: Ministack, written: WrittenExecution) -> list[dict[str, Any]]:
    """The operations as they are on the wire."""
    url = (
        f"{server.endpoint_url}/2025-12-01/durable-executions/{quote(written.arn, safe='')}/state"
        f"?CheckpointToken={quote(written.token, safe='')}&MaxItems=1000"
    )
    # ministack looks at no signature.
    async with aiohttp.ClientSession() as http, http.get(URL(url, encoded=True)) as response:
        operations: list[dict[str, Any]] = (await response.json(content_type=None))["Operations"]
        return operations


async def test_nothing_is_lost_of_what_was_sent(
    server: Ministack, written: WrittenExecution
) -> None:
    sent = await sent_by(server, written)
    async with connect(server) as client:
        state = await client.get_state(ExecutionRef(written.arn, written.token))

    assert [each.to_dict() for each in state.operations] == without_nulls(sent)
    # Members that are in no model are kept; null is the same as absent.
    assert "HeartbeatDeadline" in state.by_id["answered"].to_dict()["CallbackDetails"]
    assert any(each.get("ParentId", "") is None for each in sent)


async def test_the_state_is_what_was_written(server: Ministack, written: WrittenExecution) -> None:
    async with connect(server) as client:
        state = await client.get_state(ExecutionRef(written.arn, written.token))

    def seen(id_: str) -> tuple[str, str]:
        return state.by_id[id_].type, state.by_id[id_].status

    # CANCELLED is what AWS's Python SDK never writes.
    assert seen("cancelled") == ("WAIT", "CANCELLED")
    assert seen("withdrawn") == ("CALLBACK", "CANCELLED")
    assert seen("invoke-cancelled") == ("CHAINED_INVOKE", "CANCELLED")
    assert {each.type for each in state.operations} == set(durastate.OperationType)
    assert state.arn.split(":")[3] == REGION
    assert state.execution is not None
    assert state.execution.id == ExecutionRef(written.arn).execution_id
    assert state.input_payload == '{"order": "\\u00fc"}'
    [inner] = state.children("outer")
    assert [each.id for each in state.children(inner.id)] == ["item-0", "item-1", "item-2"]
    retried = state.by_id["to-retry"].step_details
    assert retried
    assert retried.next_attempt_timestamp
    assert retried.error
    assert retried.error.error_type == "ConnectionResetError"
    refused = state.by_id["refused"].callback_details
    assert refused
    assert refused.callback_id == "refused"
    assert refused.error
    assert refused.error.stack_trace == ["frame 1", "frame 2"]
    kept = state.by_id["keeps-children"].context_details
    assert kept
    assert kept.replay_children


async def test_what_is_no_arn_is_an_invalid_request(
    server: Ministack, written: WrittenExecution
) -> None:
    async with durastate.StateClient(
        session=server.session, endpoint_url=server.endpoint_url, region_name=REGION
    ) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.get_state(ExecutionRef("no-arn", written.token))

    assert caught.value.message == "Invalid DurableExecutionArn: no-arn"


async def test_it_ends_with_a_parent_that_is_killed() -> None:
    script = """
import asyncio
from ministack.peer import running_ministack

async def main():
    async with running_ministack() as running:
        print(running.endpoint_url, running.folder, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert parent.stdout
    endpoint_url, folder = (await parent.stdout.readline()).decode().split()
    assert await listens(endpoint_url)
    parent.kill()
    await parent.communicate()

    async with asyncio.timeout(GONE_LIMIT_S):
        # Another process's end: there is no event to wait for.
        while await listens(endpoint_url) or Path(folder).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)


async def listens(endpoint_url: str) -> bool:
    url = URL(endpoint_url)
    try:
        _, writer = await asyncio.open_connection(url.host, url.port)
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    writer.close()
    await writer.wait_closed()
    return True
