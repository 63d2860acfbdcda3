"""A saved history is read whole, in whatever order and form, or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from durastate import (
    ConfigurationError,
    DecodingError,
    operations_from_history,
    read_history_file,
)

from .strategies import as_body
from .test_history import decoded, event

SAVED = [
    event(EventType="WaitStarted", WaitStartedDetails={"ScheduledEndTimestamp": 3600.5}),
    event(EventId=2, EventType="NewIn2031", Unknown={"a": [None]}),
    event(EventId=3, EventType="WaitSucceeded"),
]
_ISO = json.loads(
    json.dumps(SAVED)
    .replace("3600.5", '"1970-01-01T01:00:00.500Z"')
    .replace('"EventTimestamp": 1', '"EventTimestamp": "1970-01-01 00:00:01+00:00"')
)


def saved(tmp_path: Path, *values: Any, between: str = "\n") -> Path:
    path = tmp_path / "history.json"
    path.write_bytes(between.encode().join(map(as_body, values)) + b"\n")
    return path


@pytest.mark.parametrize("events", [SAVED, _ISO], ids=["seconds", "iso"])
@pytest.mark.parametrize("as_array", [True, False])
def test_a_file_holds_a_response_or_its_events(tmp_path: Path, events: Any, as_array: bool) -> None:
    path = saved(tmp_path, events if as_array else {"Events": events, "NextMarker": ""})
    assert [each.to_dict() for each in read_history_file(path)] == SAVED
    assert read_history_file(str(path)) == decoded(*SAVED)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([{"Events": SAVED[::-1], "ResponseMetadata": {}}], id="newest first"),
        pytest.param([{"Events": SAVED[:2], "NextMarker": "m"}, {"Events": SAVED[2:]}], id="pages"),
        pytest.param(
            [{"Events": SAVED[:1:-1], "NextToken": "m"}, {"Events": SAVED[1::-1]}],
            id="pages, newest first",
        ),
        pytest.param(
            [{"Events": SAVED[:2], "NextMarker": "m"}, {"Events": SAVED[1:]}], id="overlapping"
        ),
        pytest.param(SAVED, id="a line an event"),
        pytest.param([SAVED[:1], SAVED[1:]], id="arrays"),
    ],
)
@pytest.mark.parametrize("between", ["\n", "", " \r\n\n "], ids=["lines", "joined", "blanks"])
def test_it_may_be_in_parts_and_in_either_order(
    tmp_path: Path, values: list[Any], between: str
) -> None:
    events = read_history_file(saved(tmp_path, *values, between=between))
    assert operations_from_history(events) == operations_from_history(decoded(*SAVED))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_byte_order_mark_is_understood(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"Events": SAVED}), encoding=encoding)
    assert read_history_file(path) == decoded(*SAVED)


@pytest.mark.parametrize(
    "name",
    [
        *("NextMarker", "nextMarker", "NextToken", "nextToken", "next_token", "Marker", "marker"),
        *("IsTruncated", "isTruncated", "ContinuationToken", "NextPage", "HasMore", "cursor"),
    ],
)
def test_whatever_says_that_more_follows_is_a_refusal_that_says_what_to_do(
    tmp_path: Path, name: str
) -> None:
    more = True if name.lower() in ("istruncated", "hasmore") else "eyJNYXJrZXIiOiAiMiJ9"
    path = saved(tmp_path, {"Events": SAVED, name: more})
    with pytest.raises(DecodingError, match=f"{name}: more events follow .*--max-items") as caught:
        read_history_file(path)
    assert "eyJ" not in str(caught.value)
    path = saved(tmp_path, {"Events": SAVED, name: None if name == "Marker" else ""})
    assert read_history_file(path) == decoded(*SAVED)


@pytest.mark.parametrize(
    "values",
    [
        [{"Events": SAVED[:1], "NextMarker": "a"}, {"Events": SAVED[1:], "NextMarker": "b"}],
        [{"Events": SAVED[:1], "NextMarker": "a"}, {"Events": SAVED[2:]}],
        [{"Events": SAVED[1:2], "NextMarker": "a"}, {"Events": SAVED[2:]}],
    ],
    ids=["the last", "one between", "the first"],
)
def test_a_page_that_is_missing_is_noticed(tmp_path: Path, values: list[Any]) -> None:
    with pytest.raises(DecodingError, match=r"more events follow|event [12] is missing"):
        read_history_file(saved(tmp_path, *values))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "history.json: not JSON at character 0"),
        (b" \n", "history.json: not JSON at character 0"),
        (b"not json", "history.json: not JSON at character 0"),
        (b'{"Events": []}{"Events"', "history.json: not JSON at character"),
        (b"7", "history.json: expected an object, found an integer"),
        (b'{"Events": []} 7', "history.json: expected an object, found an integer"),
        (b"\xff\xfe\xff", "history.json: not JSON at byte"),
        (b"[" * 100_000, "history.json: "),
        (b'[{"EventId": "7"}]', "history.json: Events[0].EventId: expected an integer, found a st"),
        (b'{"Operations": []}', "history.json: no saved history, which has Events"),
    ],
)
def test_a_file_without_a_history_is_an_error_that_names_it(
    tmp_path: Path, body: bytes, problem: str
) -> None:
    (tmp_path / "history.json").write_bytes(body)
    with pytest.raises(DecodingError, match=re.escape(problem)):
        read_history_file(tmp_path / "history.json")


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, {"Events": SAVED})
    monkeypatch.setattr("durastate.saved._MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(DecodingError, match="no history"):
        read_history_file(path)


@pytest.mark.parametrize("name", ["missing.json", ""])
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path / name)) + ": .*irectory"):
        read_history_file(tmp_path / name)
