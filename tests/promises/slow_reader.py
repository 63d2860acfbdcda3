"""Stream big pages with a slow consumer; prints the peak of resident memory as JSON.

Arguments: URL, `max_bytes_in_flight`, `max_executions`, how many pages the consumer takes.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

from durastate import ExecutionRef, FetchedPage, Limits, StateClient
from durastate.emulator import Credentials, World, session_with

WISHED_FOR = 1_024


def peak_bytes() -> int:
    """The most that this process ever had in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def read(
    url: str, max_bytes_in_flight: int, max_executions: int, pages: int
) -> dict[str, int]:
    world = World(seed=1, executions=WISHED_FOR)
    limits = Limits(max_requests=WISHED_FOR, max_bytes_in_flight=max_bytes_in_flight)
    refs = (ExecutionRef(arn, token) for arn, token in world.refs())
    session = session_with(Credentials())
    taken = most_in_flight = most_held = 0
    async with StateClient(endpoint_url=url, session=session, limits=limits) as client:
        at_start = peak_bytes()
        async with client.stream_pages(refs, max_executions=max_executions) as results:
            async for result in results:
                assert isinstance(result, FetchedPage), result.error
                assert len(result.page) == 1_000
                taken += 1
                if taken == pages:
                    break
                # Slow: what can be read ahead is read before the next page is taken.
                await _standstill(client)
                seen = client.statistics()
                most_in_flight = max(most_in_flight, seen.in_flight + seen.waiting)
                most_held = max(most_held, client._calls.shared.gate.held)  # type: ignore[union-attr]
    return {
        "at_start": at_start,
        "peak": peak_bytes(),
        "taken": taken,
        "most_in_flight": most_in_flight,
        "most_held": most_held,
    }


async def _standstill(client: StateClient) -> None:
    """Until nothing has come in for a while."""
    gate = client._calls.shared.gate  # type: ignore[union-attr]
    quiet, last = 0, -1
    while quiet < 30:
        await asyncio.sleep(0.001)
        quiet, last = (quiet + 1, last) if gate.held == last else (0, gate.held)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    url, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(read(url, *map(int, numbers)))))  # noqa: T201


if __name__ == "__main__":
    main()
