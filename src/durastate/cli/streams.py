"""The standard streams, any of which may be closed, full, or without anybody who reads it.

Progress, a summary or an error that nobody can see is no reason to break off a run or to change
its exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .ending import OTHER, Problem


def open_closed() -> None:
    """Put something in the place of each closed stream, before a file of ours gets its number.

    Messages vanish there. To read stdin or to write to stdout stays an error.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_WRONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            stand_in = os.fdopen(os.open(os.devnull, flags), mode)
            setattr(sys, name, stand_in)
            setattr(sys, f"__{name}__", stand_in)


@contextmanager
def results() -> Iterator[None]:
    """The block writes results to stdout; `Problem` where that does not take them."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        let_go(sys.stdout)
        raise Problem(f"cannot write to stdout: {error.strerror}", OTHER) from None


def write_utf8(text: str) -> None:
    """Results for programs, on stdout: UTF-8, whatever the locale is."""
    sys.stdout.buffer.write(text.encode())


def write_json(data: bytes) -> None:
    """The same for JSON; a terminal gets what is not printable as JSON's own escapes."""
    if sys.stdout.isatty():
        from .plain import plain_json  # json is not loaded for a --help

        data = plain_json(data.decode()).encode()
    sys.stdout.buffer.write(data)


def say(text: str) -> None:
    """A line on stderr, if anybody hears it."""
    with unheard():
        # Not click's echo, which goes around the display that stands there and into its frame.
        print(text, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def unheard() -> Iterator[None]:
    """What is said on stderr within the block may fail to reach anybody."""
    try:
        yield
    except OSError:
        let_go(sys.stderr)


def let_go(stream: Any) -> None:
    """Whoever took what we write has gone: what is left of it is no error, not even at exit.

    A stream that somebody has put in the place of the process's own is theirs.
    """
    if stream not in (sys.__stdout__, sys.__stderr__):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
