"""From a request to the bytes of its answer: sign, send, read, within a deadline.

This goes over aiobotocore's own aiohttp session and through none of botocore's serializer,
endpoint rules, event hooks and parser. `Transport` is the seam: anything that takes a `Request`
and gives a `Response` can stand in its place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .aws import CONNECTION, Account, Connection, Endpoint
from .errors import DeadlineError, TransportError
from .gates import Hold
from .requests import Request
from .signing import Credentials, Signer

if TYPE_CHECKING:
    import aiohttp

# AWS refuses a signature that is 5 minutes off.
_TOLERATED_SKEW_S = 240.0


@dataclass(slots=True)
class Response:
    """An answer, whole. Header names are in lower case.

    `signed_at` and `signed_with` are what the request claimed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    signed_at: float = 0.0
    signed_with: Credentials | None = field(default=None, repr=False)


class Transport(Protocol):
    """Sends one request; raises `TransportError` where no whole answer comes.

    The bytes of the answer are counted on `hold`, which is empty again after an exception.
    """

    async def __call__(self, request: Request, hold: Hold) -> Response: ...

    async def region_of(self, region: str | None) -> tuple[str | None, bool]:
        """The Region to ask: an ARN's, or without one the configured one; None without either.

        And whether the user has named an endpoint of his own for it.
        """
        ...

    async def mend(self, response: Response) -> bool:
        """After a 403: correct the clock or renew the credentials; False if nothing changed."""
        ...


class HttpTransport:
    """The transport over aiobotocore's aiohttp session, for every Region of one account."""

    def __init__(
        self,
        account: Account,
        *,
        attempt_timeout_s: float,
        max_page_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._timeout_s = attempt_timeout_s
        self._max_page_bytes = max_page_bytes
        self._clock = clock
        self._skew_s = 0.0
        self._signers: dict[str, tuple[Credentials, Signer]] = {}
        self._timeouts: dict[aiohttp.ClientSession, aiohttp.ClientTimeout] = {}

    async def __call__(self, request: Request, hold: Hold) -> Response:
        region = request.region
        account = self._account
        if account.is_closed:
            raise account.closed_error()
        endpoint = account.known_endpoint(region) or await account.endpoint(region)
        credentials = account.current_credentials() or await account.credentials()
        now = self._clock() + self._skew_s
        signer = self._signer(endpoint, credentials)
        headers = signer.headers(request.path, request.query, now)
        headers["Host"] = endpoint.host
        headers["Accept-Encoding"] = "identity"
        headers["User-Agent"] = endpoint.user_agent
        url = f"{endpoint.origin}{endpoint.prefix}{request.path}?{request.query}"
        response = await self._exchange(endpoint, url, headers, request, hold)
        response.signed_at = now
        response.signed_with = credentials
        return response

    async def region_of(self, region: str | None) -> tuple[str | None, bool]:
        account = self._account
        region = region or account.region
        if region is None:
            return None, account.names_an_endpoint
        endpoint = account.known_endpoint(region) or await account.endpoint(region)
        return region, endpoint.is_own

    async def mend(self, response: Response) -> bool:
        from email.utils import parsedate_to_datetime

        try:
            server = parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            server = response.signed_at
        if abs(server - response.signed_at) > _TOLERATED_SKEW_S:
            self._skew_s = server - self._clock()
            return True
        return response.signed_with is not None and await self._account.renew(response.signed_with)

    def _signer(self, endpoint: Endpoint, credentials: Credentials) -> Signer:
        made_with, signer = self._signers.get(endpoint.region, (None, None))
        if signer is None or made_with is not credentials:
            signer = Signer(
                credentials, host=endpoint.host, region=endpoint.region, prefix=endpoint.prefix
            )
            self._signers[endpoint.region] = (credentials, signer)
        return signer

    async def _exchange(
        self,
        endpoint: Endpoint,
        url: str,
        headers: dict[str, str],
        request: Request,
        hold: Hold,
    ) -> Response:
        import aiohttp

        connection = Connection()
        CONNECTION.set(connection)
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                return await self._send(endpoint, url, headers, hold, deadline)
        except TimeoutError:
            # aiohttp's own time-outs are TimeoutErrors too.
            waited = f"no whole answer within {self._timeout_s:g} s or the configured time-outs"
            failure: TransportError = DeadlineError(f"{_what(request, endpoint)}: {waited}")
        except aiohttp.ClientError as error:
            failure = TransportError(f"{_what(request, endpoint)}: {_describe(error)}")
            failure.was_idle = connection.was_idle and hold.count == 0 and _is_close(error)
        except _Unusable as error:
            failure = TransportError(f"{_what(request, endpoint)}: {error}")
            failure.retryable = False
        except BaseException:
            hold.release()
            raise
        failure.reached = hold.count > 0
        failure.connected = connection.is_open
        hold.release()
        # Raised out here, so that no aiohttp exception hangs on it: some print the whole URL,
        # and with it the token.
        raise failure

    async def _send(
        self,
        endpoint: Endpoint,
        url: str,
        headers: dict[str, str],
        hold: Hold,
        deadline: asyncio.Timeout,
    ) -> Response:
        from yarl import URL

        async with endpoint.session.get(
            URL(url, encoded=True),
            headers=headers,
            allow_redirects=False,
            proxy=endpoint.proxy,
            proxy_headers=endpoint.proxy_headers,
            timeout=self._socket_timeouts(endpoint.session),
        ) as answer:
            body = await self._read(answer, hold, deadline)
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                if answer.ok:
                    raise _Unusable("the body is compressed although identity was asked for")
                body = b""  # An error's status says enough.
            lowered = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status, lowered, body)

    def _socket_timeouts(self, session: aiohttp.ClientSession) -> aiohttp.ClientTimeout:
        """The configured time-outs, without a read time-out that the deadline makes needless.

        aiohttp sets a timer for it with every piece of data, 4 % of the cost of a small page.
        """
        known = self._timeouts.get(session)
        if known is None:
            import aiohttp

            known = session.timeout
            if known.sock_read is not None and known.sock_read >= self._timeout_s:
                known = aiohttp.ClientTimeout(sock_connect=known.sock_connect)
            self._timeouts[session] = known
        return known

    async def _read(
        self, answer: aiohttp.ClientResponse, hold: Hold, deadline: asyncio.Timeout
    ) -> bytes:
        chunks: list[bytes] = []
        while chunk := await answer.content.readany():
            if hold.count + len(chunk) > self._max_page_bytes:
                raise _Unusable(f"the body has more than max_page_bytes={self._max_page_bytes}")
            if not hold.try_add(len(chunk)):
                await _without_deadline(deadline, hold.add(len(chunk)))
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Unusable(Exception):
    """An answer that another attempt would not make better."""


async def _without_deadline(deadline: asyncio.Timeout, waiting: Any) -> None:
    """Wait for room of our own making; the server is not to blame for this time."""
    now = asyncio.get_running_loop().time
    left = (deadline.when() or 0.0) - now()
    deadline.reschedule(None)
    await waiting
    deadline.reschedule(now() + left)


def _what(request: Request, endpoint: Endpoint) -> str:
    return f"{request.operation} of {request.arn} at {endpoint.origin}"


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
