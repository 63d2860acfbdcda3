"""From a request to the bytes of its answer: where it goes, who signs it, what carries it.

`Transport` is the seam: anything that takes a `Request` and gives a `Response` can stand in its
place. The one here goes through none of botocore's serializer, endpoint rules, event hooks and
parser. `http1` carries what it can, and `over_aiohttp` the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from .aws import Account, Endpoint
from .clock import seconds_of
from .errors import ConfigurationError, TransportError
from .gates import Hold
from .http1 import Http1
from .over_aiohttp import OverAiohttp
from .requests import Request
from .signing import Credentials, Signer

# AWS refuses a signature that is 5 minutes off.
_TOLERATED_SKEW_S = 240.0
_IDENTITY = "identity"

Body: TypeAlias = bytes | bytearray


@dataclass(slots=True)
class Response:
    """An answer, whole. Header names are in lower case.

    `signed_at` and `signed_with` are what the request claimed. `proven_at` is `signed_at` where a
    good answer proves it: an endpoint of the user's own may take any signature.
    """

    status: int
    headers: Mapping[str, str]
    body: Body = field(repr=False)
    signed_at: float = 0.0
    signed_with: Credentials | None = field(default=None, repr=False)
    proven_at: float = 0.0


class Transport(Protocol):
    """Sends one request; raises `TransportError` where no whole answer comes.

    The bytes of the answer are counted on `hold`, which is empty again after an exception.
    """

    @property
    def name(self) -> str:
        """What carries the requests, for `statistics()`."""
        ...

    async def __call__(self, request: Request, hold: Hold) -> Response: ...

    async def region_of(self, region: str | None) -> tuple[str | None, bool]:
        """The Region to ask: an ARN's, or without one the configured one; None without either.

        And whether the user has named an endpoint of his own for it.
        """
        ...

    async def mend(self, response: Response) -> bool:
        """After a 403: correct the clock or renew the credentials; False if nothing changed."""
        ...

    async def close(self) -> None:
        """Close what is open, whether it is in use or not."""
        ...


class _Carrier(Protocol):
    """Carries GET requests to one host and their answers back, whole or as a `TransportError`."""

    name: str

    async def send(
        self, target: str, headers: Mapping[str, str], hold: Hold
    ) -> tuple[int, Mapping[str, str], Body]: ...

    async def close(self) -> None: ...


class HttpTransport:
    """The transport over HTTP, for every Region of one account."""

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
        self._carriers: dict[str, _Carrier] = {}

    @property
    def name(self) -> str:
        """`httptools` or `aiohttp`; both where proxies are for some Regions only."""
        return ", ".join(sorted({carrier.name for carrier in self._carriers.values()}))

    async def __call__(self, request: Request, hold: Hold) -> Response:
        region = request.region
        account = self._account
        endpoint = account.known_endpoint(region) or await account.endpoint(region)
        credentials = account.current_credentials() or await account.credentials()
        if account.is_closed:  # Perhaps since then.
            raise account.closed_error()
        carrier = self._carriers.get(region) or self._carrier(endpoint)
        now = self._clock() + self._skew_s
        signer = self._signer(endpoint, credentials)
        signed = signer.headers(request.path, request.query, now)
        target = f"{endpoint.prefix}{request.path}"
        if request.query:
            target = f"{target}?{request.query}"
        try:
            status, headers, body = await carrier.send(target, signed, hold)
            if headers.get("content-encoding", _IDENTITY) != _IDENTITY:
                body = _uncompressed(status)
        except TransportError as error:
            hold.release()
            if account.is_closed:
                raise account.closed_error() from None
            where = f"{request.operation} of {request.arn} at {endpoint.origin}"
            error.args = (f"{where}: {error}",)
            raise
        except BaseException:
            hold.release()
            raise
        proven_at = 0.0 if endpoint.is_own else now
        return Response(status, headers, body, now, credentials, proven_at)

    async def region_of(self, region: str | None) -> tuple[str | None, bool]:
        account = self._account
        region = region or account.region
        if region is None:
            return None, account.names_an_endpoint
        endpoint = account.known_endpoint(region) or await account.endpoint(region)
        return region, endpoint.is_own

    async def mend(self, response: Response) -> bool:
        server = seconds_of(response.headers.get("date", ""))
        if server is not None and abs(server - response.signed_at) > _TOLERATED_SKEW_S:
            self._skew_s = server - self._clock()
            return True
        return response.signed_with is not None and await self._account.renew(response.signed_with)

    async def close(self) -> None:
        try:
            await self._account.close()  # From here on no request is begun.
        finally:
            for carrier in self._carriers.values():
                await carrier.close()

    def _signer(self, endpoint: Endpoint, credentials: Credentials) -> Signer:
        made_with, signer = self._signers.get(endpoint.region, (None, None))
        if signer is None or made_with is not credentials:
            credentials.check()
            signer = Signer(
                credentials, host=endpoint.host, region=endpoint.region, prefix=endpoint.prefix
            )
            self._signers[endpoint.region] = (credentials, signer)
        return signer

    def _carrier(self, endpoint: Endpoint) -> _Carrier:
        if not endpoint.user_agent.isprintable():
            raise ConfigurationError(
                "config: user_agent or user_agent_extra has a line break, a control character or a "
                "byte that is no UTF-8"
            )
        headers = {
            "Host": endpoint.host,
            "Accept-Encoding": _IDENTITY,
            "User-Agent": endpoint.user_agent,
        }
        carrier: _Carrier
        if endpoint.is_plain:
            timeouts = endpoint.session.timeout
            carrier = Http1(
                endpoint.address,
                endpoint.port,
                endpoint.tls,
                headers,
                attempt_timeout_s=self._timeout_s,
                connect_timeout_s=timeouts.sock_connect or math.inf,
                read_timeout_s=timeouts.sock_read or math.inf,
                max_page_bytes=self._max_page_bytes,
            )
        else:
            carrier = OverAiohttp(
                endpoint.origin,
                endpoint.session,
                headers,
                proxy=endpoint.proxy,
                proxy_headers=endpoint.proxy_headers,
                attempt_timeout_s=self._timeout_s,
                max_page_bytes=self._max_page_bytes,
            )
        self._carriers[endpoint.region] = carrier
        return carrier


def _uncompressed(status: int) -> bytes:
    """An error's status says enough without its body."""
    if 200 <= status < 300:
        error = TransportError("the body is compressed although identity was asked for")
        error.retryable = False
        raise error
    return b""
