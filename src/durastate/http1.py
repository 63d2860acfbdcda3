"""HTTP/1.1 for GET requests to one host: an asyncio protocol, and a pool of its connections.

A connection carries one request at a time, and everything that goes wrong ends it. It is not used
again after `_LONGEST_IDLE_S` without a request, and after `_OLDEST_S` in any case, so that the
host's name is looked up again. Nor is it where anything has come that is no answer.

A body's bytes are counted on the request's `Hold`, all at once before they come where their number
is known; while there is no room, the connection is not read from.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from .addresses import Address, Host
from .answers import Incoming
from .deadlines import Deadlines
from .errors import DeadlineError, TransportError
from .gates import Hold
from .surplus import Unread, show_input

_LONGEST_IDLE_S = 12.0  # aiobotocore's own.
_OLDEST_S = 300.0
# TLS handshakes cost the CPU a millisecond each, and look-ups of the name a thread.
_CONNECTS_AT_ONCE = 32
_SCRATCH = 64 * 1024

#: Status, headers with their names in lower case, and body.
Answer: TypeAlias = "tuple[int, Mapping[str, str], bytes | bytearray]"


class Http1:
    """Sends requests to one host, each over a connection that nobody else uses meanwhile.

    `headers` go with every request. `attempt_timeout_s` is for a request as a whole, waiting for
    room apart, `read_timeout_s` for the time between two pieces of an answer.
    """

    name = "httptools"

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        headers: Mapping[str, str],
        *,
        attempt_timeout_s: float,
        connect_timeout_s: float,
        read_timeout_s: float,
        max_page_bytes: int,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.max_page_bytes = max_page_bytes
        self.read_timeout_s = read_timeout_s
        # Of all connections: between asking for it and using it up nothing else runs.
        self.scratch = memoryview(bytearray(_SCRATCH))
        self.is_closed = False
        self._host = Host(host, port)
        self._tls: Any = {"ssl": tls, "server_hostname": host if tls else None}
        if tls is not None:
            show_input(tls)
        self._headers = _lines(headers)
        self.timeout_s = attempt_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._connects = asyncio.Semaphore(_CONNECTS_AT_ONCE)
        self._connecting = Deadlines()
        self._open: set[_Connection] = set()
        self._idle: list[_Connection] = []  # The one used last comes last.
        self._all_lost = asyncio.Event()

    async def send(self, target: str, headers: Mapping[str, str], hold: Hold) -> Answer:
        request = f"GET {target} HTTP/1.1\r\n{self._headers}{_lines(headers)}\r\n".encode()
        deadline = self.loop.time() + self.timeout_s
        connection = self._idle_one() or await self._connected(deadline)
        try:
            answer = await connection.exchange(request, hold, deadline)
        except BaseException as error:
            connection.abort()
            if isinstance(error, DeadlineError) and not error.reached:
                self._leave(connection.peer)
            raise
        if connection.is_reusable:
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    def _idle_one(self) -> _Connection | None:
        now = self.loop.time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_reusable:
                continue  # The server has closed it.
            is_fresh = now - connection.idle_since < _LONGEST_IDLE_S and now < connection.ends_at
            if is_fresh and not connection.unread.is_there():
                return connection
            connection.abort()
        return None

    async def _connected(self, deadline: float) -> _Connection:
        limit = asyncio.timeout_at(min(deadline, self.loop.time() + self._connect_timeout_s))
        try:
            async with limit:
                self._connecting.add(limit)
                async with self._connects:
                    return self._idle_one() or await self._new_one(limit)
        except TimeoutError:
            failure: TransportError = DeadlineError(
                f"no connection within {self.timeout_s:g} s or the configured connect time-out"
            )
        except ssl.SSLCertVerificationError as error:
            failure = TransportError(f"the certificate is refused: {error.verify_message}")
        except OSError as error:
            failure = TransportError(f"cannot connect: {_reason(error)}")
        finally:
            self._connecting.remove(limit)
        failure.connected = False
        raise failure

    async def _new_one(self, limit: asyncio.Timeout) -> _Connection:
        made, peer = await self._host.connect(limit)
        with self._host.addresses.trying(peer, limit):
            _, connection = await self.loop.create_connection(
                lambda: _Connection(self, peer), sock=made, **self._tls
            )
        try:
            is_clean = await connection.unread.is_none_soon()
        except BaseException:
            connection.abort()
            raise
        if not is_clean:
            connection.abort()
        return connection

    def _leave(self, silent: Address) -> None:
        """Let no attempt go to an address that has kept silent, if there is another."""
        addresses = self._host.addresses
        addresses.failed(silent)
        if not addresses.has_another(silent):
            return  # One slow answer says nothing about the other connections.
        for connection in self._idle:
            if connection.peer == silent:
                connection.abort()

    def opened(self, connection: _Connection) -> None:
        self._open.add(connection)
        if self.is_closed:
            connection.abort()

    def lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        self._idle = [each for each in self._idle if each is not connection]
        if not self._open:
            self._all_lost.set()

    async def close(self) -> None:
        """Abort every connection, made or not, and come back when their sockets are closed."""
        self.is_closed = True
        self._all_lost.clear()
        for connection in list(self._open):
            connection.abort()
        await self._connecting.end_all()
        if self._open:
            await self._all_lost.wait()


class _Connection(asyncio.BufferedProtocol):
    """One connection: idle, or at one exchange."""

    def __init__(self, pool: Http1, peer: Address) -> None:
        self.peer = peer
        self.unread: Unread
        self.ends_at = pool.loop.time() + _OLDEST_S
        self.idle_since = math.inf
        self.is_reusable = True
        self._pool = pool
        self._loop = pool.loop
        self._transport: asyncio.Transport
        self._answer: Incoming
        self._hold: Hold
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_lost = False

    async def exchange(self, request: bytes, hold: Hold, deadline: float) -> Answer:
        self._was_used = self.idle_since < math.inf
        self.idle_since = math.inf
        self._hold = hold
        self._deadline = deadline
        self._answer = answer = Incoming(self._pool.max_page_bytes)
        if self._is_lost:
            raise self._closed()  # Since it was opened, or taken from the idle ones.
        self._watch()
        self._transport.write(request)
        while not answer.is_whole or answer.uncounted:
            if answer.uncounted:
                await self._wait_for_room(answer)
                continue
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self.is_reusable = self.is_reusable and answer.leaves_open
        self.idle_since = self._loop.time()
        body = answer.take_body()
        return answer.status, answer.headers, body

    async def _wait_for_room(self, answer: Incoming) -> None:
        """Wait until the bytes may be held. The server is not to blame for this time."""
        left_s = self._deadline - self._loop.time()
        self._deadline = self._due = math.inf
        if not self._hold.try_add(answer.uncounted):  # There may be room by now.
            await self._hold.add(answer.uncounted)
        answer.may_be_held()
        if self._is_lost and not answer.is_whole:
            raise self._closed()
        self._deadline = self._loop.time() + left_s
        self._watch()
        self._transport.resume_reading()

    def abort(self) -> None:
        self.is_reusable = False
        self._transport.abort()

    def _watch(self) -> None:
        """Have `_ring` called when the exchange may be late.

        The timer stays when the exchange ends, and goes off for nothing at most once in that time.
        """
        self._due = min(self._deadline, self._loop.time() + self._pool.read_timeout_s)
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        due = self.idle_since + _LONGEST_IDLE_S if self._waiter is None else self._due
        if due == math.inf:
            return  # It waits for room.
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._ring)
        elif self._waiter is None:
            self.abort()
        else:
            limits = f"{self._pool.timeout_s:g} s or the configured time-outs"
            self._fail(DeadlineError(f"no whole answer within {limits}"))

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass.
        self.unread = Unread(transport)
        self._pool.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return (self._waiter and self._answer.rest) or self._pool.scratch

    def buffer_updated(self, count: int) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # Nobody has asked for this.
            return
        answer = self._answer
        if self._pool.read_timeout_s < math.inf:
            self._due = min(self._deadline, self._loop.time() + self._pool.read_timeout_s)
        if answer.rest:
            answer.filled(count)
        else:
            answer.feed(self._pool.scratch[:count])
        if answer.problem is not None:
            self._fail(answer.problem)
        elif answer.uncounted and not self._hold.try_add(answer.uncounted):
            self._transport.pause_reading()
            self._waiter.set_result(None)
        else:
            answer.may_be_held()
            if answer.is_whole:
                self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_reusable = False
        self._is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._pool.lost(self)
        if self._waiter is None or self._waiter.done():
            return
        if self._answer.ends_with_close and exc is None:
            self._answer.is_whole = True
            self._waiter.set_result(None)
        else:
            self._fail(self._closed(exc))

    def _fail(self, failure: TransportError) -> None:
        failure.reached = self._answer.status > 0
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)

    def _closed(self, error: Exception | None = None) -> TransportError:
        text = f"was closed {'inside the body' if self._answer.status else 'before an answer'}"
        if isinstance(error, OSError):
            text = f"broke: {_reason(error)}"
        failure = TransportError(f"the connection {text}")
        failure.was_idle = self._was_used and not self._answer.head_bytes
        return failure


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def _reason(error: OSError) -> str:
    """Why there is no connection, without the address that asyncio writes into it."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'it failed').replace('_', ' ').lower()}"
    if type(error) is OSError and not error.errno:
        return "each of its addresses fails in another way"
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or type(error).__name__
    return os.strerror(error.errno)
