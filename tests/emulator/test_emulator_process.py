"""The emulator in its own process: the same answers, a clean end, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from durastate.emulator import (
    Call,
    Credentials,
    EmulatorProcess,
    Execution,
    Fault,
    FaultKind,
    FaultPlan,
    World,
)
from durastate.emulator.__main__ import configured
from durastate.emulator.process import Configuration

SOURCE = str(Path(__file__).parents[2] / "src")


async def first_page(emulator: EmulatorProcess, index: int) -> list[str]:
    client = emulator.session().create_client(
        "lambda", region_name="eu-west-1", endpoint_url=emulator.endpoint_url
    )
    async with client as service:
        page = await service.get_durable_execution_state(
            DurableExecutionArn=emulator.world.arn(index),
            CheckpointToken=emulator.world.token(index),
            MaxItems=1_000,
        )
        return [operation["Id"] for operation in page["Operations"]]


async def gone(pid: int) -> None:
    """Return when the process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), 15)
    finally:
        loop.remove_reader(handle)
        os.close(handle)


@pytest.mark.asyncio
async def test_it_serves_the_same_world_and_ends_with_the_block() -> None:
    mine = Execution("AAAA", World(operations=2).all_operations(0))
    world = World(seed=3, executions=4, operations=7, extra={"mine": mine})
    plan = FaultPlan(on={0: Fault(FaultKind.SERVICE_ERROR, first=1)})
    keys = Credentials("key", "secret", "token")
    async with EmulatorProcess(world, plan, credentials=keys, latency_s=0.001) as emulator:
        pid = emulator.pid
        for index in (0, 4):  # botocore asks again after the 500
            expected = [operation["Id"] for operation in world.visible_operations(index)]
            assert await first_page(emulator, index) == expected
    assert pid is not None
    assert emulator.pid is None
    await gone(pid)


@pytest.mark.asyncio
async def test_a_process_that_cannot_start_says_why() -> None:
    async with EmulatorProcess(World(executions=1)) as first:
        port = int(first.endpoint_url.rpartition(":")[2])
        with pytest.raises(RuntimeError, match="address already in use"):
            await EmulatorProcess(World(executions=1), port=port).__aenter__()


@pytest.mark.asyncio
async def test_a_process_that_is_not_ready_in_time_is_ended() -> None:
    emulator = EmulatorProcess(World(executions=1), start_timeout_s=0)
    with pytest.raises(RuntimeError, match="not ready after 0 s"):
        await emulator.__aenter__()
    assert emulator.pid is None


@pytest.mark.asyncio
async def test_leaving_after_the_process_died_is_no_error() -> None:
    async with EmulatorProcess(World(executions=1)) as emulator:
        assert emulator.pid is not None
        os.kill(emulator.pid, signal.SIGKILL)


@pytest.mark.asyncio
async def test_a_killed_parent_leaves_nothing_behind() -> None:
    program = (
        "import asyncio\n"
        "from durastate.emulator import EmulatorProcess, World\n"
        "async def main():\n"
        "    async with EmulatorProcess(World(executions=1)) as emulator:\n"
        "        print(emulator.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", program),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), 30))
    os.kill(child, 0)  # it runs
    parent.kill()
    await parent.wait()
    await gone(child)


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_serves_until_a_signal(number: signal.Signals) -> None:
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durastate.emulator", "--demo", "--seed", "4"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert command.stdout is not None
    ready = json.loads(await asyncio.wait_for(command.stdout.readline(), 30))
    assert ready["endpoint_url"].startswith("http://127.0.0.1:")
    command.send_signal(number)
    output, errors = await asyncio.wait_for(command.communicate(), 10)
    assert (command.returncode, output, errors) == (0, b"", b"")


def test_every_option_of_the_command_reaches_the_world_and_the_service() -> None:
    numbers = {"--seed": 3, "--executions": 9, "--operations": 5, "--payload-size": 7}
    world = {"--functions": 2, "--versions": 3, "--statuses": "FAILED=1,RUNNING=3"}
    times = {"--first-start": "2026-07-01T00:00:00+02:00", "--latency": 0.5}
    rates = {"--rate": 1, "--history-rate": 2, "--get-rate": 3, "--list-rate": 4}
    given = {"--port": 8080, **numbers, **world, **times, **rates}
    given |= {"--short-pages": 0.25, "--page-bytes": 1_000}
    words = [str(word) for pair in given.items() for word in pair]
    made = configured(words)
    assert made.world == World(
        seed=3,
        executions=9,
        operations=5,
        payload_size=7,
        functions=2,
        versions=3,
        statuses={"FAILED": 1, "RUNNING": 3},
        first_start=datetime(2026, 6, 30, 22, tzinfo=UTC).timestamp(),
    )
    assert (made.port, made.faults) == (8080, FaultPlan(seed=3))
    assert made.options == {
        "latency_s": 0.5,
        "rate": 1,
        "history_rate": 2,
        "get_rate": 3,
        "list_rate": 4,
        "short_pages": 0.25,
        "page_bytes": 1_000,
    }


def test_a_configuration_survives_the_way_to_another_process() -> None:
    keys = Credentials("key", "secret", "token", datetime(2026, 1, 1, tzinfo=UTC))
    world = World(seed=2, functions=("a", "b"), versions=2, statuses={"FAILED": 1}, every_s=1)
    plan = FaultPlan(on={3: (Fault(FaultKind.RESET, call=Call.LIST),)})
    before = Configuration(world, plan, (keys, Credentials()), 8080, {"rate": 5.0})
    assert Configuration.from_json(before.to_json()) == before


# The current directory, and what PYTHON* variables say

TRAPS = ("orjson", "aiohttp", "asyncio", "durastate", "sitecustomize", "usercustomize", "json")
DEMONSTRATION = """
import asyncio, os, sys
from durastate.emulator import EmulatorProcess, World
os.environ |= eval(sys.argv[1])  # This process has not gone by them.
os.chdir(sys.argv[2])
sys.path[:0] = eval(sys.argv[3])

async def main():
    async with EmulatorProcess(World(executions=1)) as service:
        print(service.endpoint_url)

asyncio.run(main())
"""


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A directory of modules each of which leaves a file behind when it is executed."""
    folder = tmp_path / "trap"
    for name in TRAPS:
        (folder / name).mkdir(parents=True)
        text = f"open({str(tmp_path / 'sprung')!r}, 'a').write('{name} ')\n"
        (folder / name / "__init__.py").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({}, ["", "."]),
        ({"PYTHONPATH": "{trap}", "PYTHONSTARTUP": "{trap}/orjson/__init__.py"}, []),
        (
            {"PYTHONHOME": "", "PYTHONPATH": ":", "PYTHONUSERBASE": "{trap}"},
            [""],
        ),
    ],
)
def test_nothing_is_imported_from_the_current_directory_or_because_of_a_variable(
    trap: Path, tmp_path: Path, changed: dict[str, str], first: list[str]
) -> None:
    script = tmp_path / "demonstration.py"
    script.write_text(DEMONSTRATION)
    given = {name: value.format(trap=trap) for name, value in changed.items()}
    done = subprocess.run(
        [sys.executable, script, repr(given), trap, repr(first)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.startswith("http://127.0.0.1:"), done.stderr
    assert not (tmp_path / "sprung").exists(), (tmp_path / "sprung").read_text()


def test_the_command_in_a_directory_of_traps(trap: Path, tmp_path: Path) -> None:
    script = tmp_path / "durastate-command.py"  # what an installation makes of it
    script.write_text("import sys\nfrom durastate.cli import main\nsys.exit(main())\n")
    done = subprocess.run(
        [sys.executable, script, "demo"],
        cwd=trap,
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert "1,000 requested" in done.stdout
    assert not (tmp_path / "sprung").exists(), (tmp_path / "sprung").read_text()


def test_a_copy_in_the_current_directory_that_runs_already_is_used(tmp_path: Path) -> None:
    shutil.copytree(Path(SOURCE, "durastate"), tmp_path / "durastate")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", DEMONSTRATION, "{}", tmp_path, "[]"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.startswith("http://127.0.0.1:"), done.stderr
