"""What the tests of the client share: opening one cheaply, and asking whether it is at rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from typing import Any

from aiobotocore.session import AioSession

from durastate import ExecutionRef, ExecutionState, StateClient
from durastate.calls import Calls
from durastate.emulator import Credentials, Emulator, session_with
from durastate.retries import Retries

Wire = dict[str, Any]
_MOST_TURNS = 2_000


@cache
def standard_session() -> AioSession:
    """One session for all tests: loading the service model takes longer than most of them."""
    return session_with(Credentials())


@asynccontextmanager
async def reading(emulator: Emulator, **options: Any) -> AsyncIterator[StateClient]:
    """A client of `emulator`, with its keys unless `options` say otherwise."""
    if "session" not in options and "profile_name" not in options:
        options["session"] = standard_session()
    async with StateClient(endpoint_url=emulator.endpoint_url, **options) as client:
        yield client


def ref_of(emulator: Emulator, index: int = 0) -> ExecutionRef:
    return ExecutionRef(emulator.world.arn(index), emulator.world.token(index))


def refs_of(emulator: Emulator) -> list[ExecutionRef]:
    return [ExecutionRef(arn, token) for arn, token in emulator.world.refs()]


def endless_refs(emulator: Emulator, read: list[int]) -> Iterator[ExecutionRef]:
    """Executions for ever; the number of each one that was asked for goes to `read`."""
    for number in count():
        read.append(number)
        yield ref_of(emulator, number % len(emulator.world))


def wire(state: ExecutionState) -> list[Wire]:
    return [operation.to_dict() for operation in state.operations]


def held(emulator: Emulator, index: int = 0) -> list[Wire]:
    """What the service has of an execution, which its whole state has to equal."""
    return emulator.world.visible_operations(index)


def calls_of(client: StateClient) -> Calls:
    assert client._calls is not None
    return client._calls


def without_delays(client: StateClient) -> None:
    """Draw 0 for every delay between attempts; only a hint of the server's makes one."""
    calls = calls_of(client)
    calls._retries = Retries(calls._retries.max_attempts, lambda: 0.0)


def assert_at_rest(client: StateClient) -> None:
    """No request, no waiting, no byte and no slot is held by anybody."""
    seen = client.statistics()
    shared = calls_of(client).shared
    assert (seen.in_flight, seen.waiting) == (0, 0)
    assert shared.admission.free == shared.max_requests
    assert (shared.gate.held, shared.gate.waiting) == (0, 0)


def client_tasks() -> set[asyncio.Task[Any]]:
    """All tasks but those of the emulator's connections, one or two for each."""
    of_a_server = ("RequestHandler.", "BaseSelectorEventLoop._accept_connection")
    return {
        task
        for task in asyncio.all_tasks()
        if not getattr(task.get_coro(), "__qualname__", "").startswith(of_a_server)
    }


async def warm(emulator: Emulator, client: StateClient) -> None:
    """Have the first request, with all that is set up for it, behind us."""
    await client.get_page(ref_of(emulator))
    emulator.log.clear()


async def turns(number: int) -> None:
    """Let the loop run that many iterations."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until(reached: Callable[[], bool], what: str = "") -> None:
    """Let the loop run until something is so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while not reached():
        assert loop.time() < deadline, f"never came: {what or reached}"
        await asyncio.sleep(0)


async def settled(of: Callable[[], Any], quiet_turns: int = 50) -> Any:
    """The value of `of` once it has stopped changing for so many iterations of the loop."""
    last, since = of(), 0
    for _ in range(_MOST_TURNS):
        await asyncio.sleep(0)
        now = of()
        last, since = now, since + 1 if now == last else 0
        if since >= quiet_turns:
            return last
    raise AssertionError(f"never settled: {last}")
