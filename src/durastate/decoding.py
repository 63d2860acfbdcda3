"""From the bytes of a page to checked objects.

One loop does everything on the good path: it takes the members that the service's model knows
out of each dict that orjson built, checks their types and sets them on a slotted object. Nothing
else is built, so the dict is freed at once; details stay the dicts they are. An operation with
anything out of the ordinary goes through `_decode_unusual`, which works from a table of the
model, keeps what is unknown, takes what is legal (null, an ISO 8601 time) and says exactly where
a fault is.

Source: botocore's model of GetDurableExecutionState, shape `Operation`, restJson1 protocol:
timestamps are epoch seconds (an ISO 8601 string is accepted too), null means absent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, NoReturn, TypeVar

import orjson

from .details import DETAILS_OF_TYPE, OperationStatus, OperationType
from .errors import DecodingError
from .models import Operation, StatePage, dump_json
from .structure import check_slow_structure, check_structure

_T = TypeVar("_T")

# The first and the last second that a `datetime` can hold.
_EARLIEST = -62_135_596_800.0
LATEST = 253_402_300_799.0
_FOREVER_MS = 1e15  # beyond both

# Members we do not know may nest this deep. Deeper JSON is no page of this service and would
# overflow the stack of whoever copies it.
_MAX_DEPTH = 100

# An integer of more characters is beyond the doubles, and orjson refuses it. Python would convert
# it in a time that grows with the square of its digits.
_LONGEST_INTEGER = 310

_NUMBERS = frozenset((int, float))
_CONTAINERS = frozenset((dict, list))
# Every type with the name of the details that belong to it.
_KINDS = {str(member): (member, DETAILS_OF_TYPE[member]) for member in OperationType}
_STATUSES = {str(member): member for member in OperationStatus}

TIMESTAMP = "a timestamp (epoch seconds)"
ERROR = {"ErrorMessage": str, "ErrorType": str, "ErrorData": str, "StackTrace": [str]}
PAUSE = {"PauseRequestTimestamp": TIMESTAMP, "Reason": str, "ExecutionTimeoutPaused": bool}
# The members of every kind of details. Their names do not clash, so one table serves all kinds.
_DETAILS = {
    "InputPayload": str,
    "ReplayChildren": bool,
    "Result": str,
    "Error": ERROR,
    "Attempt": int,
    "NextAttemptTimestamp": TIMESTAMP,
    "ScheduledEndTimestamp": TIMESTAMP,
    "CallbackId": str,
    "PauseDetails": PAUSE,  # of operations that come from a history
}
_REQUIRED = ("Id", "Type", "StartTimestamp", "Status")
_OPERATION = {
    "Id": str,
    "ParentId": str,
    "Name": str,
    "Type": str,
    "SubType": str,
    "StartTimestamp": TIMESTAMP,
    "EndTimestamp": TIMESTAMP,
    "Status": str,
    **dict.fromkeys(DETAILS_OF_TYPE.values(), _DETAILS),
}

# The same for the fast check: the class that orjson makes of a member. Timestamps are left out.
_CLASSES = {
    name: dict if what is ERROR else what
    for name, what in _DETAILS.items()
    if what not in (TIMESTAMP, PAUSE)
}
_JSON_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def decode_page(body: bytes | bytearray) -> StatePage:
    """The page in the body of a GetDurableExecutionState response.

    Required members, containers and the types of all known members are checked here, so reading
    an attribute never fails later. Raises `DecodingError`, which says where and shows no value.
    """
    page = _require(load_answer(body), dict, "")
    return _decode_listing(page)


def decode_event(event: dict[str, Any] | str | bytes) -> tuple[str, str, StatePage]:
    """ARN, checkpoint token and inline operations of a durable function's invocation event.

    Its timestamps are integer milliseconds, unlike those of the API; the operations come back in
    the API's seconds. The event is not changed.
    """
    members = _require(load_answer(_as_json(event)), dict, "")
    arn = _require(members.get("DurableExecutionArn"), str, "DurableExecutionArn")
    token = _require(members.get("CheckpointToken"), str, "CheckpointToken")
    where = "InitialExecutionState"
    initial = _require(members.get(where), dict, where)
    operations = _require(initial.get("Operations"), list, f"{where}.Operations")
    in_seconds = {**initial, "Operations": [_from_milliseconds(raw) for raw in operations]}
    try:
        return arn, token, _decode_listing(in_seconds)
    except DecodingError as error:
        raise DecodingError(f"{where}.{error.path}", error.problem) from None


def is_text(value: object) -> bool:
    """Whether `value` is a string that can be sent, without lone surrogates."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _as_json(event: dict[str, Any] | str | bytes) -> str | bytes:
    """JSON text, which is a deep copy too, and is all that the checks have to deal with."""
    if isinstance(event, str | bytes):
        return event
    try:
        return dump_json(event)
    except (TypeError, ValueError, RecursionError):
        raise DecodingError("", "expected an invocation event: JSON, or a dict of it") from None


def load_answer(body: bytes | bytearray | str) -> Any:
    """`load_json` of what a service sent; refused where nothing honest has so much structure."""
    if not isinstance(body, bytes | bytearray | str):
        raise DecodingError("", f"expected JSON, found {type(body).__name__}")
    body = _as_bytes(body)
    check_structure(body)
    return load_json(body, before_slow=check_slow_structure)


def load_json(
    body: bytes | bytearray | str,
    before_slow: Callable[[bytes | bytearray], None] | None = None,
) -> Any:
    """The JSON value in `body`, lone surrogates admitted; `DecodingError` for anything else.

    `before_slow` is called before the slow parser is, and may refuse the body.
    """
    body = _as_bytes(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = f"not JSON at character {error.pos} of {len(body)}: {error.msg}"
    # orjson refuses lone surrogates ("\\ud800"), which JSON's grammar allows. Python's parser takes
    # them, at ten times the cost, so only what may hold one goes there.
    if b"\\ud" not in body and b"\\uD" not in body:
        raise DecodingError("", problem)
    if before_slow is not None:
        before_slow(body)
    try:
        # Decoded first, since json.loads takes bytes in UTF-16 and encoded surrogates too.
        return json.loads(
            body.decode(), parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        problem = f"not JSON at character {error.pos} of {len(body)}: {error.msg}"
    except RecursionError:
        problem = "nested too deep"
    except UnicodeDecodeError:
        pass  # orjson has said so
    except ValueError:
        # Our own refusals.
        problem = "not JSON: it holds NaN, an infinity or a number of absurd length"
    raise DecodingError("", problem)


def _as_bytes(body: bytes | bytearray | str) -> bytes | bytearray:
    """UTF-8; a lone surrogate in a string of Python's becomes its escape."""
    return body.encode(errors="backslashreplace") if isinstance(body, str) else body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


class _Huge(int):
    """An integer beyond 64 bits. An unknown member may hold it, and none of the model's."""


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else _Huge(value)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError
    return value


def _decode_listing(page: dict[str, Any]) -> StatePage:
    marker = page.get("NextMarker")
    if marker is not None:
        _require(marker, str, "NextMarker")
    operations = _decode_operations(_require(page.get("Operations"), list, "Operations"))
    return StatePage(operations, marker or None)


def _decode_operations(raws: list[Any]) -> list[Operation]:  # noqa: PLR0912
    """The operations of a page. Uses up `raws`, so that each dict is freed when it is done with.

    Besides memory this saves the garbage collector's visits: what is freed makes up for what is
    allocated. Everything here runs once an operation, so it is one loop without calls.
    """
    operations: list[Operation] = []
    raws.reverse()
    for _ in range(len(raws)):
        raw = raws.pop()
        operation = object.__new__(Operation)
        try:
            operation.id = identity = raw["Id"]
            operation.type, details_name = _KINDS[raw["Type"]]
            operation.status = _STATUSES[raw["Status"]]
            operation._start = start = raw["StartTimestamp"]
            get = raw.get
            operation.name = name = get("Name")
            operation.parent_id = parent_id = get("ParentId")
            operation.sub_type = sub_type = get("SubType")
            operation._end = end = get("EndTimestamp")
            operation._details = details = get(details_name)
            operation._rest = None
            if (
                type(identity) is not str
                or type(start) not in _NUMBERS
                or not _EARLIEST <= start <= LATEST
            ):
                raise _Unusual
            taken = 4
            if name is not None:
                if type(name) is not str:
                    raise _Unusual
                taken += 1
            if parent_id is not None:
                if type(parent_id) is not str:
                    raise _Unusual
                taken += 1
            if sub_type is not None:
                if type(sub_type) is not str:
                    raise _Unusual
                taken += 1
            if end is not None:
                if type(end) not in _NUMBERS or not _EARLIEST <= end <= LATEST:
                    raise _Unusual
                taken += 1
            if details is not None:
                if type(details) is not dict or not _well_formed(details):
                    raise _Unusual
                taken += 1
            plain = taken == len(raw)  # Otherwise a member is null or unknown.
        except (_Unusual, KeyError, TypeError, AttributeError):
            plain = False  # Dealt with out here, so that no error hangs on a value of the page.
        if not plain:
            operation = _decode_unusual(raw, f"Operations[{len(operations)}]")
        operations.append(operation)
    return operations


class _Unusual(Exception):
    """What the loop of `_decode_operations` does not take."""


def _decode_unusual(raw: Any, path: str) -> Operation:
    """An operation that the loop leaves: with members or values we do not know, or faulty."""
    members = _require(raw, dict, path)
    for name in _REQUIRED:
        if members.get(name) is None:
            raise DecodingError(f"{path}.{name}", "is missing")
    checked: dict[str, Any] = check(members, _OPERATION, path)
    take = checked.pop
    operation = object.__new__(Operation)
    operation.id = take("Id")
    operation.name = take("Name", None)
    operation.parent_id = take("ParentId", None)
    operation.sub_type = take("SubType", None)
    kind, status = take("Type"), take("Status")
    operation.type = _KINDS[kind][0] if kind in _KINDS else kind
    operation.status = _STATUSES.get(status, status)
    operation._start = take("StartTimestamp")
    operation._end = take("EndTimestamp", None)
    operation._details = take(DETAILS_OF_TYPE[kind], None) if kind in _KINDS else None
    operation._rest = checked or None
    return operation


def _well_formed(details: dict[str, Any]) -> bool:
    """Whether all members are known and of the right type."""
    for name, value in details.items():
        found = type(value)
        if found is _CLASSES.get(name):
            if found is dict and not _well_formed_error(value):
                return False
        elif not (
            found in _NUMBERS and _DETAILS.get(name) is TIMESTAMP and _EARLIEST <= value <= LATEST
        ):
            return False
    return True


def _well_formed_error(error: dict[str, Any]) -> bool:
    for name, value in error.items():
        if type(value) is list:
            if name != "StackTrace" or not all(type(line) is str for line in value):
                return False
        elif type(value) is not str or ERROR.get(name) is not str:
            return False
    return True


def _deeper_than(value: Any, levels: int) -> bool:
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    return levels == 0 or any(
        _deeper_than(item, levels - 1) for item in value if type(item) in _CONTAINERS
    )


def check(value: Any, expected: Any, path: str) -> Any:
    if expected is TIMESTAMP:
        return _seconds(value, path)
    if type(expected) is list:
        items = _require(value, list, path)
        if all(type(item) is expected[0] for item in items):
            return items
        return [check(item, expected[0], f"{path}[{at}]") for at, item in enumerate(items)]
    if type(expected) is not dict:
        return _require(value, expected, path)
    checked = {}
    for name, member in _require(value, dict, path).items():
        if name not in expected:
            if _deeper_than(member, _MAX_DEPTH):
                raise DecodingError(path, "holds an unknown member that is nested too deep")
            checked[name] = member
        elif member is not None:
            checked[name] = check(member, expected[name], f"{path}.{name}" if path else name)
    return checked


def _seconds(value: Any, path: str) -> float:
    """Epoch seconds, from a number or from an ISO 8601 string (without an offset: UTC)."""
    if type(value) is str:
        moment = None
        with suppress(ValueError):
            # Without dashes the digits could be a number as well as a date.
            moment = datetime.fromisoformat(value if "-" in value[:8] else "")
        if moment is None:
            # Raised out here: what hangs on the ValueError has the string in its text.
            raise DecodingError(path, f"expected {TIMESTAMP}, found a string")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        value = moment.timestamp()
    if type(value) not in _NUMBERS:
        raise DecodingError(path, f"expected {TIMESTAMP}, found {_name(value)}")
    if not _EARLIEST <= value <= LATEST:
        raise DecodingError(path, "a timestamp outside the years 1 to 9999")
    seconds: float = value
    return seconds


def _from_milliseconds(raw: Any) -> Any:
    """A copy with every timestamp divided by 1,000; what is no operation stays as it is."""
    if type(raw) is not dict:
        return raw
    scaled = _scaled(raw)
    for name in DETAILS_OF_TYPE.values():
        if type(scaled.get(name)) is dict:
            scaled[name] = _scaled(scaled[name])
    return scaled


def _scaled(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value / 1000
        if name.endswith("Timestamp") and type(value) in _NUMBERS and abs(value) < _FOREVER_MS
        else value
        for name, value in raw.items()
    }


def _require(value: Any, kind: type[_T], path: str) -> _T:
    if type(value) is kind:
        return value
    if value is None and path:
        raise DecodingError(path, "is missing")
    raise DecodingError(path, f"expected {_JSON_NAMES[kind]}, found {_name(value)}")


def _name(value: Any) -> str:
    if type(value) is _Huge:
        return _JSON_NAMES[float]
    return _JSON_NAMES.get(type(value), f"a Python {type(value).__name__}")
