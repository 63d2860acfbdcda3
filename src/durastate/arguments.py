"""What users give: whether a number can be meant, and how a wrong value is shown to them."""

from __future__ import annotations

import sys
from contextlib import suppress

_LONGEST_SHOWN = 60


def shown(value: object) -> str:
    """A wrong argument, for the text of its error: itself where that is short, else its type."""
    if value is None or isinstance(value, bool | int | float | str):
        with suppress(ValueError):  # an integer of more digits than Python prints
            text = repr(value)
            if len(text) <= _LONGEST_SHOWN:
                return text
    return type(value).__name__


def is_above_zero(value: object) -> bool:
    """Whether it is a number above 0, and none that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value > 0 and (isinstance(value, float) or value <= sys.maxsize)
