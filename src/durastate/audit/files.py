"""Files that are either whole under their name or not there at all.

A new file is written under a temporary name, forced to the disk, renamed, and its folder forced
too: whatever happens in between, nothing torn ever stands under the name.

A directory may have been prepared by somebody else. So a name that a file of it says is believed
only in the form that this module writes, and a symbolic link in the directory is never followed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from durastate.arguments import shown
from durastate.errors import ConfigurationError

from .errors import DirectoryError, WriteError

LOCK = "lock"
_PIECE = 1 << 20
_TABLE_FILE = re.compile(r"(executions|operations|failures)-[0-9]{6,15}\.(parquet|jsonl)")
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)  # some file systems
_NOT_HERE = (errno.EINVAL, errno.ENOTSUP)  # a file system that cannot force a folder to the disk


class Stamp(NamedTuple):
    """A file as it was written."""

    size: int
    sha256: str
    mtime_ns: int


def table_file(table: str, number: int, extension: str) -> str:
    """The name of a table's file."""
    return f"{table}-{number:06d}.{extension}"


def is_table_file(name: object, table: str | None = None, extension: str | None = None) -> bool:
    """Whether `table_file` makes such names, for this table and extension where they are given."""
    found = _TABLE_FILE.fullmatch(name) if isinstance(name, str) else None
    return found is not None and table in (None, found[1]) and extension in (None, found[2])


class NotRegular(OSError):
    """What should be a file of the directory is a link, a pipe or something else."""


#: Of a file that another directory may have, too: what is written here would change it there.
HARD_LINK = "has another name elsewhere (a hard link)"


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file; `NotRegular` for a link, a pipe and whatever else it is."""
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # so that nobody waits for a pipe
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise NotRegular(error.errno, "is a symbolic link, and none is followed here") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, "is no regular file")
    return descriptor


def open_own(path: Path, *, create: bool = False) -> int:
    """The same to write to, and from now on for its owner alone; it has no second name."""
    descriptor = open_regular(path, os.O_RDWR | (os.O_CREAT if create else 0))
    try:
        found = os.fstat(descriptor)
        if found.st_nlink > 1:
            raise NotRegular(errno.EMLINK, HARD_LINK)
        if found.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def opened(path: Path) -> BinaryIO:
    """A regular file to read; as `open_regular`."""
    return os.fdopen(open_regular(path), "rb")


class NewFile:
    """A file to write to, for pyarrow and for us, that its owner alone can read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = temporary_name(path)
        self._hash = hashlib.sha256()
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with writing(path):
            # What a run that was killed has left, or a link, also a hard one, to something else.
            self._temporary.unlink(missing_ok=True)
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
    except NotRegular as error:
        raise DirectoryError(path.parent, f"{path.name} {error.strerror}") from None
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
    with opened(path) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def lock(directory: Path) -> int:
    """Keep other runs out of a directory for as long as the descriptor is open."""
    path = directory / LOCK
    with writing(path):
        descriptor = open_own(path, create=True)
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


def directory_named(path: str | os.PathLike[str]) -> Path:
    """The path as a `Path`; `ConfigurationError` for what names no directory."""
    try:
        name = os.fspath(path)
        os.fsencode(name)
    except (TypeError, UnicodeEncodeError):
        name = ""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ConfigurationError(f"directory: expected the path of one, found {shown(path)}")
    return Path(name)
