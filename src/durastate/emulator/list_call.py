"""ListDurableExecutionsByFunction: its parameters, its filters and its rows.

The newest execution comes first, or with ReverseOrder the oldest. No list is made: the executions
of a function are every so many of the world's, so that a page costs what it shows. Not known of the
service, and done so here: StartedAfter and StartedBefore include the moment that they name; a page
also ends where many executions had to be passed over; a marker goes on only with the filters that
it was given for.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from durastate.emulator import answers
from durastate.emulator.answers import Answer
from durastate.emulator.asking import (
    Asked,
    constraint,
    function_of,
    moment,
    wrong_flag,
    wrong_items,
)
from durastate.emulator.catalogue import by_hand, generated, index_named, versions_of
from durastate.emulator.descriptions import summary
from durastate.emulator.faults import Fault
from durastate.emulator.names import Call
from durastate.emulator.pages import Listing, Pages
from durastate.emulator.world import ACCOUNT, STATUSES, World

_MOST_STATUSES = 10
_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_QUALIFIER = re.compile(r"(\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+){1,128}")
_VERSION = re.compile(r"\$LATEST(\.PUBLISHED)?|[0-9]+")


@dataclass(frozen=True)
class _Filters:
    """Which executions are asked for, and in which order."""

    region: str
    function: str
    version: str | None
    name: str | None
    statuses: tuple[str, ...]
    after: float | None
    before: float | None
    oldest_first: bool


class ListCall:
    """Answers the call for one world."""

    def __init__(self, world: World, pages: Pages) -> None:
        self._world = world
        self._pages = pages

    def index(self, asked: Asked) -> int | None:  # noqa: ARG002
        return None

    def bound(self, asked: Asked) -> tuple[str, str]:
        filters = "" if self.wrong(asked) else repr(_filters(asked))
        return f"{Call.LIST} {asked.subject}", filters

    def wrong(self, asked: Asked) -> str | None:
        return (
            _wrong_function(asked)
            or _wrong_qualifier(asked)
            or _wrong_filters(asked)
            or wrong_flag(asked, "ReverseOrder")
            or wrong_items(asked)
        )

    def refused(self, asked: Asked) -> Answer | None:
        named = function_of(asked.label)
        assert named is not None
        region, version = named.region or asked.region, _version(asked)
        arn = f"arn:aws:lambda:{region}:{named.account or ACCOUNT}:function:{named.name}"
        if region != asked.region:
            return answers.no_function(
                f"Functions from '{region}' are not reachable in this region ('{asked.region}')"
            )
        versions = versions_of(self._world, region, named.name)
        if named.account not in (None, ACCOUNT) or not versions:
            return answers.no_function(f"Function not found: {arn}")
        if version is not None and version not in versions:
            return answers.no_function(f"Function not found: {arn}:{version}")
        return None

    def body(self, asked: Asked, listing: Listing, fault: Fault | None) -> bytes:
        rows = _Matches(self._world, _filters(asked))
        return self._pages.page("DurableExecutions", rows, listing, fault)


class _Matches:
    """The rows of one listing by position, each made when it is looked at."""

    def __init__(self, world: World, filters: _Filters) -> None:
        self._world = world
        self._filters = filters
        which = (filters.region, filters.function, filters.version)
        within = _within(generated(world, *which), world, filters)
        self._generated = _named(within, world, filters)
        self._by_hand = [
            index
            for index in by_hand(world, *which)
            if filters.name in (None, world.name(index))
            and (filters.after is None or world.started(index) >= filters.after)
            and (filters.before is None or world.started(index) <= filters.before)
        ]

    def __len__(self) -> int:
        return len(self._generated) + len(self._by_hand)

    def __getitem__(self, position: int) -> bytes | None:
        place = position if self._filters.oldest_first else len(self) - 1 - position
        after = place - len(self._generated)
        index = self._generated[place] if after < 0 else self._by_hand[after]
        if self._filters.statuses and self._world.status(index) not in self._filters.statuses:
            return None
        return orjson.dumps(summary(self._world, index))


def _within(indices: range, world: World, filters: _Filters) -> range:
    """Those that started in the time asked for; executions start in the order of their index."""
    after, before = filters.after, filters.before
    first = 0 if after is None else bisect_left(indices, after, key=world.started)
    end = len(indices) if before is None else bisect_right(indices, before, key=world.started)
    return indices[first : max(first, end)]


def _named(indices: range, world: World, filters: _Filters) -> Sequence[int]:
    if filters.name is None:
        return indices
    index = index_named(world, filters.name)
    return [index] if index is not None and index in indices else []


def _filters(asked: Asked) -> _Filters:
    named = function_of(asked.label)
    assert named is not None
    return _Filters(
        region=named.region or asked.region,
        function=named.name,
        version=_version(asked),
        name=asked.given("DurableExecutionName"),
        statuses=tuple(sorted(asked.query.get("Statuses", ()))),
        after=_given_moment(asked, "StartedAfter"),
        before=_given_moment(asked, "StartedBefore"),
        oldest_first=asked.flag("ReverseOrder", default=False) is True,
    )


def _version(asked: Asked) -> str | None:
    named = function_of(asked.label)
    return asked.given("Qualifier") or (named.qualifier if named else None)


def _given_moment(asked: Asked, member: str) -> float | None:
    text = asked.given(member)
    return None if text is None else moment(text)


def _wrong_function(asked: Asked) -> str | None:
    if function_of(asked.label) is not None:
        return None
    return constraint("functionName", asked.label, "the pattern of a function's name or ARN")


def _wrong_qualifier(asked: Asked) -> str | None:
    named, given = function_of(asked.label), asked.given("Qualifier")
    if given is not None and not _QUALIFIER.fullmatch(given):
        return constraint("qualifier", given, f"regular expression {_QUALIFIER.pattern}")
    in_name = named.qualifier if named else None
    if given is not None and in_name is not None and given != in_name:
        return (
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    qualifier = given or in_name
    if qualifier is not None and not _VERSION.fullmatch(qualifier):
        return f"Executions cannot be listed by an alias: {qualifier}"
    return None


def _wrong_filters(asked: Asked) -> str | None:
    name = asked.given("DurableExecutionName")
    if name is not None and not _NAME.fullmatch(name):
        return constraint("durableExecutionName", name, f"regular expression {_NAME.pattern}")
    statuses = asked.query.get("Statuses", ())
    if len(statuses) > _MOST_STATUSES or not set(statuses) <= set(STATUSES):
        rule = f"enum value set: [{', '.join(STATUSES)}], length from 1 to {_MOST_STATUSES}"
        return constraint("statuses", ", ".join(statuses), rule)
    for member in ("StartedAfter", "StartedBefore"):
        try:
            _given_moment(asked, member)
        except ValueError:
            value = asked.given(member) or ""
            return constraint(member[0].lower() + member[1:], value, "ISO 8601")
    return None
