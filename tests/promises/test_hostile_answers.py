"""Whatever a server answers, the client gives a state or an error of ours, and is at rest."""

from __future__ import annotations

import asyncio
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from client.support import assert_at_rest, turns
from hypothesis import given
from hypothesis import strategies as st
from transports import TRANSPORTS, over

from durastate import (
    DecodingError,
    DurastateError,
    ExecutionState,
    Limits,
    PaginationError,
    RetryPolicy,
    ServiceError,
    StateClient,
    TransportError,
)

from .hostile import (
    CANARY,
    EVERY_VALUE,
    TIMEOUT_S,
    Members,
    examples,
    hostile_bodies,
    hostile_values,
    written,
)
from .peer import REF, Peer, Talk, answer, asking, page_of, request, saying

pytestmark = pytest.mark.timeout(TIMEOUT_S)

_MB = 1024**2
_LARGEST = 2 * _MB
_LONGEST_MARKER = 16_384
# One attempt: a hint of the server's may ask for a minute before the second.
_OPTIONS = {
    "retry": RetryPolicy(max_attempts=1, attempt_timeout_s=10),
    "limits": Limits(max_page_bytes=_LARGEST),
}


class Rig:
    """A bare server and a client of it on a loop of their own, for many examples."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self._runner = asyncio.Runner()
        self._runner.run(self._open())

    async def _open(self) -> None:
        self._server = Peer(saying(b""), "http")
        await self._server.accept()
        await self._connect()

    async def _connect(self) -> None:
        self._server.talk = saying(answer(page_of("a")))
        with over(self.transport):
            self._client = await asking(self._server, **_OPTIONS).__aenter__()
            await _whole(self._client)
        assert self._client.statistics().transport == self.transport
        await self._served()

    async def _served(self) -> None:
        # Else the next example would find the connection of this one, about to be closed.
        while self._server.tasks:
            await asyncio.wait(self._server.tasks, timeout=5)
        await turns(10)

    def read(self, talk: Talk | bytes) -> ExecutionState | DurastateError:
        """What reading an execution comes to; any other exception comes out."""
        outcome = self._runner.run(self._read(saying(talk) if isinstance(talk, bytes) else talk))
        if isinstance(outcome, DurastateError):
            assert str(outcome).isprintable()
            assert len(str(outcome)) < 1_500
        return outcome

    async def _read(self, talk: Talk) -> ExecutionState | DurastateError:
        self._server.talk = talk
        try:
            return await _whole(self._client)
        except DurastateError as error:
            return error
        finally:
            assert_at_rest(self._client)
            await self._served()
            if self._client.statistics().waited_for_throttling_s > 1:
                # So many refusals have slowed it down, and each example would wait for its pace.
                await self._client.__aexit__(None, None, None)
                await self._connect()

    def close(self) -> None:
        self._runner.run(self._close())
        self._runner.close()

    async def _close(self) -> None:
        await self._client.__aexit__(None, None, None)
        await self._server.close()


async def _whole(client: StateClient) -> ExecutionState:
    async with asyncio.timeout(20):
        return await client.get_state(REF)


@pytest.fixture(scope="module", params=TRANSPORTS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    opened = Rig(request.param)
    yield opened
    opened.close()


@examples(40)
@given(hostile_bodies())
def test_a_hostile_page_is_a_state_or_an_error(rig: Rig, body: bytes) -> None:
    outcome = rig.read(answer(body))
    if isinstance(outcome, DurastateError):
        assert CANARY not in str(outcome)


_CODES = (
    *(b"ExpiredTokenException", b"AccessDeniedException", b"KMSDisabledException", b"SlowDown"),
    *(b"InvalidParameterValueException", b"RequestTimeTooSkewed", b"x#y:z", b"#", b":", b""),
    *(b"\xff\xfe", b"A" * 7_000, b"\x1b[31m", b"NotFound\tx"),
)
_DATES = (
    *(b"Fri, 31 Dec 9999 23:59:59 GMT", b"Mon, 01 Jan 0100 00:00:00 GMT", b"yesterday", b""),
    *(b"Mon, 01 Jan 2024 00:00:00 -0000", b"Mon, 32 Jan 2024 00:00:00 GMT", b"1 2 3 4 5 6 7"),
)
_ANY = st.binary(max_size=20).filter(lambda value: not set(value) & set(b"\r\n"))
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        b"x-amzn-errortype": st.one_of(st.sampled_from(_CODES), _ANY),
        b"x-amzn-requestid": st.one_of(st.sampled_from((b"0f-9", b"x" * 99, b"\x1b[0m")), _ANY),
        b"Date": st.one_of(st.sampled_from(_DATES), _ANY),
        b"Retry-After": st.one_of(st.sampled_from((b"-1", b"9" * 30, b"NaN")), _ANY),
        b"Content-Encoding": st.one_of(st.sampled_from((b"gzip", b"br", b"identity")), _ANY),
        b"Content-Type": st.one_of(st.sampled_from((b"text/html; charset=x", b"a/b;;=")), _ANY),
        b"Transfer-Encoding": st.one_of(st.sampled_from((b"chunked", b"gzip, chunked")), _ANY),
        b"Connection": st.sampled_from((b"close", b"upgrade", b"keep-alive", b"\xff")),
        b"Location": st.sampled_from((b"http://[", b"//", b"file:///etc/passwd", b"\xff")),
        b"Set-Cookie": st.sampled_from((b"a=b", b"=;=", b"\xff=\xff", b"a=b; Max-Age=x")),
        b"Content-Length": st.one_of(st.sampled_from((b"-1", b"0", b"9" * 30)), _ANY),
    },
)
_ERROR_MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(("message", "Message", "__type", "code", "Type", CANARY)), hostile_values
    ),
    max_size=4,
)
_ERROR_BODIES = st.one_of(
    _ERROR_MEMBERS.map(lambda members: written(Members(members))),
    st.sampled_from(EVERY_VALUE).map(written),
    st.binary(max_size=30),
    hostile_bodies(),
)
_STATUSES = st.one_of(
    st.sampled_from((101, 200, 204, 302, 304, 400, 403, 404, 429, 500, 502, 503)),
    # After any other 1xx a client waits for the answer proper: test_no_hang has that.
    st.integers(0, 99),
    st.integers(200, 999),
)


@examples(100)
@given(_STATUSES, _HEADERS, _ERROR_BODIES)
def test_any_status_with_any_headers_and_any_body_is_a_state_or_an_error(
    rig: Rig, status: int, headers: dict[bytes, bytes], body: bytes
) -> None:
    headers.setdefault(b"Content-Length", b"%d" % len(body))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers.items())
    rig.read(b"HTTP/1.1 %03d Status\r\n%b\r\n%b" % (status, lines, body))


@pytest.mark.parametrize("status", [0, 7, 99])
def test_after_a_status_below_100_nobody_waits_for_an_answer_proper(rig: Rig, status: int) -> None:
    outcome = rig.read(b"HTTP/1.1 %03d Status\r\nContent-Length: 2\r\n\r\n{}" % status)
    if rig.transport == "aiohttp":  # It takes that for a refusal.
        assert type(outcome) is ServiceError
        assert f"HTTP {status}: no message" in str(outcome)
    else:
        assert type(outcome) is TransportError
        assert "no usable answer (it is not HTTP/1.1)" in str(outcome)


# Size


def _bomb(wbits: int) -> bytes:
    """Zeros by the gigabyte: a block after a full flush says the same wherever it stands."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(_MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * 1_024


@pytest.mark.parametrize(
    ("encoding", "wbits"),
    [(b"gzip", 31), (b"deflate", 15), (b"deflate", -15), (b"x-gzip", 31), (b"gzip, gzip", 31)],
)
@pytest.mark.parametrize("status", [b"200 OK", b"500 Error"])
def test_a_decompression_bomb_is_refused_by_name_and_not_unpacked(
    rig: Rig, encoding: bytes, wbits: int, status: bytes
) -> None:
    bomb = _bomb(wbits)
    assert len(bomb) < _LARGEST
    headers = b"Content-Encoding: %b\r\n" % encoding
    outcome, peak = _measured(rig, saying(answer(bomb, status=status, headers=headers)))
    if status.startswith(b"200"):
        assert type(outcome) is TransportError
        assert "compressed" in str(outcome)
    else:
        assert isinstance(outcome, ServiceError)
    assert peak < 8 * _MB


def _measured(rig: Rig, talk: Talk) -> tuple[ExecutionState | DurastateError, int]:
    tracemalloc.start()
    try:
        return rig.read(talk), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _flood(head: bytes, unit: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(head)
        while True:
            writer.write(unit)
            await writer.drain()

    return talk


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "content-length": (_OK + b"Content-Length: 99999999999\r\n\r\n", bytes(65_536)),
    "no-length": (_OK + b"\r\n", bytes(65_536)),
    "chunks": (_CHUNKED, b"10000\r\n" + bytes(65_536) + b"\r\n"),
    "tiny-chunks": (_CHUNKED, b"80\r\n" + bytes(128) + b"\r\n"),
    "one-chunk": (_CHUNKED + b"7fffffffffff\r\n", bytes(65_536)),
    "an-error": (b"HTTP/1.1 500 Error\r\n\r\n", bytes(65_536)),
    "compressed": (_OK + b"Content-Encoding: gzip\r\n\r\n", bytes(65_536)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_body_beyond_max_page_bytes_is_refused_while_it_comes(rig: Rig, name: str) -> None:
    head, unit = FLOODS[name]
    unit *= 4_096 // len(unit) or 1
    outcome, peak = _measured(rig, _flood(head, unit))
    assert type(outcome) is TransportError
    assert f"max_page_bytes={_LARGEST}" in str(outcome)
    assert outcome.retryable is False
    assert peak < 4 * _LARGEST


def test_an_error_of_millions_of_words_is_known_by_its_status_alone(rig: Rig) -> None:
    body = b'{"message":"%b"}' % (b"a " * (_LARGEST // 2 - 50))
    outcome, peak = _measured(rig, saying(answer(body, status=b"500 Error")))
    assert isinstance(outcome, ServiceError)
    assert "HTTP 500: no message" in str(outcome)
    assert peak < 4 * _LARGEST


def _sending(head: bytes, unit: bytes, count: int, end: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(head)
        for _ in range(count):
            writer.write(unit)
            await writer.drain()
        writer.write(end)

    return talk


def test_chunks_of_two_bytes_take_no_more_memory_than_the_body(rig: Rig) -> None:
    begin, _, _ = page_of("a", Filler="").rpartition(b'"}')
    head = b"%b%x\r\n%b\r\n" % (_CHUNKED, len(begin), begin)
    count = 48 if rig.transport == "httptools" else 4  # aiohttp takes 4 µs for each.
    talk = _sending(head, b"2\r\nxx\r\n" * 4_096, count, b'2\r\n"}\r\n0\r\n\r\n')
    rig.read(talk)  # What is made once is no part of it.
    outcome, peak = _measured(rig, talk)
    assert isinstance(outcome, ExecutionState)
    assert len(outcome.operations) == 1
    assert peak < 8 * _MB  # Decoding included; as objects of their own they take 24 MB.


_BODY = b"20000\r\n" + b" " * 0x20000 + b"\r\n"
AMPLIFIERS = {
    "headers": (_OK, b"a:\r\n"),
    "headers-of-a-kilobyte": (_OK, b"X-%b: 1\r\n" % (b"a" * 1_024)),
    "one-header": (_OK + b"X: ", b"a"),
    "one-status-line": (b"HTTP/1.1 200 ", b"OK"),
    "interim-answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "interim-answers-with-headers": (b"", b"HTTP/1.1 103 Early\r\nLink: </a>\r\nA: 1\r\n\r\n"),
    "line-breaks": (b"", b"\r\n"),
    "trailers": (_CHUNKED + _BODY + b"0\r\n", b"a:\r\n"),
    "one-trailer": (_CHUNKED + _BODY + b"0\r\nX: ", b"a"),
    "a-chunk-size": (_CHUNKED + _BODY, b"0"),
    "a-chunk-extension": (_CHUNKED + _BODY + b"1;", b"x"),
}


@pytest.mark.parametrize("name", AMPLIFIERS)
def test_what_is_no_body_has_limits_of_its_own(rig: Rig, name: str) -> None:
    """By the megabyte; an answer that ends then is no answer."""
    head, unit = AMPLIFIERS[name]
    unit *= 16_384 // len(unit)
    outcome, peak = _measured(rig, _sending(head, unit, 128, b"\r\n\r\n"))
    assert isinstance(outcome, TransportError | DecodingError)
    if rig.transport == "httptools" and not name.startswith("one-"):
        assert "its head has no end" in str(outcome)
    assert peak < 2 * _MB


# Markers


def _listing(*markers: str) -> Talk:
    """Pages with these markers, one a request; then the last page."""
    left = iter(markers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        marker = next(left, None)
        body = page_of("op", NextMarker=marker)
        writer.write(answer(body, headers=b"Connection: close\r\n"))
        await writer.drain()

    return talk


@pytest.mark.parametrize("markers", ["aa", "aba", "abcb", "ab" * 50])
def test_markers_that_repeat_or_cycle_are_an_error(rig: Rig, markers: str) -> None:
    assert type(rig.read(_listing(*markers))) is PaginationError


@pytest.mark.parametrize("character", ["m", "ü", "%", "\x00", "\n", "&", "\U0001f600", "\x1b"])
def test_a_marker_of_any_characters_is_sent_back_as_it_is_and_a_longer_one_is_not(
    rig: Rig, character: str
) -> None:
    outcome = rig.read(_listing(character * _LONGEST_MARKER))
    assert isinstance(outcome, ExecutionState)
    assert len(outcome.operations) == 2
    outcome = rig.read(_listing(character * (_LONGEST_MARKER + 1)))
    assert str(outcome) == "NextMarker: has 16385 characters, which no URL takes"
