"""The same requests over aiobotocore's aiohttp session, for what `http1` has no answer to.

That is proxies, client certificates, and a connector that the user has given settings of his own.
It costs three times the CPU of a small page.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from .addresses import Address, Addresses
from .deadlines import Deadlines
from .errors import DeadlineError, TransportError
from .gates import Hold
from .surplus import show_input

if TYPE_CHECKING:
    import aiohttp

_OLDEST_S = 300.0


class OverAiohttp:
    """Sends requests to one origin over an aiohttp session, through a proxy where there is one.

    `headers` go with every request. `attempt_timeout_s` is for a request as a whole, waiting for
    room apart; the session has the time-outs for connecting and reading.
    """

    name = "aiohttp"

    def __init__(
        self,
        origin: str,
        session: aiohttp.ClientSession,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        proxy_headers: Mapping[str, str] | None,
        attempt_timeout_s: float,
        max_page_bytes: int,
    ) -> None:
        import aiohttp

        self._origin = origin
        self._session = session
        self._headers = headers
        self._proxy: Any = {"proxy": proxy, "proxy_headers": proxy_headers}
        self.timeout_s = attempt_timeout_s
        self._max_page_bytes = max_page_bytes
        # aiohttp would send a GET again unasked, past the rate ceiling and the retry quota.
        session._retry_connection = False
        self._under_way = Deadlines()
        self._addresses = Addresses()
        _watch(session.connector, self._addresses)
        self._timeouts = session.timeout
        if (self._timeouts.sock_read or 0.0) >= attempt_timeout_s:
            # It sets a timer with every piece of data, 4 % of the cost of a small page.
            self._timeouts = aiohttp.ClientTimeout(sock_connect=session.timeout.sock_connect)

    async def send(
        self, target: str, headers: Mapping[str, str], hold: Hold
    ) -> tuple[int, Mapping[str, str], bytearray]:
        import aiohttp

        connection = _Connection()
        _CONNECTION.set(connection)
        deadline = asyncio.timeout(self.timeout_s)
        try:
            async with deadline:
                self._under_way.add(deadline)
                return await self._exchange(target, headers, hold, deadline)
        except TimeoutError:
            # aiohttp's own time-outs are TimeoutErrors too.
            if connection.address is not None and hold.count == 0:
                self._addresses.failed(connection.address)
            failure: TransportError = DeadlineError(
                f"no whole answer within {self.timeout_s:g} s or the configured time-outs"
            )
        except aiohttp.ClientError as error:
            failure = TransportError(_describe(error))
            failure.was_idle = connection.was_idle and hold.count == 0 and _is_close(error)
        except _TooLarge:
            limit = f"max_page_bytes={self._max_page_bytes}"
            failure = TransportError(f"the body has more than {limit}")
            failure.retryable = False
        finally:
            self._under_way.remove(deadline)
        failure.reached = hold.count > 0
        failure.connected = connection.is_open
        # Raised out here, so that no aiohttp exception hangs on it: some print the whole URL,
        # and with it the token.
        raise failure

    async def _exchange(
        self, target: str, headers: Mapping[str, str], hold: Hold, deadline: asyncio.Timeout
    ) -> tuple[int, Mapping[str, str], bytearray]:
        from yarl import URL

        async with self._session.get(
            URL(self._origin + target, encoded=True),
            headers={**headers, **self._headers},
            allow_redirects=False,
            timeout=self._timeouts,
            **self._proxy,
        ) as answer:
            body = await self._read(answer, hold, deadline)
            lowered = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, lowered, body

    async def _read(
        self, answer: aiohttp.ClientResponse, hold: Hold, deadline: asyncio.Timeout
    ) -> bytearray:
        body = bytearray()  # Pieces may be of one byte each.
        while chunk := await answer.content.readany():
            if hold.count + len(chunk) > self._max_page_bytes:
                raise _TooLarge
            if not hold.try_add(len(chunk)):
                await _without_deadline(deadline, hold.add(len(chunk)))
            body += chunk
        return body

    async def close(self) -> None:
        """End every exchange. The session is aiobotocore's, which closes it."""
        await self._under_way.end_all()


class _TooLarge(Exception):
    pass


class _Connection:
    """What became of the connection of one exchange: open at all, used before, and where to?"""

    __slots__ = ("address", "is_open", "was_idle")

    def __init__(self) -> None:
        self.address: Address | None = None
        self.is_open = False
        self.was_idle = False


#: Of the exchange under way in this task.
_CONNECTION: ContextVar[_Connection] = ContextVar("durastate connection")


def _watch(connector: Any, addresses: Addresses) -> None:
    """Take only clean connections, fill `_CONNECTION` in, and let no connection live for ever.

    aiohttp's tracing could tell the second too, for 30 µs a request. A connection that is in use
    all the time would never look its host up again.
    """
    from .aiohttp_protocol import Protocol

    connector._factory = partial(Protocol, connector._loop)
    for context in (connector._ssl, getattr(connector, "_proxy_ssl_context", None)):
        if isinstance(context, ssl.SSLContext):
            show_input(context)
    connect, resolve = connector.connect, connector._resolve_host

    async def watched_resolve(*arguments: Any, **options: Any) -> Any:
        hosts = await resolve(*arguments, **options)
        found = addresses.ordered(hosts, lambda host: (host["host"], host["port"]))
        noted = _CONNECTION.get(None)
        if noted is not None:
            noted.address = found[0]["host"], found[0]["port"]
        return found

    async def watched_connect(*arguments: Any, **options: Any) -> Any:
        noted = _CONNECTION.get(_Connection())
        try:
            connection = await connect(*arguments, **options)
            while not await _is_clean(connection):
                connection = await connect(*arguments, **options)
        except Exception:  # `send` sees to its own time-out.
            if noted.address is not None:
                addresses.failed(noted.address)
            raise
        protocol = connection.protocol
        tried, noted.address = noted.address, connection.transport.get_extra_info("peername")
        if tried not in (None, noted.address[:2]):
            addresses.failed(tried)
        noted.is_open = True
        noted.was_idle = protocol.was_used
        if time.monotonic() - protocol.opened_at > _OLDEST_S:
            protocol.force_close()  # After this request.
        return connection

    connector.connect, connector._resolve_host = watched_connect, watched_resolve


async def _is_clean(connection: Any) -> bool:
    """Close a connection on which something has come that is no answer."""
    import aiohttp

    protocol = connection.protocol
    try:
        if not protocol.was_used:
            await protocol.unread.is_none_soon()
        if protocol.is_clean():
            return True
    except BaseException:
        connection.close()
        raise
    connection.close()
    if not protocol.was_used:
        raise aiohttp.ServerDisconnectedError
    return False


async def _without_deadline(deadline: asyncio.Timeout, waiting: Awaitable[None]) -> None:
    """Wait for room of our own making; the server is not to blame for this time."""
    now = asyncio.get_running_loop().time
    left = (deadline.when() or 0.0) - now()
    deadline.reschedule(None)
    await waiting
    deadline.reschedule(now() + left)


def _is_close(error: Exception) -> bool:
    """Whether the connection was closed before the head of an answer was complete."""
    import aiohttp

    return isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


def _describe(error: Exception) -> str:
    """What went wrong, in words that hold no URL."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate is refused: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection was closed inside the body"
    if isinstance(error, OSError):
        return f"the connection broke: {error.strerror or type(error).__name__}"
    return f"no usable answer ({type(error).__name__})"
