"""Rate ceiling: in every second the *server* counts at most rate x 1.1 + 1 requests.

On a virtual clock and at 60 requests a second, with retries and with two clients, that is in
`tests/client/test_rates.py`; as a property, in `tests/pure/test_limits.py`; at 5,000 a second, in
simulated time, in `test_do_no_harm.py`. Here are rates by the log of a server.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from client.support import refs_of, standard_session

from durastate import ExecutionRef, Limits, StateClient
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World
from durastate.requests import GET_STATE
from durastate.testing import ScriptedTransport, page

from .counting import WORLD, counting, read_for
from .limiting import within

Record = Callable[[str, object], None]
LONG = bool(os.environ.get("DURASTATE_LONG"))
SECONDS = 20.0 if LONG else 1.2


def client_at(url: str, rate: float) -> StateClient:
    return StateClient(
        endpoint_url=url, session=standard_session(), limits=Limits(rates={GET_STATE: rate})
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("rate", [1, 15])
async def test_the_embedded_service_counts_no_more_than_the_ceiling(
    rate: int, record_property: Record
) -> None:
    # The first answers for each are errors, so that retries are among what is counted.
    faults = FaultPlan(on={n: Fault(FaultKind.SERVICE_ERROR, first=1) for n in range(50)})
    async with Emulator(World(executions=50, operations=1), faults) as emulator:
        async with client_at(emulator.endpoint_url, rate) as client:
            # One at a time, so that no retry stands in line behind 63 others.
            await read_for(SECONDS, client, refs_of(emulator), max_executions=1)
            seen = client.statistics()
        assert seen.retries > 0
        assert len(emulator.log) == seen.requests >= 0.9 * rate * (SECONDS - 0.5)
        most = emulator.log.max_in_window(1.0)
        record_property(f"rate ceiling: most in a second at {rate}/s", most)
        assert most <= 1.1 * rate + 1


@pytest.mark.asyncio
@pytest.mark.parametrize("rate", [300, 1_000, 5_000] if LONG else [300])
async def test_a_fast_service_counts_no_more_than_the_ceiling(
    rate: int, record_property: Record
) -> None:
    # The embedded service, which verifies signatures, takes hardly as many in this process.
    refs = [ExecutionRef(arn, token) for arn, token in World(executions=50).refs()]
    async with counting() as service, client_at(service.url, rate) as client:
        await read_for(SECONDS, client, refs)
        assert client.statistics().waited_for_rate_s > 0  # so it was the ceiling that held
    arrived = service.arrived
    most = max(within(arrived, at, at + 1) for at in arrived)
    record_property(f"rate ceiling: most in a second at {rate}/s", most)
    assert most <= 1.1 * rate + 1


if LONG:

    @pytest.mark.asyncio
    async def test_the_embedded_service_counts_no_more_than_1_000(record_property: Record) -> None:
        # In a process of its own; whether it takes as many is the machine's affair.
        refs = [ExecutionRef(arn, token) for arn, token in WORLD.refs()]
        async with counting(embedded=True) as service, client_at(service.url, 1_000) as client:
            await read_for(SECONDS, client, refs)
        arrived = service.arrived
        assert len(arrived) > 100 * SECONDS
        most = max(within(arrived, at, at + 1) for at in arrived)
        record_property("rate ceiling: most in a second at 1000/s, embedded service", most)
        assert most <= 1.1 * 1_000 + 1


@pytest.mark.asyncio
async def test_5_000_a_second_are_the_most_where_the_wire_costs_nothing(
    record_property: Record,
) -> None:
    # Over sockets too few are sent while another test runs: `DURASTATE_LONG` has that. The same
    # client, in real time, over a transport in memory.
    transport = ScriptedTransport([page([])])
    refs = [ExecutionRef(arn, token) for arn, token in World(executions=50).refs()]
    limits = Limits(rates={GET_STATE: 5_000})
    async with transport.client(limits=limits) as client:
        await read_for(SECONDS, client, refs)
        assert client.statistics().waited_for_rate_s > 0  # so it was the ceiling that held
    arrived = [asked.at for asked in transport.asked]
    most = max(within(arrived, at, at + 1) for at in arrived[:: len(arrived) // 200])
    record_property("rate ceiling: most in a second at 5000/s, in memory", most)
    assert most <= 1.1 * 5_000 + 1
