"""The answers of one target: one after the other, decoded, within the limits.

`Reading` makes an answer of each request. `Walk` follows the markers from page to page: what to
ask for next, whether the listing can end, when it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, NoReturn, Protocol, TypeVar

from .calls import Calls, Persistence
from .decoding import is_text
from .errors import ConfigurationError, DecodingError, DurastateError, PaginationError
from .gates import Stream
from .hooks import ExecutionDone, PageRead
from .requests import LIST_EXECUTIONS
from .targets import Target

_LONGEST_KEPT_MARKER = 256
# It becomes part of a URL, of which servers take 8 to 16 KB. To escape a longer one holds the loop.
_LONGEST_MARKER = 16 * 1024
# An execution has at most 3,000 operations, so this many empty pages mean a server gone astray.
_MOST_EMPTY_PAGES = 1000
# A listing may have looked through a million executions for one with the wanted status.
_MOST_EMPTY_LISTINGS = 10_000


class Page(Protocol):
    """What a walk needs to know of a page: the marker of the next one, and how much it holds."""

    @property
    def next_marker(self) -> str | None: ...

    def __len__(self) -> int: ...


A = TypeVar("A")
P = TypeVar("P", bound=Page)


class Reading(Generic[A]):
    """Requests about one target, each to its decoded answer."""

    def __init__(
        self,
        calls: Calls,
        target: Target[A],
        persistence: Persistence,
        stream: Stream | None = None,
    ) -> None:
        self.arn = target.key
        self.operation = target.operation
        self.has_read = False
        self.bytes_read = 0
        self.last_failure = ""
        self._calls = calls
        self._target = target
        self._persistence = persistence
        self._stream = stream
        self._hold = calls.shared.gate.hold(stream)

    async def ask(self, marker: str | None = None) -> A:
        """One answer. Its bytes count as held until `release`."""
        calls, target = self._calls, self._target
        request = await target.request(calls, marker)
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
            answer = target.decode(response.body)
            self.bytes_read += size
            calls.bytes += size
            self._count(answer, size)
        except BaseException as error:
            self.release()
            if isinstance(error, DecodingError):
                error.add_note(f"while reading {self.arn}")
            raise
        self.has_read = True
        return answer

    def _count(self, answer: A, size: int) -> None:  # noqa: ARG002
        self._calls.count(self.operation, 1)

    def _note(self, error: DurastateError) -> None:
        self.last_failure = str(error)

    def release(self) -> None:
        """Stop counting the bytes of the last answer as held."""
        self._hold.release()


class Walk(Reading[P]):
    """The pages of one target, one request at a time, to the last or to an error.

    `first` is a page that is known already and not asked for.
    """

    def __init__(
        self,
        calls: Calls,
        target: Target[P],
        persistence: Persistence = Persistence.ATTEMPTS,
        *,
        marker: str | None = None,
        first: P | None = None,
        stream: Stream | None = None,
    ) -> None:
        super().__init__(calls, target, persistence, stream)
        if marker is not None and not is_text(marker):
            raise ConfigurationError("marker: expected a string, as a page's next_marker has it")
        if marker is not None and len(marker) > _LONGEST_MARKER:
            raise ConfigurationError(f"marker: expected at most {_LONGEST_MARKER} characters")
        self.is_done = False
        self._pages = 0
        self._items = 0
        self._began_at = asyncio.get_running_loop().time() if calls.tells_all else 0.0
        self._marker = marker
        self._first = first
        self._seen = {_digest(marker)}
        self._empty_in_a_row = 0
        self._most_empty = (
            _MOST_EMPTY_LISTINGS if target.operation == LIST_EXECUTIONS else _MOST_EMPTY_PAGES
        )

    async def next(self) -> P:
        """The next page. Its bytes count as held until `release`, or until `hand_over`'s call."""
        page = self._first
        if page is None:
            page = await self.ask(self._marker)
        self._first = None
        self._marker = page.next_marker
        self.is_done = self._marker is None
        if self._marker is not None:
            self._check(self._marker)
        self._empty_in_a_row = 0 if len(page) else self._empty_in_a_row + 1
        seen = _digest(self._marker)
        if not self.is_done and seen in self._seen:
            self._refuse("the service sent the same marker a second time")
        if self._empty_in_a_row > self._most_empty:
            self._refuse(f"the service sent {self._most_empty} empty pages in a row")
        self._seen.add(seen)
        return page

    def _check(self, marker: str) -> None:
        """Refuse what cannot be sent back."""
        if len(marker) > _LONGEST_MARKER:
            problem = f"has {len(marker)} characters, which no URL takes"
        elif not is_text(marker):
            problem = "holds half of a surrogate pair, so cannot be sent"
        else:
            return
        self.release()
        raise DecodingError("NextMarker", problem)

    def _refuse(self, what: str) -> NoReturn:
        self.release()
        raise PaginationError(f"{self.arn}: {what}, so the listing would never end")

    def _count(self, answer: P, size: int) -> None:
        calls, count = self._calls, len(answer)
        self._pages += 1
        self._items += count
        calls.pages += 1
        calls.count(self.operation, count)
        if calls.tells_all:
            is_last = answer.next_marker is None
            calls.tell(PageRead(self.operation, self.arn, items=count, bytes=size, is_last=is_last))

    def tell_of_end(self, error: DurastateError | None = None) -> None:
        """Tell the hooks that nothing more will be read.

        Not of a reference that was refused: what stands for its ARN may be a token.
        """
        if self._calls.tells_all and not isinstance(error, ConfigurationError):
            self._calls.tell(
                ExecutionDone(
                    self.operation,
                    self.arn,
                    pages=self._pages,
                    items=self._items,
                    seconds=asyncio.get_running_loop().time() - self._began_at,
                    error=None if error is None else type(error).__name__,
                )
            )

    def hand_over(self) -> Callable[[], None]:
        """What will stop the counting later; the walk goes on with a new hold."""
        hold = self._hold
        hold.park()
        self._hold = self._calls.shared.gate.hold(self._stream)
        return hold.release


def _digest(marker: str | None) -> str | bytes | None:
    """What stands for a marker among those that were seen: a server may send 1 MB of it."""
    if marker is None or len(marker) <= _LONGEST_KEPT_MARKER:
        return marker
    return blake2b(marker.encode(), digest_size=16).digest()
