"""One audit in a process of its own: `python -m benchmarks.audit_worker FOLDER JSON`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from durastate import (
    ExecutionState,
    HistoryEvent,
    Operation,
    decode_history,
    operations_from_history,
)
from durastate.audit import ExecutionRow, Store
from durastate.cli.running import tune_collector
from durastate.emulator import World

from .cases import AUDIT_STEPS, AuditCase
from .worker import peak_mb

_T = TypeVar("_T")
_EVENTS_A_PAGE = 1_000
_PLANNED_AT_ONCE = 1_000
_OPERATIONS_AT_ONCE = 500
_POOL_OPERATIONS = 20_000
_WARM_UP = 20


class Clock:
    """CPU seconds of the whole process by step."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("plan", *AUDIT_STEPS), 0.0)

    def timed(self, step: str, work: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        began = time.process_time()
        found = work(*arguments, **options)
        self.seconds[step] += time.process_time() - began
        return found


class Pool:
    """Distinct histories, gone through in turn."""

    def __init__(self, audit: AuditCase) -> None:
        count = max(8, min(1_000, audit.executions, _POOL_OPERATIONS // audit.operations))
        world = World(
            seed=1, executions=count, operations=audit.operations, payload_size=audit.payload_size
        )
        self.pages = [_pages(world.events(at)) for at in range(count)]
        self.counts = [len(world.all_operations(at)) for at in range(count)]
        self.statuses = [world.status(at) for at in range(count)]


def _pages(events: list[dict[str, Any]]) -> list[bytes]:
    return [
        orjson.dumps({"Events": events[at : at + _EVENTS_A_PAGE]})
        for at in range(0, len(events), _EVENTS_A_PAGE)
    ]


def _rows(pool: Pool, count: int) -> Iterator[ExecutionRow]:
    start = "arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST/durable-execution"
    for at in range(count):
        arn = f"{start}/order-{at % 977}/{at:012d}"
        yield ExecutionRow.of(arn, status=pool.statuses[at % len(pool.statuses)])


def _plan(store: Store, pool: Pool, count: int) -> None:
    rows: list[ExecutionRow] = []
    for row in _rows(pool, count):
        rows.append(row)
        if len(rows) == _PLANNED_AT_ONCE:
            store.plan(rows)
            rows.clear()
    store.plan(rows)


def _read(store: Store, pool: Pool, clock: Clock) -> None:
    """What the run loop of an audit does, with pages that are there already."""
    began, before = time.process_time(), sum(clock.seconds.values())
    for rows in _batches(store, pool):
        pages = [pool.pages[_number(row) % len(pool.pages)] for row in rows]
        events = clock.timed("decode", lambda: list(map(_decoded, pages)))  # noqa: B023
        found = clock.timed("fold", lambda: list(map(operations_from_history, events)))  # noqa: B023
        clock.timed("add", _add, store, rows, found)
    took = time.process_time() - began
    clock.seconds["rest"] = took - (sum(clock.seconds.values()) - before)


def _batches(store: Store, pool: Pool) -> Iterator[list[ExecutionRow]]:
    """Some executions at once, because to ask for the CPU time takes as long as an operation."""
    rows: list[ExecutionRow] = []
    operations = 0
    for row in store.pending():
        rows.append(row)
        operations += pool.counts[_number(row) % len(pool.counts)]
        if operations >= _OPERATIONS_AT_ONCE:
            yield rows
            rows, operations = [], 0
    yield rows


def _number(row: ExecutionRow) -> int:
    return int(row.arn.rpartition("/")[2])


def _decoded(pages: list[bytes]) -> list[HistoryEvent]:
    return [event for body in pages for event in decode_history(body)]


def _add(store: Store, rows: list[ExecutionRow], found: list[list[Operation]]) -> None:
    for row, operations in zip(rows, found, strict=True):
        store.add(row, ExecutionState(row.arn, operations, source="history"))


def main(folder: str, audit: AuditCase) -> dict[str, Any]:
    """The figures."""
    if audit.core is not None:
        os.sched_setaffinity(0, {audit.core})
    pool, clock = Pool(audit), Clock()
    with Store.open(Path(folder, "warm-up")) as store:  # Arrow is loaded when it is first used
        _plan(store, pool, _WARM_UP)
        _read(store, pool, Clock())
        store.finish(complete=True)
    tune_collector()  # as the command does
    before = peak_mb()
    with Store.open(Path(folder, "audit")) as store:
        clock.timed("plan", _plan, store, pool, audit.executions)
        _read(store, pool, clock)
        before_finish = peak_mb()
        manifest = clock.timed("finish", store.finish, complete=True)
    expected = sum(pool.counts[at % len(pool.counts)] for at in range(audit.executions))
    if (manifest.executions, manifest.operations) != (audit.executions, expected):
        raise AssertionError(f"other work: {manifest.operations} operations, not {expected}")
    return {
        "executions": manifest.executions,
        "operations": manifest.operations,
        "cpu_s": clock.seconds,
        "peak_mb": peak_mb(),
        "peak_mb_before_finish": before_finish,
        "peak_mb_before": before,
        "bytes": sum(each.size for each in manifest.files),
        "digest": manifest.digest,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], AuditCase(**json.loads(sys.argv[2])))))
