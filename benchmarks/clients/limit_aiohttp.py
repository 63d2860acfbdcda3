"""No peer but a limit: unsigned aiohttp and `orjson.loads`, nothing checked, plain dicts."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import Any

import aiohttp
import orjson
from yarl import URL

from ..cases import Ref
from . import Run, Setup, by_pages
from .limit_protocol import target


@asynccontextmanager
async def connect(setup: Setup) -> AsyncIterator[Run]:
    tls = ssl.create_default_context(cafile=setup.ca_bundle)
    connector = aiohttp.TCPConnector(limit=setup.in_flight, ssl=tls)
    plain = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(connector=connector, headers=plain) as session:

        async def page(ref: Ref, marker: str | None) -> tuple[list[Any], str | None]:
            path, query = target(ref, marker, setup.max_items)
            async with session.get(URL(f"{setup.url}{path}?{query}", encoded=True)) as response:
                found = orjson.loads(await response.read())
            return found["Operations"], found.get("NextMarker")

        yield by_pages(setup, page, itemgetter("Id"))
