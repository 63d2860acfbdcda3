"""Many executions at once: workers that read, and one consumer that takes as things complete.

The workers live in a task of their own, so that the caller's code runs in no cancel scope of
ours: it may break, raise, time out, or sit in an async generator that another task closes.
A permit goes with every result from before it is fetched until the consumer has taken it. There
are `max_executions` permits, so a slow consumer stops the fetching, and that many results are
the most that wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar

from .arguments import shown
from .errors import ConfigurationError, DurastateError
from .loops import check_loop, running_loop
from .models import ExecutionState, StatePage
from .refs import ExecutionRef

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

Refs: TypeAlias = Iterable[ExecutionRef] | AsyncIterable[ExecutionRef]


@dataclass(frozen=True, slots=True)
class Fetched:
    """One complete execution. `index` is its place in the input, from 0."""

    ref: ExecutionRef
    state: ExecutionState
    index: int = field(default=0, kw_only=True)
    error: None = field(default=None, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """One page of one execution. `index` is the execution's place in the input, from 0."""

    ref: ExecutionRef
    page: StatePage
    is_last: bool
    index: int = field(default=0, kw_only=True)
    error: None = field(default=None, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """One execution that could not be read, or not to its end, and why."""

    ref: ExecutionRef
    error: DurastateError
    index: int = field(default=0, kw_only=True)
    state: None = field(default=None, init=False, repr=False)


FetchResult: TypeAlias = Fetched | Failed
PageResult: TypeAlias = FetchedPage | Failed

R = TypeVar("R")


class Bulk(Generic[R]):
    """An async context manager that gives an async iterator of results, as they complete.

    Nothing is read or requested before it is entered. Leaving it cancels and awaits all that
    was started; the caller's own exception comes out as it is. An error of the set-up, or one
    that the input raises, is raised by the iteration. `on_wait` is told the seconds that a worker
    waited for the consumer.
    """

    def __init__(
        self,
        refs: Refs,
        read: Callable[[ExecutionRef, int, Bulk[R]], Awaitable[None]],
        max_executions: int,
        on_wait: Callable[[float], None],
    ) -> None:
        if type(max_executions) is not int or max_executions < 1:
            raise ConfigurationError(
                f"max_executions: expected an integer from 1, found {shown(max_executions)}"
            )
        self._refs = _Input(refs)
        self._read = read
        self._max_workers = max_executions
        self._workers = 0
        self._permits = asyncio.Semaphore(max_executions)
        self._on_wait = on_wait
        self._results: asyncio.Queue[tuple[R, Callable[[], None] | None] | None] = asyncio.Queue()
        self._failure: BaseException | None = None
        self._is_leaving = False
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise ConfigurationError("a bulk read can be entered once; start another one")
        self._runner = running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        assert self._runner is not None
        self._is_leaving = True
        self._runner.cancel()
        try:
            await _ended(self._runner)
        finally:
            while not self._results.empty():
                self._take(self._results.get_nowait())
            self._results.put_nowait(None)  # For whoever iterates still.
        return False

    def __aiter__(self) -> AsyncIterator[R]:
        return self

    async def __anext__(self) -> R:
        if self._runner is None:
            raise ConfigurationError("use `async with` around a bulk read, then iterate")
        check_loop(self._runner.get_loop(), "the bulk read")
        entry = await self._results.get()
        if entry is None:
            self._results.put_nowait(None)  # For whoever asks again, or iterates too.
            if isinstance(self._failure, StopAsyncIteration):
                # As it is, it would look like the end. Python does the same for a generator.
                raise RuntimeError(
                    "the input or a hook raised StopAsyncIteration"
                ) from self._failure
            if self._failure is not None:
                raise self._failure
            raise StopAsyncIteration
        self._permits.release()
        self._take(entry)
        return entry[0]

    async def permit(self) -> None:
        """Wait until one more result may be fetched; `deliver` or `waive` must follow."""
        if self._permits.locked():
            clock = asyncio.get_running_loop().time
            since = clock()
            await self._permits.acquire()
            self._on_wait(clock() - since)
        else:
            await self._permits.acquire()

    def waive(self) -> None:
        """Give a permit back unused."""
        self._permits.release()

    def deliver(self, result: R, taken: Callable[[], None] | None = None) -> None:
        """Hand a result, and its permit, to the consumer. `taken` is called when it has it."""
        self._results.put_nowait((result, taken))

    @staticmethod
    def _take(entry: tuple[R, Callable[[], None] | None] | None) -> None:
        if entry is not None and entry[1] is not None:
            entry[1]()

    async def _run(self) -> None:
        from anyio import create_task_group

        try:
            async with create_task_group() as workers:
                self._start_worker(workers)
        except BaseExceptionGroup:
            pass  # A worker has put the reason into `_failure`.
        except BaseException as error:
            if self._failure is None and not self._is_leaving:
                self._failure = error
            raise
        finally:
            self._results.put_nowait(None)

    def _start_worker(self, workers: TaskGroup) -> None:
        self._workers += 1
        workers.start_soon(self._work, workers)

    async def _work(self, workers: TaskGroup) -> None:
        try:
            while True:
                await self.permit()
                following = await self._refs.next()
                if following is None:
                    self.waive()
                    return
                if self._workers < self._max_workers:
                    # One after the other, so there are never more workers than executions.
                    self._start_worker(workers)
                index, ref = following
                await self._read(ref, index, self)
        except BaseException as error:
            # A cancellation that nobody here asked for came out of the input.
            if self._failure is None and not self._is_leaving:
                self._failure = error
                workers.cancel_scope.cancel()
            raise


class _Input:
    """The references, one at a time, whoever asks; None at the end."""

    def __init__(self, refs: Refs) -> None:
        self._count = 0
        self._lock = asyncio.Lock()
        self._ended = False
        if isinstance(refs, AsyncIterable):
            self._async: AsyncIterator[ExecutionRef] | None = aiter(refs)
            return
        self._async = None
        try:
            self._sync = iter(refs)
        except TypeError:
            found = type(refs).__name__
            raise TypeError(
                f"refs: expected an iterable of ExecutionRef objects, found {found}"
            ) from None

    async def next(self) -> tuple[int, ExecutionRef] | None:
        ref: Any = _END
        if self._async is None:
            ref = _END if self._ended else next(self._sync, _END)
        else:
            # An async generator cannot be asked by two tasks at once.
            async with self._lock:
                ref = _END if self._ended else await anext(self._async, _END)
        if ref is _END:
            self._ended = True
            return None
        if not isinstance(ref, ExecutionRef):
            raise TypeError(f"refs: expected ExecutionRef objects, found {type(ref).__name__}")
        self._count += 1
        return self._count - 1, ref


_END = object()


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for a cancelled task to end, even when the waiting is cancelled itself."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
