"""`durastate demo`: the whole way of a bulk read, against the embedded service."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from durastate import ExecutionRef, Failed, ServiceError, StateClient, Statistics
from durastate.emulator import EmulatorProcess, FaultPlan, World

from .ending import reason
from .plain import plain
from .progress import Progress, Tally, span
from .running import tune_collector
from .streams import say

# About what a call takes within a Region, so that the demo shows waiting too.
_LATENCY_S = 0.05


@dataclass
class _Tally(Tally):
    failures: list[Failed] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)


async def run_demo() -> None:
    """Start the service, read everything, print the summary on stdout."""
    world = World.demo()
    refs = [ExecutionRef(arn, token) for arn, token in world.refs()]
    tally = _Tally(requested=len(refs))
    say(
        f"Starting the embedded service: {len(refs):,} executions, "
        f"{_LATENCY_S * 1000:.0f} ms an answer …"
    )
    async with (
        EmulatorProcess(world, FaultPlan.demo(world), latency_s=_LATENCY_S) as service,
        StateClient(endpoint_url=service.endpoint_url, session=service.session()) as client,
    ):
        tune_collector()
        started = time.monotonic()
        async with Progress(tally, client.statistics), client.fetch_many(refs) as results:
            async for result in results:
                if isinstance(result, Failed):
                    tally.failed += 1
                    tally.failures.append(result)
                else:
                    tally.complete += 1
                    tally.statuses[result.state.status or "unknown"] += 1
        _print_summary(tally, client.statistics(), time.monotonic() - started)


def _print_summary(tally: _Tally, statistics: Statistics, seconds: float) -> None:
    out = Console(highlight=False, soft_wrap=True)
    out.print(
        f"\n[bold]{tally.requested:,} requested = {tally.complete:,} complete "
        f"+ {tally.failed:,} failed[/bold]"
    )
    statuses = ", ".join(f"{count:,} {status}" for status, count in tally.statuses.most_common())
    out.print(f"Status: {statuses}")
    out.print(
        f"Read: {statistics.pages:,} pages, {statistics.operations:,} operations, "
        f"{statistics.bytes / 1e6:,.1f} MB in {statistics.requests:,} requests, of which "
        f"{statistics.retries:,} were retries ({statistics.throttles:,} throttled)"
    )
    out.print(
        f"Took: {span(seconds)}, {statistics.operations / seconds:,.0f} operations/s, "
        f"{tally.read / seconds:,.0f} executions/s"
    )
    table = Table(title="What could not be read, and why")
    for name in ("Failed execution", "Error", "Reason"):
        table.add_column(name, overflow="fold")
    for failed in sorted(tally.failures, key=lambda each: each.index):
        name = failed.ref.execution_name
        table.add_row(Text(plain(name)), type(failed.error).__name__, Text(plain(_reason(failed))))
    out.print(table)


def _reason(failed: Failed) -> str:
    """The error without the name of the execution, which the table has already."""
    error = failed.error
    if isinstance(error, ServiceError):
        return f"{error.code}: {error.message}" if error.message else error.code
    return reason(str(error), failed.ref.arn)
