"""Makes text that others wrote harmless to a terminal.

An operation's name or a service's message can hold escape sequences that move the cursor, set
the window's title or turn the reading direction around. Everything that is not printable is
shown as its escape instead.
"""

from __future__ import annotations

import json


def plain(text: str) -> str:
    """`text` in one line, with every character that is not printable as an escape."""
    return text if text.isprintable() else "".join(map(_shown, text))


def plain_json(text: str) -> str:
    """JSON text with such characters as JSON's own escapes, so that it stays the same JSON.

    Spaces and line ends between its tokens stay; within strings JSON escapes them itself.
    """
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]
        for character in text
    )


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
