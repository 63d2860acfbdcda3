"""The lines of REFS: what they may be, and how they are read."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from durastate.cli import refsfile
from durastate.cli.ending import Problem
from durastate.cli.refsfile import Line, RefLine, RefsFile

EVENT = {
    "DurableExecutionArn": "a:1",
    "CheckpointToken": "TOKEN",
    "InitialExecutionState": {
        "Operations": [
            {"Id": "x", "Type": "STEP", "StartTimestamp": 1000, "Status": "STARTED", "Name": "n"}
        ]
    },
}


def lines_of(path: Path | str) -> list[Line]:
    async def read() -> list[Line]:
        return [line async for line in file.lines()]

    file = RefsFile(str(path))
    found = asyncio.run(read())
    file.close()
    assert file.total in (None, len(found))
    assert file.read == len(found)
    return found


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "refs"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  \ntwo \nthree")
    assert lines_of(path) == [(1, b"one"), (4, b"two"), (5, b"three")]


def test_lines_longer_than_a_piece_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refsfile, "_PIECE", 5)
    path = tmp_path / "refs"
    path.write_bytes(b"a" * 23 + b"\nb\n" + b"c" * 9 + b"\n")
    assert lines_of(path) == [(1, b"a" * 23), (2, b"b"), (3, b"c" * 9)]


def test_a_line_of_absurd_length_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refsfile, "_PIECE", 5)
    monkeypatch.setattr(refsfile, "_LONGEST_LINE", 10)
    path = tmp_path / "refs"
    path.write_bytes(b"ok\n" + b"a" * 50 + b"\nalso\n")
    assert lines_of(path) == [(1, b"ok"), (2, None), (3, b"also")]
    assert "more than 10 bytes" in str(RefLine(None).error)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_references_has_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "refs").write_bytes(content)
    assert lines_of(tmp_path / "refs") == []


def test_a_pipe_is_read_as_it_fills(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "refs")
    keep_open = os.open(tmp_path / "refs", os.O_RDWR)

    async def read() -> list[Line]:
        lines = file.lines()
        os.write(keep_open, b"one\ntw")
        found = [await anext(lines)]
        os.write(keep_open, b"o\n")
        found.append(await anext(lines))
        with pytest.raises(TimeoutError):  # it waits, and can be cancelled
            await asyncio.wait_for(anext(lines), 0.05)
        return found

    file = RefsFile(str(tmp_path / "refs"))
    assert file.total is None
    assert asyncio.run(read()) == [(1, b"one"), (2, b"two")]
    file.close()
    os.close(keep_open)


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="No such file"):
        RefsFile(str(tmp_path / "none"))
    with pytest.raises(Problem, match="is a directory"):
        RefsFile(str(tmp_path))


def test_a_pair_of_arn_and_token() -> None:
    line = RefLine(b'{"arn": "a:1", "checkpoint_token": "TOKEN", "more": 1}')
    assert line.ref is not None
    assert (line.ref.arn, line.ref.checkpoint_token, line.error) == ("a:1", "TOKEN", None)


def test_an_invocation_event_brings_its_operations() -> None:
    line = RefLine(json.dumps(EVENT).encode())
    assert line.ref is not None
    assert line.ref._inline is not None
    assert line.ref._inline.operations[0].start_timestamp.timestamp() == 1


def test_a_lone_surrogate_in_an_event_is_no_error() -> None:
    text = json.dumps(EVENT).replace('"n"', '"\\ud800"').encode()
    assert RefLine(text).ref is not None


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EVENT.items() if key != name}


@pytest.mark.parametrize(
    ("text", "arn", "message"),
    [
        (b'{"arn":', None, "no JSON at character 7"),
        (b"\xff\xfe{", None, "no UTF-8 at byte 0"),
        (b"[" * 100_000, None, "no JSON that can be read"),
        (b"[1]", None, "expected a JSON object"),
        (b"{}", None, "arn: missing"),
        (b'{"arn": 5, "checkpoint_token": "SECRET"}', None, "arn: missing"),
        (b'{"arn": "", "checkpoint_token": "SECRET"}', "", "arn: missing"),
        (json.dumps(without("CheckpointToken")).encode(), "a:1", "CheckpointToken: is missing"),
        (b'{"DurableExecutionArn": 7}', None, "DurableExecutionArn: expected a string"),
    ],
)
def test_a_line_that_is_neither_is_an_error_of_its_own(
    text: bytes, arn: str | None, message: str
) -> None:
    line = RefLine(text)
    assert (line.arn, line.ref) == (arn, None)
    assert message in str(line.error)
    assert "SECRET" not in str(line.error)
