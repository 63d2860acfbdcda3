"""Our own HTTP/1.1 and aiobotocore's session: which of them carries what, and how they do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from promises.carriers import Names, ageing, idle_connections, patient
from promises.certificates import issue, server_context
from promises.peer import REF, Peer, Talk, answer, asking, page_of, peer, request, reset, saying

from durastate import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    Limits,
    RetryPolicy,
    StateClient,
    TransportError,
)
from durastate.emulator import Credentials, Emulator, World, session_with

from .support import (
    assert_at_rest,
    calls_of,
    held,
    reading,
    ref_of,
    refs_of,
    turns,
    until,
    wire,
    without_delays,
)
from .wires import Authority, deaf, forwarding, full_house

pytestmark = pytest.mark.asyncio

WORLD = World(seed=4, executions=60, operations=20)
PAGE = page_of("a", "b", "c")


# Which one


async def test_ours_carries_the_requests_and_the_statistics_say_so() -> None:
    async with Emulator(WORLD) as emulator, reading(emulator) as client:
        assert client.statistics().transport == ""
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert client.statistics().transport == "httptools"


@pytest.mark.parametrize(
    "config",
    [
        AioConfig(connector_args={"keepalive_timeout": 30}),
        AioConfig(connector_args={"use_dns_cache": False}),
    ],
    ids=["keep-alive", "names"],
)
async def test_a_connector_of_the_users_own_is_used(config: AioConfig) -> None:
    async with Emulator(WORLD) as emulator, reading(emulator, config=config) as client:
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert client.statistics().transport == "aiohttp"


async def test_what_goes_through_a_proxy_goes_over_aiohttp() -> None:
    async with forwarding() as proxy, Emulator(WORLD) as emulator:
        config = AioConfig(proxies={"http": proxy.url})
        async with reading(emulator, config=config) as client:
            assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
            assert client.statistics().transport == "aiohttp"
        assert len(proxy.asked) == 1


async def test_a_client_certificate_is_shown_over_aiohttp(
    authority: Authority, tmp_path: Path
) -> None:
    tls = server_context(issue(authority, tmp_path, "server"), clients_of=authority)
    config = AioConfig(client_cert=str(issue(authority, tmp_path, "client")))
    async with (
        Emulator(WORLD, ssl_context=tls) as emulator,
        reading(emulator, config=config) as client,
    ):
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert client.statistics().transport == "aiohttp"


# Bodies

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKS = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in PAGE)
FORMS = {
    "with a length": answer(PAGE),
    "in one chunk": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PAGE)
    + PAGE + b"\r\n0\r\n\r\n",
    "in chunks of one byte, with trailers": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    + _CHUNKS + b"0\r\nX-More: 1\r\nServer: none\r\n\r\n",
    "to the end of the connection": _HEAD + b"\r\n" + PAGE,
    "of HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE,
    "after a 103": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n" + answer(PAGE),
    "with a header twice": answer(PAGE, headers=b"Vary: a\r\nVary: b\r\n"),
}  # fmt: skip


def in_pieces(whole: bytes, size: int, *, closes: bool) -> Talk:
    """Send so many bytes at a time, each of them a packet of its own."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            for start in range(0, len(whole), size):
                writer.write(whole[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            if closes:
                return

    return talk


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("form", FORMS)
async def test_a_body_in_any_form_and_in_pieces_of_any_size_is_read(form: str, size: int) -> None:
    closes = form in ("to the end of the connection", "of HTTP/1.0")
    async with (
        peer(in_pieces(FORMS[form], size, closes=closes)) as server,
        asking(server, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        for _ in range(2):
            state = await client.get_state(REF)
            assert [operation.id for operation in state.operations] == ["a", "b", "c"]
        assert_at_rest(client)


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Transfer-Encoding: gzip\r\nContent-Length: 3\r\n",
    ],
)
async def test_a_body_whose_length_is_in_doubt_is_refused(headers: bytes) -> None:
    async with (
        peer(
            in_pieces(_HEAD + headers + b"\r\n" + b"3\r\n{}\n\r\n0\r\n\r\n", 99, closes=True)
        ) as far,
        asking(far, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        with pytest.raises(TransportError):
            await client.get_state(REF)
        assert_at_rest(client)


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("chunked", [False, True])
async def test_large_pages_wait_for_room_and_come_whole(chunked: bool) -> None:
    """Many at once, each many times as large as what may be held."""
    ids = [f"{number:06d}" for number in range(4_000)]
    body = page_of(*ids)
    whole = answer(body)
    if chunked:
        whole = b"%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            _HEAD, len(body), body,
        )  # fmt: skip
    async with (
        peer(in_pieces(whole, 50_000, closes=False)) as server,
        asking(server, limits=Limits(max_bytes_in_flight=100_000)) as client,
    ):
        for _ in range(3):
            states = await asyncio.gather(*(client.get_state(REF) for _ in range(6)))
            for state in states:
                assert [operation.id for operation in state.operations] == ids
        assert client.statistics().waited_for_bytes_s > 0
        assert_at_rest(client)


async def test_an_answer_that_waits_for_room_is_neither_late_nor_idle() -> None:
    body = page_of(*map(str, range(2_000)))
    async with (
        peer(in_pieces(answer(body), 20_000, closes=False)) as server,
        asking(server, limits=Limits(max_bytes_in_flight=1_000)) as client,
    ):
        await client.get_state(REF)
        [connection] = idle_connections(client)
        gate = calls_of(client).shared.gate
        other = gate.hold()
        assert other.try_add(5_000)  # One may always exceed the limit; the next has to wait.
        reading = asyncio.create_task(client.get_state(REF))
        await until(lambda: gate.waiting == 1)
        connection._timer = connection._loop.call_later(0, connection._ring)
        await until(lambda: connection._timer is None)
        other.release()
        assert len((await reading).operations) == 2_000
        assert_at_rest(client)


async def test_what_comes_unasked_on_an_idle_connection_ends_it() -> None:
    told = asyncio.Event()
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request(reader)
        writer.write(answer(PAGE))
        await told.wait()
        writer.write(answer(page_of("of", "nobody")))
        await reader.read()

    async with peer(talk) as server, asking(server) as client:
        await client.get_state(REF)
        [connection] = idle_connections(client)
        told.set()
        await until(lambda: not connection.is_reusable)
        state = await client.get_state(REF)
        assert [operation.id for operation in state.operations] == ["a", "b", "c"]
        assert connections == 2


# Connections


@pytest.mark.usefixtures("transport")
async def test_connections_are_used_again(transport: str) -> None:
    async with Emulator(WORLD) as emulator, reading(emulator) as client:
        async with client.fetch_many(refs_of(emulator), max_executions=4) as many:
            assert [result.error async for result in many] == [None] * 60
        assert emulator.log.connections() <= 4
        assert client.statistics().transport == transport


async def test_a_connection_that_is_closed_as_soon_as_it_is_open_is_no_hang() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    async with peer(talk) as server, asking(server) as client:
        without_delays(client)
        connect = asyncio.get_running_loop().create_connection

        async def late(*arguments: Any, **options: Any) -> Any:
            made = await connect(*arguments, **options)
            await until(made[0].is_closing)
            await turns(3)
            return made

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "create_connection", late)
            with pytest.raises(TransportError, match="closed before an answer"):
                await client.get_state(REF, timeout_s=20)
        assert client.statistics().requests == 3


async def test_a_connection_ends_after_five_minutes_of_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Emulator(WORLD) as emulator, reading(emulator) as client:
        later = ageing(client, monkeypatch)
        for _ in range(29):
            await client.get_state(ref_of(emulator))
            later(10)
        assert emulator.log.connections() == 1
        for _ in range(3):
            await client.get_state(ref_of(emulator))
            later(10)
        assert emulator.log.connections() == 2


async def test_an_idle_connection_is_closed_without_another_request() -> None:
    async with Emulator(WORLD) as emulator, reading(emulator) as client:
        await client.get_state(ref_of(emulator))
        [connection] = idle_connections(client)
        connection.idle_since -= 20
        connection._ring()  # As its timer does.
        await until(lambda: connection._is_lost)
        assert idle_connections(client) in ([], [connection])
        await client.get_state(ref_of(emulator))
        assert emulator.log.connections() == 2


async def test_no_more_than_32_connections_are_opened_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    connect, now, most = loop.create_connection, 0, 0

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await until(lambda: most >= 32)  # So that all who may are there at once.
        try:
            return await connect(*arguments, **options)
        finally:
            now -= 1

    monkeypatch.setattr(loop, "create_connection", counted)
    async with Emulator(World(executions=60, operations=1)) as emulator:
        async with reading(emulator, limits=Limits(max_requests=60)) as client:
            emulator.hold()
            async with client.fetch_many(refs_of(emulator), max_executions=60) as many:
                await emulator.log.wait_for(60)
                emulator.release()
                assert [result.error async for result in many] == [None] * 60
        assert (now, most) == (0, 32)
        assert emulator.log.connections() == 60


async def test_leaving_the_client_ends_requests_and_closes_every_connection() -> None:
    async with Emulator(WORLD) as emulator:
        emulator.hold()
        async with reading(emulator) as client:
            calls = [asyncio.create_task(client.get_state(ref_of(emulator))) for _ in range(5)]
            await emulator.log.wait_for(5)
            without_delays(client)
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, TransportError | ConfigurationError), outcome
        emulator.release()
        assert emulator._runner is not None
        server = emulator._runner.server
        assert server is not None
        await until(lambda: not server.connections)


@asynccontextmanager
async def silent_at_tls() -> AsyncIterator[tuple[Peer, asyncio.Semaphore]]:
    """A server that answers no TLS handshake, and one release for each that has begun."""
    begun = asyncio.Semaphore(0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.readexactly(1)
        begun.release()
        await reader.read()

    async with peer(talk, scheme="https") as far:
        yield far, begun


@pytest.mark.usefixtures("transport")
async def test_leaving_the_client_ends_tls_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durastate.http1._CONNECTS_AT_ONCE", 2)
    async with silent_at_tls() as (far, begun):
        async with asking(far) as client:
            calls = [asyncio.create_task(client.get_state(REF)) for _ in range(3)]
            for _ in range(2):  # Over our own transport the third waits for its turn.
                await begun.acquire()
        await asyncio.wait(calls, timeout=5)
        assert [call.done() for call in calls] == [True] * 3
        for call in calls:
            with pytest.raises(ConfigurationError, match="was left"):
                await call
        await until(lambda: not far.tasks)  # All of them have seen their connections end.
        assert_at_rest(client)


@pytest.mark.usefixtures("transport")
async def test_leaving_the_client_ends_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()
    made: list[Any] = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def noted(sock: Any, address: Any) -> None:
        made.append(sock)
        begun.set()
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", noted)
    async with peer(saying(answer(PAGE))) as far:
        with full_house() as far.url:
            async with asking(far) as client:
                call = asyncio.create_task(client.get_state(REF))
                await begun.wait()
            await asyncio.wait([call], timeout=5)
            assert call.done()
            with pytest.raises(ConfigurationError, match="was left"):
                await call
            assert [sock.fileno() for sock in made] == [-1]


@pytest.mark.usefixtures("transport")
async def test_a_cancellation_stays_one_while_the_client_is_left() -> None:
    async with silent_at_tls() as (far, begun):
        for after in range(8):
            client = await asking(far).__aenter__()
            call = asyncio.create_task(client.get_state(REF))
            await begun.acquire()
            leaving = asyncio.create_task(client.__aexit__(None, None, None))
            await turns(after)
            is_in_time = call.cancel()
            await asyncio.wait([call, leaving], timeout=5)
            assert leaving.done()
            assert call.cancelled() or (not is_in_time and call.exception() is not None)


@pytest.mark.usefixtures("transport")
async def test_a_new_connection_is_closed_if_its_call_is_cancelled_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_there = asyncio.Event()

    async def endless(_: Any) -> bool:
        is_there.set()
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr("durastate.surplus.Unread.is_none_soon", endless)
    async with peer(saying(answer(PAGE))) as far, asking(far) as client:
        call = asyncio.create_task(client.get_state(REF))
        await is_there.wait()
        await until(lambda: far.tasks)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await until(lambda: not far.tasks)


async def test_connections_are_closed_where_the_rest_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Emulator(WORLD) as emulator, reading(emulator) as client:
        await client.get_state(ref_of(emulator))
        [connection] = idle_connections(client)

        async def fail() -> None:
            raise RuntimeError("the disk is on fire")

        with monkeypatch.context() as patch:
            patch.setattr(client._account, "close", fail)
            with pytest.raises(RuntimeError, match="fire"):
                await client.__aexit__(None, None, None)
        assert connection._is_lost


# Addresses


@asynccontextmanager
async def named(*addresses: str, **options: Any) -> AsyncIterator[tuple[StateClient, int]]:
    """A client of a name with these addresses, and the port of the server at 127.0.0.1."""
    async with peer(saying(answer(PAGE, headers=b"Connection: close\r\n"))) as far:
        port = far.listener.getsockname()[1]
        far.url = f"http://somewhere.test:{port}"
        async with asking(far, region_name="eu-west-1", **options) as client:
            without_delays(client)
            with pytest.MonkeyPatch.context() as patch:
                await Names(*addresses).stand_in(client, patch)
                yield client, port


@pytest.mark.usefixtures("transport")
async def test_an_address_that_swallows_connections_costs_no_attempt() -> None:
    async with named("127.0.0.2", "127.0.0.1") as (client, port):
        with full_house(("127.0.0.2", port)):
            for _ in range(2):
                await client.get_state(REF)
            assert client.statistics().requests == 2


async def test_the_address_that_was_slow_to_connect_is_not_the_first_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def noted(sock: Any, address: Any) -> None:
        begun.append(address[0])
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", noted)
    async with named("127.0.0.2", "127.0.0.1") as (client, port):
        with full_house(("127.0.0.2", port)):
            for _ in range(3):
                await client.get_state(REF)
    assert begun == ["127.0.0.2", *["127.0.0.1"] * 3]


@pytest.mark.usefixtures("transport")
async def test_no_retry_begins_at_the_address_that_has_kept_silent() -> None:
    retry = RetryPolicy(max_attempts=2, attempt_timeout_s=0.3)
    async with named("127.0.0.2", "127.0.0.1", retry=retry) as (client, port):
        with deaf(("127.0.0.2", port)):
            await client.get_state(REF)
            assert client.statistics().requests == 2
            await client.get_state(REF)
            assert client.statistics().requests == 3


async def test_no_retry_begins_at_the_address_where_connecting_took_too_long() -> None:
    config, retry = AioConfig(connect_timeout=0.1), RetryPolicy(max_attempts=2)
    async with named("127.0.0.2", "127.0.0.1", config=config, retry=retry) as (client, port):
        with full_house(("127.0.0.2", port)):
            await client.get_state(REF)
            assert client.statistics().requests == 2


@pytest.mark.parametrize("step", ["sock_connect", "create_connection"])
@pytest.mark.parametrize(
    "config",
    # aiohttp begins with the next address each time where it remembers them.
    [None, AioConfig(connector_args={"use_dns_cache": False})],
    ids=["httptools", "aiohttp"],
)
async def test_an_address_is_not_to_blame_for_a_call_that_is_cancelled(
    config: AioConfig | None, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    loop = asyncio.get_running_loop()
    connect, do_step = loop.sock_connect, getattr(loop, step)
    is_there, may_go_on = asyncio.Event(), asyncio.Event()

    async def noted(sock: Any, address: Any) -> None:
        begun.append(address[0])
        await (late if step == "sock_connect" else connect)(sock, address)

    async def late(*arguments: Any, **options: Any) -> Any:
        is_there.set()
        try:
            await may_go_on.wait()
        except asyncio.CancelledError:
            options.get("sock", arguments[0]).close()
            raise
        return await do_step(*arguments, **options)

    async with named("127.0.0.1", "127.0.0.2", config=config) as (client, _):
        monkeypatch.setattr(loop, step, late)
        monkeypatch.setattr(loop, "sock_connect", noted)
        call = asyncio.create_task(client.get_state(REF))
        await is_there.wait()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        may_go_on.set()
        await client.get_state(REF)
        assert begun == ["127.0.0.1"] * 2


@pytest.mark.parametrize(
    ("addresses", "left"), [(["127.0.0.1", "127.0.0.2"], 0), (["127.0.0.1"], 2)]
)
async def test_idle_connections_to_an_address_that_keeps_silent_are_not_used_if_it_has_another(
    addresses: list[str], left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_deaf = False

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            if not is_deaf:
                writer.write(answer(PAGE))

    retry = RetryPolicy(max_attempts=1)
    async with peer(talk) as far:
        far.url = f"http://somewhere.test:{far.listener.getsockname()[1]}"
        async with asking(far, region_name="eu-west-1", retry=retry) as client:
            await Names(*addresses).stand_in(client, monkeypatch)
            await asyncio.gather(*(client.get_state(REF) for _ in range(3)))
            assert len(idle_connections(client)) == 3
            is_deaf = True
            patient(client, 0.05)
            with pytest.raises(DeadlineError):
                await client.get_state(REF)
            await turns(3)
            assert len(idle_connections(client)) == left


# Headers


@asynccontextmanager
async def never_reached(**options: Any) -> AsyncIterator[StateClient]:
    """A client whose requests must not be sent."""
    async with Emulator(WORLD) as emulator:
        async with reading(emulator, **options) as client:
            yield client
        assert len(emulator.log) == 0


async def test_a_user_agent_with_a_line_break_is_refused() -> None:
    config = AioConfig(user_agent="audit\r\nX-Amz-Injected: 1")
    async with never_reached(config=config) as client:
        with pytest.raises(ConfigurationError, match="user_agent"):
            await client.get_state(REF)


async def test_a_session_token_with_a_line_break_is_refused() -> None:
    keys = Credentials("AKID", "secret", "canary\r\nX-Amz-Injected: 1")
    async with never_reached(session=session_with(keys)) as client:
        with pytest.raises(CredentialsError, match="line break") as raised:
            await client.get_state(REF)
        assert "canary" not in f"{raised.value!r}"
