"""The same requests over aiobotocore's aiohttp session, for what `http1` has no answer to.

That is proxies, client certificates, and a connector that the user has given settings of his own.
It costs three times the CPU of a small page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .errors import DeadlineError, TransportError
from .gates import Hold

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
        _note_connections(session.connector)
        self._timeouts = session.timeout
        if (self._timeouts.sock_read or 0.0) >= attempt_timeout_s:
            # It sets a timer with every piece of data, 4 % of the cost of a small page.
            self._timeouts = aiohttp.ClientTimeout(sock_connect=session.timeout.sock_connect)

    async def send(
        self, target: str, headers: Mapping[str, str], hold: Hold
    ) -> tuple[int, Mapping[str, str], bytes]:
        import aiohttp

        connection = _Connection()
        _CONNECTION.set(connection)
        try:
            async with asyncio.timeout(self.timeout_s) as deadline:
                return await self._exchange(target, headers, hold, deadline)
        except TimeoutError:
            # aiohttp's own time-outs are TimeoutErrors too.
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
        failure.reached = hold.count > 0
        failure.connected = connection.is_open
        # Raised out here, so that no aiohttp exception hangs on it: some print the whole URL,
        # and with it the token.
        raise failure

    async def _exchange(
        self, target: str, headers: Mapping[str, str], hold: Hold, deadline: asyncio.Timeout
    ) -> tuple[int, Mapping[str, str], bytes]:
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
    ) -> bytes:
        chunks: list[bytes] = []
        while chunk := await answer.content.readany():
            if hold.count + len(chunk) > self._max_page_bytes:
                raise _TooLarge
            if not hold.try_add(len(chunk)):
                await _without_deadline(deadline, hold.add(len(chunk)))
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def close(self) -> None:
        """The session is aiobotocore's, which closes it."""


class _TooLarge(Exception):
    pass


class _Connection:
    """What became of the connection of one exchange: open at all, and used before?"""

    __slots__ = ("is_open", "was_idle")

    def __init__(self) -> None:
        self.is_open = False
        self.was_idle = False


#: Of the exchange under way in this task.
_CONNECTION: ContextVar[_Connection] = ContextVar("durastate connection")


def _note_connections(connector: Any) -> None:
    """Have `_CONNECTION` filled in, and let no connection live for ever.

    aiohttp's tracing could tell the first too, for 30 µs a request. A connection that is in use
    all the time would never look its host up again.
    """
    connect = connector.connect
    opened: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    async def noting_connect(*arguments: Any, **options: Any) -> Any:
        connection = await connect(*arguments, **options)
        protocol, now = connection.protocol, time.monotonic()
        since = opened.setdefault(protocol, now)
        noted = _CONNECTION.get(None)
        if noted is not None:
            noted.is_open = True
            noted.was_idle = since is not now
        if now - since > _OLDEST_S:
            protocol.force_close()  # After this request.
        return connection

    connector.connect = noting_connect


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
