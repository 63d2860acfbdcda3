"""The lines of REFS: what they may be, and how they are read."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promises.hostile import CANARY, EVERY_VALUE, Members, written

from durastate.cli import refsfile
from durastate.cli.ending import Problem
from durastate.cli.refsfile import Line, RefLine, RefsFile

_MB = 1024**2
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f:1/durable-execution/n/i"
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
    try:
        found = asyncio.run(read())
    finally:
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
        (b'{"arn":', None, "not JSON at character 7"),
        (b"\xff\xfe{", None, "not JSON at character 0 of 3: str is not valid UTF-8"),
        (b"[" * 100_000, None, "depth limit exceeded"),
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


# What is not JSON Lines


def refusal(content: bytes, tmp_path: Path) -> str:
    """Why it is not read, from a file and from a pipe alike; the one line that says it."""
    path = tmp_path / "refs"
    path.write_bytes(content)
    said = []
    for name in (path, _piped(tmp_path / "pipe", content)):
        with pytest.raises(Problem) as caught:
            lines_of(name)
        assert caught.value.message.startswith(f"cannot read {name}: ")
        said.append(caught.value.message.removeprefix(f"cannot read {name}: "))
    assert said[0] == said[1]
    assert said[0].isprintable()
    return said[0]


def _piped(path: Path, content: bytes) -> Path:
    """A pipe that holds it. Whoever opened it to write is never closed, and nobody waits."""
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, content)
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"arn":"a"}'.encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        ('{"arn":"a"}'.encode("utf-16-be").join((b"\xfe\xff", b"")), "it is UTF-16"),
        (b"PK\x03\x04\x14\0\0\0", "it is neither text nor gzip"),
        (bytes(9_000), "it is neither text nor gzip"),
        (gzip.compress(gzip.compress(b"{}\n", mtime=0), mtime=0), "it is neither text nor gzip"),
        (b'[{"arn": "a"},\n{"arn": "b"}]', "it is one JSON array: jq -c '.[]' makes lines of it"),
        (b'\xef\xbb\xbf\n  [{"arn": "a"}]', "it is one JSON array"),
        (gzip.compress(b"[]", mtime=0), "it is one JSON array"),
        (b"\x1f\x8b\x08\0not gzip at all", "its gzip is damaged"),
    ],
)
def test_a_file_of_another_kind_is_known_by_how_it_starts(
    tmp_path: Path, content: bytes, why: str
) -> None:
    assert why in refusal(content, tmp_path)


@pytest.mark.parametrize("piece", [1, 2, 7, 256 * 1024])
def test_gzip_is_unpacked_whatever_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(refsfile, "_PIECE", piece)
    path = tmp_path / "refs.gz"
    # Two files one after the other, the second from within a line, and the padding of a tape.
    path.write_bytes(gzip.compress(b"one\ntw") + gzip.compress(b"o\n\nthree") + bytes(9))
    assert lines_of(path) == [(1, b"one"), (2, b"two"), (4, b"three")]


@pytest.mark.parametrize("kept", [1, 2, 9, 15, -1, -8])
def test_gzip_that_is_cut_off_is_said(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "refs.gz"
    path.write_bytes(gzip.compress(b"one\n")[:kept])
    with pytest.raises(Problem, match="its gzip is cut off"):
        lines_of(path)


def test_a_line_that_gzip_makes_endless_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "refs.gz"
    with gzip.open(path, "wb", 1) as packed:
        for _ in range(64):
            packed.write(b"a" * _MB)
        packed.write(b"\nlast")
    tracemalloc.start()
    try:
        assert lines_of(path) == [(1, None), (2, b"last")]
        assert tracemalloc.get_traced_memory()[1] < 30 * _MB
    finally:
        tracemalloc.stop()


def test_nul_bytes_in_a_later_line_are_an_error_of_that_line(tmp_path: Path) -> None:
    (tmp_path / "refs").write_bytes(b'{"arn":"a"}\n' + bytes(99))
    first, second = lines_of(tmp_path / "refs")
    assert RefLine(first[1]).error is None
    assert "not JSON" in str(RefLine(second[1]).error)


# Lines that say what they like


@pytest.mark.parametrize("text", [ARN, f'"{ARN}"', f'{{"arn": "{ARN}"}}'])
def test_an_arn_alone_is_a_reference_without_a_token(text: str) -> None:
    line = RefLine(text.encode())
    assert line.ref is not None
    assert (line.arn, line.ref.arn, line.ref.checkpoint_token) == (ARN, ARN, None)
    assert line.has_token is False


def test_an_arn_of_a_megabyte_is_refused_and_not_repeated() -> None:
    for base, name in (({"checkpoint_token": "TOKEN"}, "arn"), (EVENT, "DurableExecutionArn")):
        line = RefLine(json.dumps(base | {name: ARN + "x" * _MB}).encode())
        assert (line.arn, line.ref) == (None, None)
        assert str(line.error) == "arn: expected at most 1,024 characters"


def test_a_line_of_empty_objects_is_refused() -> None:
    line = RefLine(b'{"arn":"a:1","more":[' + b"{}," * _MB + b"0]}")
    assert "more than 32,768 objects and arrays" in str(line.error)


@pytest.mark.parametrize("name", ["arn", "checkpoint_token", "more", *EVENT])
def test_every_member_takes_or_refuses_every_hostile_value(name: str) -> None:
    base = EVENT if name in EVENT else {"arn": ARN, "checkpoint_token": "TOKEN"}
    for value in EVERY_VALUE:
        line = RefLine(written(Members((base | {name: value}).items())))
        assert (line.ref is None) == (line.error is not None)
        if line.error is not None:
            assert str(line.error).isprintable()
            assert len(str(line.error)) < 300
            assert CANARY not in str(line.error)


@pytest.mark.parametrize("value", EVERY_VALUE)
def test_every_hostile_line_is_an_error_of_that_line(value: Any) -> None:
    assert RefLine(written(value)).error is not None


_GOOD = json.dumps({"arn": ARN, "checkpoint_token": "TOKEN"}).encode()
_PARTS = st.sampled_from(
    (_GOOD, b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\x1f\x8b", b"[", b"{", b"x" * 9, ARN.encode())
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_PARTS, max_size=12).map(b"".join), st.booleans(), st.integers(0, 40))
def test_any_bytes_are_lines_or_a_file_of_another_kind(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, is_packed: bool, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    packed = gzip.compress(content)
    path.write_bytes(packed[: max(0, len(packed) - cut)] if is_packed else content)
    try:
        lines = lines_of(path)
    except Problem:
        return
    expected = [] if is_packed and cut else [each.strip() for each in content.split(b"\n")]
    assert [text for _, text in lines] == [each for each in expected if each]
    for _, text in lines:
        line = RefLine(text)
        assert (line.ref is None) == (line.error is not None)
