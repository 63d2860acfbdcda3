"""One run of one client in a process of its own; prints what it used as one line of JSON.

Standard library only, because some clients live in environments of their own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import importlib
import json
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cases import Case
from .clients import CLIENTS, Setup

_TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is."""

    client: str
    case: Case
    url: str
    ca_bundle: str | None = None
    uvloop: bool = False
    collect: bool = True  # whether the cyclic garbage collector is on
    core: int | None = None
    watch: bool = False  # time every callback; it costs some CPU itself


class Collector:
    """Counts the pauses of the cyclic garbage collector."""

    def __init__(self) -> None:
        self.pauses_s: list[float] = []
        self.cpu_s = 0.0

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began, self._cpu = time.perf_counter(), time.thread_time()
        else:
            self.pauses_s.append(time.perf_counter() - self._began)
            self.cpu_s += time.thread_time() - self._cpu


class Callbacks:
    """The CPU time of each callback of asyncio's own loop, and the pages decoded in each turn."""

    def __init__(self, collector: Collector) -> None:
        self.longest_s = 0.0
        self.pages = 0
        self.most_pages = 0
        handle, loop = asyncio.events.Handle, asyncio.SelectorEventLoop
        run, turn = handle._run, loop._run_once  # type: ignore[attr-defined]

        def timed(this: Any) -> None:
            began, paused = time.thread_time(), collector.cpu_s
            run(this)
            used = time.thread_time() - began - (collector.cpu_s - paused)
            self.longest_s = max(self.longest_s, used)

        def counted(this: Any) -> None:
            before = self.pages
            turn(this)
            self.most_pages = max(self.most_pages, self.pages - before)

        handle._run = timed  # type: ignore[assignment,method-assign]
        loop._run_once = counted  # type: ignore[attr-defined]

    def count_pages(self) -> None:
        """Wrap `decode_page` wherever durastate has it."""
        original = importlib.import_module("durastate.decoding").decode_page

        def counted(body: bytes) -> Any:
            self.pages += 1
            return original(body)

        for name, module in list(sys.modules.items()):
            if name.startswith("durastate.") and hasattr(module, "decode_page"):
                module.decode_page = counted  # type: ignore[attr-defined]


async def _tick(late_s: list[float]) -> None:
    while True:
        due = time.perf_counter() + _TICK_S
        await asyncio.sleep(_TICK_S)
        late_s.append(time.perf_counter() - due)


async def _measure(plan: Plan) -> dict[str, Any]:
    client, case = CLIENTS[plan.client], plan.case
    collector = Collector()
    watched = Callbacks(collector) if plan.watch else None
    module = importlib.import_module(f".clients.{client.module}", __package__)
    if watched:
        watched.count_pages()
    setup = Setup(plan.url, plan.ca_bundle, case.in_flight, case.max_items)
    async with getattr(module, client.attribute)(setup) as run:
        await run(case.refs(case.warm_up))
        gc.collect()
        if not plan.collect:
            gc.disable()
        gc.callbacks.append(collector)
        late_s: list[float] = []
        ticker = asyncio.create_task(_tick(late_s))
        await asyncio.sleep(2 * _TICK_S)
        late_s.clear()
        if watched:  # after a pause, because the step before it collected garbage
            watched.longest_s = 0.0
            watched.pages = 0
        wall, cpu = time.perf_counter(), time.process_time()
        work = await run(case.refs())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        await asyncio.sleep(0)  # a tick that is due by now still counts
        ticker.cancel()
        gc.callbacks.remove(collector)
    late_s = sorted(late_s) or [0.0]
    pauses = collector.pauses_s
    used: dict[str, Any] = {
        "work": dataclasses.asdict(work),
        "cpu_s": cpu,
        "wall_s": wall,
        "cpu_ms_per_page": cpu * 1e3 / max(1, work.pages),
        "operations_per_cpu_s": work.operations / cpu,
        "operations_per_s": work.operations / wall,
        "pages_per_s": work.pages / wall,
        "wall_ms_per_execution": wall * 1e3 / max(1, work.executions),
        "peak_mb": peak_mb(),
        "delay_max_ms": late_s[-1] * 1e3,
        "delay_p99_ms": late_s[int(len(late_s) * 0.99)] * 1e3,
        "gc_total_ms": sum(pauses) * 1e3,
        "gc_max_ms": max(pauses, default=0.0) * 1e3,
        "gc_runs": len(pauses),
        "errors": work.errors,
        "python": platform.python_version(),
    }
    if watched:
        used["longest_callback_ms"] = watched.longest_s * 1e3
        # All pages in one turn, where some were decoded unseen.
        seen = watched.pages == work.pages
        used["pages_per_turn"] = watched.most_pages if seen else work.pages
    return used


def peak_mb() -> float:
    """The process's highest resident memory so far.

    Not `ru_maxrss` where it can be helped: Linux carries the parent's peak over into it.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        unit = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """The entry of a run's process: a `Plan` as JSON."""
    raw = json.loads(sys.argv[1])
    plan = Plan(**raw | {"case": Case(**raw["case"])})
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    loop_factory = asyncio.SelectorEventLoop
    if plan.uvloop:
        loop_factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        print(json.dumps(runner.run(_measure(plan))))


if __name__ == "__main__":
    main()
