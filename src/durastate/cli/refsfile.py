"""The lines of REFS, as they are needed: a file is read in pieces, a pipe when it has something.

A line is `{"arn": …, "checkpoint_token": …}`, the invocation event of a durable function, or an ARN
alone. What is neither is an error of that line. A file that is something else altogether is known
by its first bytes; gzip is unpacked.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import zlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from durastate import DecodingError, DurastateError, ExecutionRef, InvalidRefError
from durastate.decoding import load_answer
from durastate.refs import match_arn

from .ending import USAGE, Problem
from .jsonl import cannot
from .plain import plain

_PIECE = 256 * 1024
# An invocation event has 6 MB at most (AWS Lambda quotas, invocation payload), and three times as
# much where what is no ASCII has been written as escapes.
_LONGEST_LINE = 20 * 1024**2
# As AWS's model has it, and as the client takes for its own endpoint.
_LONGEST_ARN = 1024

_MARK = b"\xef\xbb\xbf"  # of byte order, which some editors put before UTF-8
_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ENOUGH_FOR_NUL = 4096

Line = tuple[int, bytes | None]
"""A line's number, from 1, and its text; None for one of absurd length."""


class RefsFile:
    """The lines of a file, or of stdin for `-`, that are not blank. `read` counts them.

    `total` is how many there are, where that can be known without using them up.
    """

    def __init__(self, name: str) -> None:
        self.read = 0
        self.is_stdin = name == "-"
        self.name = "stdin" if self.is_stdin else name
        self._descriptor = sys.stdin.fileno() if self.is_stdin else _open(name)
        try:
            self.total = self._count()
        except BaseException:
            self.close()
            raise

    async def lines(self) -> AsyncGenerator[Line]:
        """Every line, while nobody waits for a slow pipe but the reader of this."""
        splitter = _Splitter()
        unpacker = _Unpacker(self.name)
        while piece := await self._next_piece():
            for text in unpacker.feed(piece):
                for line in splitter.feed(text):
                    self.read += 1
                    yield line
                await asyncio.sleep(0)
        unpacker.end()
        for line in splitter.end():
            self.read += 1
            yield line

    async def _next_piece(self) -> bytes:
        try:
            return await _read(self._descriptor)
        except OSError as error:
            raise cannot("read", Path(self.name), error) from None

    def useless(self, lines: list[tuple[int, RefLine]]) -> Problem:
        """What to say where these first lines are no references with a token, none of them."""
        last = lines[-1][0]
        for number, line in lines:
            if line.error is not None:
                return _unreadable(
                    self.name,
                    f'it has no {{"arn": …, "checkpoint_token": …}} and no invocation event up to '
                    f"line {last}. Line {number}: {line.error}",
                )
        return _unreadable(
            self.name,
            f"it has no checkpoint token up to line {last}, and GetDurableExecutionState needs "
            f"one. durastate audit --from reads executions by their ARNs alone",
        )

    def close(self) -> None:
        if not self.is_stdin:
            os.close(self._descriptor)

    def _count(self) -> int | None:
        mode = os.fstat(self._descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise _unreadable(self.name, "it is a directory")
        if not stat.S_ISREG(mode):
            return None
        at = start = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        splitter = _Splitter()
        count = 0
        while piece := os.pread(self._descriptor, _PIECE, at):
            if at == start:
                if _is_gzip(piece):
                    return None
                _check_kind(self.name, piece)
            at += len(piece)
            count += len(splitter.feed(piece))
        return count + len(splitter.end())


def _unreadable(name: str, why: str) -> Problem:
    return Problem(f"cannot read {plain(name)}: {why}", USAGE)


def _check_kind(name: str, start: bytes) -> None:
    """Refuse what cannot be lines of references, by how it starts."""
    if start.startswith(_UTF_16):
        raise _unreadable(name, "it is UTF-16: save it as UTF-8")
    if b"\0" in start.partition(b"\n")[0][:_ENOUGH_FOR_NUL]:
        raise _unreadable(name, "it is neither text nor gzip")
    if start.removeprefix(_MARK).lstrip().startswith(b"["):
        raise _unreadable(name, "it is one JSON array: jq -c '.[]' makes lines of it")


class _Unpacker:
    """Unpacks gzip, a bounded piece at a time whatever comes out of it; leaves text as it is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_gzip: bool | None = None  # known with the first bytes
        self._is_within = False
        self._stream = _gunzip()
        self._is_checked = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        if self._is_gzip is None:
            self._is_gzip = _is_gzip(piece)
        for text in self._unpacked(piece) if self._is_gzip else (piece,):
            if not self._is_checked:
                _check_kind(self._name, text)
                self._is_checked = True
            yield text

    def _unpacked(self, packed: bytes) -> Iterator[bytes]:
        while packed := packed if self._is_within else packed.lstrip(b"\0"):
            self._is_within = True
            try:
                text = self._stream.decompress(packed, _PIECE)
            except zlib.error:
                raise _unreadable(self._name, "its gzip is damaged") from None
            packed = self._stream.unconsumed_tail
            if self._stream.eof:
                # Another one may follow, for `cat a.gz b.gz` is gzip, too; or a block's padding.
                packed = self._stream.unused_data
                self._stream, self._is_within = _gunzip(), False
            if text:
                yield text

    def end(self) -> None:
        if self._is_within:
            raise _unreadable(self._name, "its gzip is cut off")


def _is_gzip(start: bytes) -> bool:
    return start[: len(_GZIP)] in (_GZIP, _GZIP[:1])  # A pipe may give a single byte.


def _gunzip() -> Any:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


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

    @property
    def has_token(self) -> bool:
        """Whether it is of the kind that can be read, however wrong what it says."""
        return self.ref is not None and self.ref.checkpoint_token is not None

    def _read(self, text: bytes | None) -> None:
        if text is None:
            raise DecodingError("", f"a line of more than {_LONGEST_LINE:,} bytes")
        if (arn := _arn_alone(text)) is not None:
            self.arn, self.ref = arn, ExecutionRef(arn)
            return
        members = load_answer(text)
        if not isinstance(members, dict):
            raise DecodingError("", "expected a JSON object")
        is_event = "DurableExecutionArn" in members
        arn = members.get("DurableExecutionArn" if is_event else "arn")
        if isinstance(arn, str) and len(arn) > _LONGEST_ARN:
            raise InvalidRefError(f"arn: expected at most {_LONGEST_ARN:,} characters")
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
            text = text.removeprefix(_MARK)
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


def _arn_alone(text: bytes) -> str | None:
    """The ARN that a line is, in quotes or without."""
    if len(text) > _LONGEST_ARN + 2 or text.startswith(b"{"):
        return None
    arn = text.strip(b'"').decode("latin-1")
    return None if match_arn(arn) is None else arn
