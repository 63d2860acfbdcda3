"""What a journal says, checked: it may have been damaged, or prepared by somebody else. Pure."""

from __future__ import annotations

import re
from collections.abc import Container
from functools import cache
from typing import Any, cast

import orjson

from durastate.refs import match_arn

from .files import is_table_file
from .schema import COLUMNS, FORMATS, PAYLOADS, TABLES, Kind, Table

_MOST = 2**53
_MOST_FILES = 10**14  # their names have room for more, but no audit writes so many
_TIMES = range(-62_135_596_800_000_000, 253_402_300_800_000_000)  # the years 1 to 9999
_DIGEST = re.compile("[0-9a-f]{64}")
_REGION = re.compile("[a-z0-9-]{1,40}")
_NUMBERS = ("schema_version", "run", "began", "next_number")
# Each is kept with the others of its line, or not at all.
_TOGETHER = (("schema_version", "format", "payloads"), ("selection", "pins", "began"))


class NotOurs(ValueError):
    """A value that no journal of ours has. The text holds nothing of it."""


def count(value: object) -> int:
    """A number of things, or of nanoseconds."""
    if type(value) is not int or not 0 <= value < 2**62:
        raise NotOurs("a number that is none")
    return value


def text(value: object) -> str:
    if type(value) is not str:
        raise NotOurs("a text that is none")
    return value


def digest(value: object) -> str:
    """A SHA-256 in hexadecimal."""
    if _DIGEST.fullmatch(text(value)) is None:
        raise NotOurs("a SHA-256 that is none")
    return cast("str", value)


def table(value: object) -> Table:
    if value not in TABLES:
        raise NotOurs("a table that is none")
    return value


def leftover(name: object, counting: Container[str]) -> str:
    """The name of a file that may be removed: one that we write, and that does not count."""
    if not is_table_file(name) or name in counting:
        raise NotOurs("a file to remove that is none of an audit's")
    return cast("str", name)


def settings(found: dict[Any, Any]) -> dict[str, str]:
    """All settings."""
    for name, value in found.items():
        text(name)
        text(value)
    for name in _NUMBERS:
        if name in found and not _is_number(found[name]):
            raise NotOurs(f"{name} is no number")
    if int(found.get("next_number", 1)) >= _MOST_FILES:
        raise NotOurs("next_number is no number")
    for names in _TOGETHER:
        if 0 < len(found.keys() & set(names)) < len(names):
            raise NotOurs(f"one of {', '.join(names)} is missing")
    if "format" in found and (found["format"] not in FORMATS or found["payloads"] not in PAYLOADS):
        raise NotOurs("a format or payloads that there are not")
    return found


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdecimal() and 0 < int(value[:20]) < _MOST


def pins(value: str) -> dict[str, str]:
    """What a run is pinned to."""
    found = orjson.loads(value)
    if not isinstance(found, dict):
        raise NotOurs("pins that are none")
    return {text(name): text(each) for name, each in found.items()}


def summary(kind: Table, arn: object, data: object) -> dict[str, Any]:
    """A row of `executions` or `failures`, or what is known of it so far."""
    members = orjson.loads(cast("bytes", data))
    if not isinstance(members, dict) or members.get("arn") != text(arn):
        raise NotOurs("a row of another execution")
    kinds = _kinds(kind)
    members = {name: value for name, value in members.items() if value is not None}
    for name, value in members.items():
        if not _is_of(kinds[name], value):
            raise NotOurs(f"{name} is none")
    text(members["status"] if kind == "executions" else "")
    _check_place(members)
    return members


@cache
def _kinds(kind: Table) -> dict[str, Kind]:
    return {each.name: each.kind for each in COLUMNS[kind]}


def _is_of(kind: Kind, value: object) -> bool:
    if kind in ("text", "word"):
        return type(value) is str
    if kind == "truth":
        return type(value) is bool
    return type(value) is int and (value in _TIMES if kind == "time" else 0 <= value < 2**63)


def _check_place(members: dict[str, Any]) -> None:
    """Where its requests go is what its ARN says; the Region becomes part of a host's name."""
    parts = match_arn(members["arn"])
    place = (members.get("region"), members.get("account"))
    if parts is not None and place != (parts.region, parts.account):
        raise NotOurs("a Region or account that is not the ARN's")
    if place[0] is not None and _REGION.fullmatch(place[0]) is None:
        raise NotOurs("a Region that is none")
