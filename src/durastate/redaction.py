"""Whether a text that others wrote quotes a secret, in whatever spelling. Pure.

The text and the secret are brought to the same few characters: escapes undone (of URLs, JSON,
HTML, programs; one within another too), then small letters and digits alone, so that white space,
padding and the variants of base64 make no difference. What of the text then equals 16 characters
of the secret in a row, or of its base64 or hex, gives it away. Such a text is left out as a whole:
whoever cuts a secret out of it has to know where that begins.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator
from html import unescape

_WINDOW = 16
_SHORTEST = 8  # Shorter ones are nobody's credentials or token, and would be in any text.
_MOST_ESCAPES = 8
_LONGEST_READ = 4_000
_LONGEST_SHOWN = 500
LEFT_OUT = "[left out: it quotes a token or credentials]"

_ESCAPED = re.compile(
    r"%(?:25)*u(?P<a>[0-9a-f]{4})|%(?:25)*(?P<b>[0-9a-f]{2})"
    r"|\\+(?-i:u)(?P<c>[0-9a-f]{4})|\\+u\{(?P<d>[0-9a-f]{1,6})\}|\\+(?-i:U)(?P<e>[0-9a-f]{8})"
    r"|\\+x(?P<f>[0-9a-f]{2})|\\+(?P<octal>[0-3][0-7]{2})|(?P<blank>\\+(?-i:[abfnrtv]))"
    r"|=(?P<g>[0-9a-f]{2})",
    re.IGNORECASE,
)
_FIRST_OF_ESCAPES = re.compile(r"[%\\&=]")
_SMALL = bytes(range(256)).lower()
_OTHERS = bytes(code for code in range(256) if not chr(code).isascii() or not chr(code).isalnum())
# What quotes a signed request or keys, whoever's.
_MARKS = re.compile(b"aws4hmacsha256|xamzsecuritytoken|signature[0-9a-f]{16}")
_KEYS = re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}|(?i:secret_?access_?key)\W{0,4}[:=]")


def presentable(text: str, secrets: Iterable[str | None] = ()) -> str:
    """The beginning of a text, in one line without anything that a terminal would obey.

    A sentence in its place where it quotes one of the secrets.
    """
    line = " ".join(text[:_LONGEST_READ].split())
    if quotes(line, secrets):
        return LEFT_OUT
    shown = line[:_LONGEST_SHOWN]
    return "".join(character if character.isprintable() else "?" for character in shown)


def quotes(text: str, secrets: Iterable[str | None]) -> bool:
    """Whether one of the secrets, or keys of anybody, can be read in a text; none for megabytes."""
    if _KEYS.search(text):
        return True
    read = _reduced(text)
    return (
        read is None
        or _MARKS.search(read) is not None
        or any(_shares(read, form) for secret in secrets if secret for form in _forms(secret))
    )


def _forms(secret: str) -> Iterator[bytes]:
    """How it looks when reduced: as it is, in hex, and in base64 wherever in that it begins."""
    yield _reduced(secret.rstrip("=")) or b""
    data = secret.encode("utf-8", "replace")
    yield data.hex().encode()
    for before in range(3):
        # The characters at both ends depend on what is beside it.
        encoded = b64encode(b"\0" * before + data)[4 if before else 0 : -4]
        yield encoded.translate(_SMALL, _OTHERS)


def _shares(text: bytes, form: bytes) -> bool:
    if len(form) < _SHORTEST:
        return False
    if len(form) < _WINDOW:
        return form in text
    # Sixteen in a row hold a whole block of eight, wherever they begin.
    blocks = range(0, len(text) - _WINDOW // 2 + 1, _WINDOW // 2)
    if not any(text[at : at + _WINDOW // 2] in form for at in blocks):
        return False
    return any(text[at : at + _WINDOW] in form for at in range(len(text) - _WINDOW + 1))


def _reduced(text: str) -> bytes | None:
    """Small letters and digits without escapes; None where there is no end of those."""
    for _ in range(_MOST_ESCAPES):
        plainer = text
        if _FIRST_OF_ESCAPES.search(text):
            plainer = unescape(_ESCAPED.sub(_unescaped, text))
        if plainer == text:
            known = unicodedata.normalize("NFKC", text).encode("ascii", "ignore")
            return known.translate(_SMALL, _OTHERS)
        text = plainer
    return None


def _unescaped(found: re.Match[str]) -> str:
    if found["blank"]:
        return " "
    octal = found["octal"]
    code = int(octal, 8) if octal else int(next(filter(None, found.groups())), 16)
    return chr(code) if code <= 0x10FFFF else ""
