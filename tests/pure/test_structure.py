"""What is counted outside of strings, what is refused for it, and what never is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durastate import DecodingError, decode_page, structure

_MB = 1024**2
_TEXT = st.text(st.sampled_from('{}[],:"\\x\né'), max_size=12)
_VALUES = st.recursive(
    _TEXT | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
)


def counted(value: Any) -> tuple[int, int, int]:
    """How many objects and arrays, members of objects, and commas between values."""
    if not isinstance(value, dict | list):
        return 0, 0, 0
    inner, members = (value.values(), len(value)) if isinstance(value, dict) else (value, 0)
    below = [sum(counts) for counts in zip((0, 0, 0), *map(counted, inner), strict=True)]
    return 1 + below[0], members + below[1], max(0, len(value) - 1) + below[2]


@settings(max_examples=60, deadline=None)
@given(_VALUES, st.integers(1, 9), st.booleans())
def test_a_count_is_exact_whatever_stands_in_strings_and_wherever_blocks_end(
    value: Any, block: int, is_ascii: bool
) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode()
    most = counted(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "_BLOCK", block)
        structure._count_all(body, most)
        for kind in range(3):
            if most[kind]:
                one_less = (*most[:kind], most[kind] - 1, *most[kind + 1 :])
                with pytest.raises(DecodingError):
                    structure._count_all(body, one_less)


def page(payload: str, items: int = 1) -> bytes:
    operation = {"Id": "a", "Type": "STEP", "StartTimestamp": 1, "Status": "SUCCEEDED"}
    operations = [operation | {"StepDetails": {"Result": payload}}] * items
    return json.dumps({"Operations": operations}).encode()


@pytest.mark.parametrize(
    "payload",
    [
        "{}[],:" * (_MB // 6),
        json.dumps([{"key": [1, {}], "other": 'a\\"b'}] * 20_000),
        json.dumps([[[1.5, 2.5]] * 1_000] * 50),
        '\\"{' * (_MB // 3),
        "\\" * _MB + "{" * _MB,
    ],
    ids=["braces", "json", "matrix", "quotes", "backslashes"],
)
def test_a_payload_may_hold_any_characters(payload: str) -> None:
    decoded = decode_page(page(payload))
    details = decoded.operations[0].step_details
    assert details is not None
    assert details.result == payload


@pytest.mark.parametrize("message", ["m", "\ud800"], ids=["plain", "surrogate"])
def test_the_fullest_page_that_the_service_can_send_is_never_refused(message: str) -> None:
    """Of 1,000 items; and a stack trace of single characters as large as an error may be."""
    error = {
        "ErrorType": "E",
        "ErrorMessage": message,
        "ErrorData": "d",
        "StackTrace": ["line"] * 40,
    }
    full = {"Id": "a", "ParentId": "b", "Name": "n", "Type": "STEP", "SubType": "Step"}
    full |= {"StartTimestamp": 1, "EndTimestamp": 2, "Status": "FAILED"}
    full |= {"StepDetails": {"Attempt": 1, "NextAttemptTimestamp": 3, "Result": "", "Error": error}}
    long = full | {"StepDetails": {"Error": {"StackTrace": ["x"] * (_MB // 4)}}}
    assert len(decode_page(json.dumps({"Operations": [full] * 999 + [long]}).encode())) == 1_000


def test_more_members_than_the_service_sends_are_refused_too() -> None:
    """Each name that is new costs more than a number does."""
    members = ",".join(f'"{number:x}":0' for number in range(150_000))
    with pytest.raises(DecodingError, match="more than 131,072 members of objects"):
        decode_page(f'{{"Operations":[],"Unknown":{{{members}}}}}'.encode())


@pytest.mark.parametrize(
    "unit",
    [b"{},", b"[],", b'{"":0},', b'{"\\"":{}},', b"[" * 900 + b"]" * 900 + b",", b"9,", b'"a",'],
    ids=["objects", "arrays", "members", "escapes", "depth", "numbers", "strings"],
)
@pytest.mark.parametrize("place", [b'{"Operations":[', b'{"Operations":[],"Unknown":['])
def test_more_structure_than_the_service_sends_is_refused_before_it_is_parsed(
    unit: bytes, place: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durastate.decoding.load_json", None)
    size = _MB if b"{" in unit or b"[" in unit else 1_600_000 * len(unit)
    body = place + unit * (size // len(unit)) + b"0]}"
    with pytest.raises(DecodingError, match=r"more than [0-9,]{6,} (objects|members|values)"):
        decode_page(body)


def refused_unparsed(body: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why `body` is refused, without Python's parser having been asked."""
    with monkeypatch.context() as patch:
        patch.setattr("durastate.decoding.json.loads", None)
        with pytest.raises(DecodingError) as caught:
            decode_page(body)
    return str(caught.value)


@pytest.mark.parametrize(
    "last",
    [b"NaN", b"1e999", b"9" * 400, b'"\\x"', b'"a" CANARY', b"", b'"\xff"', b"[" * 2_000],
)
def test_only_half_of_a_surrogate_pair_asks_the_slow_parser(
    last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"Operations":[],"Unknown":[' + b'"CANARY",' * 9 + last + b"]}"
    text = refused_unparsed(body, monkeypatch)
    assert text.startswith("not JSON at character ")
    assert "CANARY" not in text


@pytest.mark.parametrize(
    ("unit", "size", "what"),
    [
        (b"9,", 500_000, "350,000 values"),
        (b'"":0,', 60_000, "32,768 members of objects"),
        (b'"\\n' + b"\\n" * 100 + b'",', 40_000, "4,000,000 escapes beside half of a surrogate"),
        (b'"' + b"x" * _MB + b'",', 20, "20,971,520 bytes beside half of a surrogate"),
        (b'"' + "é".encode() * (_MB // 2) + b'",', 8, "8,388,608 bytes beside half of a surrogate"),
    ],
    ids=["values", "members", "escapes", "ascii", "utf-8"],
)
def test_of_what_asks_the_slow_parser_less_is_let_through(
    unit: bytes, size: int, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, closing = (b"[{", b'"":0}') if b":" in unit else (b"[", b"0")
    inner = b'{"Operations":[],"Unknown":' + opening + unit * size + closing
    assert f"more than {what}" in refused_unparsed(inner + b',"\\ud800"]}', monkeypatch)
    assert len(decode_page(inner + b',"a"]}')) == 0
