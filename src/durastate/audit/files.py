"""Files that are either whole under their name or not there at all.

A new file is written under a temporary name, forced to the disk, renamed, and its folder forced
too: whatever happens in between, nothing torn ever stands under the name.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .errors import DirectoryError, WriteError

_PIECE = 1 << 20
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)  # some file systems
_NOT_HERE = (errno.EINVAL, errno.ENOTSUP)  # a file system that cannot force a folder to the disk


class Stamp(NamedTuple):
    """A file as it was written."""

    size: int
    sha256: str
    mtime_ns: int


class NewFile:
    """A file to write to, for pyarrow and for us, that its owner alone can read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = temporary_name(path)
        self._hash = hashlib.sha256()
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with writing(path):
            self._descriptor = os.open(self._temporary, flags, 0o600)
            os.fchmod(self._descriptor, 0o600)
        self._is_over = False

    #: pyarrow asks.
    closed = False

    def write(self, data: bytes | memoryview) -> int:
        """All of it; disks that are full say so at the second try. After the end, nowhere."""
        rest = memoryview(data).cast("B")
        count = len(rest)
        if self._is_over:
            return count
        self._hash.update(rest)
        with writing(self.path):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._size += count
        return count

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """pyarrow's; the end is `commit` or `discard`."""

    def commit(self) -> Stamp:
        """Put it under its name, for good."""
        with writing(self.path):
            os.fsync(self._descriptor)
            mtime_ns = os.fstat(self._descriptor).st_mtime_ns
            self._end()
            self._temporary.rename(self.path)
            sync_folder(self.path.parent)
        return Stamp(self._size, self._hash.hexdigest(), mtime_ns)

    def _end(self) -> None:
        self._is_over = True
        os.close(self._descriptor)

    def discard(self) -> None:
        """Leave nothing of it."""
        if not self._is_over:
            self._end()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path) -> Iterator[NewFile]:
    """A file that the block writes and commits; without that, nothing is left of it."""
    file = NewFile(path)
    try:
        yield file
    finally:
        file.discard()


def temporary_name(path: Path) -> Path:
    """Under which a file is written before it gets its name."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An error of the disk in the block becomes the one clear line."""
    try:
        yield
    except OSError as error:
        raise WriteError(path, error.strerror or str(error)) from None


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def lock(directory: Path) -> int:
    """Keep other runs out of a directory for as long as the descriptor is open."""
    path = directory / "lock"
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DirectoryError(directory, "another run is writing here") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise WriteError(path, error.strerror or str(error)) from None
    return descriptor
