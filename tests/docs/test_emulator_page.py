"""docs/emulator.md: each example does what it says; the first one by pytest itself."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from durastate import OperationStatus
from durastate.emulator import FaultKind, World
from durastate.emulator.behaviour import Options

from .page import ROOT, blocks, run

pytestmark = pytest.mark.asyncio
PAGE = "docs/emulator.md"


async def output_of(*command: str | Path, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(50):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("block", [0, 1])
async def test_the_example_is_a_test_that_passes(tmp_path: Path, block: int) -> None:
    (tmp_path / "test_example.py").write_text(blocks(ROOT / PAGE)[block].code)
    scope = "asyncio_default_fixture_loop_scope=function"
    alone = ("-p", "no:cacheprovider", "-W", "error", "-o", scope, "-q", "test_example.py")
    said = await output_of(sys.executable, "-m", "pytest", *alone, cwd=tmp_path)
    assert "1 passed" in said


async def test_a_scripted_transport_answers_in_order() -> None:
    page = await run(PAGE)
    ids, statistics = await page.a_retry()
    assert ids == ["1", "2", "3"]
    assert (statistics.requests, statistics.retries, statistics.pages) == (3, 1, 2)


async def test_a_scripted_transport_answers_by_what_is_asked() -> None:
    page = await run(PAGE)
    assert await page.one_of_three_is_away() == {World(executions=3).arn(1): 3}


async def test_executions_written_by_hand_come_back() -> None:
    page = await run(PAGE)
    state = await page.order()
    assert [operation.to_dict() for operation in state.operations] == page.ORDER.operations
    assert state.input_payload == '{"sku": "A-1"}'
    charge = state.by_id["2"]
    assert charge.status is OperationStatus.FAILED
    assert charge.step_details is not None
    assert charge.step_details.error is not None
    assert charge.step_details.error.error_type == "PaymentDeclined"


async def test_a_hundred_thousand_executions_are_there_to_be_listed() -> None:
    page = await run(PAGE)
    listed, events = await page.failed_orders()
    world = page.BUSY
    since = (86_400 - world.every_s) // (50 * world.every_s) * 50 + 50
    ours = [index for index in range(since, len(world), 50) if world.status(index) == "FAILED"]
    assert listed == len(ours) > 50
    assert events["ExecutionFailed"] == events["ExecutionStarted"] == 1


async def test_only_what_the_plan_breaks_for_good_fails() -> None:
    page = await run(PAGE)
    assert await page.kinds_of_failure() == {0: "EncryptionKeyError", 2: "PaginationError"}


async def test_a_held_service_shows_what_is_under_way() -> None:
    page = await run(PAGE)
    assert await page.at_once() == (20, 19)


async def test_markers_go_by_the_services_clock() -> None:
    page = await run(PAGE)
    assert await page.a_marker_after(hours=23) == "30 more operations"
    assert await page.a_marker_after(hours=25) == "Invalid marker"


async def test_a_process_of_its_own_serves_the_same() -> None:
    page = await run(PAGE)
    assert await page.from_another_process() == 5


async def test_tls_with_the_pages_own_certificate(here: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    await output_of("sh", "-c", blocks(ROOT / PAGE, "sh")[0].code, cwd=here)
    page = await run(PAGE)
    assert await page.over_tls() == ("https", len(World(executions=1).visible_operations(0)))


async def test_what_the_page_names_exists(tmp_path: Path) -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    named = re.search(r"there are the options (.+?)\.\n", text, re.DOTALL)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) == set(Options.__annotations__)
    assert set(re.findall(r"FaultKind\.(\w+)", text)) <= set(FaultKind.__members__)
    shell = next(block.code for block in blocks(ROOT / PAGE, "text") if "--demo" in block.code)
    said = await output_of(sys.executable, "-m", "durastate.emulator", "--help", cwd=tmp_path)
    assert all(option in said for option in re.findall(r"--\w+", shell))
