"""ministack's history and its state tell of the same operations, where it records both."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from durastate import decode_history, decode_page, operations_from_history

from .peer import WrittenExecution, every_kind, running_ministack

pytestmark = pytest.mark.asyncio

# Where ministack's two answers differ: no events of chained invokes, retries and cancelled
# callbacks; an event without the wait's end, with an empty result or error where there is none;
# time-outs in the state that are in no model.
LEFT_OUT = {
    *("running", "invoked", "invoke-failed", "invoke-cancelled", "retried", "to-retry"),
    *("withdrawn", "hour", "no-result", "cancelled", "asked", "answered"),
}


async def test_the_operations_of_a_history_are_those_of_the_state() -> None:
    async with running_ministack() as server:
        written = await server.write("every-kind", every_kind)
        token = quote(written.token, safe="")
        page = decode_page(await read(written, f"state?CheckpointToken={token}&MaxItems=1000"))
        history = decode_history(await read(written, "history?MaxItems=1000"))

    # Its ExecutionStarted has no id.
    execution_id = written.arn.rpartition("/")[2]
    operations = operations_from_history(history, execution_id=execution_id)
    expected = [each.to_dict() for each in page if each.id not in LEFT_OUT]
    for each in expected:
        each.get("ContextDetails", {}).pop("ReplayChildren", None)  # in no event
    assert len(expected) > 12
    assert {each["Type"] for each in expected} == {
        *("EXECUTION", "STEP", "WAIT", "CALLBACK", "CONTEXT"),
    }
    assert [without_empty(each.to_dict()) for each in operations if each.id not in LEFT_OUT] == [
        without_empty(each) for each in expected
    ]


def without_empty(operation: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in operation.items() if value != {}}


async def read(written: WrittenExecution, rest: str) -> bytes:
    """The body of a read call. ministack looks at no signature."""
    arn = quote(written.arn, safe="")
    url = f"{written.endpoint_url}/2025-12-01/durable-executions/{arn}/{rest}"
    async with aiohttp.ClientSession() as http, http.get(URL(url, encoded=True)) as response:
        return await response.read()
