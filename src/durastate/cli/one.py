"""One execution, read and printed: what `get` and `show` have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from durastate import ExecutionState, Statistics

from .delays import print_delays
from .options import Connection
from .running import run
from .streams import results

if TYPE_CHECKING:
    from durastate import StateClient


def print_one(
    connection: Connection,
    read: Callable[[StateClient], Awaitable[ExecutionState]],
    show: Callable[[ExecutionState, float], None],
    *,
    stat: bool,
) -> None:
    """Show on stdout what is read; with `stat` say at the end what delayed it.

    `show` is told how far the service's clock is ahead of this machine's.
    """
    seen: list[Statistics] = []

    async def reading() -> ExecutionState:
        async with connection.client() as client:
            try:
                return await read(client)
            finally:
                seen.append(client.statistics())

    try:
        state = run(reading())
        with results():
            show(state, seen[0].clock_skew_s or 0.0)
    finally:
        if stat and seen:
            print_delays(seen[0])
