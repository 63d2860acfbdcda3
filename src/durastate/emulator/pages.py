"""Pages of a listing: which rows each one has, and the marker for the next.

Rows are encoded once and kept for a while. A page ends where the count or the bytes do; a seeded
share of pages is shorter or empty for no reason that a client could know, and now and then the last
page is an empty one. A listing that has much to pass over ends its page early too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import orjson

from durastate.emulator.behaviour import Behaviour
from durastate.emulator.faults import Fault, FaultKind, draw
from durastate.emulator.generation import Wire
from durastate.emulator.markers import Markers, Place

_ENVELOPE_BYTES = 256
_CACHE_BYTES = 64 * 1024**2
_MOST_LOOKED_AT = 5_000

K = TypeVar("K", bound=Hashable)


class Encoded(Generic[K]):
    """The rows of recently read executions, each as its JSON; bounded by bytes."""

    def __init__(self, rows_of: Callable[[K], list[Wire]]) -> None:
        self._rows_of = rows_of
        self._kept: OrderedDict[K, list[bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: K) -> list[bytes]:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        encoded = [orjson.dumps(row) for row in self._rows_of(key)]
        self._kept[key] = encoded
        self._bytes += sum(map(len, encoded))
        while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= sum(map(len, oldest))
        return encoded


class Rows(Protocol):
    """What a page is taken from, by position; None is a row that this listing passes over."""

    def __len__(self) -> int: ...
    def __getitem__(self, position: int, /) -> bytes | None: ...


@dataclass(frozen=True)
class Listing:
    """What a page is asked for, already found good: of which listing, how many, from where."""

    owner: str
    snapshot: str = field(repr=False)
    marker: str = field(repr=False)
    items: int
    place: Place


class Pages:
    """Makes pages, with the faults that concern paging itself."""

    def __init__(self, seed: int, behaviour: Behaviour, markers: Markers) -> None:
        self._seed = seed
        self._behaviour = behaviour
        self._markers = markers
        self._cycles: dict[str, tuple[str, str]] = {}

    def page(self, member: str, rows: Rows, listing: Listing, fault: Fault | None) -> bytes:
        """The answer's body: the rows under ``member`` and the marker."""
        kind = None if fault is None else fault.kind
        place = listing.place
        most = min(listing.items, self._behaviour.max_page_items)
        fits, end = _fitting(rows, place.position, most, self._behaviour.page_bytes)
        count = self._shortened(listing, len(fits), kind)
        if count < len(fits):
            end = fits[count - 1][0] + 1 if count else place.position
        more = end < len(rows) or (fits and self._short(listing, "last") < 0.25)
        after = Place(end, place.page + 1) if more else None
        marker = self._next_marker(listing, after, kind)
        return _encode(member, [row for _, row in fits[:count]], marker)

    def _shortened(self, listing: Listing, fits: int, kind: FaultKind | None) -> int:
        if kind is FaultKind.EMPTY_PAGE or not fits:
            return 0
        if kind is FaultKind.SHORT_PAGE:
            return max(1, fits // 2)
        short = self._short(listing, "short")
        if short >= 1:
            return fits
        return 0 if short < 0.25 else max(1, int(fits * short))

    def _short(self, listing: Listing, purpose: str) -> float:
        """Below 1 for the seeded share of pages that are short, evenly spread from 0 on."""
        share = self._behaviour.short_pages
        if not share:
            return 1
        place = listing.place
        return draw(self._seed, purpose, listing.owner, place.position, place.page) / share

    def _next_marker(
        self, listing: Listing, after: Place | None, kind: FaultKind | None
    ) -> str | None:
        place = listing.place
        if kind is FaultKind.CYCLING_MARKERS:
            return self._cycled(listing)
        if kind is FaultKind.REPEATED_MARKER and listing.marker:
            return listing.marker
        if kind in (FaultKind.REPEATED_MARKER, FaultKind.EMPTY_PAGE) and after is None:
            after = Place(place.position, place.page + 1)
        return None if after is None else self._issue(listing, after)

    def _cycled(self, listing: Listing) -> str:
        place = listing.place
        if listing.owner not in self._cycles:
            self._cycles[listing.owner] = (
                self._issue(listing, Place(place.position, place.page + 1)),
                self._issue(listing, Place(place.position, place.page + 2)),
            )
        first, second = self._cycles[listing.owner]
        return second if listing.marker == first else first

    def _issue(self, listing: Listing, place: Place) -> str:
        return self._markers.issue(listing.owner, listing.snapshot, place)


def _fitting(
    rows: Rows, start: int, most: int, page_bytes: int
) -> tuple[list[tuple[int, bytes]], int]:
    """The rows that make one page, with their positions, and where the next page begins.

    A row that is too large for a page still goes alone.
    """
    fits: list[tuple[int, bytes]] = []
    size = _ENVELOPE_BYTES
    end = min(len(rows), start + _MOST_LOOKED_AT)
    for position in range(start, end):
        if len(fits) == most:
            return fits, position
        row = rows[position]
        if row is None:
            continue
        size += len(row) + 1
        if size > page_bytes and fits:
            return fits, position
        fits.append((position, row))
    return fits, max(start, end)


def _encode(member: str, rows: Sequence[bytes], next_marker: str | None) -> bytes:
    tail = b"" if next_marker is None else b',"NextMarker":' + orjson.dumps(next_marker)
    return b'{"' + member.encode() + b'":[' + b",".join(rows) + b"]" + tail + b"}"
