"""Every attempt ends within its time-out plus a second, whatever the server does or leaves."""

from __future__ import annotations

import asyncio
import os
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from urllib.parse import quote

import pytest
from client.support import assert_at_rest
from client.wires import Authority

from durastate import (
    DeadlineError,
    DecodingError,
    DurastateError,
    Limits,
    RetryPolicy,
    StateClient,
    TransportError,
)

from .carriers import patient
from .peer import REF, Peer, Talk, answer, asking, page_of, peer, request, reset

TIMEOUT_S = 0.15
_PAUSE_S = 0.02


class Do(Enum):
    """What a server does beside sending bytes."""

    SILENCE = auto()  # for ever
    HALF_CLOSE = auto()  # no more bytes, and no close either
    CLOSE = auto()
    RESET = auto()
    HANDSHAKE = auto()
    BETTER = auto()  # from the next request on


@dataclass(frozen=True)
class Dripping:
    """One byte at a time, each well within the time-out."""

    content: bytes


@dataclass(frozen=True)
class Endless:
    """The same again and again; as fast as it is taken, or with pauses."""

    content: bytes
    pause_s: float = _PAUSE_S


Step = bytes | Do | Dripping | Endless


@dataclass(frozen=True)
class Fault:
    """What the server does once it has the request, and what comes of the attempt.

    `error` is None where the attempt succeeds. `first` is what it does before any request, where
    `accepts` it any connection. `counted` is what our own transport says instead, of a head that
    has grown too large.
    """

    steps: tuple[Step, ...]
    error: tuple[type[DurastateError], ...] | None = (TransportError,)
    text: str = ""
    first: tuple[Step, ...] = ()
    accepts: bool = True
    full: bool = False
    tls: bool = False
    counted: str = ""


_LARGEST = 1024**2
PAGE = page_of("before", "the", "fault")
NEXT_PAGE = page_of("after", "it")
GOOD = answer(PAGE)
_HEAD, _BODY = GOOD[: -len(PAGE)], PAGE
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
_ONE_CHUNK = b"%x\r\n%b\r\n" % (len(PAGE), PAGE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Each costs its time-out; 101, after which the connection speaks another protocol, is no wait.
_INTERIM = range(102, 200) if os.environ.get("DURASTATE_LONG") else (102, 103, 150, 199)

# Where a server may stop: what it has sent by then.
_STOPS = {
    "before-the-headers": b"",
    "in-the-status-line": b"HTTP/1.1 20",
    "in-the-headers": _HEAD[:40],
    "after-the-headers": _HEAD,
    "in-the-body": _HEAD + _BODY[:50],
    "one-byte-before-the-end": GOOD[:-1],
    "in-a-chunk-size": _CHUNKED + b"1",
    "in-a-chunk": _CHUNKED + _ONE_CHUNK[:60],
    "before-the-last-chunk": _CHUNKED + _ONE_CHUNK,
    "in-the-trailers": _CHUNKED + _ONE_CHUNK + b"0\r\nX-Trailer: 1",
    "after-100-continue": _CONTINUE,
}
_ENDS = {
    Do.SILENCE: (DeadlineError, f"{TIMEOUT_S:g} s"),
    Do.HALF_CLOSE: (TransportError, "closed"),
    Do.CLOSE: (TransportError, "closed"),
    Do.RESET: (TransportError, "connection"),
}


def _late(*steps: Step, **more: object) -> Fault:
    return Fault(steps, (DeadlineError,), f"{TIMEOUT_S:g} s", **more)  # type: ignore[arg-type]


def _endless(*steps: Step) -> Fault:
    """More heads than an answer may have."""
    return Fault(steps, text="no usable answer", counted="its head has no end")


def _unending(*steps: Step) -> Fault:
    """More than a head may have, which our own transport counts; for aiohttp it is late."""
    return Fault(steps, (DeadlineError,), f"{TIMEOUT_S:g} s", counted="its head has no end")


FAULTS: dict[str, Fault] = {
    **{
        f"{do.name.lower()}-{where}": Fault((sent, do), (error,), text)
        for where, sent in _STOPS.items()
        for do, (error, text) in _ENDS.items()
    },
    **{
        f"silence-after-{status}": _late(
            b"HTTP/1.1 %d Wait\r\nX-More: 1\r\n\r\n" % status, Do.SILENCE
        )
        for status in _INTERIM
    },
    "stalled-accept": _late(accepts=False),
    "stalled-connect": _late(accepts=False, full=True),
    "stalled-handshake": _late(first=(Do.SILENCE,), tls=True),
    "stalled-inside-the-handshake": _late(first=(b"\x16\x03\x03\x00\x7a", Do.SILENCE), tls=True),
    "dripping-handshake": _late(first=(Dripping(b"\x16\x03\x03\x40\x00" + bytes(999)),), tls=True),
    "half-closed-handshake": Fault((), first=(Do.HALF_CLOSE, Do.SILENCE), tls=True),
    "reset-handshake": Fault((), first=(Do.RESET,), tls=True),
    "no-handshake-but-http": Fault((), first=(GOOD, Do.SILENCE), tls=True),
    "silence-after-the-handshake": _late(Do.SILENCE, first=(Do.HANDSHAKE,), tls=True),
    "silence-in-the-body-over-tls": _late(_HEAD, Do.SILENCE, first=(Do.HANDSHAKE,), tls=True),
    "close-in-the-body-over-tls": Fault((_HEAD, Do.CLOSE), first=(Do.HANDSHAKE,), tls=True),
    "reset-in-the-body-over-tls": Fault((_HEAD, Do.RESET), first=(Do.HANDSHAKE,), tls=True),
    "dripping-from-the-start": _late(Dripping(GOOD)),
    "dripping-body": _late(_HEAD, Dripping(_BODY)),
    "dripping-chunks": _late(_CHUNKED, Dripping(_ONE_CHUNK)),
    "content-length-too-short": Fault(
        # Whether the rest is seen in time to distrust the answer is a matter of packets.
        (answer(PAGE[:-9]) + PAGE[-9:], Do.SILENCE),
        (TransportError, DecodingError),
    ),
    "content-length-too-long": _late(answer(PAGE + b" ")[:-1], Do.SILENCE),
    "content-length-too-long-and-close": Fault((answer(PAGE + b" ")[:-1], Do.CLOSE)),
    "continue-and-then-an-answer": Fault((_CONTINUE, GOOD, Do.BETTER), None),
    "continue-twice-and-then-an-answer": Fault((_CONTINUE * 2, GOOD, Do.BETTER), None),
    "continue-dripping": _late(Endless(_CONTINUE)),
    "continue-as-fast-as-can-be": _endless(Endless(_CONTINUE * 100, 0)),
    "endless-status-line": Fault((b"HTTP/1.1 200 ", Endless(b"OK" * 4_000, 0))),
    "endless-header-line": Fault((_HEAD[:40], Endless(b"x" * 8_000, 0))),
    "endless-headers": Fault((_HEAD[:-2], Endless(b"X-More: 1\r\n" * 700, 0))),
    "endless-empty-lines": _endless(Endless(b"\r\n" * 4_000, 0)),
    "endless-chunk-size": _unending(_CHUNKED, Endless(b"0" * 8_000, 0)),
    "endless-chunk-extension": _unending(_CHUNKED + b"1;x=", Endless(b"x" * 8_000, 0)),
    "endless-trailers": Fault(
        (_CHUNKED + _ONE_CHUNK + b"0\r\n", Endless(b"X-More: 1\r\n" * 700, 0))
    ),
    "endless-answers": Fault((Endless(GOOD * 30, 0),), None),
    "endless-chunks": _late(_CHUNKED, Endless(_ONE_CHUNK)),
    "endless-body-without-a-length": _late(_UNTIL_CLOSE, Endless(_BODY)),
    "endless-body-as-fast-as-can-be": Fault(
        (_UNTIL_CLOSE, Endless(_BODY * 500, 0)), text=f"max_page_bytes={_LARGEST}"
    ),
    "another-protocol": Fault((b"SSH-2.0-OpenSSH_9.9\r\n", Do.SILENCE)),
    "no-length-but-a-word": Fault(
        (b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n", Do.SILENCE)
    ),
    "no-chunk-size-but-a-word": Fault((_CHUNKED + b"zz\r\n", Do.SILENCE)),
    "an-answer-that-nobody-asked-for": Fault((GOOD + GOOD, Do.BETTER), None),
}


def _talk(fault: Fault, authority: Authority) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in fault.first:
            await _do(step, writer, authority)
        await request(reader)
        for step in fault.steps:
            await _do(step, writer, authority)
        while Do.BETTER in fault.steps:
            await _good(reader, writer)

    return talk


async def _do(step: Step, writer: asyncio.StreamWriter, authority: Authority) -> None:
    match step:
        case bytes():
            writer.write(step)
            await writer.drain()
        case Dripping(content):
            for byte in content:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(_PAUSE_S)
        case Endless(content, pause_s):
            while True:
                writer.write(content)
                await writer.drain()
                await asyncio.sleep(pause_s)
        case Do.HANDSHAKE:
            await writer.start_tls(authority.server_context())
        case Do.HALF_CLOSE:
            writer.write_eof()
            await asyncio.Event().wait()
        case Do.SILENCE:
            await asyncio.Event().wait()
        case Do.RESET:
            reset(writer)


async def _good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(answer(NEXT_PAGE))
    await writer.drain()


@contextmanager
def _filled(server: Peer, is_full: bool) -> Iterator[None]:
    """Take all the room that the kernel has for connections that are not accepted."""
    fillers = [socket.socket() for _ in range(4 if is_full else 0)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(server.listener.getsockname())
    try:
        yield
    finally:
        for filler in fillers:
            filler.close()


@asynccontextmanager
async def _meeting(fault: Fault, authority: Authority) -> AsyncIterator[tuple[Peer, StateClient]]:
    scheme = "https" if fault.tls else "http"
    retry = RetryPolicy(max_attempts=1, attempt_timeout_s=TIMEOUT_S)
    async with (
        peer(_talk(fault, authority), scheme=scheme, accepts=fault.accepts) as server,
        asking(server, retry=retry, limits=Limits(max_page_bytes=_LARGEST)) as client,
    ):
        yield server, client


@pytest.mark.asyncio
@pytest.mark.parametrize("name", FAULTS)
async def test_an_attempt_ends_in_time_and_the_client_works_on(
    name: str,
    transport: str,
    trusted: Authority,
    record_property: Callable[[str, object], None],
) -> None:
    fault = FAULTS[name]
    if fault.counted and transport == "httptools":
        fault = replace(fault, error=(TransportError,), text=fault.counted)
    async with _meeting(fault, trusted) as (server, client):
        with _filled(server, fault.full):
            clock = asyncio.get_running_loop().time
            began = clock()
            attempt = asyncio.create_task(client.get_state(REF))
            await asyncio.wait([attempt], timeout=TIMEOUT_S + 1)
            in_time = attempt.done()
            record_property("no hang: seconds beyond the timeout", clock() - began - TIMEOUT_S)
            attempt.cancel()
            [outcome] = await asyncio.gather(attempt, return_exceptions=True)
        assert in_time
        if fault.error is None:
            assert not isinstance(outcome, BaseException), outcome
            assert [operation.id for operation in outcome.operations] == ["before", "the", "fault"]
        else:
            assert type(outcome) in fault.error, outcome
            assert fault.text in str(outcome)
            said = "".join(traceback.format_exception(outcome))
            assert REF.checkpoint_token not in said
            assert quote(str(REF.checkpoint_token), safe="") not in said
        assert_at_rest(client)

        # The same server comes to its senses. Its answer may take as long as this machine needs.
        patient(client, 10.0)
        server.talk = _good_over_tls(trusted) if fault.tls else _good
        if not fault.accepts:
            await server.accept()
        state = await client.get_state(REF)
        assert [operation.id for operation in state.operations] == ["after", "it"]
        assert_at_rest(client)


def _good_over_tls(authority: Authority) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(authority.server_context())
        await _good(reader, writer)

    return talk
