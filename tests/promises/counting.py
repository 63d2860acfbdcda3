"""A service in a process of its own, fast enough for thousands of requests a second, that counts.

It answers every GET with a page of no operations, or with a 429 above its limit, and checks
nothing; or it is the embedded service, which checks everything. At the end it tells when each
request arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import durastate
from durastate import ExecutionRef, StateClient
from durastate.emulator import Emulator, World

from .limiting import Bucket

WORLD = World(executions=50, operations=1)
_TESTS = Path(__file__).parents[1]
_SOURCE = Path(durastate.__file__).parents[1]


def _response(status: str, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


_PAGE = _response("200 OK", b'{"Operations":[]}')
_THROTTLED = _response(
    "429 Too Many Requests", b"{}", "x-amzn-errortype: TooManyRequestsException\r\n"
)


@dataclass
class Seen:
    """What arrived, in seconds since the service started, by what became of it."""

    url: str
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    @property
    def arrived(self) -> list[float]:
        return sorted(self.taken + self.refused)


async def read_for(
    seconds: float, client: StateClient, refs: list[ExecutionRef], *, max_executions: int = 64
) -> None:
    """Ask for ever for the same executions, and stop that long after the first answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as deadline:
            async with client.fetch_many(
                itertools.cycle(refs), max_executions=max_executions
            ) as many:
                async for _ in many:
                    if deadline.when() is None:
                        deadline.reschedule(asyncio.get_running_loop().time() + seconds)


@asynccontextmanager
async def counting(
    rate: float | None = None,
    *,
    burst_s: float = 1.0,
    doubles_at_s: float | None = None,
    embedded: bool = False,
) -> AsyncIterator[Seen]:
    """Runs it; it tells when the block is left. `doubles_at_s` counts from the first request.

    `embedded` is the embedded service with `WORLD`, without a limit.
    """
    limit = json.dumps(None if embedded else [rate, burst_s, doubles_at_s])
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, limit),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_TESTS,
        env=os.environ | {"PYTHONPATH": str(_SOURCE)},
        limit=64 * 1024**2,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        port = (await child.stdout.readline()).decode().strip()
        seen = Seen(f"http://127.0.0.1:{port}")
        yield seen
        child.stdin.write_eof()
        seen.taken, seen.refused = json.loads(await child.stdout.readline())
    finally:
        child.stdin.close()  # At its end the process ends.
        await child.wait()


class _Service:
    def __init__(self, rate: float | None, burst_s: float, doubles_at_s: float | None) -> None:
        self.taken: list[float] = []
        self.refused: list[float] = []
        self._began: float | None = None
        self._bucket: Bucket | None = None
        if rate is not None:

            def limit(at: float) -> float:
                return rate if doubles_at_s is None or at < doubles_at_s else 2 * rate

            self._bucket = Bucket(limit, burst_s)

    def answer(self) -> bytes:
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        at = now - self._began
        if self._bucket is None or self._bucket.take(at):
            self.taken.append(at)
            return _PAGE
        self.refused.append(at)
        return _THROTTLED


class _Connection(asyncio.Protocol):
    def __init__(self, service: _Service) -> None:
        self._service = service
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for _ in requests:
            self._transport.write(self._service.answer())


async def _serve(service: _Service) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service), "127.0.0.1", 0, backlog=4096)
    await _until_over(server.sockets[0].getsockname()[1])
    print(json.dumps([service.taken, service.refused]), flush=True)  # noqa: T201


async def _serve_embedded() -> None:
    async with Emulator(WORLD) as emulator:
        await _until_over(emulator.endpoint_url.rpartition(":")[2])
        print(json.dumps([[each.at for each in emulator.log], []]), flush=True)  # noqa: T201


async def _until_over(port: object) -> None:
    print(port, flush=True)  # noqa: T201
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, over.set)
    await over.wait()


if __name__ == "__main__":
    limit = json.loads(sys.argv[1])
    asyncio.run(_serve_embedded() if limit is None else _serve(_Service(*limit)))
