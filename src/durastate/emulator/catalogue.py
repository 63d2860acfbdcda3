"""Which executions a function has: found by arithmetic, since a world holds no list of them."""

from __future__ import annotations

import re
from math import lcm

from durastate.emulator.world import World


def generated(world: World, region: str, function: str, version: str | None = None) -> range:
    """The executions of a function, or of one version of it, in the order of their start."""
    functions, versions, regions = world.function_names, world.version_names, world.regions
    if region not in regions or function not in functions:
        return range(0)
    first, step = functions.index(function), len(functions)
    if version is not None:
        if version not in versions:
            return range(0)
        first += step * versions.index(version)
        step *= len(versions)
    # Regions are dealt out by the same index, so that each has every so many of these, or none.
    for start in range(first, first + step * len(regions), step):
        if regions[start % len(regions)] == region:
            return range(start, world.executions, lcm(step, len(regions)))
    return range(0)


def by_hand(world: World, region: str, function: str, version: str | None = None) -> list[int]:
    """The executions of a function that were written by hand under an ARN."""
    return [
        world.executions + place
        for place, key in enumerate(world.extra)
        if (owner := _owner(key))[:2] == (region, function) and version in (None, owner[2])
    ]


def versions_of(world: World, region: str, function: str) -> set[str]:
    """The versions of a function in a Region; none where the function does not exist."""
    known = region in world.regions and function in world.function_names
    owners = map(_owner, world.extra)
    mine = {owner[2] for owner in owners if owner[:2] == (region, function)}
    return mine | set(world.version_names if known else ())


def index_named(world: World, name: str) -> int | None:
    """Where the execution of that name stands, but for those written by hand."""
    digits = name.removeprefix("run-")
    index = int(digits) if re.fullmatch("[0-9]{6,18}", digits) else world.executions
    return index if index < world.executions and world.name(index) == name else None


def _owner(key: str) -> tuple[str, str, str]:
    """Region, function and version of an ARN; empty for another key."""
    parts = key.partition("/durable-execution/")[0].split(":")
    return (parts[3], parts[6], parts[7]) if len(parts) == 8 else ("", "", "")
