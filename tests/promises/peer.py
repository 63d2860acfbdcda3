"""A bare server that sends whatever a test wants sent, HTTP or not, and a client that asks it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from aiobotocore.session import AioSession
from pure.strategies import as_body

from durastate import ExecutionRef, StateClient
from durastate.emulator import Credentials, World, session_with

_WORLD = World(seed=1, executions=1)
REF = ExecutionRef(_WORLD.arn(0), _WORLD.token(0))
# A marker of 1 MB travels in the request line.
_LONGEST_HEAD = 8 * 1024**2
_LINGER_ZERO = struct.pack("ii", 1, 0)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@cache
def session() -> AioSession:
    """One session for all tests: loading the service model takes longer than most of them."""
    return session_with(Credentials())


def answer(body: bytes, *, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """A whole HTTP answer; `headers` are whole lines."""
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
    return head % (status, headers, len(body)) + body


def page_of(*ids: str, **members: Any) -> bytes:
    """The body of a page with such operations."""
    each = [{"Id": i, "Type": "STEP", "StartTimestamp": 1, "Status": "STARTED"} for i in ids]
    return as_body({"Operations": each, **members})


class Peer:
    """`talk` is called once for each connection; the connection is closed when it returns."""

    def __init__(self, talk: Talk, scheme: str) -> None:
        self.talk = talk
        self.tasks: set[asyncio.Task[None]] = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.url = f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"
        self._server: asyncio.Server | None = None

    async def accept(self) -> None:
        """Begin to accept connections; until then they wait in the kernel."""
        self._server = await asyncio.start_server(
            self._serve, sock=self.listener, limit=_LONGEST_HEAD
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            await self.talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client has had enough, or the test has.
        finally:
            writer.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        else:
            self.listener.close()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def peer(talk: Talk, *, scheme: str = "http", accepts: bool = True) -> AsyncIterator[Peer]:
    """A running `Peer`."""
    running = Peer(talk, scheme)
    try:
        if accepts:
            await running.accept()
        yield running
    finally:
        await running.close()


def asking(server: Peer, **options: Any) -> StateClient:
    """A client of `server`, not entered yet."""
    return StateClient(endpoint_url=server.url, session=session(), **options)


async def request(reader: asyncio.StreamReader) -> bytes:
    """The head of one request."""
    return await reader.readuntil(b"\r\n\r\n")


def saying(whole: bytes) -> Talk:
    """Answer one request with these bytes and close."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(whole)
        await writer.drain()

    return talk


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()
