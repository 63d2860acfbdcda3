"""The ceiling on the request rate: exact on a virtual clock, and counted by a server's log."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from virtual_clock import now, run

from durastate import (
    ConfigurationError,
    DecodingError,
    DurastateError,
    Limits,
    ServiceError,
    ThrottledError,
    TransportError,
)
from durastate.calls import Calls
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World
from durastate.limits import SharedLimits
from durastate.pace import Pace
from durastate.requests import GET_STATE, Request
from durastate.retries import Retries
from durastate.testing import Asked, ScriptedTransport
from durastate.transport import Response

from .steps import driven
from .support import assert_at_rest, calls_of, reading, refs_of, turns, without_delays

REQUEST = Request(GET_STATE, "arn", "/path", "query", "eu-west-1")
Answers = Callable[[int], tuple[int, dict[str, str]] | Exception]


def scripted(answers: Answers = lambda _: (200, {}), takes_s: float = 0) -> ScriptedTransport:
    """A transport in memory that answers by number, after `takes_s`."""

    def script(asked: Asked) -> Response | DurastateError:
        answer = answers(asked.number)
        if isinstance(answer, DurastateError):
            return answer
        assert not isinstance(answer, Exception)
        return Response(answer[0], answer[1], b"{}")

    return ScriptedTransport(script, takes_s=takes_s)


def times(transport: ScriptedTransport, since: float) -> list[float]:
    return [asked.at - since for asked in transport.asked]


def make_calls(
    transport: ScriptedTransport, limits: Limits, *, attempts: int = 3, random: float = 0.0
) -> tuple[Calls, Pace]:
    shared = limits.shared(now)
    ceiling = shared.pace(GET_STATE, "123456789012", "eu-west-1", own_endpoint=False)
    return Calls(transport, Retries(attempts, lambda: random), shared), ceiling


def paced(rate: float, burst: int = 1, **more: int) -> Limits:
    return Limits(rates={GET_STATE: rate}, burst=burst, **more)


async def ask(calls: Calls, ceiling: Pace, times: int) -> list[object]:
    async def answer() -> Response:
        hold = calls.shared.gate.hold()
        try:
            return await calls.answer(REQUEST, "token", ceiling, hold)
        finally:
            hold.release()

    return await asyncio.gather(*(answer() for _ in range(times)), return_exceptions=True)


# Exactly, on the virtual clock


@pytest.mark.parametrize(
    ("burst", "expected"),
    [
        (1, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (3, [0, 0, 0, 0.1, 0.2, 0.3]),
        (6, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_requests_go_in_even_steps_after_the_burst(burst: int, expected: list[float]) -> None:
    async def scenario() -> None:
        transport, began = scripted(), now()
        await ask(*make_calls(transport, paced(10, burst)), 6)
        assert times(transport, began) == pytest.approx(expected)

    run(scenario())


def test_time_in_which_nobody_asked_is_worth_the_burst_and_no_more() -> None:
    async def scenario() -> None:
        transport = scripted()
        calls, ceiling = make_calls(transport, paced(10, burst=2))
        await ask(calls, ceiling, 4)
        await asyncio.sleep(60)
        began = now()
        transport.asked.clear()
        await ask(calls, ceiling, 4)
        assert times(transport, began) == pytest.approx([0, 0, 0.1, 0.2])

    run(scenario())


def test_a_retry_pays_like_any_other_request() -> None:
    async def scenario() -> None:
        # The first attempts of all three fail, in different ways.
        failures: list[tuple[int, dict[str, str]] | Exception] = [
            (503, {}),
            TransportError("reset"),
            (500, {}),
        ]
        transport = scripted(lambda number: failures[number] if number < 3 else (200, {}))
        calls, ceiling = make_calls(transport, paced(10))
        began = now()
        answers = await ask(calls, ceiling, 3)
        assert [isinstance(answer, Response) for answer in answers] == [True] * 3
        assert times(transport, began) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
        seen = calls.statistics()
        assert (seen.requests, seen.retries, seen.throttles) == (6, 3, 0)

    run(scenario())


def test_an_outage_is_hit_no_faster_than_the_ceiling() -> None:
    async def scenario() -> None:
        transport = scripted(lambda _: TransportError("gone"))
        calls, ceiling = make_calls(transport, paced(20))
        began = now()
        answers = await ask(calls, ceiling, 10)
        assert {type(answer) for answer in answers} == {TransportError}
        assert times(transport, began) == pytest.approx([0.05 * step for step in range(30)])

    run(scenario())


def test_slots_and_rate_hold_together() -> None:
    async def scenario() -> None:
        transport = scripted(takes_s=1)
        calls, ceiling = make_calls(transport, paced(10, max_requests=2))
        began = now()
        await ask(calls, ceiling, 6)
        assert transport.most_at_once == 2
        assert times(transport, began) == pytest.approx([0, 0.1, 1, 1.1, 2, 2.1])

    run(scenario())


def test_a_slot_is_not_held_while_waiting_for_the_rate() -> None:
    async def scenario() -> None:
        slow_account, fast = scripted(), scripted()
        limits = paced(1, max_requests=1)
        calls, ceiling = make_calls(slow_account, limits)
        other = Calls(fast, Retries(3, lambda: 0.0), limits.shared(now))
        elsewhere = limits.shared(now).pace(GET_STATE, "2" * 12, "eu-west-1", own_endpoint=False)
        began = now()
        waiting = asyncio.create_task(ask(calls, ceiling, 3))
        await turns(5)
        assert calls.statistics().in_flight == 0
        assert calls.statistics().waiting == 2
        await ask(other, elsewhere, 1)
        assert times(fast, began) == [0]
        await waiting
        assert times(slow_account, began) == pytest.approx([0, 1, 2])

    run(scenario())


def test_each_account_and_region_has_its_own_ceiling() -> None:
    async def scenario() -> None:
        transport = scripted()
        limits = paced(10)
        shared = limits.shared(now)
        calls = Calls(transport, Retries(3, lambda: 0.0), shared)
        ceilings = [
            shared.pace(GET_STATE, account, region, own_endpoint=False)
            for account in ("1" * 12, "2" * 12)
            for region in ("eu-west-1", "us-east-1")
        ]
        began = now()
        await asyncio.gather(*(ask(calls, ceiling, 3) for ceiling in ceilings))
        assert sorted(times(transport, began)) == pytest.approx([0] * 4 + [0.1] * 4 + [0.2] * 4)

    run(scenario())


def test_two_clients_with_one_limits_share_its_rate_and_its_slots() -> None:
    async def scenario() -> None:
        transport = scripted(takes_s=0.35)
        limits = paced(10, max_requests=3)
        one, ceiling = make_calls(transport, limits)
        two, same = make_calls(transport, limits)
        assert ceiling is same
        began = now()
        await asyncio.gather(ask(one, ceiling, 3), ask(two, same, 3))
        assert transport.most_at_once == 3
        assert times(transport, began) == pytest.approx([0, 0.1, 0.2, 0.35, 0.45, 0.55])

    run(scenario())


def test_a_request_cancelled_in_the_instant_it_may_go_costs_no_rate() -> None:
    async def scenario() -> None:
        transport = scripted()
        calls, ceiling = make_calls(transport, paced(10))
        began = now()
        first = asyncio.create_task(ask(calls, ceiling, 1))
        await turns(1)
        hold = calls.shared.gate.hold()
        in_line = driven(calls.answer(REQUEST, "token", ceiling, hold), 1, when_ready=True)
        cancelled = asyncio.create_task(in_line)
        await turns(1)
        last = asyncio.create_task(ask(calls, ceiling, 1))
        await asyncio.wait([first, cancelled, last])
        assert cancelled.cancelled()
        assert times(transport, began) == pytest.approx([0, 0.1])
        assert calls.statistics().in_flight == 0

    run(scenario())


def test_the_waiting_is_in_the_statistics_to_the_second() -> None:
    async def scenario() -> None:
        transport = scripted(lambda number: (500, {}) if number == 0 else (200, {}), takes_s=0.25)
        calls, ceiling = make_calls(transport, paced(1), random=0.5)
        await ask(calls, ceiling, 1)
        seen = calls.statistics()
        # Half of the base delay of 50 ms, then the rest of the ceiling's second.
        assert seen.waited_for_retries_s == pytest.approx(0.025)
        assert seen.waited_for_rate_s == pytest.approx(1 - 0.25 - 0.025)
        assert seen.waited_for_service_s == pytest.approx(0.5)
        assert seen.waited_for_requests_s == 0

        slow = scripted(takes_s=2)
        calls, _ = make_calls(slow, Limits(max_requests=1))
        await ask(calls, Pace(), 3)
        assert calls.statistics().waited_for_requests_s == pytest.approx(2 + 4)
        assert calls.statistics().waited_for_rate_s == 0

    run(scenario())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7),
        ({"x-amz-retry-after": "2500"}, 2.5),
        ({"x-amz-retry-after": "600000"}, 5),
        ({"retry-after": "3600"}, 60),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({}, 0),
    ],
)
def test_the_servers_hint_sets_the_time_of_the_next_attempt(
    headers: dict[str, str], expected: float
) -> None:
    async def scenario() -> None:
        transport = scripted(lambda number: (503, headers) if number == 0 else (200, {}))
        calls, ceiling = make_calls(transport, Limits())
        began = now()
        await ask(calls, ceiling, 1)
        assert times(transport, began) == pytest.approx([0, expected])

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "error", "requests"),
    [
        ((429, {}), ThrottledError, 3),
        ((500, {}), ServiceError, 3),
        ((404, {}), ServiceError, 1),
        (TransportError("reset"), TransportError, 3),
        (DecodingError("", "of somebody else's making"), DecodingError, 1),
    ],
)
def test_only_what_may_pass_is_tried_again(
    answer: tuple[int, dict[str, str]] | Exception, error: type[Exception], requests: int
) -> None:
    async def scenario() -> None:
        transport = scripted(lambda _: answer)
        calls, ceiling = make_calls(transport, Limits())
        (ended,) = await ask(calls, ceiling, 1)
        assert type(ended) is error
        assert len(transport.asked) == requests == calls.statistics().requests
        assert calls.statistics().in_flight == 0

    run(scenario())


# Which ceiling


def ceiling_of(
    limits: Limits, region: str | None = "eu-central-1", *, own_endpoint: bool = False
) -> Pace:
    shared = SharedLimits(limits, 1, lambda: 0.0)
    return shared.pace(GET_STATE, "1" * 12, region, own_endpoint=own_endpoint)


@pytest.mark.parametrize(
    ("region", "rate"),
    [
        ("eu-west-1", 4_000),
        ("us-east-1", 4_000),
        ("us-west-2", 4_000),
        ("eu-central-1", 2_000),
        ("cn-north-1", 2_000),
    ],
)
def test_by_default_a_fifth_of_the_regions_quota(region: str, rate: float) -> None:
    ceiling = ceiling_of(Limits(), region)
    assert ceiling is not None
    assert (ceiling.rate, ceiling.burst) == (rate, rate * 0.05)


def test_a_share_a_rate_and_a_burst_of_ones_own() -> None:
    half = ceiling_of(Limits(quota_share=0.5))
    given = ceiling_of(Limits(quota_share=0.5, rates={GET_STATE: 7.5}, burst=4))
    assert half is not None
    assert given is not None
    assert half.rate == 5_000
    assert (given.rate, given.burst) == (7.5, 4)


def test_an_endpoint_of_ones_own_has_a_ceiling_only_where_one_is_asked_for() -> None:
    assert ceiling_of(Limits(), own_endpoint=True).rate == math.inf
    assert ceiling_of(Limits(quota_share=None)).rate == math.inf
    assert ceiling_of(Limits(quota_share=None, rates={GET_STATE: 5})).rate == 5
    assert ceiling_of(Limits(quota_share=0.1), own_endpoint=True).rate == 1_000
    assert ceiling_of(Limits(rates={GET_STATE: 5}), own_endpoint=True).rate == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quota_share", 0),
        ("quota_share", 1.1),
        ("quota_share", True),
        ("quota_share", "most"),
        ("quota_share", float("nan")),
        ("rates", {GET_STATE: 0}),
        ("rates", {GET_STATE: -1}),
        ("rates", {GET_STATE: float("nan")}),
        ("rates", {GET_STATE: True}),
        ("rates", {GET_STATE: "9"}),
        ("rates", {"GetState": 9}),
        ("burst", 0),
        ("burst", 1.5),
        ("burst", True),
        ("max_requests", 0),
        ("max_requests", 2.5),
        ("max_bytes_in_flight", 0),
        ("max_page_bytes", -1),
        ("max_state_bytes", True),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        Limits(**{name: value})  # type: ignore[arg-type]


# By the log of a server


@pytest.mark.asyncio
async def test_a_server_sees_no_more_than_the_ceiling_in_any_second() -> None:
    rate = 60
    async with Emulator(World(executions=80, operations=1)) as emulator:
        async with reading(emulator, limits=paced(rate)) as client:
            async with client.fetch_many(refs_of(emulator)) as many:
                results = [result async for result in many]
            seen = client.statistics()
            assert_at_rest(client)
        assert all(result.error is None for result in results)
        assert len(emulator.log) == 80
        assert emulator.log.max_in_window(1.0) <= rate * 1.1 + 1
        assert emulator.log[-1].at - emulator.log[0].at >= 79 / rate * 0.95
        assert seen.waited_for_rate_s > 1


@pytest.mark.asyncio
async def test_a_server_sees_retries_and_two_clients_below_one_ceiling() -> None:
    rate = 60
    faults = FaultPlan(on={n: Fault(FaultKind.SERVICE_ERROR, first=1) for n in range(10)})
    limits = paced(rate)
    async with Emulator(World(executions=25, operations=1), faults) as emulator:
        async with reading(emulator, limits=limits) as one, reading(emulator, limits=limits) as two:
            without_delays(one)
            without_delays(two)

            async def read(client: object) -> list[object]:
                async with client.fetch_many(refs_of(emulator)) as many:  # type: ignore[attr-defined]
                    return [result.error async for result in many]

            errors = await asyncio.gather(read(one), read(two))
            requests = one.statistics().requests + two.statistics().requests
            assert calls_of(one).shared is calls_of(two).shared
        assert errors == [[None] * 25] * 2
        assert len(emulator.log) == requests == 60
        assert emulator.log.max_in_window(1.0) <= rate * 1.1 + 1
        assert emulator.log[-1].at - emulator.log[0].at >= 59 / rate * 0.95


@pytest.mark.asyncio
async def test_an_endpoint_of_ones_own_is_read_as_fast_as_it_answers() -> None:
    async with (
        Emulator(World(executions=50, operations=1)) as emulator,
        reading(emulator) as client,
    ):
        async with client.fetch_many(refs_of(emulator)) as many:
            async for _ in many:
                pass
        assert client.statistics().waited_for_rate_s == 0
