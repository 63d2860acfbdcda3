"""docs/bulk.md: the notebook's rows, the script across a Ctrl-C, the pages, the memory."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from durastate import ExecutionRef, Limits, StateClient
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World

from .page import ROOT, blocks, run, settings_of

pytestmark = pytest.mark.asyncio
PAGE = "docs/bulk.md"


def write_lines(path: Path, *lines: str) -> None:
    path.write_text("".join(line + "\n" for line in lines))


def wire_row(arn: str, operation: dict[str, Any]) -> tuple[Any, ...]:
    ended = operation.get("EndTimestamp")
    members = [operation.get(name) for name in ("Id", "Name", "Type", "Status")]
    return (arn, *members, operation["StartTimestamp"], ended)


def seen_row(row: dict[str, Any]) -> tuple[Any, ...]:
    ended = row["ended"]
    members = [row[name] for name in ("id", "name", "type", "status")]
    return (
        row["arn"],
        *members,
        row["started"].timestamp(),
        None if ended is None else ended.timestamp(),
    )


@pytest.mark.usefixtures("refs_file")
async def test_the_notebook_has_a_row_for_each_operation(
    in_environment: Emulator, refs: list[ExecutionRef]
) -> None:
    page = await run(PAGE)
    expected = [
        wire_row(ref.arn, operation)
        for index, ref in enumerate(refs)
        for operation in in_environment.world.visible_operations(index)
    ]
    by_place = sorted(page.rows, key=lambda row: [ref.arn for ref in refs].index(row["arn"]))
    assert [seen_row(row) for row in by_place] == expected
    assert {row["source"] for row in page.rows} == {"state"}
    assert page.failures == []


async def test_failures_name_their_line_and_events_are_refs_too(
    in_environment: Emulator, refs: list[ExecutionRef], refs_file: Path
) -> None:
    event = {
        "DurableExecutionArn": refs[1].arn,
        "CheckpointToken": refs[1].checkpoint_token,
        "InitialExecutionState": {"Operations": []},
    }
    good = json.dumps({"arn": refs[0].arn, "checkpoint_token": refs[0].checkpoint_token})
    lines = [good, json.dumps(event), json.dumps({"note": "?"}), json.dumps({"arn": refs[2].arn})]
    write_lines(refs_file, *lines, good)
    in_environment.faults = FaultPlan(on={0: Fault(FaultKind.KMS_DISABLED, first=1)})

    page = await run(PAGE)

    assert sorted(page.failures, key=lambda failure: failure["line"])[-2:] == [
        {"line": 2, "arn": "", "kind": "MissingTokenError"},
        {"line": 3, "arn": refs[2].arn, "kind": "MissingTokenError"},
    ]
    assert [failure["kind"] for failure in page.failures].count("EncryptionKeyError") == 1
    assert {row["arn"] for row in page.rows} == {refs[0].arn}

    write_lines(refs_file, good, "no JSON")
    with pytest.raises(json.JSONDecodeError):
        await page.read_all("refs.jsonl")


@pytest.mark.usefixtures("refs_file")
async def test_the_script_goes_on_where_ctrl_c_stopped_it(
    in_environment: Emulator, refs: list[ExecutionRef], here: Path
) -> None:
    needed = [block.code for block in blocks(ROOT / PAGE) if "await read_all(" not in block.code]
    script = here / "fetch.py"
    script.write_text("\n\n".join(needed))
    out = here / "out.jsonl"
    stalled = Fault(FaultKind.STALL, delay_s=60)
    in_environment.faults = FaultPlan(on=dict.fromkeys(range(50, 100), stalled))

    first = await start(script)
    await in_environment.log.wait_for(100)  # all have been asked for
    first.send_signal(signal.SIGINT)
    assert await ended(first) == (130, "")
    text = out.read_bytes()
    before = [json.loads(line)["arn"] for line in text.splitlines()]
    assert text.endswith(b"\n")
    # 64 executions at once: for the last to be asked for, the file had 35 of the others.
    assert len(before) == len(set(before)) >= 35
    assert set(before) <= {ref.arn for ref in refs[:50]}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600

    in_environment.faults = FaultPlan(on={99: Fault(FaultKind.ACCESS_DENIED)})
    in_environment.log.clear()
    status, said = await ended(await start(script))
    assert status == 2
    assert said.startswith(f"{refs[99].arn}: GetDurableExecutionState of {refs[99].arn}")
    states = {state["arn"]: state for state in map(json.loads, out.read_bytes().splitlines())}
    assert [state["operations"] for _, state in sorted(states.items())] == [
        in_environment.world.visible_operations(refs.index(ref))
        for ref in sorted(refs[:99], key=lambda ref: ref.arn)
    ]
    assert not set(before) & set(in_environment.log.per_execution())


async def start(script: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *(script.name, "refs.jsonl", "out.jsonl"),
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    try:
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode()


@pytest.mark.usefixtures("refs_file")
async def test_failed_operations_are_counted_without_a_token(in_environment: Emulator) -> None:
    page = await run(PAGE)
    world = in_environment.world
    name = ExecutionRef(world.arn(0)).function_name
    wanted = [
        index
        for index in range(len(world))
        if ExecutionRef(world.arn(index)).function_name == name
        and ExecutionRef(world.arn(index)).region == "eu-west-1"
        and world.status(index) in ("FAILED", "TIMED_OUT")
    ]
    expected = Counter(
        operation.get("Name") or operation["Id"]
        for index in wanted
        for operation in world.all_operations(index)
        if operation["Status"] == "FAILED"
    )
    in_environment.log.clear()
    counts, unread = await page.failed_operations(name, days=10_000)

    assert (counts, unread) == (expected, [])
    assert len(wanted) > 0
    assert {entry.call for entry in in_environment.log} == {
        "ListDurableExecutionsByFunction",
        "GetDurableExecutionHistory",
    }


@pytest.mark.usefixtures("refs_file", "in_environment")
async def test_pages_are_counted_and_half_executions_are_not(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await run(PAGE)
    world = World(executions=3, operations=(5, 2500, 1200))
    faults = FaultPlan(on={2: Fault(FaultKind.KMS_NOT_FOUND, page=1)})
    records = [{"arn": arn, "checkpoint_token": token} for arn, token in world.refs()]
    (here / "large.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    async with Emulator(world, faults) as large:
        for name, value in settings_of(large).items():
            monkeypatch.setenv(name, value)
        counts = await page.count_operations("large.jsonl")
        assert large.log.per_execution()[world.arn(2)] == 2  # the first page did come

    assert counts == {world.arn(0): 5, world.arn(1): 2500}


@pytest.mark.usefixtures("in_environment", "refs_file")
async def test_an_operation_takes_about_the_kilobyte_of_the_formula() -> None:
    page = await run(PAGE)
    world = World(executions=1, operations=1000, payload_size=2)
    body = orjson.dumps({"Operations": world.visible_operations(0)})
    assert 400 < page.bytes_per_operation(body) < 1_100


async def test_clients_may_share_their_limits(emulator: Emulator, refs: list[ExecutionRef]) -> None:
    limits = Limits(max_requests=3)
    options: dict[str, Any] = {
        "endpoint_url": emulator.endpoint_url,
        "session": emulator.session(),
        "limits": limits,
    }

    async def read(client: StateClient) -> int:
        async with client.fetch_many(refs) as results:
            return len([result async for result in results])

    emulator.hold()
    async with StateClient(**options) as one, StateClient(**options) as other:
        reading = asyncio.gather(read(one), read(other))
        await emulator.log.wait_for(3)
        for _ in range(200):  # turns of the loop in which a fourth could come
            await asyncio.sleep(0)
        assert len(emulator.log) == 3
        assert one.statistics().waiting > 0
        emulator.release()
        assert await reading == [100, 100]
    assert emulator.log.max_concurrent <= 3


@pytest.mark.usefixtures("refs_file", "in_environment")
async def test_only_the_pages_own_function_touches_the_collector() -> None:
    before = gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
    page = await run(PAGE)  # reads a hundred executions
    assert (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == before
    try:
        page.settings_for_a_bulk_reader()
        assert gc.get_threshold()[:2] == (50_000, 50)
        assert gc.get_freeze_count() > before[2]
    finally:
        gc.set_threshold(*before[1])
        gc.unfreeze()


@pytest.mark.usefixtures("refs_file", "in_environment")
async def test_states_are_freed_without_the_collector(
    client: StateClient, refs: list[ExecutionRef]
) -> None:
    page = await run(PAGE)
    kind = type((await client.get_page(refs[0])).operations[0])
    del page
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, kind) for each in gc.get_objects())
        async with client.fetch_many(refs) as results:
            assert [len(result.state.operations) > 0 async for result in results] == [True] * 100
        assert sum(isinstance(each, kind) for each in gc.get_objects()) == before
    finally:
        gc.enable()
