"""What a decoder in Python cannot do without, one step at a time, each with what came before it.

None of them is complete; together they show what is left of a budget once `orjson.loads` has
spent its share: to look at an object, to take members out of it, to check them, to keep them.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import orjson

from durastate.details import DETAILS_OF_TYPE
from durastate.models import Operation

_REQUIRED = itemgetter("Id", "Type", "Status", "StartTimestamp")


def look(body: bytes) -> None:
    """Touch every operation once."""
    for raw in orjson.loads(body)["Operations"]:
        len(raw)


def take(body: bytes) -> None:
    """Take every member out, unchecked."""
    for raw in orjson.loads(body)["Operations"]:
        _, kind, _, _ = _REQUIRED(raw)
        get = raw.get
        get("Name"), get("ParentId"), get("SubType"), get("EndTimestamp")
        get(DETAILS_OF_TYPE[kind])


def check(body: bytes) -> None:
    """Take them and look at the type of each, and of each member of the details."""
    for raw in orjson.loads(body)["Operations"]:
        for value in _REQUIRED(raw):
            type(value)
        get, details = raw.get, raw.get(DETAILS_OF_TYPE[raw["Type"]])
        type(get("Name")), type(get("ParentId")), type(get("SubType")), type(get("EndTimestamp"))
        for value in (details or {}).values():
            type(value)


def keep(body: bytes) -> list[Operation]:
    """Take them and put them into slotted objects, unchecked."""
    made = []
    for raw in orjson.loads(body)["Operations"]:
        one: Any = object.__new__(Operation)
        one.id, one.type, one.status, one._start = _REQUIRED(raw)
        get = raw.get
        one.name, one.parent_id, one.sub_type = get("Name"), get("ParentId"), get("SubType")
        one._end, one._details, one._rest = get("EndTimestamp"), get("StepDetails"), None
        made.append(one)
    return made


STEPS: dict[str, Callable[[bytes], Any]] = {
    "loads and a look at each operation": look,
    "loads and all members taken": take,
    "loads and the type of each looked at": check,
    "loads and slotted objects, unchecked": keep,
}
