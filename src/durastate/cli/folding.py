"""Long families of similar siblings in a tree, such as a map's iterations, as a few lines each.

Siblings are alike where one would say the same of them: name without its digits, kind, status,
error, whether they were tried again, and what there is of that below them. So whatever stands
out keeps a line of its own.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from durastate import Operation

_NEVER_FOLDED = 5
_SHOWN = 3
_DIGITS = re.compile(r"\d+")
_AT_THE_TOP = -1

Places = list[tuple[Operation, int]]  # operations in the order of a tree, with their depths


class Line(NamedTuple):
    """One operation, or how many more like those before it."""

    operation: Operation
    depth: int
    alike: Sequence[Operation] = ()  # all that the line stands for, where it is for several
    below: int = 0  # operations below those


def every_line(places: Iterable[tuple[Operation, int]]) -> Iterator[Line]:
    """A line for each operation."""
    return (Line(operation, depth) for operation, depth in places)


def folded(places: Places, outcome: Callable[[Operation], tuple[Any, ...]]) -> Iterator[Line]:
    """The lines that show it in short; `outcome` is what is said of an operation besides names."""
    parents = _parents(places)
    children = defaultdict(list)
    for at, parent in enumerate(parents):
        children[parent].append(at)
    looks, sizes = _looks(places, parents, outcome)
    waiting = [_family(places, children[_AT_THE_TOP], looks, sizes)]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
        elif isinstance(found, Line):
            yield found
        else:
            yield Line(*places[found])
            waiting.append(_family(places, children[found], looks, sizes))


def only(places: Places, is_wanted: Callable[[Operation], bool]) -> Places:
    """Those that are wanted, and what they are in."""
    parents = _parents(places)
    kept = [is_wanted(operation) for operation, _ in places]
    for at in range(len(places) - 1, -1, -1):
        if kept[at] and parents[at] != _AT_THE_TOP:
            kept[parents[at]] = True
    return [place for place, is_kept in zip(places, kept, strict=True) if is_kept]


def _family(
    places: Places, members: Sequence[int], looks: Sequence[Any], sizes: Sequence[int]
) -> Iterator[int | Line]:
    """Places to show as they are, and then the lines for the rest."""
    counts = Counter(looks[at] for at in members)
    shown: Counter[Any] = Counter()
    rest = defaultdict(list)
    for at in members:
        look = looks[at]
        shown[look] += 1
        if counts[look] <= _NEVER_FOLDED or shown[look] <= _SHOWN:
            yield at
        else:
            rest[look].append(at)
    for folds in rest.values():
        operation, depth = places[folds[0]]
        below = sum(sizes[at] for at in folds)
        yield Line(operation, depth, [places[at][0] for at in folds], below)


def _parents(places: Places) -> list[int]:
    parents = []
    path: list[int] = []
    for at, (_, depth) in enumerate(places):
        del path[depth:]
        parents.append(path[-1] if path else _AT_THE_TOP)
        path.append(at)
    return parents


def _looks(
    places: Places, parents: Sequence[int], outcome: Callable[[Operation], tuple[Any, ...]]
) -> tuple[list[Any], list[int]]:
    """What is seen of each with all that is below it, and how much that is."""
    below: list[set[Any]] = [set() for _ in places]
    sizes = [0] * len(places)
    looks: list[Any] = [None] * len(places)
    for at in range(len(places) - 1, -1, -1):
        operation = places[at][0]
        found = outcome(operation)
        name = _DIGITS.sub("", operation.name) if operation.name else None
        looks[at] = (name, operation.sub_type or operation.type, found, frozenset(below[at]))
        if (parent := parents[at]) != _AT_THE_TOP:
            below[parent].add(found)
            below[parent] |= below[at]
            sizes[parent] += 1 + sizes[at]
    return looks, sizes
