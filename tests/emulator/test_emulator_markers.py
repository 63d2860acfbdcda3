"""Markers are of use to nobody but the server that gave them, and not for ever."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durastate.emulator import Emulator, World
from durastate.emulator.markers import MarkerRefused, Markers, Place

from .wire import Caller, Clock

numbers = st.integers(0, 2**32 - 1)


@given(numbers, numbers)
def test_a_marker_gives_its_place_back(position: int, page: int) -> None:
    markers = Markers(b"secret", Clock())
    marker = markers.issue("arn", "token", Place(position, page))
    assert markers.read(marker, "arn", "token") == Place(position, page)


@given(st.integers(0, 33), st.integers(1, 255))
def test_an_altered_marker_is_refused(place: int, change: int) -> None:
    markers = Markers(b"secret", Clock())
    raw = bytearray(base64.b64decode(markers.issue("arn", "token", Place(7, 1))))
    raw[place] ^= change
    with pytest.raises(MarkerRefused):
        markers.read(base64.b64encode(bytes(raw)).decode(), "arn", "token")


@pytest.mark.parametrize("marker", ["", "x", "ä", "AAAA", "A" * 48, "A" * 10_000])
def test_nonsense_is_refused(marker: str) -> None:
    with pytest.raises(MarkerRefused):
        Markers(b"secret", Clock()).read(marker, "arn", "token")


def test_a_marker_is_bound_to_execution_snapshot_and_server() -> None:
    clock = Clock()
    markers = Markers(b"secret", clock)
    marker = markers.issue("arn", "token", Place(7, 1))
    for reader, arn, token in (
        (markers, "other", "token"),
        (markers, "arn", "newer"),
        (Markers(b"another", clock), "arn", "token"),
    ):
        with pytest.raises(MarkerRefused):
            reader.read(marker, arn, token)


def test_a_marker_is_good_for_24_hours(clock: Clock) -> None:
    markers = Markers(b"secret", clock)
    marker = markers.issue("arn", "token", Place(7, 1))
    clock.move(hours=24)
    assert markers.read(marker, "arn", "token") == Place(7, 1)
    clock.move(seconds=1)
    with pytest.raises(MarkerRefused):
        markers.read(marker, "arn", "token")


@pytest.mark.asyncio
async def test_markers_on_the_wire(call: Callable[[Emulator], Caller], clock: Clock) -> None:
    async with Emulator(World(executions=2, operations=30), now=clock) as emulator:
        caller = call(emulator)
        first = (await caller.state(0, max_items=10, at=clock())).content
        marker = first["NextMarker"]
        assert len(marker) % 4 == 0
        assert marker.endswith("=")
        right = await caller.state(0, marker, 10, at=clock())
        foreign = await caller.state(1, marker, 10, at=clock())
        altered = await caller.state(0, "A" + marker[1:], 10, at=clock())
        clock.move(hours=24, seconds=1)
        late = await caller.state(0, marker, 10, at=clock())
        assert right.status == 200
        assert {(answer.status, answer.code) for answer in (foreign, altered, late)} == {
            (400, "InvalidParameterValueException")
        }
