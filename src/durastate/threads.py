"""Work of other libraries on threads that nobody has to wait for.

Whoever waits for such work and is cancelled returns at once, and the interpreter ends without it:
a `credential_process` may never answer, and a name server take half a minute. Threads of
`concurrent.futures` and of anyio are joined when the interpreter ends.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

_T = TypeVar("_T")

# A child that was killed is gone within milliseconds.
_CHILD_CHECK_S = 0.01
_MOST_CHILD_CHECKS = 100
# What a thread that was given up has at the end of the interpreter, to kill what it has started.
_LAST_MOMENTS_S = 0.2

_given_up: WeakSet[threading.Thread] = WeakSet()


async def in_a_loop_of_its_own(make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine to its end on another thread and event loop.

    Where this is cancelled, so is the coroutine over there, and its child processes are killed.
    """
    loops: list[Loop] = []
    tasks: list[asyncio.Task[Any]] = []
    is_given_up = False

    async def main() -> _T:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        if is_given_up:
            raise asyncio.CancelledError
        try:
            return await make()
        finally:
            await loops[0].end_children()

    def run_there() -> _T:
        with asyncio.Runner(loop_factory=Loop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, Loop)
            loops.append(loop)
            return runner.run(main())

    outcome, thread = _start(asyncio.get_running_loop(), run_there)
    try:
        return await outcome
    except asyncio.CancelledError:
        is_given_up = True
        _given_up.add(thread)
        for loop in loops:
            # Here and now: this process may be gone before the thread runs again.
            loop.kill_children()
            for task in tasks:
                with suppress(RuntimeError):  # closed meanwhile
                    loop.call_soon_threadsafe(task.cancel)
        raise


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose end waits for no thread, not even for one that looks up a host name."""

    def __init__(self) -> None:
        super().__init__()
        self._children: list[asyncio.SubprocessTransport] = []

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As asyncio's own, where an executor is given."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        return _start(self, partial(func, *args))[0]

    async def subprocess_exec(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """As asyncio's own; but the child is remembered."""
        started = await super().subprocess_exec(protocol_factory, *args, **options)
        self._children.append(started[0])
        return started

    def kill_children(self) -> None:
        """From any thread. Not by the transport, which may reap one before asyncio does."""
        for child in list(self._children):
            if child.get_returncode() is None:
                with suppress(ProcessLookupError):
                    os.kill(child.get_pid(), signal.SIGKILL)

    async def end_children(self) -> None:
        """Kill those that still run, and wait until all are reaped: asyncio warns otherwise."""
        self.kill_children()
        for _ in range(_MOST_CHILD_CHECKS):
            if all(child.get_returncode() is not None for child in self._children):
                break
            await asyncio.sleep(_CHILD_CHECK_S)
        for child in self._children:
            child.close()


def _start(
    loop: asyncio.AbstractEventLoop, work: Callable[[], _T]
) -> tuple[asyncio.Future[_T], threading.Thread]:
    """Begin `work` on a thread; the future, which belongs to `loop`, has what comes of it."""
    future: asyncio.Future[_T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(settle_with: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            settle_with(outcome)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = future.set_result, context.run(work)
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits
            outcome = future.set_exception, error
        with suppress(RuntimeError):  # The loop is closed: nobody waits.
            loop.call_soon_threadsafe(settle, *outcome)

    thread = threading.Thread(target=run, name="durastate", daemon=True)
    thread.start()
    return future, thread


@atexit.register
def _wait_a_moment() -> None:
    until = time.monotonic() + _LAST_MOMENTS_S
    with suppress(KeyboardInterrupt):
        for thread in list(_given_up):
            thread.join(max(0.0, until - time.monotonic()))
