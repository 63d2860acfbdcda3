"""durastate: `fetch_many`, and for single figures `stream_pages` and `get_state`."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aiobotocore.config import AioConfig

from durastate import ExecutionRef, Failed, Limits, StateClient

from ..cases import REGION, Ref, Work
from . import Run, Setup, at_once


def _client(setup: Setup, config: AioConfig | None = None) -> StateClient:
    # Every limit is on and none binds: a custom endpoint would switch the rate ceiling off.
    limits = Limits(max_requests=setup.in_flight, rates={"GetDurableExecutionState": 1_000_000})
    return StateClient(endpoint_url=setup.url, region_name=REGION, limits=limits, config=config)


@asynccontextmanager
async def connect(setup: Setup, config: AioConfig | None = None) -> AsyncIterator[Run]:
    async with _client(setup, config) as client:

        async def run(refs: Iterable[Ref]) -> Work:
            work = Work()
            before = client.statistics().pages
            async with client.fetch_many(
                (ExecutionRef(*ref) for ref in refs),
                max_executions=setup.in_flight,
                max_items=setup.max_items,
            ) as results:
                async for result in results:
                    if isinstance(result, Failed):
                        work.fail(result.error)
                    else:
                        work.add(result.ref.arn, 0, [each.id for each in result.state.operations])
            work.pages = client.statistics().pages - before
            return work

        yield run


def connect_over_aiohttp(setup: Setup) -> AbstractAsyncContextManager[Run]:
    """With a setting that only aiohttp's connector understands."""
    return connect(setup, AioConfig(connector_args={"keepalive_timeout": 13}))


@asynccontextmanager
async def connect_stream(setup: Setup) -> AsyncIterator[Run]:
    async with _client(setup) as client:

        async def run(refs: Iterable[Ref]) -> Work:
            work = Work()
            unfinished: dict[str, tuple[int, int, int]] = {}
            async with client.stream_pages(
                (ExecutionRef(*ref) for ref in refs),
                max_executions=setup.in_flight,
                max_items=setup.max_items,
            ) as results:
                async for result in results:
                    if isinstance(result, Failed):
                        work.fail(result.error)
                        continue
                    pages, count, checksum = unfinished.pop(result.ref.arn, (0, 0, 0))
                    ids = "".join([each.id for each in result.page.operations])
                    checksum = zlib.crc32(ids.encode(), checksum)
                    seen = pages + 1, count + len(result.page.operations), checksum
                    if result.is_last:
                        work.add_checksum(result.ref.arn, *seen)
                    else:
                        unfinished[result.ref.arn] = seen
            return work

        yield run


@asynccontextmanager
async def connect_get_state(setup: Setup) -> AsyncIterator[Run]:
    async with _client(setup) as client:

        async def run(refs: Iterable[Ref]) -> Work:
            work = Work()
            before = client.statistics().pages

            async def one(ref: Ref) -> None:
                state = await client.get_state(ExecutionRef(*ref), max_items=setup.max_items)
                work.add(ref.arn, 0, [each.id for each in state.operations])

            await at_once(refs, setup.in_flight, work, one)
            work.pages = client.statistics().pages - before
            return work

        yield run
