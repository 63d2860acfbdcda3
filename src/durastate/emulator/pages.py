"""Pages of an execution: which operations each one has, and the marker for the next.

Operations are encoded once and kept for a while. A page ends where the count or the bytes do; a
seeded share of pages is shorter or empty for no reason that a client could know, and now and then
the last page is an empty one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from durastate.emulator.behaviour import Behaviour
from durastate.emulator.faults import Fault, FaultKind, draw
from durastate.emulator.generation import Wire
from durastate.emulator.markers import Markers, Place
from durastate.emulator.world import World

_ENVELOPE_BYTES = 256
_CACHE_BYTES = 64 * 1024**2


class EncodedExecutions:
    """The operations of recently read executions, each as its JSON; bounded by bytes."""

    def __init__(self, operations_of: Callable[[int], list[Wire]]) -> None:
        self._operations_of = operations_of
        self._kept: OrderedDict[int, list[bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, index: int) -> list[bytes]:
        found = self._kept.get(index)
        if found is not None:
            self._kept.move_to_end(index)
            return found
        encoded = [orjson.dumps(operation) for operation in self._operations_of(index)]
        self._kept[index] = encoded
        self._bytes += sum(map(len, encoded))
        while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= sum(map(len, oldest))
        return encoded


def fitting(operations: Sequence[bytes], start: int, most: int, page_bytes: int) -> int:
    """How many operations from ``start`` make one page; one that is too large still goes alone."""
    size = _ENVELOPE_BYTES
    for place in range(start, min(start + most, len(operations))):
        size += len(operations[place]) + 1
        if size > page_bytes and place > start:
            return place - start
    return max(0, min(most, len(operations) - start))


def encode(operations: Sequence[bytes], next_marker: str | None) -> bytes:
    """A GetDurableExecutionState answer."""
    tail = b"" if next_marker is None else b',"NextMarker":' + orjson.dumps(next_marker)
    return b'{"Operations":[' + b",".join(operations) + b"]" + tail + b"}"


@dataclass(frozen=True)
class Listing:
    """What a page is asked for, already found good: whose operations, and how many."""

    arn: str
    index: int
    token: str = field(repr=False)
    marker: str = field(repr=False)
    items: int


class Pages:
    """Makes the pages of one world."""

    def __init__(self, world: World, behaviour: Behaviour, markers: Markers) -> None:
        self._seed = world.seed
        self._behaviour = behaviour
        self._markers = markers
        self._encoded = EncodedExecutions(world.visible_operations)
        self._cycles: dict[str, tuple[str, str]] = {}

    def page(self, listing: Listing, place: Place, fault: Fault | None) -> bytes:
        """The answer's body from ``place`` on, with the faults that concern paging itself."""
        kind = None if fault is None else fault.kind
        operations = self._encoded.get(listing.index)
        most = min(listing.items, self._behaviour.max_page_items)
        fits = fitting(operations, place.position, most, self._behaviour.page_bytes)
        end = place.position + self._shortened(listing.arn, place, fits, kind)
        more = end < len(operations) or (fits and self._short(listing.arn, place, "last") < 0.25)
        after = Place(end, place.page + 1) if more else None
        marker = self._next_marker(listing, place, after, kind)
        return encode(operations[place.position : end], marker)

    def _shortened(self, arn: str, place: Place, fits: int, kind: FaultKind | None) -> int:
        if kind is FaultKind.EMPTY_PAGE or not fits:
            return 0
        if kind is FaultKind.SHORT_PAGE:
            return max(1, fits // 2)
        short = self._short(arn, place, "short")
        if short >= 1:
            return fits
        return 0 if short < 0.25 else max(1, int(fits * short))

    def _short(self, arn: str, place: Place, purpose: str) -> float:
        """Below 1 for the seeded share of pages that are short, evenly spread from 0 on."""
        share = self._behaviour.short_pages
        if not share:
            return 1
        return draw(self._seed, purpose, arn, place.position, place.page) / share

    def _next_marker(
        self, listing: Listing, place: Place, after: Place | None, kind: FaultKind | None
    ) -> str | None:
        if kind is FaultKind.CYCLING_MARKERS:
            return self._cycled(listing, place)
        if kind is FaultKind.REPEATED_MARKER and listing.marker:
            return listing.marker
        if kind in (FaultKind.REPEATED_MARKER, FaultKind.EMPTY_PAGE) and after is None:
            after = Place(place.position, place.page + 1)
        return None if after is None else self._issue(listing, after)

    def _cycled(self, listing: Listing, place: Place) -> str:
        if listing.arn not in self._cycles:
            self._cycles[listing.arn] = (
                self._issue(listing, Place(place.position, place.page + 1)),
                self._issue(listing, Place(place.position, place.page + 2)),
            )
        first, second = self._cycles[listing.arn]
        return second if listing.marker == first else first

    def _issue(self, listing: Listing, place: Place) -> str:
        return self._markers.issue(listing.arn, listing.token, place)
