"""What commands of the extra `audit` share: what they need, and how their errors end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .ending import OTHER, USAGE, Problem
from .plain import plain

_OF_AUDIT = ("pyarrow", "duckdb")


@contextmanager
def audit_extra() -> Iterator[None]:
    """The block imports from `durastate.audit`, or the user is told what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _OF_AUDIT:
            raise
        raise Problem(f"this needs {name}: pip install 'durastate[audit]'", OTHER) from None


@contextmanager
def directory_problems() -> Iterator[None]:
    """What is wrong with an audit's directory ends the command with its code.

    252 where another directory is needed, 255 where the disk does not take what is written.
    """
    with audit_extra():
        from durastate.audit import DirectoryError, WriteError
    try:
        yield
    except DirectoryError as error:
        raise Problem(plain(str(error)), USAGE) from None
    except WriteError as error:
        raise Problem(plain(str(error)), OTHER) from None
