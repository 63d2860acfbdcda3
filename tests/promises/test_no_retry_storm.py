"""AWS's rules of 2026 decide what is sent again and when; a full outage costs a few attempts."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from client.support import assert_at_rest, calls_of
from virtual_clock import VirtualClockLoop, now, run, settle

from durastate import (
    DurastateError,
    Limits,
    OutageError,
    RetryPolicy,
    StateClient,
    TransportError,
)
from durastate.requests import GET_STATE
from durastate.retries import Retries
from durastate.testing import Asked, Response, ScriptedTransport, service_error

from .peer import REF, answer, asking, page_of, peer, request
from .scripts import PAGE, WAYS, Endpoint, refs

MOST_EXTRA = 100
BOTH = {"Retry-After": "9", "x-amz-retry-after": "2500"}
# Of the answer's headers, the seconds until the next attempt where half of every delay is drawn:
# for a transient failure, whose base is 50 ms, and for throttling, whose base is 1 s.
HINTS: dict[str, tuple[dict[str, str], float, float]] = {
    "neither": ({}, 0.025, 0.5),
    "Retry-After": ({"Retry-After": "7"}, 7, 7),
    "x-amz-retry-after": ({"x-amz-retry-after": "2500"}, 2.5, 2.5),
    "both, of which AWS's own wins": (BOTH, 2.5, 2.5),
    "less than was drawn": ({"x-amz-retry-after": "10"}, 0.025, 0.5),
    "nothing": ({"Retry-After": "0"}, 0.025, 0.5),
    "huge Retry-After": ({"Retry-After": "86400"}, 60, 60),
    "huge x-amz-retry-after": ({"x-amz-retry-after": "86400000"}, 5.025, 5.5),
    "beyond any number": ({"Retry-After": "9" * 5_000}, 0.025, 0.5),
    "a date": ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.025, 0.5),
    "negative": ({"Retry-After": "-5"}, 0.025, 0.5),
    "a fraction": ({"x-amz-retry-after": "2.5"}, 0.025, 0.5),
    "digits of another script": ({"Retry-After": "٣"}, 0.025, 0.5),
    "empty": ({"Retry-After": ""}, 0.025, 0.5),
    "invalid beside valid": ({"x-amz-retry-after": "soon", "Retry-After": "3"}, 3, 3),
}
PERMANENT = [
    ("KMSAccessDeniedException", 502),
    ("KMSDisabledException", 502),
    ("KMSInvalidStateException", 502),
    ("KMSNotFoundException", 502),
    ("InvalidParameterValueException", 400),
    ("AccessDeniedException", 403),
    ("InvalidSignatureException", 403),
    ("ResourceNotFoundException", 404),
    ("", 302),
    ("", 418),
    ("", 501),
    ("", 505),
]


def drawing_half(client: StateClient) -> None:
    calls = calls_of(client)
    calls._retries = Retries(calls._retries.max_attempts, lambda: 0.5)


@pytest.mark.parametrize("name", HINTS)
@pytest.mark.parametrize("status", [500, 429])
def test_the_time_of_the_second_attempt(name: str, status: int) -> None:
    async def scenario() -> None:
        headers, transient_s, throttled_s = HINTS[name]
        transport = ScriptedTransport([service_error("", status=status, headers=headers), PAGE])
        async with transport.client() as client:
            drawing_half(client)
            await client.get_state(REF)
        first, second = transport.asked
        waited_s = second.at - first.at
        if status == 500:
            assert waited_s == pytest.approx(transient_s)
        else:
            # The pace, which throttling brings down, may hold it up for longer.
            assert waited_s == pytest.approx(max(throttled_s, 0.5), abs=0.6)
            assert waited_s >= throttled_s - 1e-6

    run(scenario())


@pytest.mark.parametrize(("code", "status"), PERMANENT)
@pytest.mark.parametrize("way", ["get_state", "fetch_many"])
def test_what_never_passes_is_asked_for_once(way: str, code: str, status: int) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([PAGE, service_error(code, status=status, headers=BOTH)])
        async with transport.client() as client:
            await client.get_state(REF)
            if way == "get_state":
                with pytest.raises(DurastateError):
                    await client.get_state(REF)
            else:
                errors = await errors_of(client, 1)
                assert errors != {"NoneType": 1}
        assert len(transport.asked) == 2

    run(scenario())


async def errors_of(client: StateClient, count: int) -> Counter[str]:
    errors: Counter[str] = Counter()
    try:
        async with client.fetch_many(refs(count)) as results:
            async for result in results:
                errors[type(result.error).__name__] += 1
    except DurastateError as error:
        errors[type(error).__name__] += 1
    return errors


def test_three_attempts_and_no_more_with_longer_pauses() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([PAGE, service_error("", status=503)])
        async with transport.client(retry=RetryPolicy(max_attempts=12)) as client:
            await client.get_state(REF)
            drawing_half(client)
            with pytest.raises(DurastateError):
                await client.get_state(REF)
        at = [asked.at for asked in transport.asked[1:]]
        pauses = [later - sooner for sooner, later in pairwise(at)]
        expected = [min(0.05 * 2**step, 20) / 2 for step in range(11)]
        assert pauses == pytest.approx(expected)

    run(scenario())


@pytest.mark.parametrize("way", WAYS)
def test_a_full_outage_costs_a_client_at_most_a_hundred_attempts_more(way: str) -> None:
    """With a bulk read and three hundred single calls under way, and more of those coming."""

    async def scenario() -> None:
        endpoint = Endpoint(way, away_at=0.5, away_s=1e9)
        transport = ScriptedTransport(endpoint, takes_s=0.05)
        async with transport.client(limits=Limits(max_requests=500)) as client:
            reads = [asyncio.create_task(errors_of(client, 100_000))]
            await asyncio.sleep(0.48)
            calls = 0
            for _ in range(6):
                singles = [client.get_state(ref) for ref in refs(50)]
                calls += len(singles)
                for ended in await asyncio.gather(*singles, return_exceptions=True):
                    assert not isinstance(ended, BaseException) or isinstance(ended, DurastateError)
                await asyncio.sleep(5)
            [errors] = await asyncio.gather(*reads)
            assert errors.pop("OutageError") == 1
            assert set(errors) == {"NoneType"}
            under_way = 64
            extra = len(endpoint.asked_while_away) - under_way - calls
            assert extra <= MOST_EXTRA
            assert_at_rest(client)

    run(scenario())


# A clock that jumps, as after a laptop's sleep


def jump(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    loop._clock.now += seconds


def test_a_jump_of_the_clock_sets_no_burst_free() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([PAGE])
        limits = Limits(rates={GET_STATE: 10}, burst=1)
        async with transport.client(limits=limits) as client:
            reading = asyncio.create_task(errors_of(client, 100))
            await asyncio.sleep(2)
            jump(3_600)
            jumped = now()
            await reading
        after = [asked.at - jumped for asked in transport.asked if asked.at >= jumped]
        assert len([at for at in after if at < 1]) <= 12

    run(scenario())


def test_a_jump_of_the_clock_in_an_outage_is_one_probe_or_the_limit() -> None:
    async def scenario() -> None:
        for seconds, ended in ((100, False), (3_600, True)):
            endpoint = Endpoint("refused", away_s=1e9)
            transport = ScriptedTransport(endpoint, takes_s=0.05)
            async with transport.client() as client:
                reading = asyncio.create_task(errors_of(client, 100_000))
                await asyncio.sleep(5.9)
                asked = len(transport.asked)
                jump(seconds)
                await settle()
                assert len(transport.asked) <= asked + 1
                await asyncio.sleep(0.2)
                assert reading.done() == ended
                reading.cancel()
                await asyncio.wait([reading])
                assert ended == (not reading.cancelled() and reading.result()["OutageError"] == 1)

    run(scenario())


def test_a_jump_of_the_clock_between_attempts_makes_no_more_of_them() -> None:
    async def scenario() -> None:
        hint = {"Retry-After": "50"}
        transport = ScriptedTransport([service_error("", status=503, headers=hint)])
        async with transport.client() as client:
            single = asyncio.create_task(client.get_state(REF))
            for _ in range(3):
                await settle()
                jump(3_600)
            await asyncio.wait([single])
            assert type(single.exception()) is not OutageError
        assert len(transport.asked) == 3

    run(scenario())


# A connection that the server closes while it is idle


def closing(heads: list[tuple[int, bytes]], *, after: int, answers_again: bool) -> Any:
    """Each connection answers `after` requests and closes when the next has come, unanswered."""
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        this = connections
        served = after if this == 1 or answers_again else 0
        for number in range(served + 1):
            heads.append((this, await request(reader)))
            if number < served:
                writer.write(answer(page_of("1")))
                await writer.drain()

    return talk


@pytest.mark.asyncio
@pytest.mark.parametrize("attempts", [1, 3])
async def test_what_an_idle_connection_loses_is_sent_once_more_and_free(attempts: int) -> None:
    heads: list[tuple[int, bytes]] = []
    async with (
        peer(closing(heads, after=1, answers_again=True)) as server,
        asking(server, retry=RetryPolicy(max_attempts=attempts)) as client,
    ):
        for _ in range(4):
            await client.get_state(REF)
        assert calls_of(client)._retries.available == 500
        assert client.statistics().waited_for_retries_s == 0
        assert_at_rest(client)
    # The second is lost on connection 1 and sent again on connection 2, and so on.
    assert [connection for connection, _ in heads] == [1, 1, 2, 2, 3, 3, 4]


@pytest.mark.asyncio
async def test_what_a_new_connection_loses_is_an_attempt_that_failed() -> None:
    heads: list[tuple[int, bytes]] = []
    async with (
        peer(closing(heads, after=1, answers_again=False)) as server,
        asking(server, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        await client.get_state(REF)
        with pytest.raises(TransportError):
            await client.get_state(REF)
        assert_at_rest(client)
    assert [connection for connection, _ in heads] == [1, 1, 2]


def test_the_replay_is_one_however_many_idle_connections_are_closed() -> None:
    async def scenario() -> None:
        def script(asked: Asked) -> Response | TransportError:
            return PAGE if asked.number == 0 else WAYS["closed while idle"]()  # type: ignore[return-value]

        transport = ScriptedTransport(script)
        async with transport.client(retry=RetryPolicy(max_attempts=1)) as client:
            await client.get_state(REF)
            with pytest.raises(TransportError):
                await client.get_state(REF)
        assert len(transport.asked) == 1 + 2

    run(scenario())
