"""How late `/health` answers while its service reads states: the first example of docs/services.md.

The service is the page's own code, in a process of its own on our core. The load keeps as many
requests in flight as the case says, from another process; the probe asks `/health` every 10 ms from
this one. A probe does not wait for the one before it, and counts from when it was due.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import aiohttp
from aiohttp import web

from .cases import Case
from .measure import ROOT, Contender, Row, cores, environment, say
from .results import Options, Result
from .service import Endpoint, running
from .worker import Plan

_EVERY_S = 0.01
_CASES = (
    Case("64 states of 3 pages of 1,000 operations", 64, operations=3000, in_flight=64),
    Case("64 states of 5 operations", 64, operations=5, in_flight=64),
)


def run(options: Options) -> Result:
    """A row for each case, collector on and off; its runs hold every latency, idle and loaded."""
    rounds = options.rounds or (1 if options.quick else 3)
    seconds = 2 if options.quick else 10
    rows = []
    for case in _CASES:
        pair = [Row(case, Contender("ours", collect=collect)) for collect in (True, False)]
        with running(case, cores()[1]) as service:
            for number in range(rounds):
                for row in pair if number % 2 == 0 else pair[::-1]:
                    _add_run(row, service, seconds)
                    say(f"{case.name}, {number + 1}/{rounds}, {row.contender}")
        rows += pair
    head = f"{'/health, ms p50/p99/max':<60}{'idle':>20}{'loaded':>24}{'states/s':>10}"
    return Result([head, *map(_line, rows)], rows=rows)


def _line(row: Row) -> str:
    name = f"{row.case.name}, {row.contender}"
    if row.void:
        return f"{name:<60}void: {row.void}"
    idle, loaded = (_quantiles(row, figure) for figure in ("idle_ms", "loaded_ms"))
    return f"{name:<60}{idle:>20}{loaded:>24}{row.median('states_per_s'):>10,.0f}"


def _quantiles(row: Row, figure: str) -> str:
    values = sorted(value for each in row.runs for value in each[figure])
    found = values[len(values) // 2], values[int(len(values) * 0.99)], values[-1]
    return "/".join(f"{value:.1f}" for value in found)


def _add_run(row: Row, service: Endpoint, seconds: float) -> None:
    case, (core, other_core) = row.case, cores()
    plan = Plan("ours", case, service.url, service.ca_bundle)
    with tempfile.TemporaryDirectory() as home:
        env = environment(plan, home) | {"AWS_ENDPOINT_URL_LAMBDA": service.url}
        told = {"core": core, "collect": row.contender.collect}
        with _process("serve", told, env) as (url, _):
            idle_ms = asyncio.run(_probe(url, seconds))
            told = {"core": other_core, "url": url, "case": asdict(case)}
            with _process("load", told, env) as (_, loading):
                loaded_ms = asyncio.run(_probe(url, seconds))
                counts = json.loads(loading.communicate("")[0])
    row.runs.append({"idle_ms": idle_ms, "loaded_ms": loaded_ms, **counts})
    if counts["wrong"]:
        row.void = f"{counts['wrong']} wrong answers, the first: {counts['first_wrong']}"


@contextmanager
def _process(
    role: str, told: dict[str, Any], env: dict[str, str]
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """This module in a process that ends with its stdin; the line that it says when ready."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, role, json.dumps(told)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=env,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not (ready := process.stdout.readline().strip()):
                raise RuntimeError(f"the process to {role} did not start; its error is above")
            yield ready, process
        finally:
            process.stdin.close()


async def _probe(url: str, seconds: float) -> list[float]:
    """The latency of each probe of a fixed timetable, in milliseconds."""
    took_ms = []

    async def one(due: float) -> None:
        async with session.get("/health") as answer:
            if (answer.status, await answer.read()) != (200, b"ok"):
                raise RuntimeError(f"/health answered {answer.status}")
        took_ms.append(round((time.perf_counter() - due) * 1e3, 3))

    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(url, connector=connector) as session,
        asyncio.TaskGroup() as probes,
    ):
        due = time.perf_counter()
        for _ in range(round(seconds / _EVERY_S)):
            await asyncio.sleep(due - time.perf_counter())
            probes.create_task(one(due))
            due += _EVERY_S
    return took_ms


def _documented() -> web.Application:
    """The application of docs/services.md, with more time for a busy machine."""
    page = (ROOT / "docs" / "services.md").read_text()
    code = re.search(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert code is not None
    namespace: dict[str, Any] = {"__name__": "services"}
    exec(compile(code[1], "docs/services.md", "exec"), namespace)  # noqa: S102 - our own page
    namespace["TIMEOUT_S"] = 60
    application: web.Application = namespace["make_app"]()
    return application


async def _serve(stop: asyncio.Event, *, collect: bool) -> None:
    runner = web.AppRunner(_documented(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gc.collect()
    if not collect:
        gc.disable()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    await runner.cleanup()


async def _load(stop: asyncio.Event, url: str, case: Case) -> None:
    """Says when every request in flight has been answered once, and at the end what it counted."""
    refs = itertools.cycle(case.refs())
    answers, wrong = 0, list[str]()
    started = time.perf_counter()

    async def one() -> None:
        nonlocal answers, started
        ref = next(refs)
        body = {"arn": ref.arn, "checkpoint_token": ref.token}
        async with session.post("/progress", json=body) as response:
            text = await response.text()
        if response.status != 200 or json.loads(text)["operations"] != case.operations:
            wrong.append(f"{response.status} {text[:200]}")
        answers += 1
        if answers == case.in_flight:
            started = time.perf_counter()
            print("busy", flush=True)

    async def keep_asking() -> None:
        while not stop.is_set():
            await one()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        await asyncio.gather(*(keep_asking() for _ in range(case.in_flight)))
    seconds = time.perf_counter() - started
    rate = (answers - case.in_flight) / seconds
    counts = {"answers": answers, "states_per_s": rate, "wrong": len(wrong)}
    print(json.dumps({**counts, "first_wrong": wrong[0] if wrong else ""}))


async def _until_stdin_ends(role: str, told: dict[str, Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(0, stop.set)
    try:
        if role == "serve":
            await _serve(stop, collect=told["collect"])
        else:
            await _load(stop, told["url"], Case(**told["case"]))
    finally:
        loop.remove_reader(0)


def main() -> None:
    """The entry of the two other processes."""
    role, told = sys.argv[1], json.loads(sys.argv[2])
    if told["core"] is not None:
        os.sched_setaffinity(0, {told["core"]})
    asyncio.run(_until_stdin_ends(role, told))


if __name__ == "__main__":
    main()
