"""Histories that were saved to disk, by the AWS CLI, an SDK, `jq` or a test runner.

A file holds a whole history or it is refused. What a tool leaves behind where it stopped early
has many names (`NextMarker` of the service, `NextToken` of the AWS CLI and boto3), so anything
that is called like a marker counts as one.
"""

from __future__ import annotations

import json
import re
from os import PathLike
from pathlib import Path
from typing import Any

from .decoding import load_json
from .errors import ConfigurationError, DecodingError
from .history import HistoryEvent, HistoryPage, history_page

_MOST_BYTES = 256 * 1024**2
_MORE = re.compile("marker|token|cursor|truncated|next_?page|^(has_?)?more", re.IGNORECASE)
_BLANKS = re.compile(r"\s*")
_HOW = "save it without --max-items and --no-paginate, or put the other pages into the file too"


def read_history_file(path: str | PathLike[str]) -> list[HistoryEvent]:
    """The events in a JSON file: a response as it was saved, or the array of its events alone.

    It may also hold several of these, or single events, one after the other or a line each. The
    order does not matter, and timestamps may be epoch seconds or ISO 8601. A file that says that
    more events follow is refused: `decode_history` reads a single page. It blocks while it reads.
    Raises `ConfigurationError` for a file that cannot be read and `DecodingError` for one that
    holds no history or only a part of one.
    """
    try:
        with Path(path).open("rb") as file:
            body = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or type(error).__name__}") from None
    except ValueError:  # a character that no name can have
        raise ConfigurationError("path: expected the name of a file") from None
    try:
        if len(body) > _MOST_BYTES:
            raise DecodingError("", f"more than {_MOST_BYTES:,} bytes, so no history")
        values = _values(body)
        pages = [_page(value) for value in values]
        _check_whole(values, pages)
    except DecodingError as error:
        raise DecodingError(f"{path}: {error.path}".rstrip(": "), error.problem) from None
    return [event for page in pages for event in page]


def _values(body: bytes) -> list[Any]:
    """The JSON values of a file: one as a rule, or several with nothing but blanks between."""
    try:
        # Windows' PowerShell writes UTF-16 with a byte order mark.
        text = body.decode(json.detect_encoding(body))
    except UnicodeDecodeError as error:
        problem = f"not JSON at byte {error.start} of {len(body)}: no {error.encoding.upper()}"
        raise DecodingError("", problem) from None
    try:
        return [load_json(text)]
    except DecodingError:
        if not text.strip():
            raise
    values = []
    at = _end_of_blanks(text, 0)
    while at < len(text):
        try:
            _, end = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            end = len(text)
        values.append(load_json(text[at:end]))
        at = _end_of_blanks(text, end)
    return values


def _end_of_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _page(value: Any) -> HistoryPage:
    if type(value) is list:
        return history_page({"Events": value})
    if type(value) is dict and "Events" not in value:
        if "EventType" not in value:
            raise DecodingError("", "no saved history, which has Events")
        return history_page({"Events": [value]})
    return history_page(value)


def _check_whole(values: list[Any], pages: list[HistoryPage]) -> None:
    """Refuse what ends with a marker, and pages of which one between is missing."""
    more = [_marker_of(value) for value in values]
    if all(more):
        raise DecodingError(more[-1] or "", f"more events follow that are not in the file: {_HOW}")
    if len(values) > 1:
        found = {event.event_id for page in pages for event in page}
        for expected, number in enumerate(sorted(each for each in found if each is not None), 1):
            if number > expected:
                raise DecodingError("", f"event {expected} is missing: {_HOW}")


def _marker_of(value: Any) -> str | None:
    """The member that says that more follows."""
    if type(value) is not dict or "Events" not in value:
        return None
    return next((name for name, member in value.items() if member and _MORE.search(name)), None)
