"""What commands of the extra `audit` share: what they need, and how their errors end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from durastate import FunctionNotFoundError

from .ending import OTHER, USAGE, Problem
from .plain import plain
from .streams import say

if TYPE_CHECKING:
    from durastate.audit.journal import Counts
    from durastate.audit.order import Order

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
        raise Problem(
            f"this needs {name}: pip install '.[audit]' in durastate's clone", OTHER
        ) from None


@contextmanager
def directory_problems() -> Iterator[None]:
    """What is wrong with an audit's directory ends the command with its code.

    252 where another directory or query is needed, 255 where the disk does not take what is
    written.
    """
    with audit_extra():
        from durastate.audit import DirectoryError, WriteError
        from durastate.audit.errors import QueryError
    try:
        yield
    except (DirectoryError, QueryError) as error:
        raise Problem(plain(str(error)), USAGE) from None
    except WriteError as error:
        raise Problem(plain(str(error)), OTHER) from None


@contextmanager
def order_problems(order: Order) -> Iterator[None]:
    """What does not exist, or is no span of time, is the user's mistake."""
    from durastate.audit.errors import EmptyWindowError

    try:
        yield
    except EmptyWindowError:
        since = order.since
        is_future = order.until is None or (
            isinstance(since, datetime) and since >= datetime.now(timezone.utc)
        )
        text = "in the future, by the service's clock" if is_future else "not before --until"
        raise Problem(f"--since is {text}", USAGE) from None
    except FunctionNotFoundError as error:
        # The error has no version.
        names = [str(each) for each in order.functions if each.function == error.arn]
        raise Problem(
            plain(
                f"{', '.join(names) or error.arn}: there is no such function, version or alias: "
                f"{error.message}"
            ),
            USAGE,
        ) from None


def say_how_complete(partial: Counts | None, *, is_complete: bool) -> None:
    """What the tables that are read are not, if they are not all."""
    if partial is not None:
        say(
            f"Partial: {partial.read:,} executions are saved, {partial.failed:,} could not be "
            f"read, {partial.planned:,} are planned and not read yet; what is not listed yet is "
            f"not counted."
        )
    elif not is_complete:
        say("The run was broken off, so this is not all: the same command resumes it.")
