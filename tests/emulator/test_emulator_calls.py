"""What is the same for every call: signatures, faults that are aimed at one of them, the log."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from durastate.emulator import (
    Call,
    Credentials,
    Emulator,
    Fault,
    FaultKind,
    FaultPlan,
    World,
)

from .wire import Caller, Seen

WORLD = World(executions=8, operations=25, functions=1)
ARN = quote(WORLD.arn(0), safe="")
PATHS = {
    Call.STATE: f"/2025-12-01/durable-executions/{ARN}/state?CheckpointToken="
    + quote(WORLD.token(0), safe=""),
    Call.HISTORY: f"/2025-12-01/durable-executions/{ARN}/history?ReverseOrder=false",
    Call.GET: f"/2025-12-01/durable-executions/{ARN}?IncludeExecutionData=true",
    Call.LIST: "/2025-12-01/functions/order-flow/durable-executions?ReverseOrder=false",
}
ROWS = {Call.STATE: "Operations", Call.HISTORY: "Events", Call.LIST: "DurableExecutions"}
WRONG = Credentials(secret_access_key="another")
Open = Callable[[Emulator], Caller]
every_call = pytest.mark.parametrize("name", list(Call))
every_listing = pytest.mark.parametrize("name", list(ROWS))


def aimed(name: Call, kind: FaultKind, **details: Any) -> FaultPlan:
    """The fault on the first execution and on the function, for this call alone."""
    fault = Fault(kind, call=name, **details)
    return FaultPlan(on={0: fault, "order-flow": fault})


async def answers_with(call: Open, name: Call, plan: FaultPlan) -> dict[Call, Seen]:
    async with Emulator(WORLD, plan) as emulator:
        found = {each: await call(emulator).signed(path) for each, path in PATHS.items()}
        struck = [request.call for request in emulator.log if request.fault]
        assert struck == [name]
        return found


@pytest.mark.asyncio
@every_call
async def test_a_signature_is_verified(call: Open, name: Call) -> None:
    async with Emulator(WORLD) as emulator:
        caller = call(emulator)
        refused = [
            await caller.raw(PATHS[name]),
            await caller.signed(PATHS[name], credentials=WRONG),
            await caller.signed(PATHS[name], service="s3"),
        ]
        assert [answer.status for answer in refused] == [403] * 3
        assert (await caller.signed(PATHS[name])).status == 200


@pytest.mark.asyncio
@every_call
async def test_a_fault_strikes_only_the_call_it_is_aimed_at(call: Open, name: Call) -> None:
    found = await answers_with(call, name, aimed(name, FaultKind.SERVICE_ERROR))
    statuses = {each: answer.status for each, answer in found.items()}
    assert statuses == dict.fromkeys(Call, 200) | {name: 500}


@pytest.mark.asyncio
@every_call
async def test_a_refused_permission_names_the_call(call: Open, name: Call) -> None:
    found = await answers_with(call, name, aimed(name, FaultKind.ACCESS_DENIED))
    assert (found[name].status, found[name].code) == (403, "AccessDeniedException")
    assert found[name].message.endswith(f"lambda:{name}")


@pytest.mark.asyncio
@every_call
async def test_a_body_that_is_spoilt(call: Open, name: Call) -> None:
    wrong = await answers_with(call, name, aimed(name, FaultKind.WRONG_TYPES))
    changed = ROWS.get(name, "DurableExecutionArn")
    assert not isinstance(wrong[name].content[changed], list if name in ROWS else str)
    nan = await answers_with(call, name, aimed(name, FaultKind.NOT_A_NUMBER))
    assert b"NaN" in nan[name].body
    half = await answers_with(call, name, aimed(name, FaultKind.LONE_SURROGATE))
    assert b'"half \\ud800"' in half[name].body
    cut = await answers_with(call, name, aimed(name, FaultKind.MALFORMED_JSON))
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut[name].body)
    packed = await answers_with(call, name, aimed(name, FaultKind.GZIP))
    assert json.loads(gzip.decompress(packed[name].body))


@pytest.mark.asyncio
@every_call
async def test_what_a_later_version_might_send(call: Open, name: Call) -> None:
    found = await answers_with(call, name, aimed(name, FaultKind.UNKNOWN_FIELDS))
    content = found[name].content
    assert content["ResponseMetadataOfTomorrow"]
    rows = content[ROWS[name]] if name in ROWS else [content]
    assert all("Priority" in row for row in rows)
    kinds = {row.get("Type") or row.get("EventType") or row.get("Status") for row in rows[1:]}
    assert len(kinds) == (1 if name in ROWS else 0)


@pytest.mark.asyncio
@every_call
async def test_a_connection_that_breaks(call: Open, name: Call) -> None:
    async with Emulator(WORLD, aimed(name, FaultKind.RESET)) as emulator:
        with pytest.raises(aiohttp.ClientError):
            await call(emulator).signed(PATHS[name])
        assert emulator.log[-1].status == 0


@pytest.mark.asyncio
@every_listing
async def test_markers_that_repeat_or_cycle(call: Open, name: Call) -> None:
    for kind, different in ((FaultKind.REPEATED_MARKER, 1), (FaultKind.CYCLING_MARKERS, 2)):
        async with Emulator(WORLD, aimed(name, kind)) as emulator:
            markers: list[str] = []
            for _ in range(5):
                after = f"&Marker={quote(markers[-1], safe='')}" if markers else ""
                answer = await call(emulator).signed(PATHS[name] + "&MaxItems=3" + after)
                markers.append(answer.content["NextMarker"])
            assert len(set(markers)) == different


@pytest.mark.asyncio
@every_listing
async def test_a_fault_on_one_page_and_for_so_many_requests(call: Open, name: Call) -> None:
    async with Emulator(WORLD, aimed(name, FaultKind.THROTTLE, page=1, first=2)) as emulator:
        caller = call(emulator)
        first = await caller.signed(PATHS[name] + "&MaxItems=3")
        after = f"&Marker={quote(first.content['NextMarker'], safe='')}"
        path = PATHS[name] + "&MaxItems=3" + after
        statuses = [(await caller.signed(path)).status for _ in range(3)]
        assert [first.status, *statuses] == [200, 429, 429, 200]


@pytest.mark.asyncio
async def test_a_fault_for_every_call_counts_each_call_by_itself(call: Open) -> None:
    plan = FaultPlan(on={0: Fault(FaultKind.SERVICE_ERROR, first=1)})
    async with Emulator(WORLD, plan) as emulator:
        for name in (Call.STATE, Call.HISTORY, Call.GET):
            statuses = [(await call(emulator).signed(PATHS[name])).status for _ in range(2)]
            assert statuses == [500, 200]


@pytest.mark.asyncio
async def test_random_faults_can_be_aimed_too(call: Open) -> None:
    plan = FaultPlan(
        rate=1,
        kinds=(FaultKind.THROTTLE,),
        template=Fault(FaultKind.THROTTLE, retry_after_s=9, call=Call.HISTORY),
    )
    found = await answers_with(call, Call.HISTORY, plan)
    assert found[Call.HISTORY].headers["Retry-After"] == "9"
    assert FaultPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.asyncio
async def test_the_log_says_which_call_it_was(call: Open) -> None:
    async with Emulator(WORLD) as emulator:
        for path in (*PATHS.values(), "/2015-03-31/functions"):
            await call(emulator).signed(path)
        log = emulator.log
        assert [request.call for request in log] == [*PATHS, None]
        assert log.per_call() == dict.fromkeys(Call, 1)
        functions = {request.call: request.function for request in log}
        assert functions == dict.fromkeys([*Call, None]) | {Call.LIST: "order-flow"}
        assert [request.arn for request in log] == [WORLD.arn(0)] * 3 + [None, None]
        assert log.max_in_window(60) == 5
        assert log.max_in_window(60, Call.GET) == 1
