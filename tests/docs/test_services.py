"""docs/services.md: the service under load, its statuses, the Lambda handler, streaming."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from durastate import CredentialsError, ExecutionRef, StateClient
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan

from .page import run

pytestmark = pytest.mark.asyncio


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's own module, which the handler's example imports."""
    module = types.ModuleType("orders")

    def durable_function(event: dict[str, Any], context: object) -> dict[str, Any]:
        return {"Status": "SUCCEEDED", "Result": json.dumps(event["DurableExecutionArn"])}

    vars(module)["durable_function"] = durable_function
    monkeypatch.setitem(sys.modules, "orders", module)


@asynccontextmanager
async def served(page: types.ModuleType) -> AsyncIterator[aiohttp.ClientSession]:
    """The page's service on a free port, and an HTTP client of it."""
    runner = web.AppRunner(page.make_app(), handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0)) as browser:
            yield browser
    finally:
        await runner.cleanup()


async def ask(browser: aiohttp.ClientSession, ref: ExecutionRef) -> tuple[int, Any]:
    body = {"arn": ref.arn, "checkpoint_token": ref.checkpoint_token}
    async with browser.post("/progress", json=body) as answer:
        return answer.status, await answer.json()


async def healthy(browser: aiohttp.ClientSession) -> bool:
    async with browser.get("/health") as answer:
        return (answer.status, await answer.text()) == (200, "ok")


@pytest.mark.usefixtures("orders")
async def test_health_answers_while_many_reads_wait(
    in_environment: Emulator, refs: list[ExecutionRef]
) -> None:
    page = await run("docs/services.md")
    async with served(page) as browser:
        in_environment.hold()
        asking = [asyncio.create_task(ask(browser, ref)) for ref in refs]
        await in_environment.log.wait_for(64)  # Limits.max_requests; the others are in line
        assert [await healthy(browser) for _ in range(20)] == [True] * 20
        assert not any(task.done() for task in asking)
        in_environment.release()
        answers = await asyncio.gather(*asking)

    states = [in_environment.world.visible_operations(index) for index in range(len(refs))]
    assert answers == [
        (200, {"operations": len(state), "done": sum("EndTimestamp" in each for each in state)})
        for state in states
    ]


@pytest.mark.usefixtures("orders")
async def test_each_error_has_its_status(
    in_environment: Emulator, refs: list[ExecutionRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    kinds = [
        FaultKind.NOT_FOUND,
        FaultKind.INVALID_TOKEN,
        FaultKind.ACCESS_DENIED,
        FaultKind.SERVICE_ERROR,
        FaultKind.WRONG_TYPES,
        FaultKind.REPEATED_MARKER,
    ]
    in_environment.faults = FaultPlan(on={at: Fault(kind) for at, kind in enumerate(kinds)})
    page = await run("docs/services.md")
    async with served(page) as browser:
        asked = [*refs[: len(kinds)], ExecutionRef("", "AAAA"), ExecutionRef(refs[0].arn, None)]
        answers = [await ask(browser, ref) for ref in asked]
        async with browser.post("/progress", data=b"no JSON") as answer:
            bad_request = answer.status
        in_environment.hold()
        page.TIMEOUT_S = 0.05
        late = await asyncio.wait_for(ask(browser, refs[-1]), 10)  # an attempt may take 30 s
        in_environment.release()

    assert [(status, body["error"]) for status, body in [*answers, late]] == [
        (404, "ExecutionNotFoundError"),
        (409, "InvalidTokenError"),
        (502, "AccessDeniedError"),
        (502, "ServiceError"),
        (502, "DecodingError"),
        (502, "PaginationError"),
        (400, "InvalidRefError"),
        (400, "MissingTokenError"),
        (504, "DeadlineError"),
    ]
    assert bad_request == 400


@pytest.mark.usefixtures("orders")
async def test_a_browser_that_leaves_frees_its_slot(
    in_environment: Emulator, refs: list[ExecutionRef]
) -> None:
    page = await run("docs/services.md")
    async with served(page) as browser:
        in_environment.hold()
        asking = [asyncio.create_task(ask(browser, ref)) for ref in refs[:64]]
        await in_environment.log.wait_for(64)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await in_environment.log.wait_idle()
        in_environment.release()
        assert (await ask(browser, refs[0]))[0] == 200


@pytest.mark.usefixtures("orders")
async def test_without_credentials_the_service_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    page = await run("docs/services.md")
    with pytest.raises(CredentialsError):
        async with served(page):
            pass


def in_milliseconds(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: in_milliseconds(member, key) for key, member in value.items()}
    return round(value * 1000) if name.endswith("Timestamp") else value


def event_of(operations: list[dict[str, Any]], ref: ExecutionRef, marker: str | None) -> Any:
    """An invocation event, whose timestamps are milliseconds."""
    initial: dict[str, Any] = {"Operations": [in_milliseconds(each) for each in operations]}
    if marker is not None:
        initial["NextMarker"] = marker
    return {
        "DurableExecutionArn": ref.arn,
        "CheckpointToken": ref.checkpoint_token,
        "InitialExecutionState": initial,
    }


@pytest.mark.usefixtures("orders")
async def test_the_lambda_handler_reads_the_rest_of_its_own_state(
    in_environment: Emulator, client: StateClient, refs: list[ExecutionRef], capsys: Any
) -> None:
    sizes = [len(in_environment.world.visible_operations(index)) for index in range(len(refs))]
    index = sizes.index(max(sizes))
    operations = in_environment.world.visible_operations(index)
    first = await client.get_page(refs[index], max_items=10)
    in_environment.log.clear()
    page = await run("docs/services.md")

    event = event_of(operations[:10], refs[index], first.next_marker)
    returned = await asyncio.to_thread(page.handler, event, None)

    failed = [each.get("Name") for each in operations if each["Status"] == "FAILED"]
    assert json.loads(capsys.readouterr().out) == {"operations": len(operations), "failed": failed}
    assert returned == {"Status": "SUCCEEDED", "Result": json.dumps(refs[index].arn)}
    assert {request.marker_given for request in in_environment.log} == {True}


@pytest.mark.usefixtures("orders")
async def test_an_event_that_holds_everything_costs_no_request(
    in_environment: Emulator, refs: list[ExecutionRef]
) -> None:
    operations = in_environment.world.visible_operations(0)
    page = await run("docs/services.md")
    state = await page.own_state(event_of(operations, refs[0], None))
    assert (state.source, len(state.operations)) == ("event", len(operations))
    assert len(in_environment.log) == 0


@pytest.mark.usefixtures("orders")
async def test_a_stream_may_be_closed_by_another_task(
    in_environment: Emulator, client: StateClient, refs: list[ExecutionRef]
) -> None:
    page = await run("docs/services.md")
    whole = [json.loads(line) async for line in page.lines(client, refs)]
    assert sorted(line["arn"] for line in whole) == sorted(ref.arn for ref in refs)
    assert all(line["complete"] for line in whole)

    stream = page.lines(client, refs)
    await anext(stream)
    await asyncio.create_task(stream.aclose())
    assert client.statistics().in_flight == 0
    assert (await client.get_state(refs[0])).arn == refs[0].arn
