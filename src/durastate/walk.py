"""The pages of one execution: what to ask for next, whether the listing can end, when it has.

`Walk` asks for one page after the other; where its requests go, and whether the reference can be
asked for at all, is in `_Target`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from typing import NoReturn

from .calls import Calls, Persistence
from .decoding import decode_page, is_text
from .errors import (
    ConfigurationError,
    DecodingError,
    DurastateError,
    InvalidRefError,
    MissingTokenError,
    PaginationError,
)
from .gates import Stream
from .hooks import ExecutionDone, PageRead
from .models import StatePage
from .pace import Pace
from .refs import ExecutionRef, is_token, match_arn, parse_arn, shown_arn
from .requests import GET_STATE, Request, state_path, state_query

MAX_ITEMS = 1000
_LONGEST_KEY = 1024
_LONGEST_KEPT_MARKER = 256
# An execution has at most 3,000 operations, so this many empty pages mean a server gone astray.
_MOST_EMPTY_PAGES = 1000


class Walk:
    """The pages of one execution, one request at a time, to the last or to an error."""

    def __init__(
        self,
        calls: Calls,
        ref: ExecutionRef,
        marker: str | None,
        max_items: int,
        persistence: Persistence = Persistence.ATTEMPTS,
        *,
        inline: bool = True,
        stream: Stream | None = None,
    ) -> None:
        check_max_items(max_items)
        if not isinstance(ref, ExecutionRef):
            raise ConfigurationError(f"ref: expected an ExecutionRef, found {type(ref).__name__}")
        if marker is not None and not is_text(marker):
            raise ConfigurationError("marker: expected a string, as a page's next_marker has it")
        self.is_done = False
        self.has_read = False
        self.bytes_read = 0
        self.last_failure = ""
        self._pages = 0
        self._operations = 0
        self.arn = ref.arn
        self._calls = calls
        self._began_at = asyncio.get_running_loop().time() if calls.tells_all else 0.0
        self._target = _Target(ref, calls)
        self._marker = marker
        self._max_items = max_items
        self._persistence = persistence
        self._inline = ref._inline if inline else None
        self._seen = {_digest(marker)}
        self._empty_in_a_row = 0
        self._stream = stream
        self._hold = calls.shared.gate.hold(stream)

    async def next(self) -> StatePage:
        """The next page. Its bytes count as held until `release`, or until `hand_over`'s call."""
        if self._inline is not None:
            page, self._inline = self._inline, None
        else:
            page = await self._read()
        self._marker = page.next_marker
        self.is_done = self._marker is None
        if not self.is_done and not is_text(self._marker):
            self.release()
            raise DecodingError("NextMarker", "holds half of a surrogate pair, so cannot be sent")
        self._empty_in_a_row = 0 if page.operations else self._empty_in_a_row + 1
        seen = _digest(self._marker)
        if not self.is_done and seen in self._seen:
            self._refuse("the service sent the same marker a second time")
        if self._empty_in_a_row > _MOST_EMPTY_PAGES:
            self._refuse(f"the service sent {_MOST_EMPTY_PAGES} pages in a row without operations")
        self._seen.add(seen)
        return page

    def _refuse(self, what: str) -> NoReturn:
        self.release()
        raise PaginationError(f"{self.arn}: {what}, so the listing would never end")

    async def _read(self) -> StatePage:
        calls, target = self._calls, self._target
        request = await target.request(self._marker, self._max_items)
        try:
            response = await calls.answer(
                request,
                target.token,
                target.pace,
                self._hold,
                persistence=self._persistence,
                note=self._note,
            )
            size = len(response.body)
            if not calls.shared.turns.try_take(size):
                await calls.shared.turns.take(size)
            page = decode_page(response.body)
            self._count(page, size)
        except BaseException as error:
            self.release()
            if isinstance(error, DecodingError):
                error.add_note(f"while reading {self.arn}")
            raise
        self.has_read = True
        return page

    def _count(self, page: StatePage, size: int) -> None:
        calls, count = self._calls, len(page.operations)
        self.bytes_read += size
        self._pages += 1
        self._operations += count
        calls.pages += 1
        calls.bytes += size
        calls.operations += count
        if calls.tells_all:
            is_last = page.next_marker is None
            calls.tell(PageRead(self.arn, operations=count, bytes=size, is_last=is_last))

    def _note(self, error: DurastateError) -> None:
        self.last_failure = str(error)

    def tell_of_end(self, error: DurastateError | None = None) -> None:
        """Tell the hooks that nothing more will be read.

        Not of a reference that was refused: what stands for its ARN may be a token.
        """
        if self._calls.tells_all and not isinstance(error, ConfigurationError):
            self._calls.tell(
                ExecutionDone(
                    self.arn,
                    pages=self._pages,
                    operations=self._operations,
                    seconds=asyncio.get_running_loop().time() - self._began_at,
                    error=None if error is None else type(error).__name__,
                )
            )

    def release(self) -> None:
        """Stop counting the bytes of the last page as held."""
        self._hold.release()

    def hand_over(self) -> Callable[[], None]:
        """What will stop the counting later; the walk goes on with a new hold."""
        hold = self._hold
        hold.park()
        self._hold = self._calls.shared.gate.hold(self._stream)
        return hold.release


class _Target:
    """Where the requests for one reference go, and what they say; checked before the first."""

    def __init__(self, ref: ExecutionRef, calls: Calls) -> None:
        if ref.checkpoint_token is None:
            raise MissingTokenError(
                f"checkpoint_token: GetDurableExecutionState needs one for {shown_arn(ref.arn)}. "
                f"It is in the invocation event of the durable function"
            )
        self.arn = ref.arn
        self.token = ref.checkpoint_token
        self.pace: Pace
        self._calls = calls
        self._path = ""
        self._region = ""

    async def request(self, marker: str | None, max_items: int) -> Request:
        if not self._path:
            await self._check()
        query = state_query(self.token, marker, max_items)
        return Request(GET_STATE, self.arn, self._region, self._path, query)

    async def _check(self) -> None:
        parts = match_arn(self.arn)
        region, is_own = await self._calls.region_of(None if parts is None else parts.region)
        if region is None:
            if not is_own:
                parse_arn(self.arn)
            raise ConfigurationError("region_name: none is configured, and a key has none either")
        if is_own:
            self._check_for_own_endpoint()
        else:
            parse_arn(self.arn)
            if not is_token(self.token):
                raise InvalidRefError(
                    "checkpoint_token: expected base64 of 1 to 2,048 characters, as the "
                    "invocation event has it"
                )
        owner = None if parts is None else parts.account
        self.pace = self._calls.shared.pace(GET_STATE, owner, region, own_endpoint=is_own)
        self._region = region
        self._path = state_path(self.arn)

    def _check_for_own_endpoint(self) -> None:
        """Local servers have keys and tokens of other forms than AWS; only they may."""
        if not is_text(self.arn) or not 0 < len(self.arn) <= _LONGEST_KEY:
            raise InvalidRefError("arn: expected 1 to 1,024 characters")
        if self.arn in (".", ".."):
            raise InvalidRefError("arn: expected a key, found a relative path")
        if not is_text(self.token) or not self.token:
            raise InvalidRefError("checkpoint_token: expected a string that is not empty")


def _digest(marker: str | None) -> str | bytes | None:
    """What stands for a marker among those that were seen: a server may send 1 MB of it."""
    if marker is None or len(marker) <= _LONGEST_KEPT_MARKER:
        return marker
    return blake2b(marker.encode(), digest_size=16).digest()


def check_max_items(max_items: int) -> None:
    if type(max_items) is not int or not 0 <= max_items <= MAX_ITEMS:
        raise ConfigurationError(
            f"max_items: expected an integer from 0 to {MAX_ITEMS}, found {max_items!r}"
        )
