"""The client of `async-durable-execution`, in an environment of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any

from async_durable_execution._core.aws_http import create_botocore_http_client
from async_durable_execution._core.client import ThreadedSyncLambdaClient
from botocore.config import Config

from ..cases import REGION, Ref
from . import Run, Setup, by_pages


@asynccontextmanager
async def connect(setup: Setup) -> AsyncIterator[Run]:
    # It calls `asyncio.to_thread`, whose own pool is too small for many requests in flight.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(setup.in_flight))
    config = Config(max_pool_connections=setup.in_flight)
    # Its botocore client: a page costs less CPU than with its httpx client.
    client = create_botocore_http_client(region_name=REGION, endpoint_url=setup.url, config=config)
    sdk = ThreadedSyncLambdaClient(client)

    async def page(ref: Ref, marker: str | None) -> tuple[list[Any], str | None]:
        found = await sdk.get_execution_state(ref.arn, ref.token, marker or "", setup.max_items)
        return found.operations, found.next_marker

    yield by_pages(setup, page, attrgetter("operation_id"))
