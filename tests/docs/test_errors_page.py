"""docs/errors.md: the tree and the table are the code's, and the examples do what they say."""

from __future__ import annotations

import inspect
import re

import pytest

import durastate
from durastate import DurastateError, ExecutionRef, RetryPolicy, ServiceError, StateClient
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World

from .page import ROOT, blocks, run

PAGE = "docs/errors.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
CLASSES = {
    name: each
    for name, each in ((name, getattr(durastate, name)) for name in durastate.__all__)
    if inspect.isclass(each) and issubclass(each, DurastateError)
}


def test_every_public_error_has_a_cause_and_a_remedy() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(CLASSES)
    assert all(len(cause) > 2 and len(remedy) > 2 for _, cause, remedy in rows)


def test_the_tree_is_the_codes() -> None:
    above: list[str] = []
    drawn = {}
    for line in blocks(ROOT / PAGE, "text")[0].code.splitlines():
        depth = len(line) - len(line.lstrip("│├└─ "))
        above[depth // 4 :] = [line[depth:]]
        drawn[above[-1]] = above[-2] if len(above) > 1 else "Exception"
    assert drawn == {name: each.__bases__[0].__name__ for name, each in CLASSES.items()}


def test_the_retry_rules_are_the_codes() -> None:
    from durastate import retries

    throttled, transient = retries.Failure.THROTTLED.value, retries.Failure.TRANSIENT.value
    assert throttled is not None
    assert transient is not None
    assert (throttled, transient) == ((5, 1.0), (14, 0.05))
    assert (retries._QUOTA, retries._LONGEST_DELAY_S) == (500, 20)
    assert (retries._LONGEST_EXTRA_S, retries._LONGEST_RETRY_AFTER_S) == (5, 60)
    assert set(retries._TRANSIENT_STATUSES) == {500, 502, 503, 504}


@pytest.mark.asyncio
async def test_each_outcome_of_one_execution(
    emulator: Emulator, client: StateClient, refs: list[ExecutionRef]
) -> None:
    page = await run(PAGE)
    emulator.faults = FaultPlan(
        on={0: Fault(FaultKind.INVALID_TOKEN), 1: Fault(FaultKind.KMS_DISABLED)}
    )
    assert [await page.status_of(client, ref) for ref in refs[:3]] == [
        "has gone on",
        "KMSDisabledException (502), try again never",
        emulator.world.visible_operations(2)[0]["Status"],
    ]


@pytest.mark.asyncio
async def test_results_are_sorted_into_complete_again_and_broken() -> None:
    page = await run(PAGE)
    kinds = [FaultKind.RESET, FaultKind.SERVICE_ERROR, FaultKind.ACCESS_DENIED, FaultKind.GZIP]
    plan = FaultPlan(on={at: Fault(kind) for at, kind in enumerate(kinds)})
    async with Emulator(World(executions=10), plan) as emulator:
        refs = [ExecutionRef(arn, token) for arn, token in emulator.world.refs()]
        async with StateClient(
            endpoint_url=emulator.endpoint_url,
            session=emulator.session(),
            retry=RetryPolicy(max_attempts=1),
        ) as client:
            await client.get_state(refs[9])  # the service is there
            complete, again, broken = await page.sort_out(client, refs)

    assert {state.arn for state in complete} == {ref.arn for ref in refs[4:]}
    assert set(again) == set(refs[:2])
    assert {ref for ref, _ in broken} == set(refs[2:4])


@pytest.mark.asyncio
async def test_nobody_there_ends_the_run_and_a_later_outage_does_not() -> None:
    page = await run(PAGE)
    plan = FaultPlan(on={at: Fault(FaultKind.RESET) for at in range(3)})
    async with Emulator(World(executions=3), plan) as emulator:
        refs = [ExecutionRef(arn, token) for arn, token in emulator.world.refs()]
        async with StateClient(
            endpoint_url=emulator.endpoint_url,
            session=emulator.session(),
            retry=RetryPolicy(max_attempts=1),
        ) as client:
            with pytest.raises(durastate.TransportError):
                await page.sort_out(client, refs)
            emulator.faults = FaultPlan(on={0: Fault(FaultKind.SERVICE_ERROR)})
            with pytest.raises(ServiceError):
                await client.get_state(refs[0])
            emulator.faults = plan
            complete, again, broken = await page.sort_out(client, refs)
            assert (complete, set(again), broken) == ([], set(refs), [])


@pytest.mark.asyncio
async def test_an_error_comes_through_a_process_as_it_was(
    emulator: Emulator, client: StateClient, refs: list[ExecutionRef]
) -> None:
    page = await run(PAGE)
    emulator.faults = FaultPlan(on={0: Fault(FaultKind.ACCESS_DENIED)})
    with pytest.raises(ServiceError) as caught:
        await client.get_state(refs[0])
    error = page.through_a_process(caught.value)
    assert type(error) is durastate.AccessDeniedError
    assert (str(error), vars(error)) == (str(caught.value), vars(caught.value))
    assert refs[0].checkpoint_token not in str(error)
