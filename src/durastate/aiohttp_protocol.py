"""aiohttp's protocol for one connection, with an eye on where each answer ends.

aiohttp itself drops what its parser has begun to read behind an answer, and keeps a whole answer
that nobody has asked for until the next request takes it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import ClientError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from .surplus import MOST_HEADS, Ends, Unread

_BODILESS = (204, 304)
# Of a chunked body in one turn of the loop: 1,200 chunks of two bytes take 3 ms. A read is 256 KB.
_PIECE = 8 * 1024


class Protocol(ResponseHandler):
    """Closes its connection where anything is no answer to a request.

    `was_used` says whether any request was sent over it.
    """

    unread: Unread

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.opened_at = time.monotonic()
        self.was_used = False
        self._is_asked = False
        self._ends = Ends()
        self._found: tuple[Any, Any] | None = None  # The head of the answer, and its body.
        self._left: int | None = None  # Bytes of the body, where their number is known.
        self._pieces = bytearray()  # Of a chunked body, not parsed yet.
        self._pump: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.unread = Unread(transport)

    def is_clean(self) -> bool:
        """Whether nothing has come since the last answer."""
        return not self.should_close and not self.unread.is_there()

    # What aiohttp calls

    def set_response_params(self, **options: Any) -> None:
        """The next request is about to be written."""
        self.was_used = self._is_asked = True
        self._ends, self._found, self._left = Ends(), None, None
        self._pieces.clear()
        super().set_response_params(**options)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The parser has found a head."""
        if data[0].code >= 200 or data[0].code == 101:
            self._found = data
            self._learn_length(data[0])
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp goes on reading; its parser may have put something aside.
            super().data_received(data)
            self._look_for_end_of_chunks(data)
            self._go_on()
        elif not self._is_asked:
            self.force_close()
        elif self._pieces:
            self._pieces += data
        else:
            self._received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._pieces.clear()
        super().connection_lost(exc)

    def _received(self, data: bytes) -> None:
        while data and self._found is None and self._exception is None:
            size = self._ends.of_head(data)
            super().data_received(data[:size])
            data = data[size:]
            if self._ends.heads > MOST_HEADS:
                self._fail("its head has no end")
        if self._found is None or self._exception is not None:
            return
        if self._left is not None:
            self._take(data, self._left)
        elif self._found[0].chunked and len(data) > _PIECE:
            self._pieces += data
            self._pause_reading_for_buffer()
            self._go_on()
        else:
            self._parse(data)

    def _fail(self, reason: str) -> None:
        if self.transport is not None:
            self.transport.close()
        self.set_exception(HttpProcessingError(message=reason))

    def _take(self, data: bytes, count: int) -> None:
        """Take so many bytes of a body whose length is known; what follows is not its own."""
        if len(data) > count:
            self.force_close()
        self._left = max(0, count - len(data))
        self._is_asked = self._left > 0
        if own := data[:count]:
            super().data_received(own)

    def _parse(self, data: bytes) -> None:
        if data:
            super().data_received(data)
        self._look_for_end_of_chunks(data)
        if self._exception is not None and self._found is not None and not self._found[1].is_eof():
            # Whoever reads the body would not hear of it.
            self._found[1].set_exception(ClientError("the body is no chunks"))

    def _look_for_end_of_chunks(self, data: bytes) -> None:
        if self._found is None or self._left is not None:
            return
        ends_here = self._ends.are_of_chunks(data)
        if self._found[1].is_eof():
            self._is_asked = False
            if self._pieces or not ends_here:
                self.force_close()

    def _go_on(self) -> None:
        if self._pieces and self._pump is None:
            self._pump = self._loop.call_soon(self._next_piece)

    def _next_piece(self) -> None:
        """Parse as much as one turn of the event loop may take."""
        self._pump = None
        if self._reading_paused or not self._pieces:
            return  # aiohttp says when it can take more; the connection may be gone.
        piece = bytes(self._pieces[:_PIECE])
        del self._pieces[:_PIECE]
        self._parse(piece)
        if self._pieces:
            self._go_on()
        else:
            self._resume_reading_for_buffer()

    def _learn_length(self, head: Any) -> None:
        if head.code in _BODILESS:
            self._left = 0
        elif not head.chunked and "Content-Length" in head.headers:
            self._left = int(head.headers["Content-Length"])
