"""The server that is measured against: as little work per request as asyncio allows.

It runs in its own process, answers GetDurableExecutionState from bodies encoded beforehand and
checks no signature. Its standard input is its leash and its control: each line is a number, the
new latency in milliseconds, and the end of the input ends the process.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import trustme

from .cases import Case
from .pages import page_body

_MARKER = re.compile(rb"[?&]Marker=([0-9a-f]+)")
_MAX_ITEMS = re.compile(rb"[?&]MaxItems=([1-9]\d*)")
_ROOT = Path(__file__).parent.parent


def _response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"x-amzn-RequestId: 6f0a1c3e-7d52-4a2e-9d0b-1f6f3a1b2c3d\r\n{headers}\r\n"
    )
    return head.encode() + body


_THROTTLED = _response(
    b'{"Type":"User","message":"Rate exceeded"}',
    "429 Too Many Requests",
    "x-amzn-errortype: TooManyRequestsException\r\nRetry-After: 1\r\n",
)


class Answers:
    """The whole service: which bytes answer which request line."""

    def __init__(self, case: Case) -> None:
        self.latency_s = case.latency_ms / 1000
        self._case = case
        self._due = 0.0
        self._responses: dict[tuple[int, int, int], bytes] = {}
        for variant in range(case.variants):
            for offset in range(0, case.operations, case.max_items):
                self._page(variant, offset, case.max_items)

    def to(self, request: bytes) -> bytes:
        """The response to one request, of which only the first line is read."""
        if self._case.requests_per_s is not None and self._refuses(self._case.requests_per_s):
            return _THROTTLED
        line = request[: request.index(b"\r")]
        end_of_arn = line.index(b"/state?")
        marker, items = _MARKER.search(line), _MAX_ITEMS.search(line)
        return self._page(
            int(line[end_of_arn - 12 : end_of_arn]) % self._case.variants,
            int(marker[1], 16) if marker else 0,
            int(items[1]) if items else 100,
        )

    def _page(self, variant: int, offset: int, max_items: int) -> bytes:
        # A page is as long as the case says, or shorter where the client asks for less.
        key = variant, offset, min(max_items, self._case.max_items)
        if key not in self._responses:
            self._responses[key] = _response(page_body(self._case, *key))
        return self._responses[key]

    def _refuses(self, rate: float) -> bool:
        now = time.monotonic()
        self._due = max(self._due, now - 0.1)  # a tenth of a second's requests may come at once
        if self._due > now:
            return True
        self._due += 1 / rate
        return False


class _Connection(asyncio.Protocol):
    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._later = asyncio.get_running_loop().call_later

    def data_received(self, data: bytes) -> None:
        data = self._pending + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            response = self._answers.to(data[: end + 4])
            if self._answers.latency_s:
                self._later(self._answers.latency_s, self._write, response)
            else:
                self._transport.write(response)
            data = data[end + 4 :]
        self._pending = data

    def _write(self, response: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(response)


async def _serve(case: Case, certificate: str | None) -> None:
    answers = Answers(case)
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(answers), "127.0.0.1", 0, ssl=tls, backlog=4096
    )

    def control() -> None:
        line = os.read(0, 100)
        if not line:
            os._exit(0)
        answers.latency_s = float(line) / 1000
        print("ok", flush=True)

    loop.add_reader(0, control)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


@dataclass(frozen=True)
class Endpoint:
    """A running service."""

    url: str
    ca_bundle: str | None
    set_latency: Callable[[float], None]  # milliseconds


@contextmanager
def running(case: Case, core: int | None = None) -> Iterator[Endpoint]:
    """The service for `case` in a process of its own, pinned to `core`."""
    with tempfile.TemporaryDirectory() as folder:
        authority, server = Path(folder, "ca.pem"), Path(folder, "server.pem")
        plan: dict[str, object] = {"case": asdict(case), "core": core, "certificate": None}
        if case.tls:
            made = trustme.CA()
            made.cert_pem.write_to_path(authority)
            made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server)
            plan["certificate"] = str(server)
        with subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        ) as process:
            asked, answered = process.stdin, process.stdout
            assert asked is not None
            assert answered is not None
            port = answered.readline().strip()
            if not port:
                raise RuntimeError("the benchmark's service did not start; its error is above")

            def set_latency(latency_ms: float) -> None:
                print(latency_ms, file=asked, flush=True)
                answered.readline()

            scheme, bundle = ("https", str(authority)) if case.tls else ("http", None)
            try:
                yield Endpoint(f"{scheme}://127.0.0.1:{port}", bundle, set_latency)
            finally:
                asked.close()


def main() -> None:
    """The entry of the service's own process."""
    plan = json.loads(sys.argv[1])
    if plan["core"] is not None:
        os.sched_setaffinity(0, {plan["core"]})
    has_uvloop = importlib.util.find_spec("uvloop")
    new_loop = importlib.import_module("uvloop").new_event_loop if has_uvloop else None
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(Case(**plan["case"]), plan["certificate"]))


if __name__ == "__main__":
    main()
