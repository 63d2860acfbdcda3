"""The `LambdaClient` of AWS's durable execution SDK, its `from_dict` objects included."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any

from aws_durable_execution_sdk_python.lambda_service import LambdaClient

from ..cases import Ref
from . import Run, Setup, by_pages_in_threads
from .boto3_threads import boto_client


@asynccontextmanager
async def connect(setup: Setup) -> AsyncIterator[Run]:
    sdk = LambdaClient(boto_client(setup))

    def page(ref: Ref, marker: str | None) -> tuple[list[Any], str | None]:
        found = sdk.get_execution_state(ref.arn, ref.token, marker or "", setup.max_items)
        return found.operations, found.next_marker

    yield by_pages_in_threads(setup, page, attrgetter("operation_id"))
