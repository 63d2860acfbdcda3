"""What a peer sends that is no answer to any request.

What follows an answer, or is there before a request is written, would be taken for the answer to
the next request, and so for the state of another execution. It may be in what a parser was given;
in the kernel; or, over TLS, in a record of which a part has come, or decrypted in the TLS object.
"""

from __future__ import annotations

import asyncio
import re
import select
import ssl
from typing import Any

# aiohttp takes bare line feeds; llhttp, as httptools has it, refuses them.
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_END_OF_CHUNKS = re.compile(rb"[^\r\n]\r\n\r\n")
#: One, and those of the 1xx answers before it.
MOST_HEADS = 32
# The head of a record of TLS, in its last two bytes the length of the rest.
_RECORD = re.compile(rb"[\x14-\x18]\x03.[\0-\x48].", re.DOTALL)
# Two are enough to read what has come.
_TURNS = 100


class Ends:
    """Finds where heads and chunked bodies end in the bytes of an answer, however they are cut.

    llhttp does not say it, skips line breaks behind an answer, and keeps the beginning of another
    to itself. It takes no other line breaks than these.
    """

    __slots__ = ("_last", "heads")

    def __init__(self) -> None:
        self.heads = 0
        self._last = b""  # Bytes that what comes next may belong to.

    def of_head(self, data: memoryview | bytes) -> int:
        """How many of the bytes are a head's, up to its end; all where it has none here."""
        seen = self._last + bytes(data)
        end = _END_OF_HEAD.search(seen)
        if end is None:
            self._last = seen[-2:]
            return len(data)
        size = end.end() - len(self._last)
        self._last = b""
        self.heads += 1
        return size

    def are_of_chunks(self, data: memoryview | bytes) -> bool:
        """Whether these bytes may be the last ones of a chunked body and nothing else."""
        self._last = (self._last + bytes(data[-5:]))[-5:]
        return _END_OF_CHUNKS.fullmatch(self._last) is not None


class _ByRecord(ssl.SSLObject):
    """A TLS object that is given whole records only, so that one can see where it is in them.

    OpenSSL keeps the beginning of a record to itself, and asyncio and uvloop keep their input.
    """

    _arrived: ssl.MemoryBIO
    _records: ssl.MemoryBIO
    _part: bytes  # of a record

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, *arguments: Any, **options: Any) -> _ByRecord:
        records = ssl.MemoryBIO()
        made: _ByRecord = super()._create(records, *arguments, **options)  # type: ignore[misc]
        made._arrived, made._records, made._part = incoming, records, b""
        return made

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - its name there
        if self._arrived.pending:
            self._pass_on()
        return super().read(len, buffer)

    def do_handshake(self) -> None:
        self._pass_on()
        super().do_handshake()

    def unwrap(self) -> None:
        self._pass_on()
        super().unwrap()

    def pending(self) -> int:
        """How many bytes may be read without others arriving; uvloop reads while there are any."""
        return super().pending() + self._records.pending

    def holds_any(self) -> bool:
        return bool(self._arrived.pending or self._part or self.pending())

    def _pass_on(self) -> None:
        data = self._part + self._arrived.read()
        end = 0
        while _RECORD.match(data, end):
            after = end + 5 + (data[end + 3] << 8 | data[end + 4])
            if after > len(data):
                break
            end = after
        else:
            if len(data) >= end + 5:
                end = len(data)  # No record: OpenSSL is to say so.
        self._part = data[end:]
        self._records.write(memoryview(data)[:end])


def show_input(context: ssl.SSLContext) -> None:
    """Let `Unread` see all that waits in connections that are made with `context` from now on."""
    context.sslobject_class = _ByRecord


class Unread:
    """What one connection has received and nobody has read yet, its end among it."""

    __slots__ = ("_kernel", "_tls", "_transport")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._kernel = select.poll()
        self._kernel.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        tls = transport.get_extra_info("ssl_object")
        self._tls = tls if isinstance(tls, _ByRecord) else None

    def is_there(self) -> bool:
        """Look everywhere; it takes less than a microsecond."""
        if self._kernel.poll(0):
            return True
        return self._tls is not None and self._tls.holds_any()

    async def is_none_soon(self) -> bool:
        """Let the event loop read what has come on a new connection; False where that has no end.

        It may be records of the TLS handshake. Anything else reaches the protocol.
        """
        turns = 0
        while self.is_there():
            if turns == _TURNS or self._transport.is_closing():
                return False
            turns += 1
            await asyncio.sleep(0)
        return True
