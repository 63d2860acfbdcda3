"""The clients that are compared. Each module here offers one thing, an `Adapter` called `connect`.

`connect(setup)` is an async context manager; entering it is not measured. It gives an async
callable that reads every execution of an iterable, holds an execution's operations until it is
complete, and returns the work it did. Standard library only.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from ..cases import Ref, Work


@dataclass(frozen=True, slots=True)
class Setup:
    """What a client is told."""

    url: str
    ca_bundle: str | None
    in_flight: int
    max_items: int


Run = Callable[[Iterable[Ref]], Awaitable[Work]]
Adapter = Callable[[Setup], AbstractAsyncContextManager[Run]]


@dataclass(frozen=True, slots=True)
class Client:
    """Where an adapter is, and what it needs."""

    module: str
    needs: tuple[str, ...]  # import names
    attribute: str = "connect"
    uvloop: bool = True  # whether it can use it
    environment: str | None = None  # what to install in an environment of its own
    python: tuple[int, int] = (3, 11)

    def missing(self) -> str:
        """Why it cannot run with this Python; empty where it can."""
        if sys.version_info < self.python:
            return "needs Python {}.{}, this is {}.{}".format(*self.python, *sys.version_info)
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} is not installed" if absent and not self.environment else ""


CLIENTS = {
    "ours": Client("ours", ("durastate",)),
    "ours over aiohttp": Client("ours", ("durastate",), attribute="connect_over_aiohttp"),
    "ours, stream_pages": Client("ours", ("durastate",), attribute="connect_stream"),
    "ours, get_state": Client("ours", ("durastate",), attribute="connect_get_state"),
    "aiobotocore": Client("aiobotocore_paginator", ("aiobotocore",)),
    "boto3": Client("boto3_threads", ("boto3",), uvloop=False),
    "AWS SDK": Client(
        "aws_sdk_threads", ("boto3", "aws_durable_execution_sdk_python"), uvloop=False
    ),
    "async-durable-execution": Client(
        "async_durable_execution",
        ("async_durable_execution",),
        uvloop=False,  # its best configuration is threads
        environment="async-durable-execution",
    ),
    "aws-sdk-lambda": Client(
        "aws_sdk_lambda",
        ("aws_sdk_lambda",),
        environment="aws-sdk-lambda",
        python=(3, 12),
    ),
    "limit: aiohttp": Client("limit_aiohttp", ("aiohttp", "orjson")),
    "limit: protocol": Client("limit_protocol", ("orjson",)),
    "socket reader": Client("limit_protocol", (), attribute="connect_reader"),
}
PEERS = ("aiobotocore", "boto3", "AWS SDK", "async-durable-execution", "aws-sdk-lambda")
LIMITS = ("limit: aiohttp", "limit: protocol")


AsyncPage = Callable[[Ref, str | None], Awaitable[tuple[list[Any], str | None]]]
Page = Callable[[Ref, str | None], tuple[list[Any], str | None]]


async def at_once(
    refs: Iterable[Ref], in_flight: int, work: Work, one: Callable[[Ref], Awaitable[None]]
) -> None:
    """`one` for each of `refs`, `in_flight` at a time; what it raises is counted."""
    shared = iter(refs)

    async def worker() -> None:
        for ref in shared:
            try:
                await one(ref)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is counted
                work.fail(error)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(worker())


def by_pages(setup: Setup, page: AsyncPage, id_of: Callable[[Any], str]) -> Run:
    """A reader of whole executions, from a call that gives operations and the next marker."""

    async def run(refs: Iterable[Ref]) -> Work:
        work = Work()

        async def one(ref: Ref) -> None:
            operations, marker = await page(ref, None)
            pages = 1
            while marker:
                more, marker = await page(ref, marker)
                operations += more
                pages += 1
            work.add(ref.arn, pages, list(map(id_of, operations)))

        await at_once(refs, setup.in_flight, work, one)
        return work

    return run


def by_pages_in_threads(setup: Setup, page: Page, id_of: Callable[[Any], str]) -> Run:
    """The same from a call that blocks."""

    async def run(refs: Iterable[Ref]) -> Work:
        shared, lock, work = iter(refs), threading.Lock(), Work()

        def worker() -> None:
            while True:
                with lock:
                    ref = next(shared, None)
                if ref is None:
                    return
                try:
                    pages, operations = _read(page, ref)
                except Exception as error:  # noqa: BLE001  # whatever it is, it is counted
                    work.fail(error)
                    continue
                ids = list(map(id_of, operations))
                with lock:
                    work.add(ref.arn, pages, ids)

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(setup.in_flight) as pool:
            workers = (loop.run_in_executor(pool, worker) for _ in range(setup.in_flight))
            await asyncio.gather(*workers)
        return work

    return run


def _read(page: Page, ref: Ref) -> tuple[int, list[Any]]:
    operations, marker = page(ref, None)
    pages = 1
    while marker:
        more, marker = page(ref, marker)
        operations += more
        pages += 1
    return pages, operations
