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

# The same where Python's parser must be used, at ten times the cost: 1,000 items of 25 members, and
# a stack trace of single characters as large as an error may be.
_MOST_SLOWLY = (32_768, 32_768, 350_000)
# It takes each escape in a string by itself. A payload of 6 MB has no more if all is escaped.
_MOST_ESCAPES = 4_000_000
# A payload of 6 MB can be as large when all of it is escapes. One emoji makes every character take
# four bytes.
_MOST_BYTES = 20 * 1024**2
_MOST_BYTES_OF_UTF8 = 8 * 1024**2

_PROBES = 32  # and one more for each
_PROBE_EVERY = 64 * 1024
_PROBE_BYTES = 128
_BLOCK = 128 * 1024

# Before the next quote there is no backslash. What is followed by a backslash is in a string, such
# as the braces of JSON within JSON.
_PERHAPS_OUTSIDE = re.compile(rb'[^"\\]*"')


def check_structure(body: bytes | bytearray, most: tuple[int, int, int] = _MOST) -> None:
    """`DecodingError` where `body` has more structure than anything that the service sends."""
    if len(body) > _SMALL and _seems_too_much(body, most):
        _count_all(body, most)


def check_slow_structure(body: bytes | bytearray) -> None:
    """The same of what Python's parser has to take, with what costs time and memory only there."""
    most = _MOST_BYTES if body.isascii() else _MOST_BYTES_OF_UTF8
    for count, limit, what in (
        (len(body), most, "bytes"),
        (body.count(b"\\"), _MOST_ESCAPES, "escapes"),
    ):
        if count > limit:
            raise DecodingError("", f"more than {limit:,} {what} beside half of a surrogate pair")
    check_structure(body, _MOST_SLOWLY)


def _seems_too_much(body: bytes | bytearray, most: tuple[int, int, int]) -> bool:
    """Whether a sample looks as if there were; mistaken at most about what strings hold."""
    size = len(body)
    places = [int(random() * size) for _ in range(_PROBES + size // _PROBE_EVERY)]  # noqa: S311
    # The end of each probe counts as a quote.
    sample = b'"'.join([*(body[at : at + _PROBE_BYTES] for at in places), b""])
    scale = size / len(sample)
    return _is_too_much(sample, scale, most) and _is_too_much(
        b"".join(_PERHAPS_OUTSIDE.findall(sample)), scale, most
    )


def _is_too_much(text: bytes, scale: float, most: tuple[int, int, int]) -> bool:
    return any(count * scale > limit for count, limit in zip(_counts(text), most, strict=True))


def _counts(text: bytes) -> tuple[int, int, int]:
    return text.count(b"{") + text.count(b"["), text.count(b":"), text.count(b",")


def _count_all(body: bytes | bytearray, most: tuple[int, int, int]) -> None:
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
            if counts[kind] > most[kind]:
                raise DecodingError("", f"more than {most[kind]:,} {_WHAT[kind]}")
