"""GetDurableExecutionHistory and GetDurableExecution: they tell the same story as State."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from durastate.emulator import Emulator, Execution, World
from durastate.emulator.generation import visible
from durastate.emulator.histories import Outcome, events_of

from .folding import as_told, folded
from .wire import Caller, Clock, paginated, reader_of

LONG = bool(os.environ.get("DURASTATE_LONG"))
ENDED = {"SUCCEEDED": 1, "FAILED": 1, "TIMED_OUT": 1, "STOPPED": 1}
PAUSES = {"ExecutionPaused", "ExecutionResumed"}
Call = Callable[[Emulator], Caller]


@pytest.fixture(scope="module")
def histories() -> list[list[dict[str, Any]]]:
    world = World(seed=6, executions=200, statuses={"RUNNING": 2, "PAUSED": 1, **ENDED})
    return [world.events(index) for index in range(len(world))]


def due(operation: dict[str, Any]) -> Any:
    return operation.get("StepDetails", {}).get("NextAttemptTimestamp")


@settings(max_examples=400 if LONG else 20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 150),
    statuses=st.sampled_from([None, *({status: 1} for status in ["RUNNING", "PAUSED", *ENDED])]),
)
def test_a_history_folds_to_the_operations_of_state(
    seed: int, count: int, statuses: dict[str, float] | None
) -> None:
    world = World(seed=seed, executions=3, operations=count, statuses=statuses)
    for index in range(3):
        everything = world.all_operations(index)
        told = folded(world.events(index))
        assert list(map(as_told, told)) == list(map(as_told, everything))
        for operation, original in zip(told, everything, strict=True):
            assert original["Status"] == "READY" or due(operation) == due(original)
        shown = {operation["Id"] for operation in world.visible_operations(index)}
        kept = [operation for operation in told if operation["Id"] in shown]
        assert list(map(as_told, kept)) == list(map(as_told, visible(everything)))


@settings(max_examples=200 if LONG else 10, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 150))
def test_events_are_numbered_in_the_order_of_their_time_and_end_with_the_execution(
    seed: int, count: int
) -> None:
    world = World(seed=seed, executions=3, operations=count, statuses={"RUNNING": 1, **ENDED})
    for index in range(3):
        events = world.events(index)
        assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
        times = [event["EventTimestamp"] for event in events]
        assert times == sorted(times)
        assert events[0]["EventType"] == "ExecutionStarted"
        words = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut"}
        ending = "Execution" + words.get(world.status(index), "Stopped")
        closed = [event["EventType"] == ending for event in events]
        assert sum(closed) == closed[-1] == (world.status(index) != "RUNNING")


def test_every_event_type_occurs_and_is_valid_by_the_model(
    histories: list[list[dict[str, Any]]],
) -> None:
    model = botocore.session.Session().get_service_model("lambda")
    modelled = model.shape_for("EventType").enum
    seen = {event["EventType"] for events in histories for event in events}
    assert seen == {*modelled, *PAUSES}  # the installed botocore may be older than these
    assert len(seen) == 26
    plain = [events for events in histories if not PAUSES & {each["EventType"] for each in events}]
    for events in plain[:60]:
        report = ParamValidator().validate(events, model.shape_for("Events"))
        assert not report.has_errors(), report.generate_report()
        for event in events:
            details = [name for name in event if name.endswith("Details")]
            assert details == [event["EventType"] + "Details"]


def test_what_an_audit_looks_for_occurs(histories: list[list[dict[str, Any]]]) -> None:
    every = [event for events in histories for event in events]
    retries = [
        details["RetryDetails"]
        for event in every
        for details in (event.get("StepFailedDetails"), event.get("StepSucceededDetails"))
        if details
    ]
    assert {retry["CurrentAttempt"] for retry in retries} >= {1, 2, 3, 4, 5}
    assert any("NextAttemptDelaySeconds" in retry for retry in retries)
    polls = [event for event in every if "NextAttemptDelaySeconds" in str(event)]
    assert {event["EventType"] for event in polls} == {"StepFailed", "StepSucceeded"}
    assert any("Error" in event.get("InvocationCompletedDetails", {}) for event in every)
    assert any("HeartbeatTimeout" in event.get("CallbackStartedDetails", {}) for event in every)
    stopped = [events for events in histories if events[-1]["EventType"] == "ExecutionStopped"]
    still_live = [
        operation["Type"]
        for events in stopped
        for operation in folded(events)
        if operation["Status"] == "STARTED"
    ]
    assert {"STEP", "WAIT", "CALLBACK"} <= set(still_live)


@pytest.mark.asyncio
async def test_botocore_reads_the_same_from_state_history_and_get() -> None:
    world = World(seed=3, executions=12, statuses={"RUNNING": 1, **ENDED})
    async with Emulator(world, short_pages=0.3) as emulator, reader_of(emulator) as client:
        for index in range(12):
            arn = world.arn(index)
            state = await paginated(
                client,
                "get_durable_execution_state",
                DurableExecutionArn=arn,
                CheckpointToken=world.token(index),
            )
            history = await paginated(
                client, "get_durable_execution_history", DurableExecutionArn=arn, page_size=25
            )
            got = await client.get_durable_execution(DurableExecutionArn=arn)
            events = [event for page in history for event in page]
            told = {
                event["Id"]: event["EventTimestamp"] for event in reversed(events) if "Id" in event
            }
            operations = [operation for page in state for operation in page]
            assert all(told[each["Id"]] == each["StartTimestamp"] for each in operations)
            execution, last = operations[0], events[-1]
            running = got["Status"] == "RUNNING"
            assert execution["Status"] == ("STARTED" if running else got["Status"])
            assert (execution["Name"], execution["StartTimestamp"]) == (
                got["DurableExecutionName"],
                got["StartTimestamp"],
            )
            assert execution.get("EndTimestamp") == got.get("EndTimestamp")
            assert execution["ExecutionDetails"].get("InputPayload") == got.get("InputPayload")
            if not running:
                outcome = last[last["EventType"] + "Details"]
                assert outcome.get("Result", {}).get("Payload") == got.get("Result")
                assert outcome.get("Error", {}).get("Payload") == got.get("Error")
                assert ("Error" in got) == (got["Status"] != "SUCCEEDED")
            limit = events[0]["ExecutionStartedDetails"]["ExecutionTimeout"]
            assert got["DurableConfig"]["ExecutionTimeout"] == limit
            if got["Status"] == "TIMED_OUT":
                lasted = got["EndTimestamp"] - got["StartTimestamp"]
                assert lasted.total_seconds() == limit
        assert emulator.log.per_call()["GetDurableExecution"] == 12  # type: ignore[index]


@pytest.mark.asyncio
async def test_the_children_that_state_leaves_out_are_in_the_history() -> None:
    world = World(seed=1, executions=1, operations=60)
    hidden = len(world.all_operations(0)) - len(world.visible_operations(0))
    async with Emulator(world) as emulator, reader_of(emulator) as client:
        arn = world.arn(0)
        pages = await paginated(client, "get_durable_execution_history", DurableExecutionArn=arn)
    ids = {event["Id"] for page in pages for event in page if "Id" in event}
    assert hidden > 0
    assert len(ids) == 60 + hidden


@pytest.mark.asyncio
async def test_execution_data_is_included_unless_it_is_not_wanted() -> None:
    world = World(seed=2, executions=1, operations=30, statuses={"FAILED": 1})
    async with Emulator(world) as emulator, reader_of(emulator) as client:
        asked = {"DurableExecutionArn": world.arn(0), "MaxItems": 1_000}
        plain = await client.get_durable_execution_history(**asked)
        with_data = await client.get_durable_execution_history(**asked, IncludeExecutionData=True)
        without = await client.get_durable_execution_history(**asked, IncludeExecutionData=False)
        assert plain["Events"] == with_data["Events"]
        assert [event["EventId"] for event in without["Events"]] == [
            event["EventId"] for event in plain["Events"]
        ]
        assert "'Payload'" in str(plain["Events"])
        assert "'Payload'" not in str(without["Events"])
        input_ = without["Events"][0]["ExecutionStartedDetails"]["Input"]
        assert input_ == {"Truncated": True}
        whole = await client.get_durable_execution(DurableExecutionArn=world.arn(0))
        bare = await client.get_durable_execution(
            DurableExecutionArn=world.arn(0), IncludeExecutionData=False
        )
        assert (whole["ExecutionDataIncluded"], bare["ExecutionDataIncluded"]) == (True, False)
        assert whole.keys() - bare.keys() == {"InputPayload", "Error"}


@pytest.mark.asyncio
async def test_a_payload_that_is_too_large_is_cut_and_says_so() -> None:
    world = World(executions=1, operations=40, payload_size=500, statuses={"SUCCEEDED": 1})
    async with (
        Emulator(world, event_payload_size=100) as emulator,
        reader_of(emulator) as client,
    ):
        arn = world.arn(0)
        history = await client.get_durable_execution_history(DurableExecutionArn=arn, MaxItems=1000)
        got = await client.get_durable_execution(DurableExecutionArn=arn)
    result = history["Events"][-1]["ExecutionSucceededDetails"]["Result"]
    assert (len(got["Result"]), len(result["Payload"]), result["Truncated"]) == (500, 100, True)
    assert got["Result"].startswith(result["Payload"])
    told = {event["EventType"]: event for event in world.events(0)}
    whole = told["ExecutionSucceeded"]["ExecutionSucceededDetails"]["Result"]
    assert whole == {"Payload": got["Result"], "Truncated": False}


@pytest.mark.asyncio
async def test_newest_first_is_the_same_turned_round() -> None:
    world = World(executions=1, operations=120)
    async with Emulator(world, page_bytes=9_000) as emulator, reader_of(emulator) as client:
        asked = {"DurableExecutionArn": world.arn(0), "page_size": 50}
        oldest = await paginated(client, "get_durable_execution_history", **asked)
        newest = await paginated(
            client, "get_durable_execution_history", **asked, ReverseOrder=True
        )
    ids = [event["EventId"] for page in oldest for event in page]
    assert ids == list(range(1, len(world.events(0)) + 1))
    assert [event["EventId"] for page in newest for event in page] == ids[::-1]
    assert max(map(len, oldest)) < 50  # by bytes


@pytest.mark.asyncio
async def test_by_time_the_later_of_two_events_of_one_time_comes_first() -> None:
    """As the service sends them; by default they are in the order of their ids."""
    world = World(seed=6, executions=4, operations=40, statuses=ENDED)
    async with (
        Emulator(world, history_by_time=True, page_bytes=9_000) as emulator,
        reader_of(emulator) as client,
    ):
        for index in range(4):
            asked = {"DurableExecutionArn": world.arn(index), "page_size": 7}
            pages = await paginated(client, "get_durable_execution_history", **asked)
            found = [event for page in pages for event in page]
            times = [event["EventTimestamp"] for event in found]
            ids = [event["EventId"] for event in found]
            assert times == sorted(times)
            assert ids != sorted(ids) == list(range(1, len(ids) + 1))
            back = await paginated(
                client, "get_durable_execution_history", **asked, ReverseOrder=True
            )
            assert [event["EventId"] for page in back for event in page] == ids[::-1]


@pytest.mark.asyncio
async def test_paused_executions_are_paused_in_every_call(call: Call) -> None:
    statuses = {"PAUSED": 2, "PAUSING": 1, "DELETING": 1, "RUNNING": 1}
    world = World(seed=2, executions=40, operations=6, functions=("f",), statuses=statuses)
    async with Emulator(world) as emulator:
        caller = call(emulator)
        seen = set()
        for index in range(40):
            path = f"/2025-12-01/durable-executions/{quote(world.arn(index), safe='')}"
            got = (await caller.signed(path)).content
            bare = (await caller.signed(f"{path}?IncludeExecutionData=false")).content
            status, pause = got["Status"], got.get("PauseDetails")
            kinds = [event["EventType"] for event in world.events(index)]
            assert ("EndTimestamp" in got) == (status == "DELETING")
            assert ("ExpectedExecutionTimeoutTimestamp" in got) == (pause is not None)
            assert (pause is None) == (status in ("RUNNING", "DELETING"))
            assert (kinds[-1] == "ExecutionPaused") == (status == "PAUSED")
            if pause is not None:
                assert set(pause) == {"PauseRequestTimestamp", "Reason", "ExecutionTimeoutPaused"}
                assert bare["PauseDetails"].keys() == pause.keys() - {"Reason"}
            resumed = kinds.count("ExecutionResumed")
            assert kinds.count("ExecutionPaused") == (1 + resumed if status == "PAUSED" else 0)
            seen.add((status, resumed))
        assert seen >= {("PAUSED", 0), ("PAUSED", 1), ("PAUSING", 0), ("DELETING", 0)}
        listed = await caller.signed(
            "/2025-12-01/functions/f/durable-executions?MaxItems=100&Statuses=PAUSED"
        )
        paused = [index for index in range(40) if world.status(index) == "PAUSED"]
        assert {row["DurableExecutionArn"] for row in listed.content["DurableExecutions"]} == {
            world.arn(index) for index in paused
        }


@pytest.mark.asyncio
async def test_a_marker_goes_on_only_with_what_it_was_given_for(call: Call, clock: Clock) -> None:
    async with Emulator(World(executions=2, operations=30), now=clock) as emulator:
        caller, world = call(emulator), emulator.world

        async def asked(index: int, query: str) -> Any:
            path = f"/2025-12-01/durable-executions/{quote(world.arn(index), safe='')}/history"
            return await caller.signed(f"{path}?MaxItems=10{query}", at=clock())

        marker = "&Marker=" + quote((await asked(0, "")).content["NextMarker"], safe="")
        assert (await asked(0, marker)).content["Events"][0]["EventId"] == 11
        assert (await asked(0, marker + "&IncludeExecutionData=true")).status == 200
        state = (await caller.state(0, max_items=10, at=clock())).content["NextMarker"]
        refused = [
            await asked(1, marker),
            await asked(0, marker + "&ReverseOrder=true"),
            await asked(0, marker + "&IncludeExecutionData=false"),
            await asked(0, "&Marker=" + quote(state, safe="")),
        ]
        clock.move(hours=24, seconds=1)
        refused.append(await asked(0, marker))
        assert {(answer.status, answer.message) for answer in refused} == {(400, "Invalid marker")}


@pytest.mark.asyncio
@pytest.mark.parametrize("call", ["get_durable_execution_history", "get_durable_execution"])
async def test_an_execution_that_does_not_exist_is_a_404(call: str) -> None:
    async with Emulator(World(executions=2)) as emulator, reader_of(emulator) as client:
        with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
            await getattr(client, call)(DurableExecutionArn=World(executions=3).arn(2))
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert caught.value.response["Message"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tail", "member"),
    [
        ("/history?MaxItems=1001", "maxItems"),
        ("/history?IncludeExecutionData=maybe", "includeExecutionData"),
        ("/history?ReverseOrder=1", "reverseOrder"),
        ("?IncludeExecutionData=TRUE", "includeExecutionData"),
    ],
)
async def test_a_parameter_outside_its_constraints(call: Call, tail: str, member: str) -> None:
    async with Emulator(World(executions=1)) as emulator:
        arn = quote(emulator.world.arn(0), safe="")
        answer = await call(emulator).signed(f"/2025-12-01/durable-executions/{arn}{tail}")
        assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
        assert f"'{member}'" in answer.message


@pytest.mark.asyncio
@pytest.mark.parametrize("tail", ["", "/history"])
async def test_what_is_no_arn_is_a_400(call: Call, tail: str) -> None:
    async with Emulator(World(executions=1)) as emulator:
        answer = await call(emulator).signed(f"/2025-12-01/durable-executions/nonsense{tail}")
        assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
        assert "durableExecutionArn" in answer.message


@pytest.mark.asyncio
async def test_an_execution_written_by_hand_has_a_history_and_an_outcome() -> None:
    operations = World(operations=9, statuses={"SUCCEEDED": 1}).all_operations(0)
    mine = Execution("AAAA", operations, result='"done"')
    unfinished = Execution("AAAA", [])
    world = World(executions=0, extra={"mine": mine, "nothing": unfinished})
    async with Emulator(world) as emulator, reader_of(emulator) as client:
        got = await client.get_durable_execution(DurableExecutionArn="mine")
        history = await client.get_durable_execution_history(DurableExecutionArn="mine")
        nothing = await client.get_durable_execution_history(DurableExecutionArn="nothing")
        fresh = await client.get_durable_execution(DurableExecutionArn="nothing")
    assert (got["Status"], got["Result"]) == ("SUCCEEDED", '"done"')
    assert (nothing["Events"], fresh["Status"]) == ([], "RUNNING")
    assert history["Events"][-1]["ExecutionSucceededDetails"]["Result"]["Payload"] == '"done"'


def test_a_step_without_a_count_of_attempts_was_tried_once() -> None:
    step = {"Id": "a", "Type": "STEP", "StartTimestamp": 1, "Status": "FAILED", "EndTimestamp": 2}
    kinds = [event["EventType"] for event in events_of([step], Outcome())]
    assert kinds == ["StepStarted", "StepFailed", "InvocationCompleted"]


@pytest.mark.asyncio
@pytest.mark.parametrize("limited", ["rate", "history_rate", "get_rate", "list_rate"])
async def test_each_call_has_its_own_rate(limited: str) -> None:
    world = World(executions=1)
    arn = {"DurableExecutionArn": world.arn(0)}
    calls: dict[str, tuple[str, dict[str, str]]] = {
        "rate": ("get_durable_execution_state", arn | {"CheckpointToken": world.token(0)}),
        "history_rate": ("get_durable_execution_history", arn),
        "get_rate": ("get_durable_execution", arn),
        "list_rate": ("list_durable_executions_by_function", {"FunctionName": "order-flow"}),
    }
    options: Any = {limited: 0.001}
    async with Emulator(world, **options) as emulator, reader_of(emulator) as client:
        throttled = []
        for name, (call, arguments) in calls.items():
            await getattr(client, call)(**arguments)
            try:
                await getattr(client, call)(**arguments)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "TooManyRequestsException"  # noqa: PT017
                throttled.append(name)
        assert throttled == [limited]
