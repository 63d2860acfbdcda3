"""An audit of real durable functions in AWS's own emulator, from the list to a query."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import durastate
from durastate import StateClient
from durastate.audit.query import query

from .peer import REGION, HeldExecution

pytestmark = pytest.mark.asyncio

# Finished; failed, nested, a map with failures; waiting; callbacks; retrying; chained invokes.
NAMES = ("finished", "steps", "contexts", "only-waits", "callbacks", "unfinished", "invokes")


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """The tests look at files."""


@pytest.fixture(scope="module")
def audited(
    held_executions: dict[str, HeldExecution], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The directory, and what the command said."""
    held = held_executions["finished"]
    out = tmp_path_factory.mktemp("aws") / "audit"
    env = os.environ | {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": REGION,
        "PYTHONPATH": str(Path(durastate.__file__).parents[1]),
    }
    command = [sys.executable, "-m", "durastate.cli", "audit", *NAMES, "always-fails", "-o", out]
    done = subprocess.run(
        [*command, "--endpoint-url", held.endpoint_url, "--payloads", "size", "--max-items", "50"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def rows(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    with query(directory, sql) as answer:
        return [tuple(each.values()) for batch in answer for each in batch.to_pylist()]


async def test_every_execution_is_there_with_its_status_and_operations(
    audited: tuple[Path, str], held_executions: dict[str, HeldExecution], session: Any
) -> None:
    directory, said = audited
    found = {
        arn: rest
        for arn, *rest in rows(directory, "select arn, status, operation_count from executions")
    }
    client = StateClient(
        session=session,
        region_name=REGION,
        endpoint_url=held_executions["finished"].endpoint_url,
    )
    async with client:
        for name in NAMES:
            arn = held_executions[name].arn
            described = await client.get_execution(arn)
            state = await client.get_state_from_history(arn)
            assert found[arn] == [str(described.status), len(state.operations)]
    assert f"{len(found):,} found = 0 read before + {len(found):,} read" in said


async def test_a_query_says_what_fails_waits_and_is_retried(audited: tuple[Path, str]) -> None:
    directory, said = audited
    functions = dict(rows(directory, "select function, count(*) from executions group by 1"))
    assert set(functions) == {*NAMES, "always-fails"}
    failing = rows(
        directory,
        """select distinct o.error_type, e.function from operations o join executions e using (arn)
           where o.status = 'FAILED' and o.type = 'STEP'""",
    )
    kinds = {(kind.rpartition(".")[2], function) for kind, function in failing if kind}
    assert {("PaymentDeclined", "steps"), ("PaymentDeclined", "contexts")} <= kinds
    assert ("StepError", "steps") in kinds
    waiting = rows(
        directory,
        """select e.function, o.type from operations o join executions e using (arn)
           where o.status in ('STARTED', 'PENDING', 'READY') and o.type <> 'EXECUTION'""",
    )
    assert {("callbacks", "CALLBACK"), ("unfinished", "WAIT"), ("unfinished", "STEP")} <= set(
        waiting
    )
    retried = "select function from executions where retry_count > 0"
    assert "steps" in {name for (name,) in rows(directory, retried)}
    assert "PaymentDeclined" in said
    ended = rows(
        directory, "select status, error_type from executions where function = 'always-fails'"
    )
    assert {(status, kind.rpartition(".")[2]) for status, kind in ended} == {
        ("FAILED", "PaymentDeclined")
    }
