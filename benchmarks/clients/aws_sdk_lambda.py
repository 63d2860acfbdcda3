"""AWS's generated asyncio client `aws-sdk-lambda` (Python 3.12 or later)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any

from aws_sdk_lambda.client import AsyncLambdaClient
from aws_sdk_lambda.config import AsyncLambdaConfig
from aws_sdk_lambda.models import GetDurableExecutionStateInput

from ..cases import REGION, Ref
from . import Run, Setup, by_pages


@asynccontextmanager
async def connect(setup: Setup) -> AsyncIterator[Run]:
    config = await AsyncLambdaConfig.resolve(
        endpoint_uri=setup.url,
        region=REGION,
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    )
    async with AsyncLambdaClient(config) as client:

        async def page(ref: Ref, marker: str | None) -> tuple[list[Any], str | None]:
            found = await client.get_durable_execution_state(
                GetDurableExecutionStateInput(
                    durable_execution_arn=ref.arn,
                    checkpoint_token=ref.token,
                    marker=marker,
                    max_items=setup.max_items,
                )
            )
            return found.operations, found.next_marker

        yield by_pages(setup, page, attrgetter("id"))
