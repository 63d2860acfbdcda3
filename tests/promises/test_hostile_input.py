"""Any bytes of an answer give objects or an error of ours, within bounded memory."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.model import Shape
from hypothesis import given
from pure.oracle import parsed_by_botocore, read_through_attributes
from pure.strategies import get_state_model, operation
from pure.test_decoding_oracle import PYTHON_NAMES

from durastate import DecodingError, ExecutionRef, ExecutionState, StatePage, decode_page

from .hostile import (
    CANARY,
    CANARY_NUMBER,
    EVERY_VALUE,
    LONG,
    TIMEOUT_S,
    Members,
    Raw,
    examples,
    hostile_bodies,
    written,
)

pytestmark = pytest.mark.timeout(TIMEOUT_S)

_OUTPUT = get_state_model().output_shape
_OPERATION = _OUTPUT.members["Operations"].member
_CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
_MB = 1024**2
# What a small body may cost, as a multiple of its size: JSON of empty objects is the worst.
_MOST_BYTES_A_BYTE = 50
_SMALL = 256 * 1024
# And what a large one may cost beyond its size: 1.5 million short strings are the worst.
_MOST_BEYOND = 160 * _MB


def outcome(body: bytes) -> StatePage | DecodingError:
    """What `decode_page` makes of it, looked at from all sides."""
    try:
        decoded = decode_page(body)
    except DecodingError as error:
        look_at_error(error)
        return error
    look_at_page(decoded)
    return decoded


def look_at_error(error: DecodingError) -> None:
    """One line that names a place in the wire's own names, and no value."""
    text = str(error)
    assert text
    assert text.isprintable()
    assert len(text) < 300
    assert CANARY not in text
    assert str(CANARY_NUMBER) not in text
    assert re.fullmatch(r"[A-Za-z0-9.\[\]]*", error.path)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), str(again)) == (type(error), text)


def look_at_page(decoded: StatePage) -> None:
    """Nothing that can be done with a decoded page raises."""
    assert decoded.next_marker is None or isinstance(decoded.next_marker, str)
    repr(decoded)
    for each in decoded:
        _read(each)
        assert repr(each.step_details).isprintable()
    assert pickle.loads(pickle.dumps(decoded)) == decoded  # noqa: S301
    assert copy.deepcopy(decoded) == decoded
    state = ExecutionState("arn", decoded.operations, source="state")
    for name in ("by_id", "roots", "execution", "input_payload"):
        getattr(state, name)
    for each in decoded:
        state.children(each.id)
    assert json.loads(state.to_json()) == state.to_dict()
    assert pickle.loads(pickle.dumps(state)) == state  # noqa: S301


def _read(thing: Any) -> None:
    """Every public attribute, and theirs."""
    repr(thing), str(thing)
    ours = ("durastate.models", "durastate.details")
    if type(thing).__module__ not in ours or isinstance(thing, str):
        return
    for name in dir(thing):
        value = getattr(thing, name)
        if not name.startswith("_"):
            _read(value)
    if hasattr(thing, "to_dict"):
        thing.to_dict()


@pytest.mark.parametrize("file", _CORPUS, ids=lambda file: file.name)
def test_what_was_found_once_is_still_a_page_or_an_error(file: Path) -> None:
    """Files are named after what must come of them."""
    expected = {"page": StatePage, "refused": DecodingError}[file.name.partition("-")[0]]
    assert isinstance(compare(file.read_bytes()), expected)


# Against botocore

_JSON_TYPES = {
    "an object": dict,
    "an array": list,
    "a string": str,
    "an integer": int,
    "a number": (int, float),
    "a boolean": bool,
    "null": type(None),
}


def _at(body: bytes, path: str) -> Any:
    """The value at a path of ours; None where there is none."""
    value = json.loads(body.decode())
    for step in re.findall(r"[A-Za-z]+|\d+", path):
        value = value[int(step)] if step.isdigit() else value.get(step)
    return value


def _is_strict_json(body: bytes) -> bool:
    """Whether it is JSON of numbers that a double holds, at least nearly."""

    def refuse(_: str) -> None:
        raise ValueError

    def finite(digits: str) -> float:
        return float(digits) if math.isfinite(float(digits)) else refuse(digits)  # type: ignore[return-value]

    def within_doubles(digits: str) -> int:
        return int(digits) if math.isfinite(float(digits)) else refuse(digits)  # type: ignore[return-value]

    try:
        json.loads(
            body.decode(), parse_constant=refuse, parse_float=finite, parse_int=within_doubles
        )
    except ValueError:
        return False
    return True


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [i for each in level for i in (each.values() if type(each) is dict else each)]
    return depth


def _has_wrong_type(body: bytes, error: DecodingError) -> bool:
    expected, found = re.fullmatch(r"expected (.+), found (.+)", error.problem).groups()  # type: ignore[union-attr]
    value = _at(body, error.path)
    is_bool = isinstance(value, bool)
    is_found = isinstance(value, _JSON_TYPES[found]) and is_bool == (found == "a boolean")
    return is_found and (
        expected not in _JSON_TYPES
        or not isinstance(value, _JSON_TYPES[expected])
        or is_bool != (expected == "a boolean")
    )


# Why a body is refused that botocore takes: what the error says, what it is good for, and how to
# see in the body that it is so. No other refusal is allowed.
REFUSED: list[tuple[str, str, Callable[[bytes, DecodingError], bool]]] = [
    (
        r"not JSON(?!.*depth limit)|: expected an object",
        "botocore makes an empty page of it, and the operations are lost",
        lambda body, _: not _is_strict_json(body),
    ),
    (
        r"nested too deep|depth limit exceeded",
        "nothing that the service sends; it would overflow the stack of whoever copies it",
        lambda body, _: _depth(json.loads(body)) > 100,
    ),
    (
        r"is missing$",
        "botocore leaves a required member out, and every reader of it fails later",
        lambda body, error: _at(body, error.path) is None,
    ),
    (
        r"outside the years 1 to 9999",
        "a datetime holds the second, at most with a fraction that rounds out of it",
        lambda body, error: _is_far_off(_at(body, error.path)),
    ),
    (
        r"expected a timestamp .* found a string",
        "only ISO 8601: digits could be seconds or a date, and dateutil guesses what is missing",
        lambda body, error: isinstance(_at(body, error.path), str),
    ),
    (
        r"expected an integer, found a number",
        "orjson reads an integer beyond 64 bits as a number; an attempt is none of either",
        lambda body, error: abs(_at(body, error.path)) >= 2**63 or _has_wrong_type(body, error),
    ),
    (
        r"expected .*, found ",
        "botocore passes what has the wrong type on, or converts it",
        _has_wrong_type,
    ),
]


def _is_far_off(value: Any) -> bool:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        utc = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        value = (utc - datetime.fromtimestamp(0, timezone.utc)).total_seconds()
    return not -62_135_596_800 <= value <= 253_402_300_799


def _in_seconds(value: Any) -> Any:
    """The same with moments as seconds; to botocore a time without an offset is local."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(value, dict):
        return {key: _in_seconds(inner) for key, inner in value.items()}
    return [_in_seconds(inner) for inner in value] if isinstance(value, list) else value


def compare(body: bytes) -> StatePage | DecodingError:
    """The outcome, held against botocore's where that accepts."""
    decoded = outcome(body)
    try:
        expected = parsed_by_botocore(_OUTPUT, body)
    except Exception:  # noqa: BLE001 - all sorts of them
        return decoded
    if isinstance(decoded, DecodingError):
        for pattern, _, holds in REFUSED:
            if re.search(pattern, str(decoded)):
                assert holds(body, decoded), decoded
                return decoded
        raise AssertionError(f"no reason for: {decoded}")
    if not expected.get("NextMarker"):
        expected.pop("NextMarker", None)
    ours = read_through_attributes(_OUTPUT, decoded, PYTHON_NAMES)
    assert _in_seconds(ours) == _in_seconds(expected)
    return decoded


@examples(80)
@given(hostile_bodies())
def test_any_body_is_a_page_or_an_error_and_what_botocore_accepts_equal_or_refused_for_a_reason(
    body: bytes,
) -> None:
    compare(body)


def _places(shape: Shape, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, member in getattr(shape, "members", {}).items():
        found += [(*path, name), *_places(member, (*path, name))]
    return found


def _with(path: tuple[str, ...], value: Any) -> bytes:
    nested = value
    for name in reversed(path[1:]):
        nested = Members([(name, nested)])
    members = {**operation(Type="STEP"), path[0]: nested}
    return written(Members([("Operations", [Members(members.items())]), ("NextMarker", "next")]))


@pytest.mark.parametrize(
    "path", [*_places(_OPERATION), ("Unknown",), ("StepDetails", "Unknown")], ids=".".join
)
def test_every_member_takes_or_refuses_every_hostile_value(path: tuple[str, ...]) -> None:
    outcomes = [type(compare(_with(path, value))) for value in EVERY_VALUE]
    assert DecodingError in outcomes
    assert StatePage in outcomes


def test_a_number_beyond_64_bits_is_no_attempt_and_is_kept_where_nothing_is_known() -> None:
    """Beside a lone surrogate, too, where Python's parser takes integers of any length."""
    for digits in (20, 300):
        for name in ("", "\ud800"):
            body = _with(("StepDetails", "Attempt"), Raw(b"9" * digits))
            body = body.replace(b'"Id"', b'"Name":%b,"Id"' % written(name))
            with pytest.raises(DecodingError, match=r"Attempt: expected an integer, found a num"):
                decode_page(body)
    body = _with(("Unknown",), Raw(b"9" * 300)).replace(b'"Id"', b'"Name":"\\ud800","Id"')
    assert decode_page(body).operations[0].to_dict()["Unknown"] == 10**300 - 1
    for name in (b"", b"\\ud800"):
        body = _with(("Unknown",), Raw(b"9" * 4_000)).replace(b'"Id"', b'"Name":"%b","Id"' % name)
        with pytest.raises(DecodingError, match="not JSON"):
            decode_page(body)


@pytest.mark.parametrize("name", ["Operations", "NextMarker", "Unknown"])
def test_every_member_of_a_page_takes_or_refuses_every_hostile_value(name: str) -> None:
    for value in EVERY_VALUE:
        compare(written(Members([("Operations", []), (name, value)])))
    for value in EVERY_VALUE:
        compare(written(value))


# Invocation events

_EVENT = {
    "DurableExecutionArn": "a:1",
    "CheckpointToken": "dG9rZW4=",
    "InitialExecutionState": {"Operations": [operation(Type="STEP")], "NextMarker": "next"},
}
_OF_EVENTS = [
    *((name,) for name in _EVENT),
    *(("InitialExecutionState", name) for name in ("Operations", "NextMarker", "Unknown")),
    # Of the details those of a step: one table serves all kinds.
    *(
        ("InitialExecutionState", "Operations", *path)
        for path in _places(_OPERATION)
        if len(path) == 1 or path[0] == "StepDetails"
    ),
]


def _event_with(path: tuple[str, ...], value: Any) -> bytes:
    head, *rest = path
    changed: Any = value
    if rest:
        state = _EVENT["InitialExecutionState"]
        assert isinstance(state, dict)
        if len(rest) > 1:
            value = [Raw(_with(tuple(rest[1:]), value)[len(b'{"Operations":[') : -len(_REST)])]
        changed = Members((state | {rest[0]: value}).items())
    return written(Members((_EVENT | {head: changed}).items()))


_REST = b'],"NextMarker":"next"}'


@pytest.mark.parametrize("path", _OF_EVENTS, ids=".".join)
def test_every_member_of_an_invocation_event_takes_or_refuses_every_hostile_value(
    path: tuple[str, ...],
) -> None:
    outcomes = {type(_outcome_of_event(_event_with(path, value))) for value in EVERY_VALUE}
    assert DecodingError in outcomes
    assert ExecutionRef in outcomes or path == ("InitialExecutionState",)


def _outcome_of_event(event: bytes) -> ExecutionRef | DecodingError:
    try:
        ref = ExecutionRef.from_event(event)
    except DecodingError as error:
        look_at_error(error)
        return error
    assert ref._inline is not None
    look_at_page(ref._inline)
    return ref


@pytest.mark.parametrize("value", [*EVERY_VALUE, object(), b"\xff", {1: 2}, {"a": object()}])
def test_what_is_no_event_is_refused_whatever_it_is(value: Any) -> None:
    for event in (value, written(value)) if isinstance(value, list | str | Raw) else (value,):
        with pytest.raises(DecodingError):
            ExecutionRef.from_event(event)


def test_an_event_of_empty_objects_is_refused_before_it_is_parsed() -> None:
    event = _event_with(("InitialExecutionState", "Operations"), Raw(b"[%b0]" % (b"{}," * _MB)))
    for given_as in (event, event.decode()):
        with pytest.raises(DecodingError, match="more than 32,768 objects and arrays"):
            ExecutionRef.from_event(given_as)


@pytest.mark.parametrize(
    "unit",
    [b"{},", b"[],", b'{"":0},', b'{"":{}},', b"[[[[]]]],", b"0.5,"],
    ids=bytes.decode,
)
@pytest.mark.parametrize("surrogate", [b"0", b'"\\ud800"'], ids=["orjson", "json"])
def test_memory_is_bounded_by_the_size_of_a_small_body(unit: bytes, surrogate: bytes) -> None:
    start = b'{"Operations":[],"Unknown":['
    body = start + unit * ((_SMALL - 50) // len(unit)) + surrogate + b"]}"
    tracemalloc.start()
    try:
        assert len(decode_page(body)) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _MOST_BYTES_A_BYTE * len(body)


_DECODE = """
import sys
from durastate import DecodingError, decode_page

def peak():
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) * 1024

body = sys.stdin.buffer.read()
decode_page(b'{"Operations":[]}')
before = peak()
try:
    decode_page(body)
except DecodingError as error:
    assert "more than" in str(error), error
print(peak() - before)
"""
_UNITS = [b"{},", b"[" * 900 + b"]" * 900 + b",", b'{"":{}},', b"9,", b'"ab",', b"0.5,"]


@pytest.mark.parametrize(
    ("unit", "size"),
    [*((unit, 32 * _MB) for unit in _UNITS[: 6 if LONG else 1]), (b'"ab",', 7 * _MB)],
)
def test_a_body_of_nothing_but_structure_takes_little_memory(unit: bytes, size: int) -> None:
    """By the memory of a process: ten million objects, and as many strings as are let through."""
    body = b'{"Operations":[],"Unknown":[' + unit * (size // len(unit)) + b"0]}"
    ended = subprocess.run(
        [sys.executable, "-c", _DECODE], input=body, stdout=subprocess.PIPE, check=True, timeout=50
    )
    assert int(ended.stdout) < _MOST_BEYOND
