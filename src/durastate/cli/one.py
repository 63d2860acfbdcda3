"""One execution, read and printed: what `get` and `show` have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from durastate import ExecutionRef, ExecutionState, Failed, Statistics, Throttled

from .delays import print_delays
from .fetch import hooks_with
from .options import Connection
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
        state = run(reading)
        with results():
            show(state, seen[0].clock_skew_s or 0.0)
    finally:
        if stat and seen:
            print_delays(seen[0])


def _tell_of_throttling() -> Hook:
    """A hook that says once why nothing happens."""
    is_told = False

    def hook(event: Event) -> None:
        nonlocal is_told
        if isinstance(event, Throttled) and not is_told:
            is_told = True
            say("The service throttles; waiting until it answers. Ctrl-C ends this.")

    return hook
