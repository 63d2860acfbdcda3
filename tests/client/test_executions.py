"""`list_executions` and `get_execution`: what is asked, what comes, what is refused."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import datetime, timezone
from typing import Any

import pytest
from virtual_clock import now, run

from durastate import (
    AccessDeniedError,
    ConfigurationError,
    DeadlineError,
    DurastateError,
    Event,
    ExecutionNotFoundError,
    ExecutionStatus,
    ExecutionSummary,
    FunctionNotFoundError,
    InvalidRefError,
    Limits,
    OutageError,
    PageRead,
    PaginationError,
    RequestDone,
    RetryPolicy,
    StateClient,
    ThrottledError,
    walk,
)
from durastate.requests import GET_EXECUTION, GET_HISTORY, LIST_EXECUTIONS
from durastate.testing import Asked, Response, ScriptedTransport, no_answer, service_error

from .scripts import FUNCTION, answered, arn_of, events, serving, summary
from .support import assert_at_rest, without_delays

LISTED = [summary(number) for number in range(25)]
ARN = arn_of(1)


async def listing(client: StateClient, name: str = "orders", **given: Any) -> list[str]:
    return [each.arn async for each in client.list_executions(name, **given)]


def test_every_page_is_listed_in_the_order_that_arrives() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({}, LISTED[::-1]))
        async with transport.client() as client:
            assert await listing(client, max_items=10) == [arn_of(at) for at in range(24, -1, -1)]
            assert [asked.marker for asked in transport.asked] == [None, "10", "20"]
            seen = client.statistics()
            assert (seen.requests, seen.pages, seen.executions) == (3, 3, 25)
            assert (seen.operations, seen.events) == (0, 0)
            assert_at_rest(client)

    run(scenario())


def test_what_is_listed_are_summaries() -> None:
    async def scenario() -> None:
        running = summary(3, "RUNNING")
        async with ScriptedTransport(serving({}, [running])).client() as client:
            (found,) = [each async for each in client.list_executions("orders")]
        assert isinstance(found, ExecutionSummary)
        assert found.status is ExecutionStatus.RUNNING
        assert found.start_timestamp == datetime(2026, 1, 1, 0, 0, 3, tzinfo=timezone.utc)
        assert found.to_dict() == running

    run(scenario())


def test_every_filter_reaches_the_service_and_none_is_sent_unasked() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({}))
        async with transport.client() as client:
            await listing(client)
            await listing(
                client,
                FUNCTION,
                qualifier="7",
                execution_name="order",
                statuses={ExecutionStatus.FAILED, "TIMED_OUT"},
                started_after=datetime(2026, 1, 1, tzinfo=timezone.utc),
                started_before=datetime(2026, 1, 2, tzinfo=timezone.utc),
                reverse_order=False,
                max_items=0,
            )
        plain, filtered = transport.asked
        assert (plain.arn, plain.query) == ("orders", {"MaxItems": ["1000"]})
        assert (filtered.arn, filtered.operation) == (FUNCTION, LIST_EXECUTIONS)
        assert filtered.query == {
            "DurableExecutionName": ["order"],
            "MaxItems": ["0"],
            "Qualifier": ["7"],
            "ReverseOrder": ["false"],
            "StartedAfter": ["2026-01-01T00:00:00Z"],
            "StartedBefore": ["2026-01-02T00:00:00Z"],
            "Statuses": ["FAILED", "TIMED_OUT"],
        }

    run(scenario())


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("orders", "eu-central-1"),
        ("orders:7", "eu-central-1"),
        ("123456789012:function:orders:live", "eu-central-1"),
        (FUNCTION, "eu-west-1"),
        (f"{FUNCTION}:$LATEST".replace("eu-west-1", "us-gov-west-1"), "us-gov-west-1"),
    ],
)
def test_the_region_is_the_functions_or_the_clients(name: str, region: str) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({}), region="eu-central-1", own_endpoint=False)
        async with transport.client() as client:
            await listing(client, name)
        assert [asked.region for asked in transport.asked] == [region]

    run(scenario())


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("or ders", {}, "function_name"),
        ("", {}, "function_name"),
        ("a" * 257, {}, "function_name"),
        (7, {}, "function_name"),
        (arn_of(1), {}, "function_name"),
        (FUNCTION.replace("eu-west-1", "eu-west-1.evil.example"), {}, "function_name"),
        ("orders", {"max_items": 1001}, "max_items"),
        ("orders", {"qualifier": ""}, "qualifier"),
        ("orders", {"execution_name": "\ud800"}, "execution_name"),
        ("orders", {"statuses": "FAILED"}, "statuses"),
        ("orders", {"statuses": [None]}, "statuses"),
        ("orders", {"statuses": iter(["FAILED"])}, "statuses"),
        ("orders", {"statuses": [str(at) for at in range(11)]}, "statuses"),
        ("orders", {"started_after": datetime(2026, 1, 1)}, "started_after"),  # noqa: DTZ001
        ("orders", {"started_before": "2026-01-01"}, "started_before"),
        ("orders", {"reverse_order": "yes"}, "reverse_order"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_request(
    name: Any, given: dict[str, Any], said: str
) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({}), own_endpoint=False)
        async with transport.client() as client:
            with pytest.raises(ConfigurationError, match=f"^{said}: ") as caught:
                await listing(client, name, **given)
            assert "\n" not in str(caught.value)
        assert transport.asked == []

    run(scenario())


def test_at_an_endpoint_of_ones_own_a_function_may_have_any_name() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({}))
        async with transport.client() as client:
            await listing(client, "no such/form")
            with pytest.raises(ConfigurationError, match=r"function_name: .* relative path"):
                await listing(client, "..")
        assert len(transport.asked) == 1

    run(scenario())


def test_nothing_is_asked_before_the_first_step_nor_after_the_last_one_taken() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({}, LISTED))
        async with transport.client() as client:
            async with aclosing(client.list_executions("orders", max_items=5)) as found:
                assert transport.asked == []
                for _ in range(5):
                    await anext(found)
                    assert_at_rest(client)
                assert len(transport.asked) == 1
                await anext(found)
            assert len(transport.asked) == 2

    run(scenario())


def test_empty_pages_do_not_end_a_listing_and_a_repeated_marker_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def empty_at_first(asked: Asked) -> Response:
        number = int(asked.marker or 0)
        if number < 1_500:
            return answered(NextMarker=str(number + 1))
        return answered(DurableExecutions=[summary(1)])

    async def scenario() -> None:
        async with ScriptedTransport(empty_at_first).client() as client:
            assert await listing(client) == [ARN]
        astray = ScriptedTransport([answered(DurableExecutions=[summary(1)], NextMarker="a")])
        async with astray.client() as client:
            with pytest.raises(PaginationError, match="same marker"):
                await listing(client)
        assert len(astray.asked) == 2
        assert walk._MOST_EMPTY_LISTINGS == 10_000
        monkeypatch.setattr(walk, "_MOST_EMPTY_LISTINGS", 200)
        endless = ScriptedTransport(lambda asked: answered(NextMarker=str(asked.number)))
        async with endless.client() as client:
            with pytest.raises(PaginationError, match="empty pages"):
                await listing(client)
        assert len(endless.asked) == 201

    run(scenario())


def test_a_listing_waits_out_throttling_and_an_outage() -> None:
    good = serving({}, LISTED)

    def answer(asked: Asked) -> Any:
        if 1 <= asked.number < 9:
            return service_error("TooManyRequestsException", status=429)
        return no_answer(connected=False) if 10 <= asked.number < 14 else good(asked)

    async def scenario() -> None:
        transport = ScriptedTransport(answer)
        async with transport.client(retry=RetryPolicy(max_attempts=1)) as client:
            assert len(await listing(client, max_items=10)) == 25
            assert client.statistics().throttles == 8
            assert client.statistics().waited_for_outages_s > 0
        gone = ScriptedTransport(lambda asked: no_answer() if asked.number else good(asked))
        async with gone.client(retry=RetryPolicy(max_attempts=1, outage_limit_s=60)) as client:
            began = now()
            with pytest.raises(OutageError):
                await listing(client, max_items=10)
            assert 60 - 1e-6 <= now() - began < 61  # a float of a clock

    run(scenario())


def test_one_execution_is_described_with_one_request() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: []}))
        async with transport.client() as client:
            found = await client.get_execution(ARN)
            assert (found.arn, found.status, found.result) == (ARN, "SUCCEEDED", "1")
            await client.get_execution(ARN, include_execution_data=False)
            seen = client.statistics()
            assert (seen.requests, seen.pages, seen.executions) == (2, 0, 2)
            assert seen.bytes > 0
            assert_at_rest(client)
        assert [asked.query for asked in transport.asked] == [
            {"IncludeExecutionData": ["true"]},
            {"IncludeExecutionData": ["false"]},
        ]
        assert {(asked.operation, asked.arn) for asked in transport.asked} == {(GET_EXECUTION, ARN)}

    run(scenario())


def test_an_execution_that_has_just_started_is_not_found_for_a_moment() -> None:
    good = serving({ARN: []})

    def answer(asked: Asked) -> Response:
        if asked.number:
            return good(asked)
        return service_error("ResourceNotFoundException", status=404, message="Not there")

    async def scenario() -> None:
        async with ScriptedTransport(answer).client() as client:
            with pytest.raises(ExecutionNotFoundError, match="in a moment") as caught:
                await client.get_execution(ARN)
            assert caught.value.code == "ResourceNotFoundException"
            assert (caught.value.operation, caught.value.message) == (GET_EXECUTION, "Not there")
            assert (await client.get_execution(ARN)).arn == ARN

    run(scenario())


async def ask(client: StateClient, call: str, arn: Any = ARN) -> object:
    if call == LIST_EXECUTIONS:
        return await listing(client)
    if call == GET_EXECUTION:
        return await client.get_execution(arn)
    return await client.get_state_from_history(arn)


CALLS = [LIST_EXECUTIONS, GET_EXECUTION, GET_HISTORY]


@pytest.mark.parametrize("call", CALLS)
def test_what_does_not_exist_is_not_found(call: str) -> None:
    async def scenario() -> None:
        missing = service_error("ResourceNotFoundException", status=404, message="No such thing")
        async with ScriptedTransport([missing]).client() as client:
            with pytest.raises(DurastateError, match="No such thing") as caught:
                await ask(client, call)
        expected = FunctionNotFoundError if call == LIST_EXECUTIONS else ExecutionNotFoundError
        assert type(caught.value) is expected

    run(scenario())


@pytest.mark.parametrize("call", CALLS)
def test_a_missing_permission_is_named(call: str) -> None:
    async def scenario() -> None:
        denied = service_error("AccessDeniedException", status=403, message="no")
        async with ScriptedTransport([denied]).client() as client:
            with pytest.raises(AccessDeniedError, match=f"needs lambda:{call} on"):
                await ask(client, call)

    run(scenario())


@pytest.mark.parametrize("call", [GET_EXECUTION, GET_HISTORY])
def test_a_single_call_is_retried_and_throttled_like_any_other(call: str) -> None:
    async def scenario() -> None:
        busy = ScriptedTransport([service_error("TooManyRequestsException", status=429)])
        async with busy.client() as client:
            without_delays(client)
            with pytest.raises(ThrottledError):
                await ask(client, call)
        assert len(busy.asked) == 3

    run(scenario())


@pytest.mark.parametrize("call", [GET_EXECUTION, GET_HISTORY])
def test_what_is_no_arn_is_refused_before_any_request(call: str) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({}), own_endpoint=False)
        async with transport.client() as client:
            for wrong in (FUNCTION, "orders", "", 7, None):
                with pytest.raises(InvalidRefError, match=r"^arn: "):
                    await ask(client, call, wrong)
        assert transport.asked == []

    run(scenario())


def test_a_deadline_bounds_a_description() -> None:
    async def scenario() -> None:
        async with ScriptedTransport([answered()], takes_s=9).client() as client:
            began = now()
            with pytest.raises(DeadlineError, match=r"get_execution of arn:.* timeout_s=2"):
                await client.get_execution(ARN, timeout_s=2)
            assert now() - began == 2
            assert_at_rest(client)

    run(scenario())


def test_each_call_of_each_account_and_region_has_its_own_ceiling() -> None:
    """80 % of 15, 30 and 15 requests a second, and nobody waits for another's."""

    async def scenario() -> None:
        transport = ScriptedTransport(
            serving({arn_of(1, region): events() for region in ("eu-west-1", "eu-north-1")}),
            own_endpoint=False,
        )
        async with transport.client() as client, asyncio.TaskGroup() as group:
            for _ in range(49):
                group.create_task(listing(client, FUNCTION))
                for region in ("eu-west-1", "eu-north-1"):
                    group.create_task(client.get_execution(arn_of(1, region)))
                    group.create_task(client.get_state_from_history(arn_of(1, region)))
        began = transport.asked[0].at
        took: dict[tuple[str, str], float] = {}
        for asked in transport.asked:
            took[asked.operation, asked.region] = asked.at - began
        assert took == {
            (LIST_EXECUTIONS, "eu-west-1"): pytest.approx(48 / 12),
            (GET_EXECUTION, "eu-west-1"): pytest.approx((49 - 1.2) / 24),
            (GET_HISTORY, "eu-west-1"): pytest.approx(48 / 12),
            (GET_EXECUTION, "eu-north-1"): pytest.approx((49 - 1.2) / 24),
            (GET_HISTORY, "eu-north-1"): pytest.approx(48 / 12),
        }

    run(scenario())


def test_a_rate_of_ones_own_holds_for_its_call_alone() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: events()}))
        limits = Limits(rates={GET_EXECUTION: 2}, burst=1)
        async with transport.client(limits=limits) as client, asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(client.get_execution(ARN))
                group.create_task(client.get_state_from_history(ARN))
        times = {call: [a.at for a in transport.asked if a.operation == call] for call in CALLS}
        assert times[GET_EXECUTION][-1] - times[GET_EXECUTION][0] == pytest.approx(2)
        assert times[GET_HISTORY][-1] == times[GET_HISTORY][0]

    run(scenario())


def test_hooks_hear_of_both_calls_by_name() -> None:
    async def scenario() -> list[Event]:
        told: list[Event] = []
        transport = ScriptedTransport(serving({ARN: []}, LISTED))
        async with transport.client(hooks=[told.append]) as client:
            await client.get_execution(ARN)
            await listing(client, max_items=20)
        return told

    told = run(scenario())
    assert [(type(each), *each[:2]) for each in told] == [
        (RequestDone, GET_EXECUTION, ARN),
        (RequestDone, LIST_EXECUTIONS, "orders"),
        (PageRead, LIST_EXECUTIONS, "orders"),
        (RequestDone, LIST_EXECUTIONS, "orders"),
        (PageRead, LIST_EXECUTIONS, "orders"),
    ]
    pages = [each for each in told if isinstance(each, PageRead)]
    assert [(page.items, page.is_last) for page in pages] == [(20, False), (5, True)]
