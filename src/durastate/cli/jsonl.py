"""A file to which whole lines are appended, and nothing else ever happens.

A line goes out with one write. Where the disk takes only a part of it, that part is cut off
again, so the file holds whole lines whatever happens. A process killed inside that one write is
the exception; `--resume` drops what it left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .ending import OTHER, USAGE, Problem
from .plain import plain

# Opening a FIFO to write would wait for its reader.
_REOPEN = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_KEPT = 16 * 1024
_KEPT_OF_END = 8
_PIECE = 256 * 1024


class FoundLine(NamedTuple):
    """What is kept of a line, which may be gigabytes: its start, its last bytes and its size."""

    start: bytes
    end: bytes
    size: int

    @property
    def is_whole(self) -> bool:
        return self.end.endswith(b"\n")


class LinesFile:
    """An open file of lines. Others cannot read it, and a second run cannot write to it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, path: Path) -> LinesFile:
        """A new file, readable by its owner alone; `FileExistsError` where there is one."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
            os.fchmod(descriptor, 0o600)
        except FileExistsError:
            raise
        except OSError as error:
            raise cannot("create", path, error) from None
        return cls._locked(path, descriptor)

    @classmethod
    def reopen(cls, path: Path) -> LinesFile:
        """A file that exists, to go on with; `FileNotFoundError` where there is none."""
        try:
            descriptor = os.open(path, _REOPEN)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Problem(
                    f"{plain(str(path))} is a link: name the file itself", USAGE
                ) from None
            raise cannot("open", path, error) from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise Problem(f"{plain(str(path))} is no regular file", USAGE)
        if found.st_nlink > 1:  # What is appended here would be in the other one, too.
            os.close(descriptor)
            raise Problem(
                f"{plain(str(path))} has another name elsewhere (a hard link): copy it, and resume "
                f"into the copy",
                USAGE,
            )
        return cls._locked(path, descriptor)

    @classmethod
    def _locked(cls, path: Path, descriptor: int) -> LinesFile:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Problem(f"another run is writing {plain(str(path))}", USAGE) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):  # some file systems
                raise
        return cls(path, descriptor)

    def keep_from_others(self) -> None:
        """Whoever could read it so far cannot open it any more."""
        try:
            if os.fstat(self._descriptor).st_mode & 0o077:
                os.fchmod(self._descriptor, 0o600)
        except OSError as error:
            raise cannot("write", self.path, error) from None

    @property
    def is_empty(self) -> bool:
        return self._size == 0

    def append(self, line: bytes) -> None:
        """Write one line, which ends with its line end; all of it or nothing."""
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                # The reason for a short write shows when the rest is tried.
                written += os.write(self._descriptor, line[written:])
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise cannot("write", self.path, error) from None
        except BaseException:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(line)

    def lines(self) -> Iterator[FoundLine]:
        """The lines from the start, the last one perhaps without its end."""
        with os.fdopen(os.dup(self._descriptor), "rb") as reader:
            reader.seek(0)
            while start := reader.readline(_KEPT):
                size, end = len(start), start[-_KEPT_OF_END:]
                while not end.endswith(b"\n") and (more := reader.readline(_PIECE)):
                    size, end = size + len(more), (end + more)[-_KEPT_OF_END:]
                yield FoundLine(start, end, size)

    def cut(self, count: int) -> None:
        """Drop the last `count` bytes."""
        self._size -= count
        os.ftruncate(self._descriptor, self._size)

    def close(self) -> None:
        """Everything is on the disk after this; some disks report only here that they are full."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise cannot("write", self.path, error) from None
        finally:
            os.close(self._descriptor)

    def discard(self) -> None:
        """Close and remove it."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)


def cannot(what: str, path: Path, error: OSError) -> Problem:
    """The one clear line for a file that does not do what it should."""
    return Problem(f"cannot {what} {plain(str(path))}: {error.strerror}", OTHER)
