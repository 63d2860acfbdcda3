"""What a review found: waits that depended on each other, and one bad reference for all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from durastate import DecodingError, ExecutionRef, Failed, Fetched, InvalidRefError, Limits
from durastate.emulator import Emulator, Execution, Fault, FaultKind, FaultPlan, World

from .support import assert_at_rest, reading, ref_of, refs_of

pytestmark = pytest.mark.asyncio


async def test_a_consumer_may_read_though_all_slots_are_paused_for_its_pages() -> None:
    world = World(executions=40, operations=200, payload_size=1_000)
    limits = Limits(max_requests=4, max_bytes_in_flight=400_000)
    async with (
        Emulator(world) as emulator,
        reading(emulator, limits=limits, region_name="eu-west-1") as client,
    ):
        taken = 0
        async with (
            asyncio.timeout(30),
            client.stream_pages(refs_of(emulator), max_executions=32) as pages,
        ):
            async for page in pages:
                assert page.error is None
                taken += page.is_last
                await client.get_state(ref_of(emulator))
        assert taken == 40
        assert_at_rest(client)


@pytest.mark.parametrize("region", ["-x", "EU-WEST-1", "x" * 64, "eu_west"])
async def test_a_reference_with_an_impossible_region_fails_alone(region: str) -> None:
    async with Emulator(World(executions=3)) as emulator:
        good = refs_of(emulator)
        bad = ExecutionRef(good[0].arn.replace("eu-west-1", region), good[0].checkpoint_token)
        async with (
            reading(emulator, region_name="eu-west-1") as client,
            client.fetch_many([good[1], bad, good[2]]) as results,
        ):
            by_index = {result.index: result async for result in results}
        assert isinstance(by_index[0], Fetched)
        assert isinstance(by_index[2], Fetched)


async def test_an_impossible_region_is_refused_by_name_at_aws(emulator: Emulator) -> None:
    ref = refs_of(emulator)[0]
    # No own endpoint: nothing is sent, since the reference is refused before.
    async with reading(emulator, region_name="eu-west-1") as client:
        client._account._endpoints["eu-west-1"] = replace(
            client._account._endpoints["eu-west-1"], is_own=False
        )
        with pytest.raises(InvalidRefError, match=r"^arn: "):
            await client.get_state(
                ExecutionRef(ref.arn.replace("eu-west-1", "EU-WEST-1"), ref.checkpoint_token)
            )
    assert len(emulator.log) == 0


async def test_an_execution_whose_body_never_ends_whole_does_not_end_the_run() -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.TRUNCATED)})
    async with (
        Emulator(World(executions=3, operations=50), faults) as emulator,
        reading(emulator, region_name="eu-west-1") as client,
        client.fetch_many(refs_of(emulator), max_executions=1) as results,
    ):
        kinds = [type(result) async for result in results]
    assert kinds == [Failed, Fetched, Fetched]


async def test_a_marker_that_cannot_be_sent_fails_its_execution_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(executions=2, operations=30)
    async with Emulator(world) as emulator, reading(emulator, region_name="eu-west-1") as client:
        import durastate.targets as module

        decode = module.decode_page

        def with_half_a_character(body: bytes) -> object:
            page = decode(body)
            page.next_marker = "\ud800"
            return page

        monkeypatch.setattr(module, "decode_page", with_half_a_character)
        with pytest.raises(DecodingError, match=r"^NextMarker"):
            await client.get_state(ref_of(emulator))
        assert_at_rest(client)


async def test_a_token_that_cannot_be_sent_is_refused_without_being_shown() -> None:
    world = World(executions=0, extra={"key": Execution("TOKEN", World().all_operations(0))})
    async with Emulator(world) as emulator, reading(emulator, region_name="eu-west-1") as client:
        with pytest.raises(InvalidRefError) as raised:
            await client.get_state(ExecutionRef("key", "SECRET\ud800"))
        assert "SECRET" not in str(raised.value)
        assert raised.value.__context__ is None
        assert len(emulator.log) == 0


async def test_leaving_the_client_is_no_cancellation_of_others() -> None:
    async with Emulator(World(executions=1, regions=("us-east-1",))) as emulator:
        async with reading(emulator, region_name="eu-west-1") as client:
            waiting = asyncio.create_task(client.get_state(ref_of(emulator)))
            await asyncio.sleep(0)
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        assert not isinstance(outcome, asyncio.CancelledError)
