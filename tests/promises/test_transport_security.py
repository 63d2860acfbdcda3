"""TLS that is verified, nothing in the clear unasked, no redirects, proxies, connections that age.

Beside these: `client/test_setup.py` has CA bundles, a proxy that forwards, one that tunnels and one
that is not there, and that endpoints are aiobotocore's; `client/test_failures.py` has a redirect
and each kind of refused credentials.
"""

from __future__ import annotations

import asyncio
import ssl
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from client import support
from client.support import assert_at_rest, held, ref_of, refs_of, wire, without_delays
from client.wires import Authority

from durastate import (
    AccessDeniedError,
    CredentialsError,
    DurastateError,
    ExecutionRef,
    ServiceError,
    StateClient,
    TransportError,
)
from durastate.aws import Account
from durastate.emulator import (
    Credentials,
    Emulator,
    Fault,
    FaultKind,
    FaultPlan,
    World,
    session_with,
)

from .carriers import Names, ageing
from .certificates import issue, server_context
from .test_long_runs import expire

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transport")]

WORLD = World(seed=6, executions=12, operations=3)
REF = ExecutionRef(WORLD.arn(0), WORLD.token(0))
SECRETS = (WORLD.token(0), quote(WORLD.token(0), safe=""))


@cache
def a_session() -> AioSession:
    """Its bundle comes from the environment; that of the other tests trusts one for good."""
    return session_with(Credentials())


def reading(emulator: Emulator, **options: Any) -> AbstractAsyncContextManager[StateClient]:
    return support.reading(emulator, **{"session": a_session(), **options})


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The one that clients trust here."""
    found = Authority(tmp_path, "ours")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(found.bundle))
    return found


class Peer:
    """A server that keeps what it receives and answers each request with the same bytes.

    Whoever begins with a TLS handshake gets the answer at once, in the clear.
    """

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self.received = b""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        with suppress(OSError):
            while data := await reader.read(65_536):
                self.received += data
                if data.endswith(b"\r\n\r\n") or data.startswith(b"\x16"):
                    writer.write(self._answer)
        writer.close()

    async def hang_up(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self._open.values()))


@asynccontextmanager
async def a_peer(answer: bytes = b"", tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    peer = Peer(answer)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    peer.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        server.close()
        await peer.hang_up()


def an_answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[StateClient]:
    async with StateClient(session=a_session(), endpoint_url=url, **options) as client:
        without_delays(client)
        yield client


async def refusal(url: str, **options: Any) -> str:
    """What the one error of a request that must not succeed says."""
    async with client_of(url, **options) as client:
        with pytest.raises(TransportError) as raised:
            await client.get_state(REF)
        assert_at_rest(client)
    text = str(raised.value)
    assert url in text
    assert "\n" not in text
    assert raised.value.__cause__ is raised.value.__context__ is None
    return text


# TLS


async def context_of(region: str = "eu-west-1") -> ssl.SSLContext:
    """The context with which requests to AWS would go."""
    options = dict.fromkeys(("region_name", "profile_name", "endpoint_url", "config"))
    account = Account(session=a_session(), **options)  # type: ignore[arg-type]
    await account.open()
    try:
        endpoint = await account.endpoint(region)
        assert endpoint.origin.startswith("https://")
        connector = endpoint.session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        assert isinstance(connector._ssl, ssl.SSLContext)
        return connector._ssl
    finally:
        await account.close()


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "cn-north-1"])
async def test_aws_is_asked_over_tls_1_2_or_later_and_has_to_prove_who_it_is(region: str) -> None:
    context = await context_of(region)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.maximum_version in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    """The context with that version and no other, however old and weak it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def test_a_server_that_knows_tls_1_1_alone_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    tls = only(ssl.TLSVersion.TLSv1_1, server_context(issue(authority, tmp_path, "old")))
    async with a_peer(an_answer(200), tls) as peer:
        # That it is the version which is refused: a client of that age gets in.
        aged = only(ssl.TLSVersion.TLSv1_1, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        aged.load_verify_locations(authority.bundle)
        port = urlsplit(peer.url).port
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=aged)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.1"
        writer.close()
        await writer.wait_closed()

        await refusal(peer.url)
        assert peer.received == b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken(
    version: ssl.TLSVersion, authority: Authority, tmp_path: Path
) -> None:
    tls = only(version, server_context(issue(authority, tmp_path, "new")))
    async with Emulator(WORLD, ssl_context=tls) as emulator, reading(emulator) as client:
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


WRONG: dict[str, tuple[Callable[[Authority, Path], Path], str]] = {
    "authority": (
        lambda _, path: issue(Authority(path, "nobodys"), path, "stranger"),
        "certificate",
    ),
    "host-name": (lambda ours, path: issue(ours, path, "other", ip="127.0.0.2"), "127.0.0.1"),
    "time": (lambda ours, path: issue(ours, path, "late", ends_h=-1), "expired"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_certificate_that_is_wrong_is_one_clear_error_and_nothing_is_sent(
    what: str, authority: Authority, tmp_path: Path
) -> None:
    certificate, expected = WRONG[what]
    async with a_peer(an_answer(200), server_context(certificate(authority, tmp_path))) as peer:
        text = await refusal(peer.url)
        assert "the certificate is refused" in text
        assert expected in text
        assert peer.received == b""


@pytest.mark.parametrize("form", ["one-file", "two-files"])
async def test_the_client_certificate_of_the_config_is_shown(
    form: str, authority: Authority, tmp_path: Path
) -> None:
    tls = server_context(issue(authority, tmp_path, "server"), clients_of=authority)
    file = str(issue(authority, tmp_path, "client"))
    config = AioConfig(client_cert=file if form == "one-file" else (file, file))
    async with Emulator(WORLD, ssl_context=tls) as emulator:
        async with reading(emulator, config=config) as client:
            assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        emulator.log.clear()
        await refusal(emulator.endpoint_url)
        assert len(emulator.log) == 0


# Nothing in the clear


async def test_an_https_url_is_never_spoken_to_in_plain_http() -> None:
    async with a_peer(an_answer(200)) as peer:
        await refusal(peer.url.replace("http:", "https:"))
        assert b"GET" not in peer.received
        assert not any(secret.encode() in peer.received for secret in SECRETS)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_server_is_an_error_and_not_followed(status: int) -> None:
    async with a_peer(an_answer(200)) as elsewhere:
        location = f"Location: {elsewhere.url}/2025-12-01/"
        async with a_peer(an_answer(status, b"", location)) as peer, client_of(peer.url) as client:
            with pytest.raises(ServiceError, match="not followed"):
                await client.get_state(REF)
        assert elsewhere.received == b""


# Proxies

PROXY_PASSWORD = "canary/of+proxy"


def with_password(url: str) -> str:
    return url.replace("://", f"://auditor:{quote(PROXY_PASSWORD, safe='')}@")


def assert_password_hidden(text: str) -> None:
    login = b64encode(f"auditor:{PROXY_PASSWORD}".encode()).decode()
    for form in ("canary", login):
        assert form not in text


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_the_password_does_not_make_it_known(scheme: str) -> None:
    refusing = an_answer(407, b"", 'Proxy-Authenticate: Basic realm="x"', "Connection: close")
    async with a_peer(refusing) as proxy:
        config = AioConfig(proxies={scheme: with_password(proxy.url)})
        async with client_of(f"{scheme}://127.0.0.1:9", config=config) as client:
            with pytest.raises((TransportError, ServiceError)) as raised:
                await client.get_state(REF)
            assert_password_hidden(f"{raised.value} {raised.value!r} {vars(raised.value)}")
            assert_password_hidden(f"{client._account._endpoints}")
            assert raised.value.__cause__ is raised.value.__context__ is None
        login = b64encode(f"auditor:{PROXY_PASSWORD}".encode())
        assert b"proxy-authorization: basic " + login.lower() in proxy.received.lower()
        if scheme == "https":
            # The proxy learns the host and no more.
            assert proxy.received.startswith(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n")
            assert not any(secret.encode() in proxy.received for secret in SECRETS)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "url",
    [
        with_password("http://127.0.0.1:no-port"),
        with_password("socks5://127.0.0.1:9"),
        with_password("http://["),
        f"http://auditor:{PROXY_PASSWORD}@127.0.0.1:9",  # a slash that had to be escaped
    ],
    ids=["port", "scheme", "host", "password"],
)
async def test_a_proxy_that_cannot_be_used_does_not_make_its_password_known(
    url: str, scheme: str
) -> None:
    config = AioConfig(proxies={scheme: url})
    with pytest.raises(DurastateError) as raised:
        async with client_of(f"{scheme}://127.0.0.1:9", config=config) as client:
            await client.get_state(REF)
    error: BaseException | None = raised.value
    for _ in range(9):
        if error is not None:
            assert_password_hidden(f"{error} {error!r} {vars(error)}")
            error = error.__cause__ or error.__context__
    assert error is None


# Connections and names


async def test_a_connection_that_was_idle_for_20_seconds_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Emulator(WORLD) as emulator, reading(emulator) as client:
        later = ageing(client, monkeypatch)
        for _ in range(3):
            await client.get_state(ref_of(emulator))
        assert emulator.log.connections() == 1
        later(20)
        await client.get_state(ref_of(emulator))
        assert emulator.log.connections() == 2


async def test_a_name_is_resolved_anew_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names()
    async with Emulator(WORLD) as emulator:
        url = emulator.endpoint_url.replace("127.0.0.1", "service.test")
        async with client_of(url, region_name="eu-west-1") as client:
            await names.stand_in(client, monkeypatch)
            later = ageing(client, monkeypatch)
            for asked in (1, 2, 3):
                for _ in range(2):
                    await client.get_state(ref_of(emulator))
                assert names.asked == asked
                later(60)


# A 403 is one of three things


async def test_a_403_without_permission_belongs_to_its_execution() -> None:
    faults = FaultPlan(on={3: Fault(FaultKind.ACCESS_DENIED)})
    async with Emulator(WORLD, faults) as emulator, reading(emulator) as client:
        async with client.fetch_many(refs_of(emulator), max_executions=2) as many:
            errors = {result.index: type(result.error) async for result in many}
        assert errors.pop(3) is AccessDeniedError
        assert errors == dict.fromkeys([0, 1, 2, *range(4, 12)], type(None))


async def test_a_403_for_an_expired_token_is_answered_with_new_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = Credentials("AKIDOLD", "secret-of-old", "session-of-old")
    new = Credentials("AKIDNEW", "secret-of-new", "session-of-new")

    def take(keys: Credentials) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", str(keys.session_token))

    take(old)
    async with (
        Emulator(WORLD, credentials=(old, new)) as emulator,
        reading(emulator, session=None) as client,
    ):
        expire(emulator, old)
        take(new)
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert [entry.status for entry in emulator.log] == [403, 200]


@pytest.mark.parametrize(
    "keys",
    [Credentials("AKIDNOBODY", "emulator-secret"), Credentials("emulator-key", "another-secret")],
    ids=["key", "signature"],
)
async def test_a_403_for_a_bad_key_or_signature_ends_the_run(keys: Credentials) -> None:
    async with Emulator(WORLD) as emulator, reading(emulator, session=session_with(keys)) as client:
        with pytest.raises(CredentialsError, match="AWS refuses"):
            async with client.fetch_many(refs_of(emulator), max_executions=1) as many:
                assert [result async for result in many] == []
        assert len(emulator.log) == 1


async def test_a_403_for_the_time_is_answered_with_a_corrected_clock() -> None:
    emulator = Emulator(WORLD, now=lambda: datetime.now(UTC) + timedelta(minutes=10))
    async with emulator, reading(emulator) as client:
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert [entry.status for entry in emulator.log] == [403, 200]
