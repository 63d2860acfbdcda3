"""What a server sends beyond an answer is never read as the state of another execution."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohappyeyeballs import start_connection
from client.support import assert_at_rest, turns, without_delays
from client.wires import Authority
from transports import TRANSPORTS, over

from durastate import ExecutionRef, StateClient
from durastate.emulator import World

from .peer import answer, asking, page_of, peer, request

pytestmark = pytest.mark.timeout(600)

LONG = bool(os.environ.get("DURASTATE_LONG"))
_WORLD = World(seed=1, executions=2)
REFS = [ExecutionRef(_WORLD.arn(index), _WORLD.token(index)) for index in range(2)]
_FIRST = _WORLD.arn(0).rsplit("/", 1)[1].encode()
FOREIGN = answer(page_of("of-nobody"))
# A parser skips the line break, and the rest is a whole answer.
SURPLUS = b"\r\n" + FOREIGN
_SMALL, _LARGE = page_of("mine"), page_of("mine", NextMarker=None, Filler="x" * 300_000)


def _chunked(body: bytes, trailer: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [body[at : at + 40_000] for at in range(0, len(body), 40_000)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n%b\r\n" % trailer


ANSWERS = {
    "small": answer(_SMALL),
    "large": answer(_LARGE),
    "chunked": _chunked(_SMALL),
    "large-chunked": _chunked(_LARGE, b"X-Trailer: 1\r\n"),
}
WHENS: dict[str, Callable[[Callable[[], None]], object]] = {
    "at once": lambda send: send(),
    "a turn later": lambda send: asyncio.get_running_loop().call_soon(send),
    "1 ms later": lambda send: asyncio.get_running_loop().call_later(0.001, send),
}


def _splits(in_own_record: bool) -> list[int]:
    """Where a surplus is cut: how much of it is there before the rest comes."""
    end = len(SURPLUS)
    if LONG:
        return list(range(1, end + 50))  # A record is longer than what is in it.
    return [1, 5, end, end + 50] if in_own_record else [1, 2, 3, end - 70, end - 1, end]


@dataclass
class Sealing:
    """The server's side of one TLS connection, as bytes."""

    context: ssl.SSLContext
    taken: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    given: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)

    async def open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tls = self.context.wrap_bio(self.taken, self.given, server_side=True)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(self.given.read())
                self.taken.write(await _some(reader))
            else:
                writer.write(self.given.read())
                return

    def seal(self, content: bytes) -> bytes:
        self.tls.write(content)
        return self.given.read()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        while True:
            try:
                if data := self.tls.read():
                    return data
                raise ConnectionResetError
            except ssl.SSLWantReadError:
                self.taken.write(await _some(reader))


class Plain:
    """The same without TLS."""

    async def open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    def seal(self, content: bytes) -> bytes:
        return content

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        return await _some(reader)


async def _some(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(65_536)
    if not data:
        raise ConnectionResetError
    return data


@dataclass
class Talkative:
    """Says more than it is asked, when it is asked for the first execution.

    `split` bytes of the surplus come with the answer, the rest as `when` says. In a record of its
    own it is cut as TLS has it.
    """

    tls: ssl.SSLContext | None
    own: bytes = b""
    surplus: bytes = SURPLUS
    split: int = 0
    in_own_record: bool = False
    when: str = "at once"
    connections: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        wire = Plain() if self.tls is None else Sealing(self.tls)
        await wire.open(reader, writer)
        head = b""
        while True:
            while b"\r\n\r\n" not in head:
                head += await wire.read(reader)
            if _FIRST in head:
                self._say_too_much(wire, writer)
            else:
                writer.write(wire.seal(answer(page_of("second"))))
            head = b""

    def _say_too_much(self, wire: Plain | Sealing, writer: asyncio.StreamWriter) -> None:
        if self.in_own_record:
            now, extra = wire.seal(self.own), wire.seal(self.surplus)
            now, later = now + extra[: self.split], extra[self.split :]
        else:
            now = wire.seal(self.own + self.surplus[: self.split])
            later = wire.seal(self.surplus[self.split :])
        writer.write(now)
        if later:
            WHENS[self.when](lambda: writer.write(later))


@dataclass(frozen=True)
class Way:
    """How an answer travels."""

    transport: str
    is_sealed: bool
    loop: str = "asyncio"

    def __str__(self) -> str:
        return f"{self.transport}-{'https' if self.is_sealed else 'http'}-{self.loop}"


LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]
WAYS = [
    Way(transport, is_sealed, loop)
    for transport in TRANSPORTS
    for is_sealed in (False, True)
    for loop in LOOPS
]


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def _run(
    way: Way, authority: Authority, read: Callable[[Talkative, StateClient], Awaitable[None]]
) -> None:
    async def main() -> None:
        server = Talkative(authority.server_context() if way.is_sealed else None)
        async with peer(server.talk, scheme="https" if way.is_sealed else "http") as far:
            with over(way.transport):
                async with asking(far) as client:
                    await read(server, client)
                    assert client.statistics().transport == way.transport
                    assert_at_rest(client)

    new_loop = importlib.import_module("uvloop").new_event_loop if way.loop == "uvloop" else None
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("form", ANSWERS)
def test_a_surplus_is_no_state_of_another_execution(
    way: Way, form: str, trusted: Authority
) -> None:
    async def read(server: Talkative, client: StateClient) -> None:
        server.own = ANSWERS[form]
        for case in _cases(way, list(ANSWERS).index(form)):
            server.in_own_record, server.split, server.when = case
            before = server.connections
            assert await _ids(client, 0) == ["mine"]
            assert await _ids(client, 1) == ["second"], case
            assert server.connections == before + (2 if before == 0 else 1), case

    _run(way, trusted, read)


def _cases(way: Way, shift: int) -> Iterator[tuple[bool, int, str]]:
    """Every split at every time; in the ordinary run one time for each, another for each form."""
    whens = list(WHENS)
    for in_own_record in (False, True) if way.is_sealed else (False,):
        for number, split in enumerate(_splits(in_own_record), shift):
            for when in whens if LONG else [whens[number % len(whens)]]:
                yield in_own_record, split, when


async def _ids(client: StateClient, index: int) -> list[str]:
    async with asyncio.timeout(20):
        state = await client.get_state(REFS[index])
    return [operation.id for operation in state.operations]


@pytest.mark.parametrize("ends", [b"\n\n", b"\r\n\n", b"\n\r\n"])
@pytest.mark.asyncio
async def test_the_beginning_of_an_answer_behind_bare_line_feeds_is_a_surplus(ends: bytes) -> None:
    """Such a head is none to httptools; aiohttp takes it, and keeps the rest to itself."""
    head = b"HTTP/1.1 200 OK\nContent-Length: %d%b" % (len(_SMALL), ends)

    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        is_first = connections == 1
        await request(reader)
        writer.write(head + _SMALL + b"H" if is_first else answer(page_of("second")))
        if is_first:
            await request(reader)
            writer.write(FOREIGN)

    with over("aiohttp"):
        async with peer(talk) as far, asking(far) as client:
            assert await _ids(client, 0) == ["mine"]
            assert await _ids(client, 1) == ["second"]


@pytest.mark.asyncio
async def test_what_is_there_before_the_first_request_is_no_answer(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            writer.write(FOREIGN)
            await reader.read()
        while True:
            await request(reader)
            writer.write(answer(page_of("mine")))

    async def late(*arguments: Any, **options: Any) -> socket.socket:
        """Connect, and let the server speak before anybody reads."""
        made = await start_connection(*arguments, **options)
        await turns(5)
        return made

    monkeypatch.setattr("durastate.addresses.start_connection", late)
    monkeypatch.setattr("aiohappyeyeballs.start_connection", late)
    async with peer(talk) as far, asking(far) as client:
        without_delays(client)
        assert await _ids(client, 0) == ["mine"]
        assert (connections, client.statistics().requests) == (2, 2)
        assert client.statistics().transport == transport
        assert_at_rest(client)
