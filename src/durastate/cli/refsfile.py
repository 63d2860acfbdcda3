"""The lines of REFS, as they are needed: a file is read in pieces, a pipe when it has something.

A line is `{"arn": …, "checkpoint_token": …}` or the invocation event of a durable function. What
is neither is an error of that line.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from durastate import DecodingError, DurastateError, ExecutionRef, InvalidRefError

from .ending import USAGE, Problem
from .jsonl import cannot
from .plain import plain

_PIECE = 256 * 1024
# An invocation event has 6 MB at most.
_LONGEST_LINE = 64 * 1024**2

Line = tuple[int, bytes | None]
"""A line's number, from 1, and its text; None for one of absurd length."""


class RefsFile:
    """The lines of a file, or of stdin for `-`, that are not blank. `read` counts them.

    `total` is how many there are, where that can be known without using them up.
    """

    def __init__(self, name: str) -> None:
        self.read = 0
        self._name = name
        self.is_stdin = name == "-"
        self._descriptor = sys.stdin.fileno() if self.is_stdin else _open(name)
        status = os.fstat(self._descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise Problem(f"cannot read {plain(name)}: it is a directory", USAGE)
        self.total = self._count() if stat.S_ISREG(status.st_mode) else None

    async def lines(self) -> AsyncIterator[Line]:
        """Every line, while nobody waits for a slow pipe but the reader of this."""
        splitter = _Splitter()
        while True:
            try:
                piece = await _read(self._descriptor)
            except OSError as error:
                raise cannot("read", Path(self._name), error) from None
            for line in splitter.feed(piece) if piece else splitter.end():
                self.read += 1
                yield line
            if not piece:
                return
            await asyncio.sleep(0)

    def close(self) -> None:
        if not self.is_stdin:
            os.close(self._descriptor)

    def _count(self) -> int:
        at = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        splitter = _Splitter()
        count = 0
        while piece := os.pread(self._descriptor, _PIECE, at):
            at += len(piece)
            count += len(splitter.feed(piece))
        return count + len(splitter.end())


class RefLine:
    """What a line of REFS says: a reference, or the error that it is none."""

    __slots__ = ("arn", "error", "ref")

    def __init__(self, text: bytes | None) -> None:
        self.arn: str | None = None
        self.ref: ExecutionRef | None = None
        self.error: DurastateError | None = None
        try:
            self._read(text)
        except DurastateError as error:
            self.error = error

    def _read(self, text: bytes | None) -> None:
        if text is None:
            raise DecodingError("", f"a line of more than {_LONGEST_LINE} bytes")
        members = _load(text)
        is_event = "DurableExecutionArn" in members
        arn = members.get("DurableExecutionArn" if is_event else "arn")
        self.arn = arn if isinstance(arn, str) else None
        if is_event:
            self.ref = ExecutionRef.from_event(text)
        elif not self.arn:
            raise InvalidRefError(
                "arn: missing. A line is an object with arn and checkpoint_token, or an "
                "invocation event with DurableExecutionArn"
            )
        else:
            self.ref = ExecutionRef(self.arn, members.get("checkpoint_token"))


class _Splitter:
    """Cuts pieces of a file into numbered lines; leaves blank ones out."""

    def __init__(self) -> None:
        self._number = 0
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Line]:
        first, *others = piece.split(b"\n")
        self._add(first)
        lines = []
        for part in others:
            lines += self.end()
            self._add(part)
        return lines

    def end(self) -> list[Line]:
        """The line that is complete now, unless it is blank."""
        self._number += 1
        text = b"".join(self._parts)
        too_long = self._size > _LONGEST_LINE
        self._parts.clear()
        self._size = 0
        if self._number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
        text = text.strip()
        if too_long:
            return [(self._number, None)]
        return [(self._number, text)] if text else []

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > _LONGEST_LINE:
            self._parts.clear()
        else:
            self._parts.append(part)


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Problem(f"cannot read {plain(name)}: {error.strerror}", USAGE) from None


async def _read(descriptor: int) -> bytes:
    """What there is to read now, at most a piece; empty at the end."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    try:
        loop.add_reader(descriptor, _wake, readable)
    except PermissionError:
        return os.read(descriptor, _PIECE)  # a regular file: always readable
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _PIECE)


def _wake(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _load(text: bytes) -> dict[str, Any]:
    members = None
    with suppress(orjson.JSONDecodeError):
        members = orjson.loads(text)
    if members is None:
        members = _load_unusual(text)
    if not isinstance(members, dict):
        raise DecodingError("", "expected a JSON object")
    return members


def _load_unusual(text: bytes) -> Any:
    """What orjson refuses and JSON's grammar allows: lone surrogates."""
    try:
        return json.loads(text.decode())
    except json.JSONDecodeError as error:
        problem = f"no JSON at character {error.pos}"
    except UnicodeDecodeError as error:
        problem = f"no UTF-8 at byte {error.start}"
    except (ValueError, RecursionError):
        problem = "no JSON that can be read"
    # Raised out here: those exceptions hold the line, and with it the token.
    raise DecodingError("", problem)
