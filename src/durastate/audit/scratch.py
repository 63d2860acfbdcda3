"""What a reader writes while it reads: payloads too, so for its owner alone, and not for long.

Copies are in files that have no name, so that they are gone with the process, however that ends.
What DuckDB puts aside where memory is short is in a folder within the audit's own directory. That
is removed at the end; what SIGKILL has left there is removed when the directory is next opened.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_FOLDER = re.compile(r"\.query-[0-9a-f]{16}")
_OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_ours(name: str) -> bool:
    """Whether `folder` makes such names."""
    return _FOLDER.fullmatch(name) is not None


@contextmanager
def folder(directory: Path) -> Iterator[Path | None]:
    """A folder for what the block puts aside; None where the directory takes none.

    It is locked as long as somebody uses it.
    """
    path = directory / f".query-{secrets.token_hex(8)}"
    try:
        path.mkdir(mode=0o700)
        descriptor = os.open(path, _OPENING)
    except OSError:  # read-only, say
        yield None
        return
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        is_gone = os.fstat(descriptor).st_nlink == 0  # another process has just tidied up
        yield None if is_gone else path
    finally:
        _remove(path, descriptor)
        os.close(descriptor)


def remove_left(directory: Path) -> None:
    """Remove the folders of processes that were killed."""
    for path in directory.iterdir():
        if not is_ours(path.name):
            continue
        with suppress(OSError):  # in use, a link, or somebody else's
            descriptor = os.open(path, _OPENING)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path, descriptor)
            finally:
                os.close(descriptor)


def _remove(path: Path, descriptor: int) -> None:
    """The folder and the files in it; what else is in it stays."""
    for name in os.listdir(descriptor):
        with suppress(OSError):
            os.unlink(name, dir_fd=descriptor)
    with suppress(OSError):
        path.rmdir()


def nameless(directory: Path) -> BinaryIO:
    """A new file without a name, in the directory if that takes one."""
    try:
        return tempfile.TemporaryFile(dir=directory)
    except OSError:
        return tempfile.TemporaryFile()
