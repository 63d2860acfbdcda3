"""What aiobotocore gives: session, credentials, and per Region the endpoint and its HTTP session.

aiobotocore knows the profiles, SSO, assumed roles, partitions, dual-stack and FIPS hosts,
proxies and CA bundles, so it is asked for all of them; only the request path goes around it.
Loading it, creating a client and refreshing credentials through STS each hold an event loop for
a third of a second or more, so all of that runs in threads, on event loops of their own.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from .arguments import shown
from .errors import ConfigurationError, CredentialsError
from .providers import one_line, provided
from .signing import Credentials
from .threads import in_a_loop_of_its_own

if TYPE_CHECKING:
    import aiohttp
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

_T = TypeVar("_T")

# An operation without parameters: presigning it, unsigned, makes aiobotocore resolve the endpoint.
_PROBE = "get_account_settings"
_PROBE_PATH = "/2016-08-19/account-settings"
# How often expiry is looked at; the advisory period, in which a refresh is due and the old
# credentials still serve, is 15 minutes.
_EXPIRY_CHECK_S = 1.0
# What `AioConfig.connector_args` are where the user has given none.
_USUAL_CONNECTOR = {"keepalive_timeout": 12}
# botocore refuses credentials with less than this left.
_MANDATORY_REFRESH_S = 600


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """Where the requests of one Region go.

    `origin` is scheme, host and port, `prefix` the path that an endpoint URL of the user's may
    have. `session` is the aiohttp session that aiobotocore itself would send with: its proxies,
    its TLS settings, its time-outs. `is_plain` says that these, the last two, are all that it
    has of its own, so that another HTTP client with `tls` does the same.
    """

    origin: str
    host: str
    address: str
    port: int
    prefix: str
    region: str
    is_own: bool
    is_plain: bool
    user_agent: str
    tls: ssl.SSLContext | None = field(repr=False)
    session: aiohttp.ClientSession = field(repr=False)
    proxy: str | None = field(repr=False)
    proxy_headers: dict[str, str] | None = field(repr=False)


class Account:
    """One set of credentials, and the endpoints of every Region that was asked for.

    `open` it first. A session that the user gave is used and not closed.
    """

    def __init__(
        self,
        *,
        session: AioSession | None,
        region_name: str | None,
        profile_name: str | None,
        endpoint_url: str | None,
        config: AioConfig | None,
    ) -> None:
        self.region: str | None = region_name
        self.max_attempts: int | None = None
        options = getattr(config, "_user_provided_options", {})
        self.pool_size: int | None = options.get("max_pool_connections")
        self._session: Any = session
        self._session_is_ours = session is None
        self._profile = profile_name
        self._endpoint_url = endpoint_url
        self._config: Any = config
        self._source: Any = None
        self._credentials: Credentials | None = None
        self._clock = time.monotonic
        self._next_check = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._endpoints: dict[str, Endpoint] = {}
        self._resolving: dict[str, asyncio.Task[Endpoint]] = {}
        self._clients: list[Any] = []
        self.is_closed = False

    async def open(self) -> None:
        """Load the session and the credentials, and the default Region's endpoint if any."""
        self.is_closed = False
        try:
            await in_a_loop_of_its_own(self._load)
            if self.region is not None:
                await self.endpoint(self.region)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Cancel what is under way and close the HTTP sessions."""
        self.is_closed = True
        tasks = [*self._resolving.values(), *([self._refreshing] if self._refreshing else [])]
        for task in tasks:
            task.cancel()
        async with AsyncExitStack() as closing:
            for client in self._clients:
                closing.push_async_callback(client.close)
            self._clients.clear()
            self._endpoints.clear()
            await asyncio.gather(*tasks, return_exceptions=True)

    # Endpoints

    @property
    def names_an_endpoint(self) -> bool:
        """Whether the user asked for another endpoint than AWS's, as far as can be seen here."""
        variables = ("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL")
        return self._endpoint_url is not None or any(map(os.environ.get, variables))

    def known_endpoint(self, region: str) -> Endpoint | None:
        """The endpoint of a Region that was asked for before."""
        return self._endpoints.get(region)

    async def endpoint(self, region: str) -> Endpoint:
        """The endpoint of a Region. Concurrent callers share one look-up."""
        known = self._endpoints.get(region)
        if known is not None:
            return known
        if self.is_closed:
            raise self.closed_error()
        task = self._resolving.get(region)
        if task is None:
            task = asyncio.create_task(self._resolve(region))
            self._resolving[region] = task
            task.add_done_callback(lambda done: self._resolved(region, done))
        return await self._outcome(task)

    async def _outcome(self, shared: asyncio.Task[_T]) -> _T:
        """What a task that several wait for comes to; one's cancellation is not the others'."""
        try:
            return await asyncio.shield(shared)
        except asyncio.CancelledError:
            if shared.cancelled() and self.is_closed:
                raise self.closed_error() from None
            raise

    @staticmethod
    def closed_error() -> ConfigurationError:
        return ConfigurationError("the client was left while this call was under way")

    def _resolved(self, region: str, task: asyncio.Task[Endpoint]) -> None:
        del self._resolving[region]
        _retrieve(task)

    async def _resolve(self, region: str) -> Endpoint:
        from botocore.exceptions import BotoCoreError

        if not region.replace("-", "").isalnum():  # botocore takes one that ends a line
            raise ConfigurationError(
                f"region_name: expected such as eu-west-1, found {shown(region)}"
            )
        client, url = await in_a_loop_of_its_own(lambda: self._create_client(region))
        self._clients.append(client)
        endpoint: Endpoint | None = None
        try:
            endpoint = await _endpoint(client, url, region)
        except OSError as error:
            # Private, like all that _endpoint takes from aiobotocore.
            bundle = client._endpoint.http_session._verify
            raise ConfigurationError(
                f"the CA bundle {bundle!r} or the client certificate cannot be loaded: {error}"
            ) from error
        except (BotoCoreError, ValueError):
            pass
        if endpoint is None:
            # Not chained: those exceptions quote parts of the URL, and with it a password.
            raise ConfigurationError("the URL or the TLS settings of the proxy cannot be used")
        self._endpoints[region] = endpoint
        return endpoint

    async def _create_client(self, region: str) -> tuple[Any, str]:
        from botocore.exceptions import BotoCoreError

        try:
            client = await self._session.create_client(
                "lambda",
                region_name=region,
                endpoint_url=self._endpoint_url,
                config=self._config,
            ).__aenter__()
            url = await client.generate_presigned_url(_PROBE)
            _check_url(url)
        except (BotoCoreError, ValueError) as error:
            problem = f"no endpoint for the Region {shown(region)}: {one_line(error)}"
            if str(error).startswith("Invalid endpoint: "):  # and then the URL; see `_check_url`
                problem = "the endpoint's URL: expected http://… or https://… and a host"
        else:
            return client, url
        raise ConfigurationError(problem)  # Not chained; see `provided`.

    # Credentials

    def current_credentials(self) -> Credentials | None:
        """Credentials that are good now; None where `credentials` has to look."""
        return self._credentials if self._clock() < self._next_check else None

    async def credentials(self) -> Credentials:
        """Credentials that are good now, refreshed where they are about to expire."""
        self._next_check = self._clock() + _EXPIRY_CHECK_S
        refresh_needed = getattr(self._source, "refresh_needed", None)
        if refresh_needed is not None and refresh_needed():
            refreshing = self._refresh()
            if refresh_needed(_MANDATORY_REFRESH_S):
                self._next_check = 0.0
                await self._outcome(refreshing)
        assert self._credentials is not None
        return self._credentials

    async def renew(self, refused: Credentials) -> bool:
        """Get others than those that AWS refused; False where there are none.

        Files and the environment are read again, since another program may have written them.
        """
        if refused == self._credentials:
            await self._outcome(self._refresh(reload=self._session_is_ours))
        return refused != self._credentials

    def _refresh(self, *, reload: bool = False) -> asyncio.Task[None]:
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._freeze(reload))
            self._refreshing.add_done_callback(self._refreshed)
        return self._refreshing

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        _retrieve(task)

    async def _freeze(self, reload: bool) -> None:
        if self._session_is_ours:
            self._credentials = await in_a_loop_of_its_own(
                self._reloaded if reload else self._frozen
            )
        else:
            # The user's own clients share these credentials and their asyncio.Lock.
            self._credentials = await self._frozen()

    async def _reloaded(self) -> Credentials:
        from aiobotocore.session import AioSession

        session = AioSession(profile=self._profile)
        source = await provided(session, session.get_credentials)
        if source is None:
            raise CredentialsError("the credentials that AWS refused are gone, and no others found")
        self._source = source
        return await self._frozen()

    async def _frozen(self) -> Credentials:
        frozen = await provided(self._session, self._source.get_frozen_credentials)
        keys = (frozen.access_key, frozen.secret_key, frozen.token)
        if not all(key is None or (isinstance(key, str) and key.isascii()) for key in keys):
            # What would encode them quotes the whole of them in its error.
            raise CredentialsError("the credentials hold characters that no key or token has")
        return Credentials(*keys)

    # Set-up, in a thread

    async def _load(self) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.httpsession import AIOHTTPSession
        from aiobotocore.session import AioSession
        from botocore import UNSIGNED
        from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

        failure: ConfigurationError | None = None
        try:
            if self._session is None:
                self._session = AioSession(profile=self._profile)
            _check_kind("session", self._session, AioSession)
            _check_kind("config", self._config, AioConfig)
            session = self._session
            self._source = await provided(session, session.get_credentials, "loaded")
            if self.region is None:
                # botocore itself reads AWS_DEFAULT_REGION and the profile only.
                self.region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
            given = self._config or session.get_default_client_config() or AioConfig()
            self.max_attempts = _max_attempts(given, session)
        except (ProfileNotFound, ValueError) as error:
            failure = ConfigurationError(one_line(error))
        except (BotoCoreError, ClientError, OSError) as error:
            failure = CredentialsError(one_line(error))
        if failure is not None:
            raise failure  # Not chained; see `provided`.
        if self._source is None:
            raise CredentialsError(
                "no credentials found: set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, run `aws sso login`, or pass profile_name or session"
            )
        if not issubclass(getattr(given, "http_session_cls", AIOHTTPSession), AIOHTTPSession):
            raise ConfigurationError("config.http_session_cls: durastate sends over aiohttp only")
        # Unsigned, because these clients only resolve endpoints. No connection waits for another
        # (0 is no limit), since the client's own limit comes first.
        self._config = given.merge(AioConfig(signature_version=UNSIGNED, max_pool_connections=0))
        self._credentials = await self._frozen()


def _check_kind(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        theirs = f"{type(value).__module__}.{type(value).__name__}"
        raise ConfigurationError(f"{name}: expected aiobotocore's {kind.__name__}, found {theirs}")


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from reporting an exception that no waiter is left to see."""
    if not task.cancelled():
        task.exception()


def _check_url(probe_url: str) -> None:
    """Refuse what no request can be sent to. The URL may hold a password, so it is not shown."""
    url = urlsplit(probe_url)
    if url.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"endpoint_url: expected http://… or https://…, found {url.scheme[:20]}://…"
        )
    if not url.hostname or url.port == 0:
        raise ConfigurationError("endpoint_url: expected a host and perhaps a port from 1 to 65535")


async def _endpoint(client: Any, probe_url: str, region: str) -> Endpoint:
    url = urlsplit(probe_url)
    address = host = url.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    usual_port = {"http": 80, "https": 443}[url.scheme]
    if url.port not in (None, usual_port):
        host = f"{host}:{url.port}"
    # These attributes are private, and the only way to what aiobotocore made of the settings.
    http = client._endpoint.http_session
    proxy = http._proxy_config.proxy_url_for(probe_url)
    session = await http._get_session(proxy)
    return Endpoint(
        origin=f"{url.scheme}://{host}",
        host=host,
        address=address,
        port=url.port or usual_port,
        prefix=quote(url.path.removesuffix(_PROBE_PATH), safe="/%~!$&'()*+,;=:@"),
        region=region,
        is_own=not (
            # An interface endpoint of a VPC is configured like one's own, and is AWS.
            host.startswith((f"lambda.{region}.", f"lambda-fips.{region}.")) or ".vpce." in host
        ),
        is_plain=proxy is None
        and http._cert_file is None
        and http._connector_args == _USUAL_CONNECTOR,
        user_agent=_user_agent(client),
        tls=session.connector._ssl if url.scheme == "https" else None,
        session=session,
        proxy=proxy,
        proxy_headers=http._proxy_config.proxy_headers_for(proxy) if proxy else None,
    )


def _max_attempts(config: Any, session: Any) -> int | None:
    """Attempts in all, as the config, the profile or the environment says."""
    retries = config.retries or {}
    if "total_max_attempts" in retries:
        return int(retries["total_max_attempts"])
    if "max_attempts" in retries:
        return int(retries["max_attempts"]) + 1
    configured = session.get_config_variable("max_attempts")
    try:
        return None if configured is None else int(configured)
    except ValueError:
        raise ConfigurationError(
            f"AWS_MAX_ATTEMPTS or max_attempts of the profile: expected a number, "
            f"found {shown(configured)}"
        ) from None


def _user_agent(client: Any) -> str:
    from . import __version__

    return f"{client.meta.config.user_agent} durastate/{__version__}"
