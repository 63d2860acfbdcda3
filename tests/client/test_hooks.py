"""Which events come, in which order and with what in them; what the default hook makes of them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
from virtual_clock import now, run

import durastate.hooks
from durastate import (
    DurastateError,
    Event,
    ExecutionDone,
    ExecutionRef,
    Fetched,
    PageRead,
    Paused,
    RequestDone,
    Resumed,
    Retrying,
    RetryPolicy,
    StateClient,
    Throttled,
    log_event,
)
from durastate.testing import Asked, ScriptedTransport, no_answer, page, service_error, step

from .support import assert_at_rest, calls_of, without_delays

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f:1/durable-execution/run/id"
TOKEN = "canaryTokenThatNobodyMaySee"
MARKER = "canary-marker"
PAYLOAD = "canary-payload"
REF = ExecutionRef(ARN, TOKEN)
FIRST = page(step("1", StepDetails={"Result": PAYLOAD}), step("2"), next_marker=MARKER)
LAST = page(step("3"))
STATE = "GetDurableExecutionState"


def told(
    answers: Sequence[object], *, way: str = "get_state", timeout_s: float | None = None
) -> list[Event]:
    """The events of one execution, read from these answers."""
    events: list[Event] = []

    async def scenario() -> None:
        transport = ScriptedTransport(answers, takes_s=0.5)  # type: ignore[arg-type]
        async with transport.client(hooks=[events.append]) as client:
            without_delays(client)
            if way == "get_state":
                with suppress(DurastateError):
                    await client.get_state(REF, timeout_s=timeout_s)
            else:
                async with getattr(client, way)([REF]) as results:
                    async for _ in results:
                        pass
            assert_at_rest(client)

    run(scenario())
    return events


def request_done(attempt: int, status: int | None, size: int) -> RequestDone:
    return RequestDone(STATE, ARN, "eu-west-1", attempt, status, size, 0.5)


WHOLE = [
    request_done(1, 200, len(FIRST.body)),
    PageRead(STATE, ARN, items=2, bytes=len(FIRST.body), is_last=False),
    request_done(1, 200, len(LAST.body)),
    PageRead(STATE, ARN, items=1, bytes=len(LAST.body), is_last=True),
    ExecutionDone(STATE, ARN, pages=2, items=3, seconds=1.0, error=None),
]


@pytest.mark.parametrize("way", ["get_state", "fetch_many", "stream_pages"])
def test_a_success(way: str) -> None:
    assert told([FIRST, LAST], way=way) == WHOLE


def test_a_retry_after_an_error_and_after_no_answer() -> None:
    refused = service_error("ServiceException", status=500)
    events = told([refused, no_answer("reset"), LAST])
    assert events == [
        request_done(1, 500, len(refused.body)),
        Retrying(STATE, ARN, "eu-west-1", attempt=1, reason="ServiceException", delay_s=0),
        request_done(2, None, 0),
        Retrying(STATE, ARN, "eu-west-1", attempt=2, reason="TransportError", delay_s=0),
        request_done(3, 200, len(LAST.body)),
        PageRead(STATE, ARN, items=1, bytes=len(LAST.body), is_last=True),
        ExecutionDone(STATE, ARN, pages=1, items=1, seconds=1.5, error=None),
    ]


@pytest.mark.parametrize(("way", "timeout_s"), [("get_state", 60), ("fetch_many", None)])
def test_a_throttle_says_the_pace_and_the_pause(way: str, timeout_s: float | None) -> None:
    busy = service_error("TooManyRequestsException", status=429, headers={"Retry-After": "3"})
    events = told([busy, LAST], way=way, timeout_s=timeout_s)
    kinds = [type(event) for event in events]
    assert kinds == [RequestDone, Throttled, RequestDone, PageRead, ExecutionDone]
    throttled = events[1]
    assert isinstance(throttled, Throttled)
    assert (throttled.operation, throttled.arn, throttled.region) == (STATE, ARN, "eu-west-1")
    assert throttled.delay_s == 3
    assert throttled.rate == math.inf  # One refusal is no reason to slow down.


def test_a_throttle_of_a_single_call_is_a_retry() -> None:
    busy = service_error("TooManyRequestsException", status=429)
    kinds = [type(event) for event in told([busy, LAST])]
    assert kinds == [RequestDone, Retrying, RequestDone, PageRead, ExecutionDone]


@pytest.mark.parametrize("way", ["get_state", "fetch_many", "stream_pages"])
def test_a_failure(way: str) -> None:
    lost = service_error("ResourceNotFoundException", status=404)
    assert told([FIRST, lost], way=way) == [
        *WHOLE[:2],
        request_done(1, 404, len(lost.body)),
        ExecutionDone(STATE, ARN, pages=1, items=2, seconds=1.0, error="ExecutionNotFoundError"),
    ]


def outage(away_s: float) -> list[Event]:
    events: list[Event] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def script(asked: Asked) -> object:
            is_away = 0.1 <= asked.at - began < 0.1 + away_s
            return no_answer("cannot connect", connected=False) if is_away else LAST

        transport = ScriptedTransport(script, takes_s=0.06)  # type: ignore[arg-type]
        retry = RetryPolicy(outage_limit_s=20)
        async with transport.client(hooks=[events.append], retry=retry) as client:
            try:
                async with client.fetch_many([REF] * 4, max_executions=1) as results:
                    async for result in results:
                        assert isinstance(result, Fetched)
            except DurastateError:
                pass

    run(scenario())
    return events


def test_an_outage_is_told_of_once_and_its_end_with_its_length() -> None:
    events = outage(5)
    kinds = [type(event) for event in events]
    assert kinds.count(Paused) == kinds.count(Resumed) == 1
    began, ended = kinds.index(Paused), kinds.index(Resumed)
    assert events[began] == Paused("eu-west-1", "cannot connect")
    # The probes: requests without an answer, and the one that is answered.
    assert set(kinds[began + 1 : ended - 1]) == {RequestDone}
    assert isinstance(events[ended - 1], RequestDone)
    assert events[ended - 1].status == 200
    resumed = events[ended]
    assert isinstance(resumed, Resumed)
    assert resumed.region == "eu-west-1"
    assert 5 - 0.06 * 3 < resumed.seconds < 15
    assert kinds.count(ExecutionDone) == 4


def test_an_endpoint_that_comes_and_goes_every_5_ms_is_not_told_of_each_time() -> None:
    events: list[Event] = []

    async def scenario() -> float:
        began = now()

        def script(asked: Asked) -> object:
            is_away = asked.at > began + 0.02 and (asked.at - began) % 0.01 < 0.005
            return no_answer("cannot connect", connected=False) if is_away else LAST

        transport = ScriptedTransport(script, takes_s=0.0034)  # type: ignore[arg-type]
        async with transport.client(hooks=[events.append]) as client:
            async with client.fetch_many([REF] * 300, max_executions=16) as results:
                assert [result.error async for result in results] == [None] * 300
            assert client.statistics().waited_for_outages_s > 1
        return now() - began

    took_s = run(scenario())
    # The first is told at once; of the others those that had lasted, which are never two in 1 s.
    told = [event for event in events if isinstance(event, Paused | Resumed)]
    assert [type(event) for event in told] == [Paused, Resumed] * (len(told) // 2)
    lengths = [event.seconds for event in told if isinstance(event, Resumed)]
    assert all(seconds >= 1 for seconds in lengths[1:])
    assert 1 <= len(lengths) <= 1 + took_s / 2


def test_an_outage_that_ends_the_run_has_no_end_of_its_own() -> None:
    kinds = [type(event) for event in outage(1_000)]
    assert (kinds.count(Paused), kinds.count(Resumed)) == (1, 0)


def all_events() -> list[Event]:
    """Every kind, with secrets near by."""
    hint = {"Retry-After": "1", "x-secret": "canary-header"}
    busy = service_error("TooManyRequestsException", status=429, message=TOKEN, headers=hint)
    broken = service_error("ServiceException", status=500, message=f"{TOKEN} {MARKER}")
    events = told([broken, FIRST, busy, no_answer(), LAST], way="fetch_many") + outage(3)
    assert {type(event) for event in events} == set(Event.__args__)  # type: ignore[attr-defined]
    return events


def test_no_secret_is_in_any_event_and_none_can_be_changed() -> None:
    for event in all_events():
        assert "canary" not in repr(event)
        assert "canary" not in repr(event._asdict())
        with pytest.raises(AttributeError):
            setattr(event, event._fields[0], "other")


# The default hook


@pytest.fixture
def at_warning(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "durastate"):
        yield caplog


LEVELS = {Paused: logging.WARNING, Resumed: logging.WARNING, Retrying: logging.INFO}


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING])
def test_each_event_is_logged_at_its_level_with_its_fields(
    level: int, caplog: pytest.LogCaptureFixture
) -> None:
    events = all_events()
    caplog.clear()
    with caplog.at_level(level, "durastate"):
        for event in events:
            log_event(event)
    expected = [event for event in events if LEVELS.get(type(event), logging.DEBUG) >= level]
    assert len(caplog.records) == len(expected) > 0
    for record, event in zip(caplog.records, expected, strict=True):
        name = type(event).__name__
        assert record.name == "durastate"
        assert record.levelno == LEVELS.get(type(event), logging.DEBUG)
        fields = event._asdict()
        assert vars(record)["durastate"] == {"event": name, **fields}
        assert record.getMessage().startswith(f"{name} ")
        assert all(f"{key}={value}" in record.getMessage() for key, value in fields.items())
        assert "canary" not in record.getMessage()


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_nothing_is_made_for_each_request_where_nobody_would_see_it(
    level: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def making(kind: type) -> Callable[..., object]:
        def make(*args: object, **fields: object) -> object:
            made.append(kind.__name__)
            return kind(*args, **fields)

        return make

    monkeypatch.setattr("durastate.calls.RequestDone", making(RequestDone))
    monkeypatch.setattr("durastate.walk.PageRead", making(PageRead))
    monkeypatch.setattr("durastate.walk.ExecutionDone", making(ExecutionDone))

    async def scenario() -> None:
        async with ScriptedTransport([FIRST, LAST]).client() as client:
            await client.get_state(REF)
            async with client.fetch_many([REF] * 3) as results:
                assert [result.error async for result in results] == [None] * 3

    with caplog.at_level(level, "durastate"):
        run(scenario())
    everything = {"RequestDone", "PageRead", "ExecutionDone"}
    assert set(made) == (everything if level == logging.DEBUG else set())
    assert (len(caplog.records) > 0) == (level == logging.DEBUG)


def test_without_any_hook_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([service_error("", status=500), LAST])
        async with transport.client(hooks=[]) as client:
            monkeypatch.setattr(calls_of(client), "tell", lambda _: pytest.fail("told"))
            await client.get_state(REF)

    run(scenario())


def test_by_default_a_retry_is_logged_as_info(at_warning: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with ScriptedTransport([no_answer(), LAST]).client() as client:
            await client.get_state(REF)

    run(scenario())
    assert at_warning.records == []
    at_warning.set_level(logging.INFO, "durastate")
    run(scenario())
    assert [record.levelname for record in at_warning.records] == ["INFO"]


class Stop(Exception):
    """What a hook of the user's raises."""


async def read_all(client: StateClient, way: str) -> None:
    if way == "get_state":
        await client.get_state(REF)
        return
    async with getattr(client, way)([REF]) as results:
        async for _ in results:
            pass


@pytest.mark.parametrize("way", ["get_state", "fetch_many", "stream_pages"])
@pytest.mark.parametrize("kind", [RequestDone, PageRead, ExecutionDone])
def test_what_a_hook_raises_ends_the_call_and_leaves_nothing_behind(kind: type, way: str) -> None:
    seen: list[Event] = []

    def stop(event: Event) -> None:
        if isinstance(event, kind):
            raise Stop

    async def scenario() -> None:
        async with ScriptedTransport([LAST]).client(hooks=[seen.append, stop]) as client:
            with pytest.raises(Stop):
                await read_all(client, way)
            assert_at_rest(client)

    run(scenario())
    order = [RequestDone, PageRead, ExecutionDone]
    assert [type(event) for event in seen] == order[: order.index(kind) + 1]


OTHERS = (TimeoutError, asyncio.CancelledError, StopAsyncIteration, DurastateError)


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        *((kind, Stop) for kind in Event.__args__),  # type: ignore[attr-defined]
        *((kind, raised) for kind in (Paused, PageRead) for raised in OTHERS),
    ],
)
def test_what_a_hook_raises_once_leaves_every_other_read_as_it_is(
    kind: type, raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    seen: set[type] = set()
    whole: list[int] = []

    def stop_once(event: Event) -> None:
        is_first = type(event) not in seen
        seen.add(type(event))
        if is_first and isinstance(event, kind):
            raise raised

    def script(asked: Asked) -> object:
        """One of everything that hooks are told of, an outage of 5 s among it."""
        if asked.number in (20, 21):
            return service_error("ServiceException", status=429 if asked.number == 20 else 500)
        is_away = 1_003 <= asked.at < 1_008
        return no_answer("cannot connect", connected=False) if is_away else LAST

    async def read(client: StateClient) -> None:
        async with client.fetch_many([REF] * 40, max_executions=2) as results:
            found = [type(result) async for result in results]
        assert len(found) == 40
        whole.append(found.count(Fetched))

    async def scenario() -> list[BaseException | None]:
        transport = ScriptedTransport(script, takes_s=0.3)  # type: ignore[arg-type]
        async with transport.client(hooks=[stop_once, log_event]) as client:
            reads = [asyncio.create_task(read(client)) for _ in range(4)]
            ended = await asyncio.gather(*reads, return_exceptions=True)
            assert_at_rest(client)
            assert asyncio.get_running_loop().time() < 1_060
            return [each for each in ended if each is not None]

    ended = run(scenario())
    assert seen == set(Event.__args__)  # type: ignore[attr-defined]
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert said == [f"a hook raised {raised.__name__} when it was told of {kind.__name__}"]
    if raised is DurastateError:  # As one of ours it is the failure of one execution.
        assert (ended, sorted(whole)) == ([], [39, 40, 40, 40])
    else:
        expected = RuntimeError if raised is StopAsyncIteration else raised
        assert ([type(each) for each in ended], whole) == ([expected], [40, 40, 40])


def test_every_hook_is_told_whatever_another_raises() -> None:
    told_of: list[Event] = []

    def stop(_: Event) -> None:
        raise Stop

    async def scenario() -> None:
        async with ScriptedTransport([LAST]).client(hooks=[stop, told_of.append]) as client:
            with pytest.raises(Stop):
                await client.get_state(REF)

    run(scenario())
    assert [type(event) for event in told_of] == [RequestDone]


def test_a_timeout_error_of_a_hook_is_not_taken_for_the_calls_own() -> None:
    def stop(_: Event) -> None:
        raise TimeoutError("the metrics")

    async def scenario() -> None:
        async with ScriptedTransport([LAST]).client(hooks=[stop]) as client:
            with pytest.raises(TimeoutError, match="the metrics"):
                await client.get_state(REF, timeout_s=5)

    run(scenario())


def test_whether_anybody_listens_is_asked_when_the_client_is_entered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "durastate")
    assert durastate.hooks.logs_everything()
    caplog.set_level(logging.INFO, "durastate")
    assert not durastate.hooks.logs_everything()
