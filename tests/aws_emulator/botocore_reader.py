"""What aiobotocore's own client and paginator read: the answers that durastate's must equal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import cache
from typing import Any

from aiobotocore.session import AioSession
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape, StructureShape

from .peer import REGION, HeldExecution


class BotocoreReader:
    """One aiobotocore client for each endpoint, on an event loop and a thread of its own.

    Making an aiobotocore client takes up to half a second, so it is not made for each test.
    """

    def __init__(self, session: AioSession) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}
        self._thread = ThreadPoolExecutor(1, "botocore-reader")
        self._loop = asyncio.Runner()
        self._clean_up = AsyncExitStack()

    async def pages(self, held: HeldExecution, max_items: int = 1000) -> list[dict[str, Any]]:
        """Every page of the paginator of GetDurableExecutionState, as botocore parsed it."""
        read = self._read(held, max_items)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._loop.run, read)

    async def listed(self, endpoint_url: str, call: str, **members: Any) -> list[dict[str, Any]]:
        """Every page of another paginator, such as that of `get_durable_execution_history`."""

        async def read() -> list[dict[str, Any]]:
            client = await self._client(endpoint_url)
            return [page async for page in client.get_paginator(call).paginate(**members)]

        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._loop.run, read()
        )

    async def described(self, endpoint_url: str, arn: str) -> dict[str, Any]:
        """The answer of GetDurableExecution."""

        async def read() -> dict[str, Any]:
            client = await self._client(endpoint_url)
            answer: dict[str, Any] = await client.get_durable_execution(DurableExecutionArn=arn)
            return answer

        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._loop.run, read()
        )

    def close(self) -> None:
        self._thread.submit(self._loop.run, self._clean_up.aclose()).result(timeout=10)
        self._thread.submit(self._loop.close).result(timeout=10)
        self._thread.shutdown()

    async def _read(self, held: HeldExecution, max_items: int) -> list[dict[str, Any]]:
        client = await self._client(held.endpoint_url)
        pages = client.get_paginator("get_durable_execution_state").paginate(
            DurableExecutionArn=held.arn,
            CheckpointToken=held.token,
            PaginationConfig={"PageSize": max_items},
        )
        return [page async for page in pages]

    async def _client(self, endpoint_url: str) -> Any:
        if endpoint_url not in self._clients:
            context = self._session.create_client(
                "lambda", region_name=REGION, endpoint_url=endpoint_url
            )
            self._clients[endpoint_url] = await self._clean_up.enter_async_context(context)
        return self._clients[endpoint_url]


@cache
def operation_shape() -> StructureShape:
    """`Operation` in botocore's service model."""
    description = Loader().load_service_model("lambda", "service-2")
    return ServiceModel(description, "lambda").shape_for("Operation")


def fields_of(value: Any, shape: Shape, member_of: Callable[[Any, str], Any]) -> Any:
    """`value` as nested dicts of every member that botocore's model knows, None if absent."""
    if value is None or shape.type_name not in {"structure", "list"}:
        return value
    if shape.type_name == "list":
        return [fields_of(item, shape.member, member_of) for item in value]
    return {
        name: fields_of(member_of(value, name), member, member_of)
        for name, member in shape.members.items()
    }


def in_botocore(*pages: dict[str, Any]) -> list[Any]:
    """The operations of `pages`, by the members of botocore's model."""
    operations = [operation for page in pages for operation in page["Operations"]]
    return [fields_of(operation, operation_shape(), Mapping.get) for operation in operations]
