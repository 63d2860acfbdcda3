"""aiobotocore's own paginator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from ..cases import REGION, Ref, Work
from . import Run, Setup, at_once


@asynccontextmanager
async def connect(setup: Setup) -> AsyncIterator[Run]:
    config = AioConfig(max_pool_connections=setup.in_flight, parameter_validation=False)
    async with get_session().create_client(
        "lambda", region_name=REGION, endpoint_url=setup.url, config=config
    ) as client:
        paginator = client.get_paginator("get_durable_execution_state")
        size = {"PageSize": setup.max_items}

        async def run(refs: Iterable[Ref]) -> Work:
            work = Work()

            async def one(ref: Ref) -> None:
                pages, operations = 0, list[dict[str, Any]]()
                async for page in paginator.paginate(
                    DurableExecutionArn=ref.arn, CheckpointToken=ref.token, PaginationConfig=size
                ):
                    pages += 1
                    operations += page["Operations"]
                work.add(ref.arn, pages, [each["Id"] for each in operations])

            await at_once(refs, setup.in_flight, work, one)
            return work

        yield run
