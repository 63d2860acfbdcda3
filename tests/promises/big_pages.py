"""A server of one 5 MiB page for every execution, in a process of its own; port on stdout.

Nothing is copied and nothing is buffered, so a thousand connections cost it nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress

PAGE_BYTES = 5 * 1024**2
OPERATIONS = 1_000


def _answer() -> memoryview:
    operation = {"Id": "0", "Type": "STEP", "StartTimestamp": 1, "Status": "SUCCEEDED"}
    room = PAGE_BYTES // OPERATIONS - len(json.dumps([operation | {"StepDetails": {"Result": ""}}]))
    operations = [
        operation | {"Id": f"{number}", "StepDetails": {"Result": "x" * (room - 4)}}
        for number in range(OPERATIONS)
    ]
    body = json.dumps({"Operations": operations}).encode().ljust(PAGE_BYTES)
    return memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _serve(connection: socket.socket, whole: memoryview) -> None:
    loop = asyncio.get_running_loop()
    request = b""
    with connection, suppress(ConnectionError):
        while data := await loop.sock_recv(connection, 65_536):
            request += data
            if request.endswith(b"\r\n\r\n"):
                request = b""
                await loop.sock_sendall(connection, whole)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(0, os._exit, 0)  # Whoever holds the other end of stdin has gone.
    whole = _answer()
    tasks = set()
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)  # noqa: T201
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            task = asyncio.create_task(_serve(connection, whole))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(_main())
