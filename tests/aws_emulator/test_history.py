"""What AWS's emulator tells of an execution as history and as state is the same.

Both are read for the same held execution while nothing about it changes. What may differ stands in
the table of `docs/history.md`, and nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from yarl import URL

from durastate import HistoryEvent, Operation, decode_history, decode_page
from durastate import operations_from_history as fold

from .conftest import BY_COUNT
from .peer import HeldExecution

pytestmark = pytest.mark.asyncio

_PAGE = Path(__file__).parents[2] / "docs" / "history.md"
_ROW = re.compile(
    r"^\| `(?P<name>[\w.]+)` \| (?:`(?P<kind>\w+)`|all) \| (?:`(?P<status>\w+)`|any) \|"
    r".*\| (?P<seen>[^|]+) \|$",
    re.MULTILINE,
)

Member = tuple[str, str, str]  # its name, the type of operation and the status in the state


def rows() -> dict[Member, str]:
    """The table's members ("" for all types and any status), with where a difference is seen."""
    text = _PAGE.read_text(encoding="utf-8")
    return {
        (row["name"], row["kind"] or "", row["status"] or ""): row["seen"]
        for row in _ROW.finditer(text)
    }


def rows_for(member: Member) -> set[Member]:
    """The rows of the table that allow a difference."""
    name, kind, status = member
    return {(name, kind, status), (name, kind, ""), (name, "", "")} & rows().keys()


async def read(endpoint_url: str, arn: str, rest: str = "") -> bytes:
    """The body of a read call. The emulator looks at no signature."""
    url = f"{endpoint_url}/2025-12-01/durable-executions/{quote(arn, safe='')}{rest}"
    async with aiohttp.ClientSession() as http, http.get(URL(url, encoded=True)) as response:
        assert response.status == 200
        return await response.read()


async def state_of(held: HeldExecution) -> list[Operation]:
    operations: list[Operation] = []
    marker: str | None = ""
    while marker is not None:
        token, after = quote(held.token, safe=""), quote(marker, safe="")
        rest = f"/state?CheckpointToken={token}&MaxItems=1000&Marker={after}"
        page = decode_page(await read(held.endpoint_url, held.arn, rest))
        operations += page.operations
        marker = page.next_marker
    return operations


async def history_of(endpoint_url: str, arn: str, *, data: bool = True) -> list[HistoryEvent]:
    events: list[HistoryEvent] = []
    marker: str | None = ""
    while marker is not None:
        include, after = str(data).lower(), quote(marker, safe="")
        rest = f"/history?IncludeExecutionData={include}&MaxItems=1000&Marker={after}"
        page = decode_history(await read(endpoint_url, arn, rest))
        events += page.events
        marker = page.next_marker
    return events


def operations_from_history(events: list[HistoryEvent]) -> list[Operation]:
    """As they are read of a service whose keys are no ARNs, which this one is."""
    return fold(events, zero_delay_ends=True)


async def test_a_step_that_has_failed_for_good_says_a_delay_of_nothing(
    held_executions: dict[str, HeldExecution],
) -> None:
    """Without that only the emulator's own kind of key tells that the step is not tried again."""
    held = held_executions["steps"]
    events = await history_of(held.endpoint_url, held.arn)
    found = {each.name: each.status for each in fold(events)}
    assert found["fails-for-good"] == "PENDING"
    found = {each.name: each.status for each in operations_from_history(events)}
    assert found["fails-for-good"] == "FAILED"


def members(operation: Operation) -> dict[str, Any]:
    """Every member of an operation and of its details, by its path."""
    flat: dict[str, Any] = {}
    for name, value in operation.to_dict().items():
        if name.endswith("Details"):
            flat |= {f"{name}.{inner}": member for inner, member in value.items()}
        else:
            flat[name] = value
    return flat


def differences(state: list[Operation], history: list[Operation]) -> set[Member]:
    """What differs between operations that must be the same ones, in the same order."""
    assert [each.id for each in state] == [each.id for each in history]
    found = set()
    for one, other in zip(map(members, state), map(members, history), strict=True):
        differing = {name for name in one | other if one.get(name) != other.get(name)}
        found |= {(name, one["Type"], one["Status"]) for name in differing}
    return found


@pytest.mark.parametrize("held", BY_COUNT, indirect=True)
async def test_state_and_history_give_the_same_operations_but_for_the_table(
    held: HeldExecution,
) -> None:
    events = await history_of(held.endpoint_url, held.arn)
    found = differences(await state_of(held), operations_from_history(events))
    assert {member for member in found if not rows_for(member)} == set()


async def test_what_the_table_says_is_seen_in_the_emulator_is(
    held_executions: dict[str, HeldExecution],
) -> None:
    found: set[Member] = set()
    for name in BY_COUNT[:-1]:
        held = held_executions[name]
        history = operations_from_history(await history_of(held.endpoint_url, held.arn))
        found |= differences(await state_of(held), history)
    for arn in await chained_executions(held_executions["invokes"]):
        closed = await history_of(held_executions["invokes"].endpoint_url, arn)
        [execution, *_] = operations_from_history(closed)
        found |= {(name, "EXECUTION", "") for name in members(execution)}
    seen = {row for member in found for row in rows_for(member)}

    expected = {row for row, where in rows().items() if where == "AWS's emulator"}
    assert len(expected) > 5
    assert expected <= seen


async def test_a_retry_that_is_due_is_still_pending_in_the_history(
    held_executions: dict[str, HeldExecution],
) -> None:
    held = held_executions["unfinished"]
    history = operations_from_history(await history_of(held.endpoint_url, held.arn))
    [ready] = [each for each in await state_of(held) if each.status == "READY"]
    [pending] = [each for each in history if each.id == ready.id]
    assert pending.status == "PENDING"
    assert pending.step_details
    assert pending.step_details.next_attempt_timestamp
    assert pending.step_details.next_attempt_timestamp > pending.start_timestamp


@pytest.mark.parametrize("held", ["steps", "callbacks", "contexts", "invokes"], indirect=True)
async def test_without_execution_data_payloads_are_missing_and_named(held: HeldExecution) -> None:
    events = await history_of(held.endpoint_url, held.arn, data=False)
    history = {each.id: each for each in operations_from_history(events)}
    left_out = set()
    for expected in await state_of(held):
        whole, found = members(expected), members(history[expected.id])
        missing = whole.keys() - found.keys() - {name for name, _, status in rows() if not status}
        payloads = {name.rpartition(".")[2] for name in missing}
        assert payloads <= {"InputPayload", "Result", "Error"}
        assert payloads <= set(history[expected.id].truncated)
        left_out |= payloads
    assert "Result" in left_out


async def chained_executions(held: HeldExecution) -> list[str]:
    """The ARNs of the executions that `held` has started and waited for: they are closed."""
    events = [each.to_dict() for each in await history_of(held.endpoint_url, held.arn)]
    details = [each.get("ChainedInvokeStartedDetails", {}) for each in events]
    return [each["DurableExecutionArn"] for each in details if "DurableExecutionArn" in each]


async def test_the_history_of_a_closed_execution_agrees_with_its_status_and_result(
    held_executions: dict[str, HeldExecution], finished: HeldExecution
) -> None:
    invokes = held_executions["invokes"]
    closed = [finished.arn, *await chained_executions(invokes)]
    statuses = set()
    for arn in closed:
        expected = orjson.loads(await read(invokes.endpoint_url, arn))
        [execution, *_] = operations_from_history(await history_of(invokes.endpoint_url, arn))
        found = members(execution)

        statuses.add(execution.status)
        assert execution.type == "EXECUTION"
        assert execution.status == expected["Status"]
        assert found["StartTimestamp"] == expected["StartTimestamp"]
        assert found["EndTimestamp"] == expected["EndTimestamp"]
        assert found.get("ExecutionDetails.Result") == expected.get("Result")
        assert found.get("ExecutionDetails.Error") == expected.get("Error")
        assert found.get("ExecutionDetails.InputPayload") == expected.get("InputPayload")
    assert statuses == {"SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT"}
