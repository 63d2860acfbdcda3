"""docs/hooks.md: the example counts what happened, and the table has every event and member."""

from __future__ import annotations

import logging
import re
from typing import get_args

import pytest

from durastate import Event, ExecutionRef
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan

from .page import ROOT, run

PAGE = "docs/hooks.md"


def test_every_event_is_in_the_table_with_its_members() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", text, re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", members) for name, members in rows} == {
        kind.__name__: list(kind._fields) for kind in get_args(Event)
    }


@pytest.mark.asyncio
async def test_the_example_counts_what_happened(
    in_environment: Emulator, refs: list[ExecutionRef], caplog: pytest.LogCaptureFixture
) -> None:
    page = await run(PAGE)
    in_environment.faults = FaultPlan(
        on={
            0: Fault(FaultKind.THROTTLE, first=1),
            1: Fault(FaultKind.SERVICE_ERROR, first=1),
            2: Fault(FaultKind.KMS_DISABLED),
        }
    )
    metrics = await page.read_and_measure(refs)
    assert metrics.counts == {
        "RequestDone": 102,
        "PageRead": 99,
        "ExecutionDone": 100,
        "Retrying": 1,
        "Throttled": 1,
        "trouble in eu-west-1": 1,
    }
    assert metrics.failed == [(refs[2].arn, "EncryptionKeyError")]
    assert metrics.slowest_s > 0

    # It has had one request before.
    in_environment.faults = FaultPlan(on={3: Fault(FaultKind.SERVICE_ERROR, first=2)})
    metrics = page.Metrics()
    with caplog.at_level(logging.INFO, logger="durastate"):
        await page.read_with_logs(refs[3], metrics)
    assert metrics.counts["Retrying"] == 1
    (record,) = [each for each in caplog.records if each.name == "durastate"]
    assert vars(record)["durastate"]["event"] == "Retrying"
    assert vars(record)["durastate"]["arn"] == refs[3].arn
