"""docs/limits.md: every limit is there with the default of the code, and statistics show it."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import math
import re
from typing import Any

import pytest

import durastate
from durastate import (
    ConfigurationError,
    ExecutionRef,
    Limits,
    RetryPolicy,
    StateClient,
    Statistics,
    gates,
    limits,
    outages,
    pace,
)
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World

from .page import ROOT, run

PAGE = "docs/limits.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


CALLS = (
    *("get_page", "iter_pages", "get_state", "fetch_many", "stream_pages"),
    *("get_execution", "iter_history", "get_state_from_history", "list_executions"),
)


def value_of(text: str) -> Any:
    """A literal, or one like 64 * 1024**2."""
    if "*" in text:
        assert re.fullmatch(r"[\d *]+", text)
        return eval(text)  # noqa: S307 - digits and stars
    return ast.literal_eval(text)


def defaults_of_the_code() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in (Limits, RetryPolicy):
        plain = kind()
        for field in dataclasses.fields(kind):
            if field.init:
                found[f"{kind.__name__}.{field.name}"] = getattr(plain, field.name)
    for name in CALLS:
        for parameter in inspect.signature(getattr(StateClient, name)).parameters.values():
            if parameter.name in ("max_items", "max_executions", "timeout_s"):
                found[f"{name}({parameter.name})"] = parameter.default
    return found


def test_the_page_has_every_limit_with_its_default() -> None:
    headings = re.findall(r"^### `([^`]+)`: `([^`]+)`$", TEXT, re.MULTILINE)
    assert len(headings) == len(re.findall(r"^### .*`", TEXT, re.MULTILINE))
    assert {name: value_of(default) for name, default in headings} == defaults_of_the_code()


def test_the_page_names_every_member_of_the_statistics() -> None:
    members = {field.name for field in dataclasses.fields(Statistics)}
    assert [name for name in members if f"`{name}`" not in TEXT] == []
    assert set(re.findall(r"`(waited_for_\w+)`", TEXT)) <= members


def test_what_stands_behind_the_defaults_of_none() -> None:
    call = "GetDurableExecutionState"
    shared = Limits().shared(lambda: 0.0)
    small = shared.pace(call, "1", "eu-central-1", own_endpoint=False)
    large = shared.pace(call, "1", "eu-west-1", own_endpoint=False)
    assert shared.max_requests == 64
    assert (small.rate, small.burst) == (0.2 * 10_000, pytest.approx(100))
    assert large.rate == 0.2 * 20_000
    assert {"us-east-1", "us-west-2", "eu-west-1"} == limits._LARGE_REGIONS
    assert shared.pace(call, "1", "eu-west-1", own_endpoint=True).rate == math.inf


def test_the_page_has_every_quota_with_its_share() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+).*? \| (\d+) % \|$", TEXT, re.MULTILINE)
    assert {name: int(quota.replace(",", "")) for name, quota, _ in rows} == limits._QUOTAS
    shared = Limits().shared(lambda: 0.0)
    for name, quota, share in rows:
        pace = shared.pace(name, "1", "eu-central-1", own_endpoint=False)
        assert pace.rate == int(quota.replace(",", "")) * int(share) / 100


def test_the_pace_is_the_codes() -> None:
    cuts = (pace._CUT, pace._CUT_OF_A_TRIAL, pace._CUT_AGAIN)
    assert cuts == (0.9, 0.8, 0.75)
    assert (pace._AGAIN_S, pace._SETTLING_S, pace._RECOVERY_S, pace._SLOWEST) == (2, 0.1, 6.3, 0.5)
    assert (outages._FIRST_PAUSE_S, outages._LONGEST_PAUSE_S) == (0.25, 20)
    assert gates._OPEN_AT_FIRST == 64


@pytest.mark.asyncio
async def test_the_example_stays_within_its_limits(
    in_environment: Emulator, refs: list[ExecutionRef]
) -> None:
    page = await run(PAGE)
    in_environment.hold()
    reading = asyncio.create_task(page.read_all(refs))
    await in_environment.log.wait_for(4)
    assert len(in_environment.log) == 4
    in_environment.release()
    count, statistics = await reading

    assert count == 100
    assert in_environment.log.max_concurrent <= 4
    assert in_environment.log.max_in_window(0.2) <= 50 + 200 * 0.2 + 4
    sizes = [len(in_environment.world.visible_operations(index)) for index in range(100)]
    assert (statistics.requests, statistics.pages) == (100, 100)
    assert statistics.operations == sum(sizes)
    assert statistics.waited_for_requests_s > 0
    assert (statistics.in_flight, statistics.waiting) == (0, 0)


@pytest.mark.asyncio
async def test_waiting_for_the_rate_shows_in_the_statistics(
    emulator: Emulator, refs: list[ExecutionRef]
) -> None:
    hourly = Limits(rates={"GetDurableExecutionState": 1 / 3600}, burst=1)
    async with StateClient(
        endpoint_url=emulator.endpoint_url, session=emulator.session(), limits=hourly
    ) as client:
        await client.get_page(refs[0])
        second = asyncio.create_task(client.get_page(refs[1]))
        for _ in range(20):
            await asyncio.sleep(0)
        assert client.statistics().waiting == 1
        second.cancel()
        await asyncio.wait([second])
        assert client.statistics().waited_for_rate_s > 0
        assert client.statistics().waiting == 0
    assert len(emulator.log) == 1


@pytest.mark.asyncio
async def test_what_happens_at_each_limit_that_is_an_error() -> None:
    stalls = FaultPlan(on={0: Fault(FaultKind.STALL, delay_s=5)})
    small = Limits(max_page_bytes=20_000)
    async with Emulator(World(executions=2, operations=1000), stalls) as emulator:
        slow, large = (ExecutionRef(arn, token) for arn, token in emulator.world.refs())

        async def outcome(ref: ExecutionRef, limits: Limits | None, **call: Any) -> str:
            # Nothing but a stalled answer takes that long, however busy the machine.
            timeout_s = 0.2 if ref is slow else 10.0
            async with StateClient(
                endpoint_url=emulator.endpoint_url,
                session=emulator.session(),
                limits=limits,
                retry=RetryPolicy(max_attempts=2, attempt_timeout_s=timeout_s),
            ) as client:
                with pytest.raises(durastate.DurastateError) as caught:
                    await client.get_state(ref, **call)
                return f"{type(caught.value).__name__} {client.statistics().retries}"

        assert await outcome(large, small) == "TransportError 0"
        assert await outcome(large, Limits(max_state_bytes=9_000)) == "StateTooLargeError 0"
        assert await outcome(slow, None) == "DeadlineError 1"
        assert await outcome(slow, None, timeout_s=0.05) == "DeadlineError 0"
        assert await outcome(large, None, max_items=1001) == "ConfigurationError 0"


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in ({"max_requests": 0}, {"quota_share": 1.5}, {"rates": {"ListFunctions": 1}}):
        with pytest.raises(ConfigurationError):
            Limits(**wrong)  # type: ignore[arg-type]
