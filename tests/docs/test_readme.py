"""README.md: its Python does what it says."""

from __future__ import annotations

from typing import Any

import pytest

from durastate import ExecutionRef
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan

from .page import run

pytestmark = pytest.mark.asyncio


async def test_progress_of_an_invocation_event(
    in_environment: Emulator, refs: list[ExecutionRef]
) -> None:
    page = await run("README.md")
    event = {
        "DurableExecutionArn": refs[0].arn,
        "CheckpointToken": refs[0].checkpoint_token,
        "InitialExecutionState": {
            "Operations": [
                {"Id": "a", "Type": "STEP", "Status": "READY", "StartTimestamp": 1_767_225_600_000}
            ]
        },
    }
    assert await page.progress(event) == {"a": "READY"}
    assert len(in_environment.log) == 0


async def test_report_prints_a_line_for_each_execution(
    in_environment: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    page = await run("README.md")
    in_environment.faults = FaultPlan(on={7: Fault(FaultKind.ACCESS_DENIED)})
    world = in_environment.world

    await page.report(world.refs())

    lines: Any = sorted(capsys.readouterr().out.splitlines())
    expected = [
        f"{world.name(index)} {len(world.visible_operations(index))}"
        for index in range(len(world))
        if index != 7
    ]
    assert lines[1:] == sorted(expected)
    assert lines[0].startswith(f"GetDurableExecutionState of {world.arn(7)}: Access")
