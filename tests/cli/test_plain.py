"""Text of others on a terminal."""

from __future__ import annotations

import json

import pytest

from durastate.cli.plain import plain, plain_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("charge-order ✓ Grüße", "charge-order ✓ Grüße"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\r\tc\x7f", "a\\nb\\r\\tc\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\ud800", "\\ud800"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)
def test_what_is_not_printable_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize("value", ["\x9b31m", "a\u202eb", "\U000e0041", "ü\n\x1b"])
def test_json_for_a_terminal_is_printable_and_the_same_json(value: str) -> None:
    shown = plain_json(json.dumps({"Name": value}, ensure_ascii=False, indent=2))
    assert json.loads(shown) == {"Name": value}
    assert shown.replace("\n", "").isprintable()
