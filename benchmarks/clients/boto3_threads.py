"""boto3 in threads that share one client. Its paginator would only add to the cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import Any

import boto3
from botocore.config import Config

from ..cases import REGION, Ref
from . import Run, Setup, by_pages_in_threads


def boto_client(setup: Setup) -> Any:
    """A boto3 client with a connection for each thread."""
    config = Config(max_pool_connections=setup.in_flight, parameter_validation=False)
    return boto3.client("lambda", region_name=REGION, endpoint_url=setup.url, config=config)


@asynccontextmanager
async def connect(setup: Setup) -> AsyncIterator[Run]:
    get = boto_client(setup).get_durable_execution_state

    def page(ref: Ref, marker: str | None) -> tuple[list[Any], str | None]:
        after = {"Marker": marker} if marker else {}
        found = get(
            DurableExecutionArn=ref.arn,
            CheckpointToken=ref.token,
            MaxItems=setup.max_items,
            **after,
        )
        return found["Operations"], found.get("NextMarker")

    yield by_pages_in_threads(setup, page, itemgetter("Id"))
