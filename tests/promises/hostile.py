"""Bodies that no honest service sends: valid pages of botocore's model, spoilt step by step.

A page is drawn as a JSON value and written with pieces that JSON does not have, so it stays close
enough to a page to get past the first check. `CANARY` is in many places, none of which an error
may show.
"""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from pure.strategies import pages

LONG = bool(os.environ.get("DURASTATE_LONG"))
TIMEOUT_S = 1_800 if LONG else 60
CANARY = "CANARY-5e1d"
CANARY_NUMBER = 817_263_544_538


def examples(count: int) -> settings:
    """`count` examples, the same each time; in the long run 20 times as many new ones."""
    return settings(
        max_examples=count * 20 if LONG else count,
        derandomize=not LONG,
        print_blob=True,
        deadline=None,
        # Shrinking a page of 100,000 brackets outlasts every time-out; the seed reproduces it.
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


class Raw(bytes):
    """Written as it is, JSON or not."""


class Members(list[tuple[str, Any]]):
    """An object whose keys may come twice."""


def written(value: Any) -> bytes:
    """The bytes of a value."""
    match value:
        case Raw():
            return bytes(value)
        case Members():
            return b"{%b}" % b",".join(
                b"%b:%b" % (json.dumps(key).encode(), written(inner)) for key, inner in value
            )
        case list():
            return b"[%b]" % b",".join(map(written, value))
    return json.dumps(value).encode()


def _loose(value: Any) -> Any:
    """The same value, its objects open to keys that come twice."""
    if isinstance(value, dict):
        return Members((key, _loose(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return [_loose(inner) for inner in value]
    return value


def _nested(opening: bytes, levels: int) -> Raw:
    closing = b"]" if opening == b"[" else b"}"
    middle = b"" if opening == b"[" else b"0"
    return Raw(opening * levels + middle + closing * levels)


_DEPTHS = (1, 99, 100, 101, 250, 900, 1_023, 1_024, 1_025, 5_000, 100_000)
_DEEP = [_nested(opening, levels) for opening in (b"[", b'{"k":', b'[{"":') for levels in _DEPTHS]
# Halves of the last: not JSON at all.
_DEEP = [deep for deep in _DEEP if not deep.startswith(b'[{"":')] + [Raw(b'[{"":' * 100_000)]
_NUMBERS = [
    *(Raw(text.encode()) for text in ("NaN", "Infinity", "-Infinity", "-NaN", "1e999", "-1e999")),
    *(Raw(text.encode()) for text in ("-0", "-0.0", "1e-999", "1E400", "01", ".5", "0x10", "1_0")),
    *(
        Raw(sign + b"9" * digits)
        for digits in (15, 19, 20, 309, 4_300, 4_301)
        for sign in (b"", b"-")
    ),
    *(Raw(sign + b"9" * 400 + b".5") for sign in (b"", b"-")),
    *(2**31, 2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, CANARY_NUMBER),
    *(-62_135_596_801, -62_135_596_800, -62_135_596_800.000001, 253_402_300_799),
    *(253_402_300_799.999, 253_402_300_800, -1, -1e-9, 1e300, -1e300, 1e18, 1_700_000_000_000),
]
_TIMES = [
    *("2024-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2024-W01-1", "2024-W01"),
    *("2024-01", "2024-01-01", "20240101T000000Z", "2024-02-30T00:00:00Z", "24-01-01", "--"),
    *("2024-01-01T00:00:00+00:00:01.5", "2024-01-01 00:00", "2024-01-01T24:00:00Z", "now", ""),
    *(
        "1700000000",
        "1e9",
        "-1e5",
        "nan",
        "-inf",
        "Mon, 01 Jan 2024 00:00:00 GMT",
        "\u0662\u0660\u0662\u0664-01-01",
    ),
    *("2024-01-01T00:00:00,5Z", "2024-01-01T00:00:00.1234567891Z", "2024-01-01Z", "2024-001"),
    *("2024-01-01T00:00:00\u0000", "2024-01-01T00:00:00+99:99", "2024-01-01T12", "-024-01-01"),
]
_TEXTS = [
    *(CANARY, "", "\x00", "\x1b[31m\x07", "a\nb\r\tc\x7f\x85", "\u202e\u200b\ufeff", "\ud800"),
    *("\udc00\ud800", f"{CANARY}\udfff", "x" * 3_000, "\U0010ffff", "true", "0", "null", "NaN"),
    *("STEP", "EXECUTION", "SUCCEEDED", "DREAM", "__class__", "%s%n{0}", "'; --", "\\u0000"),
    *(
        Raw(text)
        for text in (b'"\x01"', b'"\n"', b'"\xff"', b'"\xed\xa0\x80"', b'"\\x"', b'"\\u12"')
    ),
    *(Raw(text) for text in (b'"\xc0\x80"', b'"unended', b"'single'", b"undefined", b"", b"[,]")),
]
_KINDS = [None, True, False, [], {}, [None], [[]], [{}], [CANARY], {CANARY: CANARY}, {"": None}]
# Two of the deep ones: the tests of the decoder's errors have every depth at every place.
EVERY_VALUE = [*_NUMBERS, *_TIMES, *_TEXTS, *_KINDS, _nested(b"[", 101), _nested(b"[", 100_000)]
hostile_values = st.one_of(
    st.sampled_from(_NUMBERS),
    st.sampled_from(_TIMES),
    st.sampled_from(_TEXTS),
    st.sampled_from(_KINDS),
    st.sampled_from(_DEEP),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
_NAMES = st.sampled_from(
    (
        *("Operations", "NextMarker", "Id", "ParentId", "Name", "Type", "SubType", "Status"),
        *("StartTimestamp", "EndTimestamp", "ExecutionDetails", "ContextDetails", "StepDetails"),
        *("WaitDetails", "CallbackDetails", "ChainedInvokeDetails", "InputPayload", "Error"),
        *("ReplayChildren", "Result", "ErrorMessage", "ErrorType", "ErrorData", "StackTrace"),
        *("Attempt", "NextAttemptTimestamp", "ScheduledEndTimestamp", "CallbackId", "__type"),
        *("", "id", "Id ", "_rest", "__class__", "__init__", CANARY, "\ud800", "Timestamp", "\x00"),
    )
)


def _containers(value: Any) -> list[Any]:
    found = [value] if isinstance(value, list) else []
    for inner in value if isinstance(value, list) else ():
        found += _containers(inner[1] if isinstance(inner, tuple) else inner)
    return found


def _spoil(draw: st.DrawFn, page: Any) -> None:
    """Change one thing somewhere in it."""
    place = draw(st.sampled_from(_containers(page)))
    value = _loose(draw(hostile_values))
    at = draw(st.integers(0, max(0, len(place) - 1)))
    way = draw(st.sampled_from(("replace", "replace", "twice", "more", "away", "rename")))
    if not isinstance(place, Members):
        place[at : at + (way != "more")] = [] if way == "away" else [value]
    elif way == "more" or not place:
        place.insert(at, (draw(_NAMES), value))
    elif way == "replace":
        place[at] = (place[at][0], value)
    elif way == "twice":
        place.insert(at + draw(st.integers(0, 1)), (place[at][0], value))
    elif way == "rename":
        place[at] = (draw(_NAMES), place[at][1])
    else:
        del place[at]


_JUNK = (
    b"",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b",",
    b"}",
    b"]",
    b'"',
    b"\\ud800",
    b"//",
    b"1e999",
)


def _spoil_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    way = draw(st.sampled_from(("cut", "replace", "bom", "utf-16", "tail", "head")))
    at = draw(st.integers(0, len(body)))
    junk = draw(st.sampled_from(_JUNK))
    match way:
        case "cut":
            return body[:at]
        case "replace":
            return body[:at] + junk + body[at + draw(st.integers(0, 3)) :]
        case "bom":
            return b"\xef\xbb\xbf" + body
        case "utf-16":
            return body.decode("utf-8", "replace").encode("utf-16")
        case "tail":
            return body + junk
    return junk + body


@st.composite
def hostile_bodies(draw: st.DrawFn) -> bytes:
    """The bytes of a page with something wrong in it, mostly."""
    page = _loose(draw(pages()))
    for _ in range(draw(st.integers(0, 4))):
        _spoil(draw, page)
    body = written(page)
    return _spoil_bytes(draw, body) if draw(st.integers(0, 3)) == 0 else body
