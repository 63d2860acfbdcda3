"""One execution, read and printed: what `get` and `show` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from durastate import (
    ExecutionNotFoundError,
    ExecutionRef,
    ExecutionState,
    Failed,
    InvalidRequestError,
    Statistics,
    Throttled,
)
from durastate.refs import check_version, match_arn

from .delays import print_delays
from .ending import SERVICE, Problem, message_of
from .fetch import hooks_with
from .options import Connection
from .plain import plain
from .progress import Absence
from .running import run
from .streams import results, say

if TYPE_CHECKING:
    from durastate import Event, Hook, StateClient


def print_one(
    connection: Connection,
    ref: ExecutionRef,
    show: Callable[[ExecutionState, float], None],
    *,
    source: Literal["state", "history"],
    max_items: int,
    stat: bool,
) -> None:
    """Show on stdout what is read; with `stat` say at the end what delayed it.

    `show` is told how far the service's clock is ahead of this machine's. Throttling and outages
    are waited out as in a run of many executions.
    """
    check_version(ref.arn)
    seen: list[Statistics] = []

    async def reading() -> ExecutionState:
        async with connection.client([*hooks_with(Absence()), _tell_of_throttling()]) as client:
            try:
                return await read(client)
            finally:
                seen.append(client.statistics())

    async def read(client: StateClient) -> ExecutionState:
        async with client.fetch_many([ref], max_items=max_items, source=source) as found:
            result = await anext(aiter(found))
        if isinstance(result, Failed):
            raise result.error
        return result.state

    try:
        with _explained(ref.arn, may_be_file=source == "history"):
            state = run(reading)
        with results():
            show(state, seen[0].clock_skew_s or 0.0)
    finally:
        if stat and seen:
            print_delays(seen[0])


@contextmanager
def _explained(name: str, *, may_be_file: bool) -> Iterator[None]:
    """A service of the user's own is asked for whatever is named, and may refuse it in riddles."""
    try:
        yield
    except (InvalidRequestError, ExecutionNotFoundError) as error:
        if match_arn(name) is not None:
            raise
        found = "an ARN of a durable execution"
        nor = f"neither {found} nor a file that exists" if may_be_file else f"not {found}"
        raise Problem(plain(f"{message_of(error)}. What was named is {nor}"), SERVICE) from None


def _tell_of_throttling() -> Hook:
    """A hook that says once why nothing happens."""
    is_told = False

    def hook(event: Event) -> None:
        nonlocal is_told
        if isinstance(event, Throttled) and not is_told:
            is_told = True
            say("The service throttles; waiting until it answers. Ctrl-C ends this.")

    return hook
