"""Runs the asynchronous part of a command, in a process that is all its own, until a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import termios
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self, TypeVar

from durastate.threads import Loop

from .ending import Terminated

_T = TypeVar("_T")

# Whole states are hundreds of thousands of objects without cycles. With Python's threshold of
# 700 the collector looks through them again and again, for up to 250 ms at a time.
_GC_THRESHOLDS = (100_000, 20, 50)
# So many say that somebody cannot wait for what `Signals.until_the_third` runs.
_LAST_SIGNAL = 3
# Their tracebacks say nothing to whoever sits at the terminal; a handler of one's own gets them.
_LOUD = ("asyncio", "aiohttp")


def run(main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run `main` to its end, or to Ctrl-C or SIGTERM: `KeyboardInterrupt` or `Terminated`."""
    with Signals() as signals:
        return signals.run(main)


def tune_collector() -> None:
    """Let the garbage collector leave alone what is there now, and come seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


class Signals:
    """Ctrl-C and SIGTERM, for as long as a command works and sums up.

    They cancel what `run` runs, the first of them unless `on_first` is set and says otherwise. What
    the command does after that, such as to print its summary, they do not break off. What this
    process was begun to ignore stays ignored: a shell starts what a script puts into the background
    with Ctrl-C ignored.
    """

    def __init__(self) -> None:
        self.on_first: Callable[[], object] = self.cancel
        self._caught: list[int] = []
        self._before: dict[signal.Signals, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_breakable = False

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run `main` to its end; where a signal cancelled it, raise what `ending` says."""

        async def whole() -> _T:
            self._task = asyncio.current_task()
            if self._caught:
                raise asyncio.CancelledError
            return await main()

        for name in _LOUD:
            logging.getLogger(name).addHandler(logging.NullHandler())
        try:
            with _terminal_as_it_was(), asyncio.Runner(loop_factory=Loop) as runner:
                self._loop = runner.get_loop()
                try:
                    return runner.run(whole())
                finally:
                    self._loop = None
        except asyncio.CancelledError:
            raise self.ending() from None

    @contextmanager
    def until_the_third(self) -> Iterator[None]:
        """The block may take long: the third signal, and each after it, breaks it off."""
        self._is_breakable = True
        try:
            yield
        finally:
            self._is_breakable = False

    def cancel(self) -> None:
        """End what runs, wherever it is."""
        if self._task is not None:
            self._task.cancel()

    def ending(self) -> KeyboardInterrupt:
        """What the first signal means; without any it is an interruption."""
        return Terminated() if self._caught[:1] == [signal.SIGTERM] else KeyboardInterrupt()

    def _catch(self, number: int, _: FrameType | None) -> None:
        self._caught.append(number)
        if self._loop is not None:
            act = self.on_first if len(self._caught) == 1 else self.cancel
            self._loop.call_soon_threadsafe(act)
        elif self._is_breakable and len(self._caught) >= _LAST_SIGNAL:
            raise self.ending()


@contextmanager
def _terminal_as_it_was() -> Iterator[None]:
    """Undo what a prompt for a code (MFA) has changed, which Ctrl-C leaves behind in a thread."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        yield
        return
    with os.fdopen(terminal, "rb", buffering=0):
        before = termios.tcgetattr(terminal)
        try:
            yield
        finally:
            with suppress(OSError, termios.error):
                # In the background it is another program's, and to touch it would stop this one.
                if os.tcgetpgrp(terminal) == os.getpgrp():
                    termios.tcsetattr(terminal, termios.TCSANOW, before)
