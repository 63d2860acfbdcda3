"""Paging markers that only the server which gave them can read.

A marker names the place to go on from. It is bound to one execution and one snapshot of it (the
checkpoint token that it was given for), and it is good for 24 hours. Its text is plain base64, so
that it holds the characters that a client has to escape.
"""

from __future__ import annotations

import hmac
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

LIFETIME = timedelta(hours=24)

_FORM = struct.Struct(">IId")
_SEAL_BYTES = 18


@dataclass(frozen=True)
class Place:
    """Where a listing goes on: the number of its next operation and of its page, both from 0."""

    position: int = 0
    page: int = 0


class MarkerRefused(Exception):
    """A marker that is foreign, altered or too old."""


class Markers:
    """Gives and reads the markers of one server; ``secret`` keeps those of others out."""

    def __init__(self, secret: bytes, now: Callable[[], datetime]) -> None:
        self._secret = secret
        self._now = now

    def issue(self, arn: str, token: str, place: Place) -> str:
        plain = _FORM.pack(place.position, place.page, self._now().timestamp())
        seal = self._seal(arn, token, plain)
        return b64encode(seal + self._veil(seal, plain)).decode()

    def read(self, marker: str, arn: str, token: str) -> Place:
        """The place that ``marker`` stands for, or :class:`MarkerRefused`."""
        try:
            raw = b64decode(marker, validate=True)
        except (Base64Error, ValueError):
            raise MarkerRefused from None
        if len(raw) != _SEAL_BYTES + _FORM.size:
            raise MarkerRefused
        seal = raw[:_SEAL_BYTES]
        plain = self._veil(seal, raw[_SEAL_BYTES:])
        if not hmac.compare_digest(seal, self._seal(arn, token, plain)):
            raise MarkerRefused
        position, page, issued = _FORM.unpack(plain)
        if self._now().timestamp() - issued > LIFETIME.total_seconds():
            raise MarkerRefused
        return Place(position, page)

    def _seal(self, arn: str, token: str, plain: bytes) -> bytes:
        bound = b"\0".join((arn.encode(), token.encode(), plain))
        return hmac.digest(self._secret, bound, sha256)[:_SEAL_BYTES]

    def _veil(self, seal: bytes, text: bytes) -> bytes:
        pad = hmac.digest(self._secret, b"veil" + seal, sha256)
        return bytes(left ^ right for left, right in zip(text, pad, strict=False))
