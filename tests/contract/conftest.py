"""Each server runs once a session, on a thread of its own, with the executions in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from anyio.from_thread import start_blocking_portal
from aws_emulator.botocore_reader import BotocoreReader

import durastate

from .servers import SERVERS, Server


@pytest.fixture(scope="session", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    opened = SERVERS[request.param]()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(opened) as server:
        yield server


@pytest.fixture(scope="session")
def botocore(server: Server) -> Iterator[BotocoreReader]:
    """Reads what aiobotocore's own paginator reads."""
    reader = BotocoreReader(server.session)
    yield reader
    reader.close()


@pytest_asyncio.fixture
async def client(server: Server) -> AsyncIterator[durastate.StateClient]:
    """A client of `server`."""
    async with durastate.StateClient(
        session=server.session, region_name=server.region, endpoint_url=server.endpoint_url
    ) as opened:
        yield opened
