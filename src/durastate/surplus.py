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

_END_OF_HEAD = b"\r\n\r\n"
_END_OF_CHUNKS = re.compile(rb"[^\r\n]\r\n\r\n")
#: One, and those of the 1xx answers before it.
MOST_HEADS = 32
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
        end = seen.find(_END_OF_HEAD)
        if end < 0:
            self._last = seen[1 - len(_END_OF_HEAD) :]
            return len(data)
        size = end + len(_END_OF_HEAD) - len(self._last)
        self._last = b""
        self.heads += 1
        return size

    def are_of_chunks(self, data: memoryview | bytes) -> bool:
        """Whether these bytes may be the last ones of a chunked body and nothing else."""
        self._last = (self._last + bytes(data[-5:]))[-5:]
        return _END_OF_CHUNKS.fullmatch(self._last) is not None


class _Open(ssl.SSLObject):
    """A TLS object that shows where its input waits, which asyncio and uvloop both keep private."""

    incoming: ssl.MemoryBIO

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, *arguments: Any, **options: Any) -> _Open:
        made: _Open = super()._create(incoming, *arguments, **options)  # type: ignore[misc]
        made.incoming = incoming
        return made


def show_input(context: ssl.SSLContext) -> None:
    """Let `Unread` see all that waits in connections that are made with `context` from now on."""
    context.sslobject_class = _Open


class Unread:
    """What one connection has received and nobody has read yet, its end among it."""

    __slots__ = ("_kernel", "_tls", "_transport")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._kernel = select.poll()
        self._kernel.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        tls = transport.get_extra_info("ssl_object")
        self._tls = tls if isinstance(tls, _Open) else None

    def is_there(self) -> bool:
        """Look everywhere; it takes less than a microsecond."""
        if self._kernel.poll(0):
            return True
        tls = self._tls
        return tls is not None and (tls.incoming.pending > 0 or tls.pending() > 0)

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
