"""One HTTP/1.1 answer as it arrives.

httptools (llhttp in C) parses every head and every chunked body; what has a Content-Length is
received straight into one buffer of that length.
"""

from __future__ import annotations

import httptools

from .errors import TransportError
from .surplus import MOST_HEADS, Ends

_LARGEST_HEAD = 64 * 1024
_MOST_FIELDS = 256  # Trailers are among them. AWS sends ten.
_NOTHING = memoryview(b"")


class Incoming:
    """One answer: what has arrived of it, and what is to be done about it.

    `problem` is what makes it useless. `uncounted` bytes of the body are not on the hold; nothing
    more may be read before they are. `rest`, where there is one, is where the next bytes belong.
    `leaves_open` is False too where anything follows the answer.
    """

    def __init__(self, limit: int) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.head_bytes = 0  # Of heads, chunk sizes and trailers.
        self.is_whole = False
        self.leaves_open = False
        self.ends_with_close = False
        self.problem: TransportError | None = None
        self.uncounted = 0
        self.rest = _NOTHING
        self._limit = limit
        self._length: int | None = None
        self._body = bytearray()
        self.on_body = self._body.extend  # Called for each chunk, however small.
        self._fields = 0  # Headers and trailers.
        self._between = 0  # Bytes since the last one of the body.
        self._ends = Ends()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: memoryview) -> None:
        """Take in what has arrived."""
        try:
            while data and not self.status and self.problem is None:
                data = data[self._feed_head(data) :]
            if data and self.problem is None:
                if self._length is None:
                    self._feed_body(data)
                else:
                    self._take(data, self._length)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.leaves_open = False
            if not self.is_whole and self.problem is None:
                self.problem = TransportError("no usable answer (it is not HTTP/1.1)")

    def _feed_head(self, data: memoryview) -> int:
        """Parse to the end of a head, as far as it is here; return how many bytes that is."""
        size = self._ends.of_head(data)
        self._parser.feed_data(data[:size])
        self._count(size)
        if self._ends.heads > MOST_HEADS:
            self.problem = _endless()
        return size

    def _feed_body(self, data: memoryview) -> None:
        """Parse a body of chunks, or one that ends with the connection."""
        before = len(self._body)
        try:
            self._parser.feed_data(data)
        finally:
            grown = len(self._body) - before
            self.uncounted += grown
            if len(self._body) > self._limit:
                self.problem = self._too_large()
        self._between = 0 if grown else self._between + len(data)
        self._count(len(data) - grown)
        if not self._ends.are_of_chunks(data) and self.is_whole:
            self.leaves_open = False

    def _count(self, size: int) -> None:
        """Count what is no body: the parser holds parts of it."""
        self.head_bytes += size
        allowed = _LARGEST_HEAD + 8 * len(self._body)  # Chunks can be small.
        if (self.head_bytes > allowed or self._between > _LARGEST_HEAD) and self.problem is None:
            self.problem = _endless()

    def _take(self, data: memoryview, count: int) -> None:
        """Take so many bytes of a body whose length is known; what follows is not its own."""
        self._body += data[:count]
        self.is_whole = len(data) >= count
        if len(data) > count:
            self.leaves_open = False

    def filled(self, count: int) -> None:
        """So many bytes are in `rest` now."""
        self.rest = self.rest[count:]
        self.is_whole = not self.rest

    def may_be_held(self) -> None:
        """No byte is uncounted any more."""
        self.uncounted = 0
        if self._length is not None and not self.is_whole and not self.rest:
            # From here on the body is received into its place.
            body, received = bytearray(self._length), len(self._body)
            body[:received] = self._body
            self._body, self.rest = body, memoryview(body)[received:]

    def take_body(self) -> bytearray:
        """The body, which is the caller's alone from now on."""
        body, self.rest = self._body, _NOTHING
        # The connection keeps this object. The parser refers to it: together they would be the
        # collector's.
        del self._body, self.on_body, self._parser
        return body

    # What the parser calls

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise ValueError("an answer that nobody has asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            self.problem = _endless()
            raise ValueError("too many headers")
        if not self.status:  # Otherwise it is a trailer.
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100:
            raise ValueError("an answer without a status")
        if status < 200:
            self.headers.clear()  # The answer is still to come.
            return
        self.status = status
        self.leaves_open = self._parser.should_keep_alive()
        if status in (204, 304):
            self._length = 0
            return
        if "transfer-encoding" in self.headers:
            return
        length = self.headers.get("content-length")
        if length is None:
            self.ends_with_close = True
        elif int(length) > self._limit:
            self.problem = self._too_large()
        else:
            self._length = self.uncounted = int(length)

    def on_message_complete(self) -> None:
        self.is_whole = self.status > 0

    def _too_large(self) -> TransportError:
        failure = TransportError(f"the body has more than max_page_bytes={self._limit}")
        failure.retryable = False
        return failure


def _endless() -> TransportError:
    return TransportError("no usable answer (its head has no end)")
