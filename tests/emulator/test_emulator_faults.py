"""Each kind of fault as it is seen on the wire, and when a plan strikes."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from durastate.emulator import PASSING, Emulator, Fault, FaultKind, FaultPlan, World, names
from durastate.emulator.faults import Moment
from durastate.emulator.spoiling import REDIRECTED

from .wire import Caller, Clock, Seen

WORLD = World(executions=2, operations=25)
Call = Callable[[Emulator], Caller]

ERRORS = {
    FaultKind.THROTTLE: (429, "TooManyRequestsException"),
    FaultKind.SERVICE_ERROR: (500, "ServiceException"),
    FaultKind.KMS_ACCESS_DENIED: (502, "KMSAccessDeniedException"),
    FaultKind.KMS_DISABLED: (502, "KMSDisabledException"),
    FaultKind.KMS_INVALID_STATE: (502, "KMSInvalidStateException"),
    FaultKind.KMS_NOT_FOUND: (502, "KMSNotFoundException"),
    FaultKind.ACCESS_DENIED: (403, "AccessDeniedException"),
    FaultKind.INVALID_TOKEN: (400, "InvalidParameterValueException"),
    FaultKind.NOT_FOUND: (404, "ResourceNotFoundException"),
    FaultKind.EXPIRED_CREDENTIALS: (403, "ExpiredTokenException"),
}
PROXY = {
    FaultKind.BAD_GATEWAY: 502,
    FaultKind.UNAVAILABLE: 503,
    FaultKind.GATEWAY_TIMEOUT: 504,
}


async def seen(call: Call, fault: Fault, **emulator: Any) -> Seen:
    async with Emulator(WORLD, FaultPlan(on={0: fault}), **emulator) as running:
        answer = await call(running).state(0)
        assert running.log[0].fault == fault.kind
        assert running.log[0].status == answer.status
        return answer


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ERRORS)
async def test_an_error_of_the_service(call: Call, kind: FaultKind) -> None:
    answer = await seen(call, Fault(kind))
    assert (answer.status, answer.code) == ERRORS[kind]
    assert answer.message
    assert answer.headers["x-amzn-RequestId"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", PROXY)
async def test_an_error_of_something_in_between(call: Call, kind: FaultKind) -> None:
    answer = await seen(call, Fault(kind))
    assert answer.status == PROXY[kind]
    assert answer.headers["Content-Type"] == "text/html"
    assert "x-amzn-errortype" not in answer.headers
    assert b"<html>" in answer.body


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(None, None), (3, None), (None, 250), (1, 2)]
)
async def test_the_hints_of_a_throttle(
    call: Call, seconds: int | None, milliseconds: int | None
) -> None:
    fault = Fault(FaultKind.THROTTLE, retry_after_s=seconds, retry_after_ms=milliseconds)
    answer = await seen(call, fault)
    assert answer.headers.get("Retry-After") == (None if seconds is None else str(seconds))
    hint = None if milliseconds is None else str(milliseconds)
    assert answer.headers.get("x-amz-retry-after") == hint
    assert answer.content["Reason"] == "CallerRateLimitExceeded"


@pytest.mark.asyncio
async def test_a_reset_before_any_answer(call: Call) -> None:
    async with Emulator(WORLD, FaultPlan(on={0: Fault(FaultKind.RESET)})) as emulator:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await call(emulator).state(0)
        assert emulator.log[-1].status == 0
        assert (await call(emulator).state(1)).status == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [FaultKind.RESET_IN_BODY, FaultKind.TRUNCATED])
async def test_a_body_that_breaks_off(call: Call, kind: FaultKind) -> None:
    async with Emulator(WORLD, FaultPlan(on={0: Fault(kind)})) as emulator:
        with pytest.raises(aiohttp.ClientError):
            await call(emulator).state(0)
        assert (await call(emulator).state(1)).status == 200


@pytest.mark.asyncio
async def test_a_slow_body_is_right_in_the_end(call: Call) -> None:
    fault = Fault(FaultKind.SLOW_BODY, delay_s=0.0001, chunk_bytes=512)
    answer = await seen(call, fault)
    assert len(answer.content["Operations"]) == 25


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [Fault(FaultKind.STALL, delay_s=3_600), Fault(FaultKind.SLOW_BODY, delay_s=3_600)],
    ids=["stall", "slow"],
)
async def test_closing_the_emulator_ends_what_is_stalled(call: Call, fault: Fault) -> None:
    async with Emulator(WORLD, FaultPlan(on={0: fault})) as emulator:
        request = asyncio.create_task(call(emulator).state(0))
        await emulator.log.wait_for(1)
    with pytest.raises(aiohttp.ClientError):
        await request
    assert emulator.log.in_flight == 0


@pytest.mark.asyncio
async def test_a_stall_ends_with_the_right_answer(call: Call) -> None:
    answer = await seen(call, Fault(FaultKind.STALL, delay_s=0.01))
    assert len(answer.content["Operations"]) == 25


@pytest.mark.asyncio
async def test_pages_that_are_no_pages(call: Call) -> None:
    malformed = await seen(call, Fault(FaultKind.MALFORMED_JSON))
    with pytest.raises(json.JSONDecodeError):
        _ = malformed.content
    wrong = await seen(call, Fault(FaultKind.WRONG_TYPES))
    assert not isinstance(wrong.content["Operations"], list)
    number = await seen(call, Fault(FaultKind.NOT_A_NUMBER))
    assert b"NaN" in number.body
    assert {answer.status for answer in (malformed, wrong, number)} == {200}


@pytest.mark.asyncio
async def test_a_lone_surrogate(call: Call) -> None:
    answer = await seen(call, Fault(FaultKind.LONE_SURROGATE))
    assert answer.content["Operations"][0]["Name"] == "half \ud800"
    assert len(answer.content["Operations"]) == 25


@pytest.mark.asyncio
async def test_unknown_fields_and_values(call: Call) -> None:
    content = (await seen(call, Fault(FaultKind.UNKNOWN_FIELDS))).content
    first, second = content["Operations"][:2]
    assert first["Type"] == "EXECUTION"
    assert (second["Type"], second["Status"]) == ("SIGNAL", "PAUSED")
    assert content["ResponseMetadataOfTomorrow"]


@pytest.mark.asyncio
async def test_gzip_though_nobody_asked(call: Call) -> None:
    answer = await seen(call, Fault(FaultKind.GZIP))
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.body))["Operations"]) == 25


@pytest.mark.asyncio
async def test_a_redirect_and_whether_it_is_followed(call: Call) -> None:
    async with Emulator(WORLD, FaultPlan(on={0: Fault(FaultKind.REDIRECT)})) as emulator:
        answer = await call(emulator).state(0)
        assert (answer.status, answer.headers["Location"]) == (302, REDIRECTED)
        await call(emulator).raw(answer.headers["Location"])
        assert [request.path for request in emulator.log][1] == REDIRECTED


@pytest.mark.asyncio
async def test_a_huge_body_has_the_size_that_was_asked_for(call: Call) -> None:
    answer = await seen(call, Fault(FaultKind.HUGE_BODY, body_bytes=1_000_000))
    assert abs(len(answer.body) - 1_000_000) < 8
    assert len(answer.content["Operations"]) == 25


@pytest.mark.asyncio
async def test_a_repeated_marker(call: Call) -> None:
    async with Emulator(WORLD, FaultPlan(on={0: Fault(FaultKind.REPEATED_MARKER)})) as emulator:
        caller = call(emulator)
        markers: list[str] = []
        for _ in range(4):
            answer = await caller.state(0, markers[-1] if markers else None)
            markers.append(answer.content["NextMarker"])
        assert len(set(markers)) == 1


@pytest.mark.asyncio
async def test_cycling_markers(call: Call) -> None:
    async with Emulator(WORLD, FaultPlan(on={0: Fault(FaultKind.CYCLING_MARKERS)})) as emulator:
        caller = call(emulator)
        markers: list[str] = []
        for _ in range(6):
            answer = await caller.state(0, markers[-1] if markers else None)
            markers.append(answer.content["NextMarker"])
        first, second = markers[:2]
        assert first != second
        assert markers == [first, second] * 3


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "size"), [(FaultKind.EMPTY_PAGE, 0), (FaultKind.SHORT_PAGE, 5)])
async def test_an_empty_or_short_page_loses_nothing(call: Call, kind: FaultKind, size: int) -> None:
    async with Emulator(WORLD, FaultPlan(on={0: Fault(kind, page=1)})) as emulator:
        pages = await call(emulator).all_pages(0, 10)
        sizes = [len(page["Operations"]) for page in pages]
        assert sizes == [10, size, 10, 5 - size] if size < 5 else [10, 5, 10]
        read = [operation for page in pages for operation in page["Operations"]]
        assert read == WORLD.visible_operations(0)


@pytest.mark.asyncio
async def test_a_wrong_clock_refuses_what_the_right_time_signs(call: Call, clock: Clock) -> None:
    plan = FaultPlan(on={0: Fault(FaultKind.WRONG_CLOCK, skew_s=3_600)})
    async with Emulator(WORLD, plan, now=clock) as emulator:
        refused = await call(emulator).state(0, at=clock())
        assert (refused.status, refused.code) == (403, "InvalidSignatureException")
        assert refused.message.startswith("Signature expired")
        assert refused.headers["Date"] == "Thu, 30 Jul 2026 13:00:00 GMT"
        clock.move(hours=1)
        corrected = clock()
        clock.move(hours=-1)
        assert (await call(emulator).state(0, at=corrected)).status == 200
        assert (await call(emulator).state(1, at=clock())).status == 200


def test_every_kind_is_shown_by_a_test_here() -> None:
    text = Path(__file__).read_text()
    assert [kind for kind in FaultKind if f"FaultKind.{kind.name}" not in text] == []


@pytest.mark.asyncio
async def test_the_first_requests_only_and_one_page_only(call: Call) -> None:
    plan = FaultPlan(
        on={
            0: Fault(FaultKind.SERVICE_ERROR, first=2),
            WORLD.arn(1): (
                Fault(FaultKind.KMS_DISABLED, page=1, first=1),
                Fault(FaultKind.UNAVAILABLE, page=1, first=2),
            ),
        }
    )
    async with Emulator(WORLD, plan) as emulator:
        caller = call(emulator)
        assert [(await caller.state(0)).status for _ in range(4)] == [500, 500, 200, 200]
        first = await caller.state(1, None, 10)
        marker = first.content["NextMarker"]
        answers = [(await caller.state(1, marker, 10)).status for _ in range(3)]
        assert [first.status, *answers] == [200, 502, 503, 200]


@pytest.mark.asyncio
async def test_a_refused_signature_does_not_use_up_a_fault(call: Call) -> None:
    plan = FaultPlan(on={0: Fault(FaultKind.SERVICE_ERROR, first=1)})
    async with Emulator(WORLD, plan) as emulator:
        caller = call(emulator)
        refused = await caller.state(0, service="s3")
        assert refused.status == 403
        assert [(await caller.state(0)).status for _ in range(2)] == [500, 200]


@pytest.mark.asyncio
async def test_the_plan_can_be_changed_while_it_runs(call: Call) -> None:
    async with Emulator(WORLD) as emulator:
        emulator.faults = FaultPlan(on={0: Fault(FaultKind.UNAVAILABLE)})
        assert (await call(emulator).state(0)).status == 503
        emulator.faults = FaultPlan()
        assert (await call(emulator).state(0)).status == 200


def test_a_plan_for_executions_that_do_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no execution 2 among 2"):
        Emulator(WORLD, FaultPlan(on={2: Fault(FaultKind.RESET)}))


def strikes(plan: FaultPlan, arn: str, attempts: int = 50) -> list[FaultKind | None]:
    moments = (Moment(names.Call.STATE, arn, None, 0, number, number) for number in range(attempts))
    chosen = map(plan.choose, moments)
    return [fault.kind if fault else None for fault in chosen]


def test_random_faults_follow_from_the_seed_and_come_in_the_share_asked_for() -> None:
    plan = FaultPlan(seed=1, rate=0.05)
    arns = [f"arn-{number}" for number in range(4_000)]
    first = [strikes(plan, arn, 1)[0] for arn in arns]
    assert first == [strikes(FaultPlan(seed=1, rate=0.05), arn, 1)[0] for arn in arns]
    assert first != [strikes(FaultPlan(seed=2, rate=0.05), arn, 1)[0] for arn in arns]
    kinds = Counter(first)
    assert 150 < len(arns) - kinds[None] < 250
    assert set(kinds) == {None, *PASSING}


@pytest.mark.parametrize("in_a_row", [1, 2, 5])
def test_random_faults_never_strike_one_page_too_often_in_a_row(in_a_row: int) -> None:
    plan = FaultPlan(rate=0.9, in_a_row=in_a_row)
    longest = max(
        len(list(run))
        for number in range(200)
        for struck, run in itertools.groupby(map(bool, strikes(plan, f"arn-{number}")))
        if struck
    )
    assert longest == in_a_row


def test_the_demo_has_a_dozen_that_are_broken_in_different_ways() -> None:
    world = World.demo(7)
    plan = FaultPlan.demo(world)
    assert len(plan.broken()) == len(set(plan.broken().values())) == 12
    assert plan == FaultPlan.demo(World.demo(7))
    assert plan.on != FaultPlan.demo(World.demo(8)).on
    assert plan.rate > 0
    assert set(plan.kinds) == set(PASSING)


def test_a_plan_survives_the_way_to_another_process() -> None:
    plan = FaultPlan(
        seed=3,
        on={1: (Fault(FaultKind.STALL, delay_s=2),), "arn": (Fault(FaultKind.RESET, first=1),)},
        rate=0.5,
        kinds=(FaultKind.RESET,),
        in_a_row=2,
        template=Fault(FaultKind.THROTTLE, retry_after_s=1),
    )
    assert FaultPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
