"""ListDurableExecutionsByFunction: whose executions, which of them, in pages that lose nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from durastate.emulator import Emulator, Execution, World
from durastate.emulator.catalogue import generated
from durastate.emulator.descriptions import description, summary

from .wire import Caller, Clock, paginated, reader_of

LIST = "list_durable_executions_by_function"
EVERY = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED")
WORLD = World(
    executions=600,
    functions=3,
    versions=("$LATEST", "1", "2"),
    statuses=dict.fromkeys(EVERY, 1),
    regions=("eu-west-1", "us-east-1"),
)
Call = Callable[[Emulator], Caller]


def truth(world: World, region: str = "eu-west-1", function: str = "order-flow") -> list[int]:
    """A function's executions, found by looking at all of them; the newest first."""
    owner = f":{region}:123456789012:function:{function}:"
    return [index for index in reversed(range(len(world))) if owner in world.arn(index)]


def arns(pages: list[list[dict[str, Any]]]) -> list[str]:
    return [row["DurableExecutionArn"] for page in pages for row in page]


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


@pytest.mark.asyncio
@pytest.mark.parametrize("region", WORLD.regions)
async def test_the_executions_of_a_function_newest_first_in_all_its_versions(region: str) -> None:
    found = truth(WORLD, region)
    assert len(found) == 100
    async with Emulator(WORLD) as emulator, reader_of(emulator, region) as client:
        pages = await paginated(client, LIST, FunctionName="order-flow", page_size=30)
    assert arns(pages) == [WORLD.arn(index) for index in found]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name",
    [
        "invoice-run",
        "function:invoice-run",
        "123456789012:function:invoice-run",
        "arn:aws:lambda:eu-west-1:123456789012:function:invoice-run",
    ],
)
async def test_a_function_by_each_form_of_its_name(name: str) -> None:
    async with Emulator(WORLD) as emulator, reader_of(emulator) as client:
        page = await client.list_durable_executions_by_function(FunctionName=name, MaxItems=2)
    newest = truth(WORLD, function="invoice-run")[:2]
    assert arns([page["DurableExecutions"]]) == [WORLD.arn(index) for index in newest]


@pytest.mark.asyncio
async def test_every_filter_and_all_together_against_looking_at_all_of_them() -> None:
    found = truth(WORLD)
    first, last = WORLD.started(found[70]), WORLD.started(found[20])
    cases: list[tuple[dict[str, Any], Callable[[int], bool]]] = [
        ({"Qualifier": "2"}, lambda index: ":2/" in WORLD.arn(index)),
        ({"Qualifier": "$LATEST"}, lambda index: ":$LATEST/" in WORLD.arn(index)),
        ({"Statuses": ["FAILED"]}, lambda index: WORLD.status(index) == "FAILED"),
        (
            {"Statuses": ["RUNNING", "STOPPED"]},
            lambda index: WORLD.status(index) in ("RUNNING", "STOPPED"),
        ),
        ({"DurableExecutionName": WORLD.name(found[5])}, lambda index: index == found[5]),
        ({"DurableExecutionName": "another"}, lambda _: False),
        ({"StartedAfter": at(first)}, lambda index: WORLD.started(index) >= first),
        ({"StartedBefore": at(last)}, lambda index: WORLD.started(index) <= last),
        (
            {
                "StartedAfter": at(first),
                "StartedBefore": at(last),
                "Statuses": ["SUCCEEDED", "FAILED"],
                "Qualifier": "1",
            },
            lambda index: (
                first <= WORLD.started(index) <= last
                and WORLD.status(index) in ("SUCCEEDED", "FAILED")
                and ":1/" in WORLD.arn(index)
            ),
        ),
        ({"StartedAfter": at(last), "StartedBefore": at(first)}, lambda _: False),
    ]
    async with Emulator(WORLD, short_pages=0.3) as emulator, reader_of(emulator) as client:
        for filters, wanted in cases:
            expected = [WORLD.arn(index) for index in found if wanted(index)]
            asked = {"FunctionName": "order-flow", "page_size": 7, **filters}
            assert arns(await paginated(client, LIST, **asked)) == expected, filters
            oldest_first = await paginated(client, LIST, **asked, ReverseOrder=True)
            assert arns(oldest_first) == expected[::-1], filters


@pytest.mark.asyncio
async def test_a_version_in_the_name_is_a_qualifier() -> None:
    async with Emulator(WORLD) as emulator, reader_of(emulator) as client:
        ask = client.list_durable_executions_by_function
        in_name = await ask(FunctionName="order-flow:2")
        given = await ask(FunctionName="order-flow", Qualifier="2")
        assert in_name["DurableExecutions"] == given["DurableExecutions"] != []
        with pytest.raises(client.exceptions.InvalidParameterValueException):
            await ask(FunctionName="order-flow:2", Qualifier="1")


@pytest.mark.asyncio
async def test_rows_are_valid_by_the_model_and_agree_with_get() -> None:
    model = botocore.session.Session().get_service_model("lambda")
    rows = [summary(WORLD, index) for index in range(60)]
    report = ParamValidator().validate(rows, model.shape_for("DurableExecutions"))
    assert not report.has_errors(), report.generate_report()
    for index in range(60):
        answer = description(WORLD, index)
        assert answer.items() >= rows[index].items()
        response = model.operation_model("GetDurableExecution").output_shape
        assert not ParamValidator().validate(answer, response).has_errors()
        execution = WORLD.all_operations(index)[0]
        assert execution["StartTimestamp"] == rows[index]["StartTimestamp"]
        assert execution.get("EndTimestamp") == rows[index].get("EndTimestamp")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"FunctionName": "nobody"}, "ResourceNotFoundException", "Function not found"),
        (
            {"FunctionName": "order-flow", "Qualifier": "3"},
            "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:eu-west-1:123456789012:function:order-flow:3",
        ),
        (
            {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:order-flow"},
            "ResourceNotFoundException",
            "not reachable in this region",
        ),
        ({"FunctionName": "999999999999:function:order-flow"}, "ResourceNotFoundException", ""),
        ({"FunctionName": "order-flow:live"}, "InvalidParameterValueException", "alias"),
        (
            {"FunctionName": "order-flow", "Qualifier": "live"},
            "InvalidParameterValueException",
            "alias",
        ),
        (
            {"FunctionName": "order-flow", "Statuses": ["DONE"]},
            "InvalidParameterValueException",
            "'statuses'",
        ),
        (
            {"FunctionName": "order-flow", "DurableExecutionName": "a b"},
            "InvalidParameterValueException",
            "'durableExecutionName'",
        ),
    ],
)
async def test_what_is_not_there_and_what_is_not_allowed(
    arguments: dict[str, Any], code: str, words: str
) -> None:
    async with Emulator(WORLD) as emulator, reader_of(emulator) as client:
        with pytest.raises(ClientError) as caught:
            await client.list_durable_executions_by_function(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert words in error["Message"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("function", "query", "member"),
    [
        ("a b", "", "functionName"),
        ("order-flow", "?StartedAfter=yesterday", "startedAfter"),
        ("order-flow", "?StartedBefore=", "startedBefore"),
        ("order-flow", "?ReverseOrder=yes", "reverseOrder"),
        ("order-flow", "?MaxItems=-1", "maxItems"),
        ("order-flow", "?Qualifier=%20", "qualifier"),
        ("order-flow", "?" + "&".join(["Statuses=FAILED"] * 11), "statuses"),
    ],
)
async def test_what_botocore_would_not_even_send(
    call: Call, function: str, query: str, member: str
) -> None:
    async with Emulator(WORLD) as emulator:
        path = f"/2025-12-01/functions/{quote(function, safe='')}/durable-executions{query}"
        answer = await call(emulator).signed(path)
        assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
        assert f"'{member}'" in answer.message


@pytest.mark.asyncio
async def test_a_hundred_thousand_executions_are_listed_without_telling_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(self: World, index: int) -> Any:
        raise AssertionError(index)

    monkeypatch.setattr(World, "all_operations", never)
    world = World(executions=100_000, functions=50, statuses={"RUNNING": 9, "FAILED": 1})
    async with Emulator(world) as emulator, reader_of(emulator) as client:
        asked = {"FunctionName": "order-flow", "page_size": 1_000}
        pages = await paginated(client, LIST, **asked)
        assert arns(pages) == [world.arn(index) for index in range(99_950, -1, -50)]
        failed = await paginated(client, LIST, **asked, Statuses=["FAILED"])
        assert 150 < len(arns(failed)) < 250


@pytest.mark.asyncio
async def test_a_page_ends_early_where_there_is_much_to_pass_over() -> None:
    world = World(executions=12_000, functions=1, statuses={"RUNNING": 1_000, "FAILED": 1})
    async with Emulator(world) as emulator, reader_of(emulator) as client:
        pages = await paginated(client, LIST, FunctionName="order-flow", Statuses=["FAILED"])
    found = [world.arn(index) for index in truth(world) if world.status(index) == "FAILED"]
    assert len(pages) == 3
    assert arns(pages) == found != []


@pytest.mark.asyncio
async def test_a_marker_goes_on_only_with_the_filters_it_was_given_for(
    call: Call, clock: Clock
) -> None:
    async with Emulator(WORLD, now=clock) as emulator:
        caller = call(emulator)

        async def asked(function: str, query: str, region: str = "eu-west-1") -> Any:
            path = f"/2025-12-01/functions/{function}/durable-executions?MaxItems=5{query}"
            return await caller.signed(path, at=clock(), region=region)

        statuses = "&Statuses=FAILED&Statuses=RUNNING"
        first = await asked("order-flow", statuses)
        marker = "&Marker=" + quote(first.content["NextMarker"], safe="")
        assert (await asked("order-flow", statuses + marker)).status == 200
        turned = "&Statuses=RUNNING&Statuses=FAILED"
        assert (await asked("order-flow", turned + marker)).status == 200
        refused = [
            await asked("order-flow", marker),
            await asked("order-flow", statuses + "&ReverseOrder=true" + marker),
            await asked("order-flow", statuses + "&Qualifier=1" + marker),
            await asked("invoice-run", statuses + marker),
            await asked("order-flow", statuses + marker, "us-east-1"),
        ]
        clock.move(hours=24, seconds=1)
        refused.append(await asked("order-flow", statuses + marker))
        assert {(answer.status, answer.message) for answer in refused} == {(400, "Invalid marker")}


@pytest.mark.asyncio
async def test_new_executions_shift_the_pages_unless_the_time_is_pinned() -> None:
    world = World(executions=40, functions=1)
    async with Emulator(world) as emulator, reader_of(emulator) as client:

        async def second_page(**pinned: Any) -> list[str]:
            emulator.world = world
            asked = {"FunctionName": "order-flow", "MaxItems": 10, **pinned}
            first = await client.list_durable_executions_by_function(**asked)
            emulator.world = replace(world, executions=43)
            second = await client.list_durable_executions_by_function(
                **asked, Marker=first["NextMarker"]
            )
            return arns([second["DurableExecutions"]])

        expected = [world.arn(index) for index in range(29, 19, -1)]
        assert await second_page(StartedBefore=at(world.started(39))) == expected
        assert await second_page() == [world.arn(index) for index in range(32, 22, -1)]


@pytest.mark.asyncio
async def test_another_world_is_what_the_first_has_become() -> None:
    world = World(executions=1, operations=20, statuses={"RUNNING": 1})
    async with Emulator(world) as emulator, reader_of(emulator) as client:
        asked = {"DurableExecutionArn": world.arn(0)}
        before = await client.get_durable_execution(**asked)
        running = await client.get_durable_execution_history(**asked, ReverseOrder=True, MaxItems=1)
        emulator.world = replace(world, statuses={"FAILED": 1})
        after = await client.get_durable_execution(**asked)
        ended = await client.get_durable_execution_history(**asked, ReverseOrder=True, MaxItems=1)
    assert (before["Status"], after["Status"]) == ("RUNNING", "FAILED")
    assert running["Events"][0]["EventType"] != "ExecutionFailed"
    assert ended["Events"][0]["EventType"] == "ExecutionFailed"


@pytest.mark.asyncio
async def test_executions_written_by_hand_are_listed_as_the_newest() -> None:
    mine = "arn:aws:lambda:eu-west-1:123456789012:function:{}:{}/durable-execution/by-hand/{}"
    operations = World(operations=3, statuses={"FAILED": 1}).all_operations(0)
    extra = {
        mine.format("order-flow", 7, "a"): Execution("AAAA", operations),
        mine.format("order-flow", 90, "b"): Execution("AAAA", operations),
        mine.format("mine-alone", 1, "c"): Execution("AAAA", operations),
        "no-arn": Execution("AAAA", operations),
    }
    first, second, third, _ = extra
    world = World(executions=8, extra=extra, statuses={"RUNNING": 1})
    async with Emulator(world) as emulator, reader_of(emulator) as client:

        async def listed(**asked: Any) -> list[str]:
            page = await client.list_durable_executions_by_function(**asked)
            return arns([page["DurableExecutions"]])

        flow = {"FunctionName": "order-flow"}
        assert await listed(**flow) == [second, first, world.arn(4), world.arn(0)]
        assert await listed(**flow, Qualifier="90") == [second]
        assert await listed(**flow, DurableExecutionName="by-hand") == [second, first]
        assert await listed(**flow, Statuses=["FAILED"]) == [second, first]
        assert await listed(**flow, StartedAfter=at(world.started(4))) == [world.arn(4)]
        assert await listed(FunctionName="mine-alone") == [third]


@pytest.mark.parametrize("functions", [1, 4, 7, ("mine", "yours")])
@pytest.mark.parametrize("versions", [1, 3, 5, ("9",)])
@pytest.mark.parametrize("regions", [("eu-west-1",), ("eu-west-1", "us-east-1", "cn-north-1")])
def test_every_execution_is_of_one_function_one_version_and_one_region(
    functions: Any, versions: Any, regions: tuple[str, ...]
) -> None:
    world = World(executions=150, functions=functions, versions=versions, regions=regions)
    seen: list[int] = []
    for region in regions:
        for function in world.function_names:
            by_version = [
                index
                for version in world.version_names
                for index in generated(world, region, function, version)
            ]
            assert sorted(by_version) == [*generated(world, region, function)]
            assert sorted(by_version) == truth(world, region, function)[::-1]
            seen += by_version
    assert sorted(seen) == [*range(150)]


def test_statuses_come_in_the_shares_asked_for() -> None:
    world = World(executions=4_000, statuses={"RUNNING": 1, "FAILED": 3})
    failed = sum(world.status(index) == "FAILED" for index in range(4_000))
    assert abs(failed - 3_000) < 120
    assert {world.status(index) for index in range(100)} == {"RUNNING", "FAILED"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"statuses": {"DONE": 1}},
        {"statuses": {"RUNNING": 0}},
        {"statuses": {"RUNNING": 2, "FAILED": -1}},
        {"statuses": {}},
        {"functions": 0},
        {"versions": ()},
        {"every_s": -1},
    ],
)
def test_a_world_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        World(**wrong)
