"""Ends a command that holds payloads aside in an orderly way, whatever signal it gets."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Whatever ends a process, can be caught, and is not the process's own mistake.
_ENDING = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]


_UNHEEDED = (signal.SIG_DFL, signal.default_int_handler)


@contextmanager
def ends_tidily() -> Iterator[None]:
    """The block's own ends are run before a signal ends the process, and its files are private.

    Ctrl-C is `KeyboardInterrupt`, as always; after the first signal no other one is heeded.
    """
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        came.append(number)
        raise KeyboardInterrupt

    # What this process was begun to ignore stays ignored, and what somebody waits for already, as
    # an audit that sums up does for Ctrl-C and SIGTERM, stays his.
    handlers = {each: signal.getsignal(each) for each in _ENDING}
    before = {each: handler for each, handler in handlers.items() if handler in _UNHEEDED}
    mask = os.umask(0o077)
    try:
        for each in before:
            signal.signal(each, stop)
        yield
    finally:
        os.umask(mask)
        for each, handler in before.items():
            signal.signal(each, handler)
        if came and came[0] != signal.SIGINT:
            os.kill(os.getpid(), came[0])
