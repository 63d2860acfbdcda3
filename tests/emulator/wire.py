"""A caller that signs with botocore's own signer and shows the answer as it was on the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import yarl
from aiobotocore.config import AioConfig
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import create_loader

from durastate.emulator import Credentials, Emulator


@dataclass(frozen=True)
class Seen:
    """One answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def code(self) -> str:
        return str(self.headers.get("x-amzn-errortype", "")).partition(":")[0]

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        content = self.content
        return str(content.get("message") or content.get("Message"))


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 7, 30, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def move(self, **distance: float) -> None:
        self.moment += timedelta(**distance)


def target(arn: str, token: str | None, marker: str | None = None, max_items: object = None) -> str:
    """Path and query of the State call, everything escaped."""
    given = {"CheckpointToken": token, "Marker": marker, "MaxItems": max_items}
    pairs = [
        f"{name}={quote(str(value), safe='-_.~')}"
        for name, value in given.items()
        if value is not None
    ]
    query = "?" + "&".join(pairs) if pairs else ""
    return f"/2025-12-01/durable-executions/{quote(arn, safe='-_.~')}/state{query}"


def sign(
    url: str,
    credentials: Credentials,
    *,
    at: datetime | None = None,
    service: str = "lambda",
    region: str = "eu-west-1",
    method: str = "GET",
) -> dict[str, str]:
    """The headers that botocore's signer gives a request."""
    keys = ReadOnlyCredentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    request = AWSRequest(method, url)
    request.context["timestamp"] = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    signer = SigV4Auth(keys, service, region)
    signer._modify_request_before_signing(request)
    string = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(string, request))
    return dict(request.headers.items())


class Caller:
    """Sends requests to one emulator."""

    def __init__(self, emulator: Emulator, http: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.http = http

    async def raw(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Seen:
        url = yarl.URL(self.emulator.endpoint_url + path, encoded=True)
        asked = self.http.request(method, url, headers=headers, allow_redirects=False)
        async with asked as response:
            return Seen(response.status, response.headers, await response.read())

    async def signed(self, path: str, method: str = "GET", **signing: Any) -> Seen:
        credentials = signing.pop("credentials", self.emulator.credentials)
        url = self.emulator.endpoint_url + path
        headers = sign(url, credentials, method=method, **signing)
        return await self.raw(path, headers, method)

    async def state(
        self, index: int, marker: str | None = None, max_items: object = None, **signing: Any
    ) -> Seen:
        """The State call for an execution of the emulator's world."""
        world = self.emulator.world
        path = target(world.arn(index), world.token(index), marker, max_items)
        return await self.signed(path, **signing)

    async def all_pages(self, index: int, max_items: object = 1_000) -> list[Any]:
        """Every page's content."""
        pages = [(await self.state(index, None, max_items)).content]
        while pages[-1].get("NextMarker"):
            pages.append((await self.state(index, pages[-1]["NextMarker"], max_items)).content)
        return pages


_MODELS = create_loader()


def reader_of(emulator: Emulator, region: str = "eu-west-1") -> Any:
    """botocore's own reader of an emulator, to be entered; it asks once."""
    session = emulator.session()
    session.register_component("data_loader", _MODELS)  # reads the model once for all tests
    return session.create_client(
        "lambda",
        region_name=region,
        endpoint_url=emulator.endpoint_url,
        config=AioConfig(retries={"total_max_attempts": 1}),
    )


async def paginated(client: Any, call: str, **arguments: Any) -> list[list[dict[str, Any]]]:
    """The rows that botocore's paginator reads, page by page; ``page_size`` is how many to ask."""
    if "page_size" in arguments:
        arguments["PaginationConfig"] = {"PageSize": arguments.pop("page_size")}
    paginator = client.get_paginator(call)
    member = str(paginator.result_keys[0].expression)
    return [page[member] async for page in paginator.paginate(**arguments)]
