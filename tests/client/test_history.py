"""Executions without tokens: their histories by themselves, and folded into states."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_clock import now, run

from durastate import (
    ConfigurationError,
    DeadlineError,
    DecodingError,
    DurastateError,
    Event,
    ExecutionDone,
    ExecutionNotFoundError,
    ExecutionRef,
    ExecutionState,
    Failed,
    Fetched,
    IncompleteHistoryError,
    InvalidRefError,
    Limits,
    OutageError,
    PageRead,
    PaginationError,
    RequestDone,
    RetryPolicy,
    StateClient,
    StateTooLargeError,
)
from durastate.requests import GET_HISTORY
from durastate.testing import Asked, ScriptedTransport, no_answer, service_error

from .scripts import answered, arn_of, event, events, serving
from .steps import driven
from .support import assert_at_rest, without_delays

ARN = arn_of(1)
HISTORY = events(20)


def kinds(state: ExecutionState) -> list[tuple[str, str]]:
    return [(str(each.type), str(each.status)) for each in state.operations]


def test_a_state_is_folded_from_every_page_of_the_history() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY}))
        async with transport.client() as client:
            whole = await client.get_state_from_history(ARN)
            parts = await client.get_state_from_history(ARN, max_items=7)
            seen = client.statistics()
            assert (seen.requests, seen.pages) == (1 + 7, 1 + 7)
            assert (seen.events, seen.operations, seen.executions) == (2 * len(HISTORY), 0, 0)
            assert_at_rest(client)
        assert whole == parts
        assert (whole.arn, whole.source) == (ARN, "history")
        assert len(whole.operations) == 1 + 1 + 20
        assert whole.execution is not None
        assert whole.execution.status == "SUCCEEDED"
        assert [each.id for each in whole.children("c")] == ["s19"]
        assert whole.input_payload == "1"
        assert {asked.query["IncludeExecutionData"][0] for asked in transport.asked} == {"true"}
        assert {asked.operation for asked in transport.asked} == {GET_HISTORY}

    run(scenario())


def test_without_data_the_same_operations_come_without_payloads() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY}))
        async with transport.client() as client:
            plain = await client.get_state_from_history(ARN, include_execution_data=False)
            whole = await client.get_state_from_history(ARN)
        assert kinds(plain) == kinds(whole)
        assert plain.input_payload is None
        assert '"Result"' not in plain.to_json().decode()
        assert transport.asked[0].query["IncludeExecutionData"] == ["false"]

    run(scenario())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "has no event"),
        (HISTORY[1:], rf"has {len(HISTORY) - 1} events without ExecutionStarted"),
    ],
)
def test_a_history_without_its_beginning_is_an_error(told: list[dict[str, Any]], said: str) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: told}))
        async with transport.client() as client:
            with pytest.raises(IncompleteHistoryError, match=said) as caught:
                await client.get_state_from_history(ARN)
            assert str(caught.value).startswith(f"{ARN}: ")
            async with client.fetch_many([ExecutionRef(ARN)], source="history") as results:
                (failed,) = [each async for each in results]
            assert isinstance(failed.error, IncompleteHistoryError)
            # Page by page it can be read all the same.
            assert [len(page) async for page in client.iter_history(ARN)] == [len(told)]

    run(scenario())


def test_a_history_without_its_end_is_an_execution_that_runs() -> None:
    async def scenario() -> None:
        async with ScriptedTransport(serving({ARN: HISTORY[:2]})).client() as client:
            state = await client.get_state_from_history(ARN)
        assert kinds(state) == [("EXECUTION", "STARTED"), ("STEP", "STARTED")]

    run(scenario())


def test_a_history_beyond_max_state_bytes_is_an_error_that_says_what_reads_it() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY}))
        async with transport.client(limits=Limits(max_state_bytes=6_000)) as client:
            with pytest.raises(StateTooLargeError, match="iter_history"):
                await client.get_state_from_history(ARN, max_items=10)
            assert 1 < len(transport.asked) < 5
            pages = [len(page) async for page in client.iter_history(ARN, max_items=10)]
            assert sum(pages) == len(HISTORY)
            assert_at_rest(client)

    run(scenario())


def test_a_history_of_many_empty_events_counts_as_the_memory_that_they_take() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: [{}] * 1_000}))
        async with transport.client(limits=Limits(max_state_bytes=60_000)) as client:
            with pytest.raises(StateTooLargeError, match="after 3 pages"):
                await client.get_state_from_history(ARN, max_items=100)
            assert client.statistics().bytes < 3_000
            assert_at_rest(client)

    run(scenario())


def test_events_come_in_the_order_that_arrives() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY[::-1]}))
        async with transport.client() as client:
            seen = [
                each.event_id
                async for page in client.iter_history(ARN, reverse_order=True, max_items=10)
                for each in page
            ]
            assert seen == list(range(len(HISTORY), 0, -1))
            async for _ in client.iter_history(
                ARN, reverse_order=False, include_execution_data=False
            ):
                pass
            async for _ in client.iter_history(ARN):
                pass
        first, last_but_one, last = (transport.asked[at] for at in (0, -2, -1))
        assert first.query["ReverseOrder"] == ["true"]
        assert last_but_one.query["ReverseOrder"] == ["false"]
        assert last_but_one.query["IncludeExecutionData"] == ["false"]
        assert last.query == {"IncludeExecutionData": ["true"], "MaxItems": ["1000"]}

    run(scenario())


def test_a_history_goes_on_from_a_marker_and_holds_nothing_between_steps() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY}))
        async with transport.client() as client:
            pages = client.iter_history(ARN, max_items=10)
            assert transport.asked == []
            first = await anext(pages)
            assert_at_rest(client)
            assert len(transport.asked) == 1
            rest = client.iter_history(ARN, marker=first.next_marker, max_items=10)
            assert [page async for page in rest] == [page async for page in pages]

    run(scenario())


def test_empty_pages_go_on_and_markers_that_repeat_do_not() -> None:
    async def scenario() -> None:
        answers = [answered(Events=[], NextMarker="a"), answered(Events=HISTORY)]
        async with ScriptedTransport(answers).client() as client:
            assert len((await client.get_state_from_history(ARN)).operations) == 22
        cycling = ScriptedTransport(
            lambda asked: answered(Events=HISTORY[:1], NextMarker="abc"[asked.number % 3])
        )
        async with cycling.client() as client:
            with pytest.raises(PaginationError, match="same marker"):
                await client.get_state_from_history(ARN)
        assert len(cycling.asked) == 4

    run(scenario())


@pytest.mark.parametrize(
    "given",
    [
        {"include_execution_data": "no"},
        {"max_items": 1001},
        {"max_items": True},
        {"timeout_s": 0},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY}))
        async with transport.client() as client:
            with pytest.raises(ConfigurationError, match=f"^{next(iter(given))}: "):
                await client.get_state_from_history(ARN, **given)
        assert transport.asked == []

    run(scenario())


def test_a_deadline_bounds_the_whole_and_says_what_went_wrong_before() -> None:
    async def scenario() -> None:
        busy = service_error("TooManyRequestsException", status=429, message="slow down")
        async with ScriptedTransport([busy], takes_s=1).client() as client:
            began = now()
            with pytest.raises(DeadlineError, match=r"get_state_from_history .* slow down"):
                await client.get_state_from_history(ARN, timeout_s=5)
            assert now() - began == 5
            assert_at_rest(client)

    run(scenario())


def test_hooks_hear_of_pages_and_of_the_end_by_the_calls_name() -> None:
    async def scenario() -> list[Event]:
        told: list[Event] = []
        transport = ScriptedTransport(serving({ARN: HISTORY}), takes_s=0.5)
        async with transport.client(hooks=[told.append]) as client:
            await client.get_state_from_history(ARN, max_items=30)
            with pytest.raises(ExecutionNotFoundError):
                await client.get_state_from_history(arn_of(2))
        return told

    told = run(scenario())
    kinds_told = [type(each) for each in told]
    assert kinds_told == [
        *(RequestDone, PageRead, RequestDone, PageRead, ExecutionDone),
        *(RequestDone, ExecutionDone),
    ]
    assert {each[0] for each in told} == {GET_HISTORY}
    assert told[4] == ExecutionDone(GET_HISTORY, ARN, 2, len(HISTORY), 1.0, None)
    assert told[6] == ExecutionDone(GET_HISTORY, arn_of(2), 0, 0, 0.5, "ExecutionNotFoundError")


# Many


def test_many_are_read_without_tokens_and_each_failure_is_a_value() -> None:
    broken = arn_of(8)

    def answer(asked: Asked) -> Any:
        if asked.arn == broken:
            return answered(Events=[event(1, "StepStarted", Id=7)])
        return good(asked)

    good = serving({arn_of(number): events(number + 1) for number in range(6)})
    refs = [
        *(ExecutionRef(arn_of(number)) for number in range(6)),
        ExecutionRef(arn_of(7)),
        ExecutionRef(broken),
        ExecutionRef("no-arn"),
        ExecutionRef(arn_of(0), "canaryToken"),
    ]

    async def scenario() -> None:
        transport = ScriptedTransport(answer, own_endpoint=False)
        limits = Limits(quota_share=None)
        async with transport.client(limits=limits) as client:
            async with client.fetch_many(refs, source="history", max_items=3) as results:
                found = {each.index: each async for each in results}
            assert_at_rest(client)
        assert sorted(found) == list(range(len(refs)))
        for number in (*range(6), 9):
            result = found[number]
            assert isinstance(result, Fetched)
            assert result.ref is refs[number]
            assert result.state.source == "history"
            assert len(result.state.operations) == number % 9 + 3
        errors = {at: type(each.error) for at, each in found.items() if isinstance(each, Failed)}
        assert errors == {6: ExecutionNotFoundError, 7: DecodingError, 8: InvalidRefError}
        assert {asked.checkpoint_token for asked in transport.asked} == {None}

    run(scenario())


def test_whether_data_are_wanted_holds_for_all_of_them() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY}))
        async with transport.client() as client:
            for data in (True, False):
                async with client.fetch_many(
                    [ExecutionRef(ARN)] * 2, source="history", include_execution_data=data
                ) as results:
                    async for result in results:
                        assert isinstance(result, Fetched)
                        assert (result.state.input_payload is not None) == data
        said = [asked.query["IncludeExecutionData"][0] for asked in transport.asked]
        assert said == ["true", "true", "false", "false"]

    run(scenario())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"source": "event"}, "source"),
        ({"source": "history", "max_items": -1}, "max_items"),
        ({"include_execution_data": False}, "include_execution_data"),
    ],
    ids=str,
)
def test_a_source_that_is_none_is_refused_at_once(given: dict[str, Any], said: str) -> None:
    async def scenario() -> None:
        async with ScriptedTransport(serving({})).client() as client:
            with pytest.raises(ConfigurationError, match=f"^{said}: "):
                client.fetch_many([], **given)

    run(scenario())


async def read_into(errors: list[object], client: StateClient, refs: list[ExecutionRef]) -> None:
    async with client.fetch_many(refs, source="history") as results:
        async for result in results:
            errors.append(result.error)  # noqa: PERF401 - what came before the error counts


def test_an_outage_is_waited_out_and_nothing_is_called_failed() -> None:
    good = serving({arn_of(number): events(3) for number in range(30)})
    refs = [ExecutionRef(arn_of(number)) for number in range(30)]

    def answer(asked: Asked) -> Any:
        return no_answer(connected=False) if 20 <= asked.number < 30 else good(asked)

    async def scenario() -> None:
        async with ScriptedTransport(answer, takes_s=0.1).client() as client:
            async with client.fetch_many(refs, source="history", max_executions=4) as results:
                assert [result.error async for result in results] == [None] * 30
            assert client.statistics().waited_for_outages_s > 0
        gone = ScriptedTransport(lambda asked: good(asked) if asked.number < 5 else no_answer())
        policy = RetryPolicy(outage_limit_s=30)
        async with gone.client(retry=policy) as client:
            complete: list[object] = []
            with pytest.raises(OutageError):
                await read_into(complete, client, refs)
            assert complete == [None] * 5

    run(scenario())


def test_throttling_uses_up_no_attempt_of_a_bulk_read() -> None:
    good = serving({ARN: HISTORY})

    def answer(asked: Asked) -> Any:
        if asked.number % 3:
            return service_error("TooManyRequestsException", status=429)
        return good(asked)

    async def scenario() -> None:
        transport = ScriptedTransport(answer)
        async with transport.client(retry=RetryPolicy(max_attempts=1)) as client:
            async with client.fetch_many([ExecutionRef(ARN)] * 9, source="history") as results:
                assert [result.error async for result in results] == [None] * 9
            assert client.statistics().throttles > 9

    run(scenario())


def test_the_quota_of_histories_sets_the_pace_of_a_bulk_read() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: events()}), own_endpoint=False)
        async with transport.client() as client:
            errors: list[object] = []
            await read_into(errors, client, [ExecutionRef(ARN)] * 61)
            assert errors == [None] * 61
        assert transport.asked[-1].at - transport.asked[0].at == pytest.approx(60 / 12)

    run(scenario())


@pytest.mark.parametrize("when_ready", [True, False])
def test_cancelled_at_any_await_it_leaves_nothing_behind(when_ready: bool) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(serving({ARN: HISTORY}), takes_s=0.01)
        async with transport.client() as client:
            without_delays(client)
            for number in range(1, 200):
                reading = client.get_state_from_history(ARN, max_items=20)
                task = asyncio.create_task(driven(reading, number, when_ready))
                await asyncio.wait([task])
                assert_at_rest(client)
                if not task.cancelled():
                    assert len(task.result().operations) == 22
                    break
            else:
                raise AssertionError("never came to its end")
            assert number > 3
            assert len((await client.get_state_from_history(ARN)).operations) == 22

    run(scenario())


def test_a_failure_is_one_line_and_shows_no_payload() -> None:
    hostile = answered(Events=[event(1, "ExecutionStarted", Id=["SECRET"])])

    async def scenario() -> None:
        async with ScriptedTransport([hostile]).client() as client:
            with pytest.raises(DurastateError) as caught:
                await client.get_state_from_history(ARN)
        assert str(caught.value) == "Events[0].Id: expected a string, found an array"
        assert f"while reading {ARN}" in caught.value.__notes__

    run(scenario())
