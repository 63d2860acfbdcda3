"""One execution as a whole, from the pages of either call that tells of its operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from .calls import Calls, Persistence
from .errors import DeadlineError, DurastateError, IncompleteHistoryError, StateTooLargeError
from .gates import Turns
from .history import HistoryPage, operations_from_history
from .models import ExecutionState, Operation, StatePage
from .refs import ExecutionRef, match_arn
from .retries import check_seconds
from .targets import history_target, state_target
from .walk import Page, Reading, Walk

_STARTED = "ExecutionStarted"
# What an operation or an event takes in memory at least, however few bytes it was sent in.
_BYTES_PER_ITEM = 256

P = TypeVar("P", bound=Page)


class Whole(Generic[P]):
    """Every page of a walk, joined to a state: complete, or an error."""

    def __init__(
        self,
        walk: Walk[P],
        join: Callable[[Walk[P], list[P]], ExecutionState],
        max_bytes: int,
        turns: Turns | None = None,
    ) -> None:
        self.walk = walk
        self._join = join
        self._max_bytes = max_bytes
        self._turns = turns  # where joining takes as long as decoding

    async def read(self) -> ExecutionState:
        """The state; the hooks are told of it when its reader says so (`walk.tell_of_end`)."""
        walk = self.walk
        pages: list[P] = []
        held = 0
        while not walk.is_done:
            read_before = walk.bytes_read
            page = await walk.next()
            walk.release()
            pages.append(page)
            held += max(walk.bytes_read - read_before, len(page) * _BYTES_PER_ITEM)
            if held > self._max_bytes:
                raise StateTooLargeError(
                    f"{walk.arn}: more than max_state_bytes={self._max_bytes} after "
                    f"{len(pages)} pages of {walk.operation}. stream_pages, iter_pages and "
                    f"iter_history read it in parts"
                )
        if self._turns is not None and not self._turns.try_take(walk.bytes_read):
            await self._turns.take(walk.bytes_read)
        return self._join(walk, pages)


def whole_state(
    calls: Calls,
    ref: ExecutionRef,
    *,
    max_items: int,
    max_bytes: int,
    persistence: Persistence,
) -> Whole[StatePage]:
    """By GetDurableExecutionState, from where an invocation event ends."""
    target = state_target(ref, max_items)
    return Whole(Walk(calls, target, persistence, first=ref._inline), _join_states, max_bytes)


def whole_history(
    calls: Calls,
    arn: str,
    *,
    max_items: int,
    max_bytes: int,
    include_execution_data: bool,
    persistence: Persistence,
) -> Whole[HistoryPage]:
    """By GetDurableExecutionHistory, from the first event on."""
    target = history_target(arn, max_items, include_execution_data=include_execution_data)
    walk = Walk(calls, target, persistence)
    # 15 ms for the largest execution there can be, so not in the turn that decoded its last page.
    return Whole(walk, _join_histories, max_bytes, calls.shared.turns)


def _join_states(walk: Walk[StatePage], pages: list[StatePage]) -> ExecutionState:
    operations: list[Operation] = []
    for page in pages:
        operations += page.operations
    return ExecutionState(walk.arn, operations, source="state" if walk.has_read else "event")


def _join_histories(walk: Walk[HistoryPage], pages: list[HistoryPage]) -> ExecutionState:
    events = [event for page in pages for event in page.events]
    if not any(event.event_type == _STARTED for event in events):
        found = f"{len(events)} events without {_STARTED}" if events else "no event"
        raise IncompleteHistoryError(
            f"{walk.arn}: its history has {found}, so it does not tell how the execution began. "
            f"That of one that has just started may be complete in a moment"
        )
    # Where an event of the execution itself has no id, the state has the one of the ARN. AWS's
    # emulator is known by its keys, which are no ARNs.
    operations = operations_from_history(
        events,
        execution_id=walk.arn.rpartition("/")[2],
        zero_delay_ends=match_arn(walk.arn) is None,
    )
    return ExecutionState(walk.arn, operations, source="history")


@asynccontextmanager
async def deadline(
    timeout_s: float | None, call: str, reading: Reading[Any]
) -> AsyncIterator[None]:
    """A `DeadlineError` that says what went wrong before, once `timeout_s` have passed."""
    if timeout_s is not None:
        check_seconds("timeout_s", timeout_s)
    try:
        async with asyncio.timeout(timeout_s) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise  # An attempt's, or a hook's own.
        text = f"{call} of {reading.arn} took longer than timeout_s={timeout_s:g}"
        if reading.last_failure:
            text += f". The last failure before that: {reading.last_failure}"
        raise DeadlineError(text) from None


async def read_within(timeout_s: float | None, call: str, whole: Whole[Any]) -> ExecutionState:
    """The state of a single call, of whose end the hooks are told."""
    walk = whole.walk
    try:
        async with deadline(timeout_s, call, walk):
            state = await whole.read()
    except DurastateError as error:
        walk.tell_of_end(error)
        raise
    walk.tell_of_end()
    return state
