"""No peers but limits: a bare asyncio protocol with signing and `orjson.loads`; a bare reader.

The reader neither signs nor parses. What it cannot outrun twice is the service's own speed, so
a wall-clock figure closer to it than that is not the client's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from operator import itemgetter
from typing import Any, cast
from urllib.parse import quote, urlsplit

import orjson

from ..cases import REGION, Ref
from . import Run, Setup, by_pages

_EMPTY = hashlib.sha256(b"").hexdigest()
_LENGTH = b"\r\nContent-Length: "


class _Connection(asyncio.Protocol):
    """One request at a time over one connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._future: asyncio.Future[bytes] | None = None

    def get(self, target: str, headers: str) -> asyncio.Future[bytes]:
        self._chunks: list[bytes] = []
        self._missing = -1
        self._future = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {target} HTTP/1.1\r\n{headers}\r\n".encode())
        return self._future

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            data = b"".join(self._chunks) + data
            self._chunks.clear()
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._chunks.append(data)
                return
            if not data.startswith(b"HTTP/1.1 200 "):
                self.connection_lost(ConnectionError(data[:40].decode()))
                return
            start = data.index(_LENGTH) + len(_LENGTH)
            self._missing = int(data[start : data.index(b"\r", start)])
            data = data[end + 4 :]
        self._chunks.append(data)
        self._missing -= len(data)
        if not self._missing and self._future is not None:
            self._future.set_result(b"".join(self._chunks))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_exception(exc or ConnectionError("closed"))


@asynccontextmanager
async def _connections(setup: Setup) -> AsyncIterator[list[_Connection]]:
    parts = urlsplit(setup.url)
    tls = ssl.create_default_context(cafile=setup.ca_bundle) if setup.ca_bundle else None
    loop = asyncio.get_running_loop()
    free = []
    for _ in range(setup.in_flight):
        _, one = await loop.create_connection(
            _Connection, parts.hostname or "", parts.port or 0, ssl=tls
        )
        free.append(one)
    yield free
    for one in free:
        one._transport.abort()


@cache
def _key(day: str) -> bytes:
    key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (day, REGION, "lambda", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _signed(host: str, path: str, query: str) -> str:
    """The headers of a signed GET, with the day's key cached."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = "host;x-amz-date"
    canonical = (
        f"GET\n{path.replace('%', '%25')}\n{query}\nhost:{host}\nx-amz-date:{stamp}\n"
        f"\n{names}\n{_EMPTY}"
    )
    scope = f"{stamp[:8]}/{REGION}/lambda/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = hmac.digest(_key(stamp[:8]), text.encode(), "sha256").hex()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    return (
        f"Host: {host}\r\nX-Amz-Date: {stamp}\r\nAuthorization: AWS4-HMAC-SHA256 "
        f"Credential={credential}, SignedHeaders={names}, Signature={signature}\r\n"
    )


@asynccontextmanager
async def connect(setup: Setup) -> AsyncIterator[Run]:
    host = urlsplit(setup.url).netloc
    async with _connections(setup) as free:

        async def page(ref: Ref, marker: str | None) -> tuple[list[Any], str | None]:
            connection = free.pop()
            path, query = target(ref, marker, setup.max_items)
            body = await connection.get(f"{path}?{query}", _signed(host, path, query))
            free.append(connection)
            found = orjson.loads(body)
            return found["Operations"], found.get("NextMarker")

        yield by_pages(setup, page, itemgetter("Id"))


@asynccontextmanager
async def connect_reader(setup: Setup) -> AsyncIterator[Run]:
    """Reads bodies and looks for nothing but `"NextMarker":"<48 digits>"}` at their end."""
    headers = f"Host: {urlsplit(setup.url).netloc}\r\n"
    async with _connections(setup) as free:

        async def page(ref: Ref, marker: str | None) -> tuple[list[Any], str | None]:
            connection = free.pop()
            after = f"&Marker={marker}" if marker else ""
            path = f"/2025-12-01/durable-executions/{ref.arn}/state?MaxItems={setup.max_items}"
            body = await connection.get(path + after, headers)
            free.append(connection)
            return [], body[-50:-2].decode() if body[-64:-51] == b'"NextMarker":' else None

        yield by_pages(setup, page, itemgetter("Id"))


def target(ref: Ref, marker: str | None, max_items: int) -> tuple[str, str]:
    """Path and query, the parameters in SigV4's order."""
    after = f"&Marker={marker}" if marker else ""
    path = f"/2025-12-01/durable-executions/{quote(ref.arn, safe='')}/state"
    return path, f"CheckpointToken={quote(ref.token, safe='')}{after}&MaxItems={max_items}"
