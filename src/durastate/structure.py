"""How much a JSON text becomes, known before it is parsed.

Two bytes of JSON (`{}`) become an object of 64 to 230 bytes, so a body within `max_page_bytes` can
take fifty times its size and hold the loop for seconds, inside `orjson.loads`, which nothing can
interrupt. What honest data say at length stands in strings, which cost a byte a character. So what
is counted here is objects, arrays, members and values outside of strings.

An exact count takes longer than parsing. Therefore a random sample decides whether it is needed,
and whoever sent the body cannot know where the sample is taken.
"""

from __future__ import annotations

import re
from random import random

from .errors import DecodingError

# Whatever stands in so few bytes takes 12 MB and 40 ms at worst.
_SMALL = 256 * 1024
_WHAT = ("objects and arrays", "members of objects", "values")
_MOST = (
    # The 1,000 items of a page have up to 7 each, and the 3,000 operations of an event up to 4.
    32_768,
    # Up to 25 and 21 of them.
    131_072,
    # A page holds about 6 MB, a stack trace is an array of strings, and `"x",` is four bytes.
    1_500_000,
)

_PROBES = 32  # and one more for each
_PROBE_EVERY = 64 * 1024
_PROBE_BYTES = 128
_BLOCK = 128 * 1024

# Before the next quote there is no backslash. What is followed by a backslash is in a string, such
# as the braces of JSON within JSON.
_PERHAPS_OUTSIDE = re.compile(rb'[^"\\]*"')


def check_structure(body: bytes | bytearray) -> None:
    """`DecodingError` where `body` has more structure than anything that the service sends."""
    if len(body) > _SMALL and _seems_too_much(body):
        _count_all(body)


def _seems_too_much(body: bytes | bytearray) -> bool:
    """Whether a sample looks as if there were; mistaken at most about what strings hold."""
    size = len(body)
    places = [int(random() * size) for _ in range(_PROBES + size // _PROBE_EVERY)]  # noqa: S311
    # The end of each probe counts as a quote.
    sample = b'"'.join([*(body[at : at + _PROBE_BYTES] for at in places), b""])
    scale = size / len(sample)
    return _is_too_much(sample, scale) and _is_too_much(
        b"".join(_PERHAPS_OUTSIDE.findall(sample)), scale
    )


def _is_too_much(text: bytes, scale: float) -> bool:
    return any(count * scale > most for count, most in zip(_counts(text), _MOST, strict=True))


def _counts(text: bytes) -> tuple[int, int, int]:
    return text.count(b"{") + text.count(b"["), text.count(b":"), text.count(b",")


def _count_all(body: bytes | bytearray) -> None:
    counts = [0, 0, 0]
    start = in_string = 0
    while start < len(body):
        block = body[start : start + _BLOCK]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:
            block = body[start : start + _BLOCK + 1]  # a backslash and what it escapes
        start += len(block)
        pieces = block.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[in_string::2])
        in_string = (in_string + len(pieces) - 1) % 2
        for kind, found in enumerate(_counts(outside)):
            counts[kind] += found
            if counts[kind] > _MOST[kind]:
                raise DecodingError("", f"more than {_MOST[kind]:,} {_WHAT[kind]}")
