"""The summary of `durastate demo`."""

from __future__ import annotations

import dataclasses

import pytest

from durastate import ExecutionRef, Failed, PaginationError, Statistics
from durastate.cli.demo import _print_summary, _Tally
from durastate.emulator import World

from .conftest import Invoke


def test_a_narrow_terminal_costs_no_part_of_a_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    arn = World(executions=1).arn(0)
    error = PaginationError(f"{arn}: the service sent lambda:GetDurableExecutionState again")
    tally = _Tally(requested=1, failed=1, failures=[Failed(ExecutionRef(arn), error)])
    zeros = {field.name: 0 for field in dataclasses.fields(Statistics)}
    _print_summary(tally, Statistics(**zeros | {"transport": ""}), 1.0)
    shown = capsys.readouterr().out
    cells = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
    joined = ["".join("".join(column).split()) for column in zip(*cells, strict=True)]
    assert joined == [
        *("run-000000", "PaginationError"),
        "theservicesentlambda:GetDurableExecutionStateagain",
    ]


def test_an_execution_is_running_and_not_started(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "demo", lambda: World(executions=20, statuses={"RUNNING": 1}))
    done = invoke("demo")
    assert (done.code, "RUNNING" in done.out, "STARTED" in done.out) == (0, True, False)
