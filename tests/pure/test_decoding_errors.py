"""What is no page is a DecodingError that says where and shows nothing of the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.model import Shape
from hypothesis import example, given
from hypothesis import strategies as st

from durastate import DecodingError, StatePage, decode_page
from durastate.models import dump_json

from .strategies import (
    as_body,
    few,
    get_state_model,
    many,
    operation,
    operations,
    page,
    pages,
    some,
    unknown_values,
    wire,
)
from .test_decoding_oracle import PYTHON_NAMES

_OUTPUT = get_state_model().output_shape
_OPERATION = _OUTPUT.members["Operations"].member
CANARY = "CANARY-7f3a"
CANARY_NUMBER = 918_273_645_546

# Values of every JSON type, each with something to recognise in it.
_WRONG = {
    "string": CANARY,
    "integer": CANARY_NUMBER,
    "fraction": CANARY_NUMBER + 0.5,
    "boolean": True,
    "array": [CANARY],
    "object": {CANARY: CANARY},
}
_RIGHT = {
    "string": {"string"},
    "integer": {"integer"},
    "boolean": {"boolean"},
    "timestamp": {"integer", "fraction"},
    "list": {"array"},
    "structure": {"object"},
}


def refused(body: Any) -> DecodingError:
    with pytest.raises(DecodingError) as caught:
        decode_page(body)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    assert CANARY not in text
    assert str(CANARY_NUMBER) not in text
    # Nor may the exception that led to it hang on it: json's holds the whole document.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


def read_everything(decoded: StatePage) -> None:
    """Read every attribute there is; none may raise."""
    repr(decoded)
    for each in decoded:
        repr(each)
        for name in PYTHON_NAMES.values():
            value = getattr(each, name, None)
            repr(value)
            for inner in PYTHON_NAMES.values():
                member = getattr(value, inner, None)
                repr(member)
                for innermost in ("error_type", "error_message", "error_data", "stack_trace"):
                    getattr(member, innermost, None)
        assert json.loads(dump_json(each.to_dict())) is not None


def _members(shape: Shape, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Shape]]:
    found: list[tuple[tuple[str, ...], Shape]] = []
    for name, member in getattr(shape, "members", {}).items():
        found += [((*path, name), member), *_members(member, (*path, name))]
    return found


_CASES = [
    pytest.param(path, kind, id=f"{'.'.join(path)}-{kind}")
    for path, shape in _members(_OPERATION)
    for kind in _WRONG
    if kind not in _RIGHT[shape.type_name]
]


def _nested(path: tuple[str, ...], value: Any) -> Any:
    for name in reversed(path[1:]):
        value = {name: value}
    return value


@pytest.mark.parametrize(("path", "kind"), _CASES)
def test_a_member_of_the_wrong_json_type_is_named(path: tuple[str, ...], kind: str) -> None:
    bad = operation(**{path[0]: _nested(path, _WRONG[kind])})
    good = operation()
    error = refused(page(good, good, good, bad, good))
    assert error.path == "Operations[3]." + ".".join(path)


@some
@given(st.data(), operations(), st.sampled_from(_CASES), st.integers(0, 3))
def test_a_wrong_member_among_arbitrary_good_ones_is_named(
    data: st.DataObject, raw: dict[str, Any], case: Any, before: int
) -> None:
    path, kind = case.values
    raw = dict(raw)
    inner: dict[str, Any] = raw
    for name in path[:-1]:
        inner[name] = dict(inner.get(name) or {})
        inner = inner[name]
    inner[path[-1]] = _WRONG[kind]
    ahead = data.draw(st.lists(operations(), min_size=before, max_size=before))
    error = refused(page(*ahead, raw))
    assert error.path == f"Operations[{before}]." + ".".join(path)


@pytest.mark.parametrize("member", _OPERATION.required_members)
@pytest.mark.parametrize("null", [True, False])
def test_a_missing_required_member_is_named(member: str, null: bool) -> None:
    raw = operation(Name=CANARY)
    if null:
        raw[member] = None
    else:
        del raw[member]
    error = refused(page(operation(), raw))
    assert (error.path, error.problem) == (f"Operations[1].{member}", "is missing")


@pytest.mark.parametrize("item", [None, CANARY, 1, [], [CANARY], True])
def test_an_operation_that_is_no_object_is_named(item: Any) -> None:
    assert refused(page(operation(), item)).path == "Operations[1]"


@pytest.mark.parametrize("line", [None, 7, {CANARY: 1}, [CANARY]])
def test_a_line_of_a_stack_trace_is_named(line: Any) -> None:
    details = {"Error": {"StackTrace": [CANARY, line]}}
    error = refused(page(operation(StepDetails=details)))
    assert error.path == "Operations[0].StepDetails.Error.StackTrace[1]"


@pytest.mark.parametrize("wrong", [None, CANARY, {}, 1, True])
def test_operations_that_are_no_array_are_named(wrong: Any) -> None:
    assert refused(as_body({"Operations": wrong})).path == "Operations"


def test_a_page_without_operations_is_refused() -> None:
    error = refused(as_body({"NextMarker": CANARY}))
    assert (error.path, error.problem) == ("Operations", "is missing")


@pytest.mark.parametrize("marker", [7, True, [CANARY], {CANARY: 1}])
def test_a_marker_that_is_no_string_is_named(marker: Any) -> None:
    assert refused(page(NextMarker=marker)).path == "NextMarker"


@pytest.mark.parametrize("top", [None, [], [operation()], CANARY, 1, 1.5, True])
def test_a_page_that_is_no_object_is_refused(top: Any) -> None:
    assert refused(as_body(top)).path == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"Operations":[',
        b'{"Operations":[]}}',
        b'{"Operations":[],}',
        b"{'Operations':[]}",
        b'{"Operations":[]} CANARY-7f3a',
        b'{"Operations":[{"Id":"CANARY-7f3a\n"}]}',
        b'{"Operations":[],"X":"\\x"}',
        b'{"Operations":[],"X":"\\u12"}',
        b'{"Operations":[],"X":01}',
        b'{"Operations":[],"X":.5}',
        b"\x00",
        b"<html>CANARY-7f3a</html>",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refused(body).path == ""


@pytest.mark.parametrize("junk", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf0\x9f", b"\xc0\x80"])
def test_invalid_utf8_is_refused(junk: bytes) -> None:
    body = page(operation(Name="@")).replace(b"@", junk)
    assert refused(body).path == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_than_utf8_is_refused(encoding: str) -> None:
    assert refused(page(operation()).decode().encode(encoding)).path == ""


def test_a_byte_order_mark_is_ignored_or_refused() -> None:
    body = page(operation())
    try:
        decoded = decode_page(b"\xef\xbb\xbf" + body)
    except DecodingError:
        return
    assert decoded == decode_page(body)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("where", ["StartTimestamp", "Unknown"])
@pytest.mark.parametrize("name", ["plain", "\ud800"], ids=["plain", "surrogate"])
def test_a_number_that_json_cannot_hold_is_refused(number: str, where: str, name: str) -> None:
    # With a lone surrogate in the page it goes through Python's parser, which takes these.
    body = page(operation(**{where: "@", "Name": name})).replace(b'"@"', number.encode())
    refused(body)


@pytest.mark.parametrize("digits", [19, 20, 30, 308, 400, 5_000])
@pytest.mark.parametrize("name", ["plain", "\ud800"], ids=["plain", "surrogate"])
def test_a_huge_integer_is_no_timestamp_and_no_attempt(digits: int, name: str) -> None:
    for raw in (
        operation(Name=name, StartTimestamp="@"),
        operation(Name=name, StepDetails={"NextAttemptTimestamp": "@"}),
    ):
        refused(page(raw).replace(b'"@"', b"9" * digits))
    body = page(operation(Name=name, StepDetails={"Attempt": "@"})).replace(b'"@"', b"9" * digits)
    try:
        decoded = decode_page(body)
    except DecodingError:
        return
    read_everything(decoded)


@pytest.mark.parametrize("seconds", [-62_135_596_801, 253_402_300_800, 1e300, -1e300])
def test_a_time_that_no_datetime_can_hold_is_refused(seconds: float) -> None:
    assert refused(page(operation(StartTimestamp=seconds))).path == "Operations[0].StartTimestamp"
    assert refused(page(operation(EndTimestamp=seconds))).path == "Operations[0].EndTimestamp"
    wait = {"ScheduledEndTimestamp": seconds}
    error = refused(page(operation(Type="WAIT", WaitDetails=wait)))
    assert error.path == "Operations[0].WaitDetails.ScheduledEndTimestamp"


@pytest.mark.parametrize("seconds", [-62_135_596_800, 253_402_300_799, -0.0, 0, 1e-9])
def test_the_first_and_the_last_second_of_the_calendar_are_times(seconds: float) -> None:
    [decoded] = decode_page(page(operation(StartTimestamp=seconds, EndTimestamp=seconds)))
    assert decoded.start_timestamp == decoded.end_timestamp


@pytest.mark.parametrize(
    "text",
    [CANARY, "", "now", "2024-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "nan", "\ud800"],
)
def test_a_string_that_is_no_time_is_named(text: str) -> None:
    assert refused(page(operation(EndTimestamp=text))).path == "Operations[0].EndTimestamp"


_PLACES = {
    "a page": page(X="@"),
    "an operation": page(operation(X="@")),
    "known details": page(operation(StepDetails={"X": "@"})),
    "other details": page(operation(WaitDetails={"X": "@"})),
    "an error": page(operation(StepDetails={"Error": {"X": "@"}})),
    "a known member": page(operation(StepDetails={"Result": "@"})),
    "a required member": page(operation(Id="@")),
    "an operation with a null": page(operation(Name=None, X="@")),
    "the top": b'"@"',
}


@pytest.mark.parametrize("where", _PLACES)
@pytest.mark.parametrize("levels", [1, 99, 101, 500, 990, 1_020, 1_100, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"k":'])
def test_nesting_of_any_depth_is_a_page_or_an_error(
    where: str, levels: int, opening: bytes
) -> None:
    closing = b"]" if opening == b"[" else b"}"
    middle = b"" if opening == b"[" else b"0"
    deep = opening * levels + middle + closing * levels
    decoded = page_or_none(_PLACES[where].replace(b'"@"', deep))
    if decoded is None:
        assert levels > 99 or "member" in where or where == "the top"
    else:
        read_everything(decoded)


@pytest.mark.parametrize(
    "text", ["\ud800", "a\udfffb", "\udc00\ud800", "ü\ud83d", '"\\\ud800', "😀\ud800"]
)
def test_a_lone_surrogate_decodes_and_is_written_as_an_escape(text: str) -> None:
    raw = operation(
        Name=text, StepDetails={"Result": text, "Error": {"StackTrace": [text]}}, Unknown={text: 1}
    )
    [decoded] = decode_page(page(raw))
    assert decoded.name == text
    assert decoded.step_details is not None
    assert decoded.step_details.result == text
    written = dump_json(decoded.to_dict())
    assert json.loads(written) == raw
    written.decode("ascii")  # Every surrogate is an escape, so any UTF-8 reader can take it.


def test_the_last_of_duplicate_keys_counts() -> None:
    body = page(operation(Name="@")).replace(b'"@"', b'"first","Name":"last"')
    [decoded] = decode_page(body)
    assert decoded.name == "last"
    assert decoded.to_dict() == operation(Name="last")


@pytest.mark.parametrize("name", ["", "__class__", "_details", "Timestamp", "\ud800", "Id ", "id"])
@pytest.mark.parametrize("kind", ["STEP", "NEW"])
@pytest.mark.parametrize("value", [1, {}, {"a": None}, None, "x", []])
def test_an_unknown_member_of_any_name_and_value_is_kept(name: str, kind: str, value: Any) -> None:
    raw = operation(Type=kind, **{name: value})
    decoded = decode_page(page(raw))
    read_everything(decoded)
    assert decoded.operations[0].to_dict() == raw


def test_an_unknown_integer_of_any_size_is_kept_or_refused() -> None:
    raw = operation(Unknown=2**53 + 1, Larger=2**64 - 1)
    assert decode_page(page(raw)).operations[0].to_dict() == raw


@some
@given(operations())
def test_an_unknown_member_changes_nothing_but_itself(raw: dict[str, Any]) -> None:
    # Operations with unknown members take a path of their own through the decoder.
    known = {name: value for name, value in raw.items() if name in _OPERATION.members}
    [usual] = decode_page(page(known))
    [unusual] = decode_page(page({**known, "Unknown": CANARY}))
    assert unusual.to_dict() == {**usual.to_dict(), "Unknown": CANARY}
    for name in map(PYTHON_NAMES.__getitem__, _OPERATION.members):
        assert getattr(usual, name) == getattr(unusual, name)
    assert usual == decode_page(page({**known, "Name": known.get("Name")})).operations[0]


@some
@given(operations(), st.sampled_from(_CASES))
def test_an_unknown_member_does_not_excuse_a_wrong_one(raw: dict[str, Any], case: Any) -> None:
    path, kind = case.values
    bad = {**raw, path[0]: _nested(path, _WRONG[kind])}
    expected = "Operations[0]." + ".".join(path)
    assert refused(page(bad)).path == expected
    assert refused(page({**bad, "Unknown": 1})).path == expected


def page_or_none(body: bytes) -> StatePage | None:
    """The page; None for a DecodingError, whose place is in the wire's own names."""
    try:
        return decode_page(body)
    except DecodingError as error:
        if str(error) and re.fullmatch(r"[A-Za-z0-9.\[\]]*", error.path):
            return None
        raise


def page_or_error(body: bytes) -> None:
    decoded = page_or_none(body)
    if decoded is not None:
        assert isinstance(decoded, StatePage)
        read_everything(decoded)


_LOOSE_NAMES = st.sampled_from((*PYTHON_NAMES, "", "Unknown"))
_LOOSE_LEAVES = st.one_of(
    unknown_values,
    st.sampled_from(("STEP", "WAIT", "DREAM", "2024-01-01T00:00:00Z", "20240101")),
    st.integers(-(10**40), 10**40),
    st.just("@inf@"),
    st.just("@nan@"),
)
_LOOSE_OBJECTS = st.recursive(
    st.dictionaries(_LOOSE_NAMES, _LOOSE_LEAVES, max_size=6),
    lambda inner: st.dictionaries(_LOOSE_NAMES, st.one_of(_LOOSE_LEAVES, inner), max_size=6),
    max_leaves=4,
)


@many
@given(st.lists(_LOOSE_OBJECTS, max_size=3), st.booleans())
def test_members_in_the_wrong_places_are_a_page_or_an_error(
    raws: list[dict[str, Any]], complete: bool
) -> None:
    each = [{**operation(), **raw} if complete else raw for raw in raws]
    body = page(*each).replace(b'"@inf@"', b"1e999").replace(b'"@nan@"', b"NaN")
    page_or_error(body)


@some
@given(st.binary(max_size=60))
@example(b'{"Operations":[{}]}')
def test_arbitrary_bytes_are_a_page_or_an_error(body: bytes) -> None:
    page_or_error(body)


@some
@given(pages(), st.data())
def test_a_page_with_some_bytes_changed_is_a_page_or_an_error(
    wire_form: dict[str, Any], data: st.DataObject
) -> None:
    body = bytearray(as_body(wire_form))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 3))
        body[at : at + cut] = data.draw(
            st.sampled_from((b"", b"0", b"[", b"{", b'"', b"\\ud800", b"\xff", b"null", b"1e999"))
        )
    page_or_error(bytes(body))


@few
@given(wire(_OUTPUT))
def test_a_page_cut_short_anywhere_is_an_error(wire_form: dict[str, Any]) -> None:
    body = as_body(wire_form)
    for at in range(0, len(body), max(1, len(body) // 20)):
        refused_or_whole(body[:at])


def refused_or_whole(body: bytes) -> None:
    with pytest.raises(DecodingError):
        decode_page(body)
