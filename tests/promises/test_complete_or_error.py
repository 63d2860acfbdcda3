"""With requests failing in mixed ways, what is called complete is; all the rest is listed once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from client.support import assert_at_rest, held, reading, refs_of, without_delays

from durastate import Fetched, FetchedPage, StateClient
from durastate.emulator import PASSING, Emulator, Fault, FaultKind, FaultPlan, World

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

LONG = bool(os.environ.get("DURASTATE_LONG"))
EXECUTIONS = 84
LARGE_SEED = 200  # The one with 10,000 executions.
SEEDS = range(LARGE_SEED + 1 if LONG else 12)
# Small pages, so that faults strike in the middle of states; a few states are long.
MAX_ITEMS = 7
SIZES = (1, 3, 7, 8, 15, 22, 40)
# What never passes, and of what kind the failure then is. Some strike a later page alone.
LASTING = {
    FaultKind.SERVICE_ERROR: "ServiceError",
    FaultKind.BAD_GATEWAY: "ServiceError",
    FaultKind.KMS_DISABLED: "EncryptionKeyError",
    FaultKind.ACCESS_DENIED: "AccessDeniedError",
    FaultKind.INVALID_TOKEN: "InvalidTokenError",
    FaultKind.NOT_FOUND: "ExecutionNotFoundError",
    FaultKind.RESET_IN_BODY: "TransportError",
    FaultKind.TRUNCATED: "TransportError",
    FaultKind.MALFORMED_JSON: "DecodingError",
    FaultKind.WRONG_TYPES: "DecodingError",
    FaultKind.REPEATED_MARKER: "PaginationError",
    FaultKind.CYCLING_MARKERS: "PaginationError",
}
# Of all pages, those that are right and shorter than they could be; some of them are empty.
SHORT = 0.1
# Faults that pass, on executions that do not fail anyway, for each page; over all seeds of a run.
STRUCK = 0.02


def planned(seed: int) -> tuple[World, FaultPlan, dict[int, str]]:
    """A world, what goes wrong in it, and which executions fail, with the error of each."""
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    executions = 10_000 if seed == LARGE_SEED else EXECUTIONS
    world = World(seed=seed, executions=executions, operations=SIZES, payload_size=20)
    chosen = random.sample(range(executions), executions // 10)
    on: dict[int | str, Fault] = {}
    failing: dict[int, str] = {}
    for place, index in enumerate(chosen):
        kind = random.choice(list(LASTING))
        has_more = SIZES[index % len(SIZES)] > MAX_ITEMS
        # A cycle on one page alone is none: it leads on.
        page = 1 if has_more and place % 2 and kind is not FaultKind.CYCLING_MARKERS else None
        on[index] = Fault(kind, page=page)
        failing[index] = LASTING[kind]
    return world, FaultPlan(seed=seed, on=on, rate=0.05, kinds=PASSING), failing


async def whole(client: StateClient, emulator: Emulator) -> tuple[dict[int, object], list[int]]:
    """By index, the operations of a complete state or the failure; and the order of results."""
    seen: dict[int, object] = {}
    order = []
    async with client.fetch_many(refs_of(emulator), max_items=MAX_ITEMS) as results:
        async for result in results:
            order.append(result.index)
            seen[result.index] = (
                [operation.to_dict() for operation in result.state.operations]
                if isinstance(result, Fetched)
                else type(result.error).__name__
            )
    return seen, order


async def by_pages(client: StateClient, emulator: Emulator) -> tuple[dict[int, object], list[int]]:
    seen: dict[int, object] = {}
    order = []
    parts: dict[int, list[object]] = {}
    async with client.stream_pages(refs_of(emulator), max_items=MAX_ITEMS) as results:
        async for result in results:
            part = parts.setdefault(result.index, [])
            if isinstance(result, FetchedPage):
                part += [operation.to_dict() for operation in result.page.operations]
                if not result.is_last:
                    continue
                seen[result.index] = part
            else:
                seen[result.index] = type(result.error).__name__
            order.append(result.index)
    return seen, order


@pytest.fixture(scope="module")
def worlds() -> Iterator[Counter[str]]:
    """What the seeds met; together they were as bad as they were meant to be."""
    met: Counter[str] = Counter()
    yield met
    assert met["struck"] >= STRUCK * met["pages"] > 0, met


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_is_called_complete_is_and_all_the_rest_is_listed(
    seed: int, worlds: Counter[str]
) -> None:
    world, plan, failing = planned(seed)
    read = whole if seed % 2 == 0 else by_pages
    async with Emulator(world, plan, short_pages=SHORT) as emulator, reading(emulator) as client:
        without_delays(client)
        seen, order = await read(client, emulator)
        assert_at_rest(client)
        doomed = {world.arn(index) for index in failing}
        struck = sum(entry.fault in PASSING for entry in emulator.log if entry.arn not in doomed)
        pages = client.statistics().pages
    assert sorted(order) == list(range(len(world))), "each one once"
    failed = {index: error for index, error in seen.items() if isinstance(error, str)}
    assert failed == failing
    for index in seen.keys() - failed.keys():
        assert seen[index] == held(emulator, index), index
    assert failing
    worlds.update(struck=struck, pages=pages)
