"""What becomes of the payloads of a state before it is written.

Payloads are what the user's code put in: inputs, results, error messages, error data and stack
traces, which begin with the message in some languages. A callback id is a capability and goes
the same way. It is the members *known to be harmless* that are listed here, so that what a later
version of the service adds is treated as a payload.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from durastate.details import DETAILS_OF_TYPE
from durastate.models import dump_json

_OF_OPERATION = frozenset(
    ("Id", "ParentId", "Name", "Type", "SubType", "Status", "StartTimestamp", "EndTimestamp")
)
_OF_DETAILS = frozenset(
    ("ReplayChildren", "Attempt", "NextAttemptTimestamp", "ScheduledEndTimestamp")
)
_OF_ERROR = frozenset(("ErrorType",))
_DETAILS = frozenset(DETAILS_OF_TYPE.values())

_Wire = dict[str, Any]
_Stand_in = Callable[[Any], _Wire | None]


def without_payloads(operation: _Wire, mode: str) -> _Wire:
    """A copy of an operation in wire form whose payloads are left out, or measured.

    `mode`: `none` leaves them out, `size` puts `{"size": bytes}` in their place, `hash`
    `{"size": bytes, "sha256": hex}`.
    """
    stand_in = _STAND_INS[mode]
    kept: _Wire = {}
    for name, value in operation.items():
        if name in _DETAILS and isinstance(value, dict):
            kept[name] = _reduced(value, _OF_DETAILS, stand_in)
        else:
            _keep(kept, name, value, _OF_OPERATION, stand_in)
    return kept


def _reduced(members: _Wire, harmless: frozenset[str], stand_in: _Stand_in) -> _Wire:
    kept: _Wire = {}
    for name, value in members.items():
        if name == "Error" and isinstance(value, dict):
            kept[name] = _reduced(value, _OF_ERROR, stand_in)
        else:
            _keep(kept, name, value, harmless, stand_in)
    return kept


def _keep(
    kept: _Wire, name: str, value: Any, harmless: frozenset[str], stand_in: _Stand_in
) -> None:
    if name not in harmless:
        value = stand_in(value)
    if value is not None:
        kept[name] = value


def _nothing(_: Any) -> None:
    return None


def _size(value: Any) -> _Wire:
    return {"size": len(_bytes(value))}


def _hash(value: Any) -> _Wire:
    data = _bytes(value)
    return {"size": len(data), "sha256": sha256(data).hexdigest()}


def _bytes(value: Any) -> bytes:
    """A string's UTF-8, anything else as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return dump_json(value)


_STAND_INS: dict[str, _Stand_in] = {"none": _nothing, "size": _size, "hash": _hash}
