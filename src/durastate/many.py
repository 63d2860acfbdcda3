"""How each of many executions is read: its failure is a value, a broken set-up is an exception."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from .bulk import Bulk, Failed, Fetched, FetchedPage, FetchResult, PageResult
from .calls import Calls, Persistence
from .errors import (
    ConfigurationError,
    DurastateError,
    InvalidRefError,
    MissingTokenError,
    OutageError,
    TransportError,
)
from .gates import Stream
from .refs import ExecutionRef
from .targets import state_target
from .walk import Walk
from .whole import Whole

R = TypeVar("R")
Read: TypeAlias = Callable[[ExecutionRef, int, Bulk[R]], Awaitable[None]]


def reading_whole(
    opened: Callable[[], Calls], begin: Callable[[Calls, ExecutionRef], Whole[Any]]
) -> Read[FetchResult]:
    """Each execution to its state."""

    async def read(ref: ExecutionRef, index: int, bulk: Bulk[FetchResult]) -> None:
        calls = opened()
        walk = None
        try:
            whole = begin(calls, ref)
            walk = whole.walk
            state = await whole.read()
        except DurastateError as error:
            if _ends_the_run(error, calls):
                raise
            bulk.deliver(_failed(ref, walk, error, index))
        else:
            walk.tell_of_end()
            bulk.deliver(Fetched(ref, state, index=index))

    return read


def reading_pages(opened: Callable[[], Calls], max_items: int) -> Read[PageResult]:
    """Each execution page by page; a page's bytes count until the consumer has taken it."""
    stream = Stream()

    async def read(ref: ExecutionRef, index: int, bulk: Bulk[PageResult]) -> None:
        calls = opened()
        walk = None
        try:
            target = state_target(ref, max_items)
            walk = Walk(calls, target, Persistence.RUN, first=ref._inline, stream=stream)
            while True:
                page = await walk.next()
                result = FetchedPage(ref, page, walk.is_done, index=index)
                bulk.deliver(result, taken=walk.hand_over())
                if walk.is_done:
                    break
                await bulk.permit()
        except DurastateError as error:
            if _ends_the_run(error, calls):
                raise
            bulk.deliver(_failed(ref, walk, error, index))
        else:
            walk.tell_of_end()

    return read


def _ends_the_run(error: DurastateError, calls: Calls) -> bool:
    if isinstance(error, OutageError):
        return True
    if isinstance(error, TransportError):
        return error.retryable and not calls.answered
    return isinstance(error, ConfigurationError) and not isinstance(
        error, InvalidRefError | MissingTokenError
    )


def _failed(ref: ExecutionRef, walk: Walk[Any] | None, error: DurastateError, index: int) -> Failed:
    if walk is not None:
        walk.tell_of_end(error)
    # The frames of its traceback hold the pages that were read before it.
    return Failed(ref, error.with_traceback(None), index=index)
