"""A service that refuses every request, and quotes what it likes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from .canaries import BROKEN_TOKEN, KEYS, TOKEN

#: What requests are made with.
SECRETS = {
    "token": TOKEN.value,
    "broken-token": BROKEN_TOKEN,
    "access-key": KEYS.access_key_id,
    "secret-key": KEYS.secret_access_key,
    "session-token": str(KEYS.session_token),
}


@asynccontextmanager
async def refusing(quoting: Callable[[str, dict[str, str]], str]) -> AsyncIterator[str]:
    """The URL of a service that refuses every request with a text about it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        said = quoting(line, dict(each.split(": ", 1) for each in lines))
        body = json.dumps({"Type": "AccessDenied", "message": said}).encode()
        head = f"HTTP/1.1 403 No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
