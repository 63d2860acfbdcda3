"""OUT: whole lines, nothing overwritten, a resumed run finds what is there."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promises.hostile import EVERY_VALUE, Members
from promises.hostile import written as as_json

from durastate import decode_page
from durastate.cli.ending import OTHER, USAGE, Problem
from durastate.cli.failures import FailuresFile
from durastate.cli.jsonl import LinesFile
from durastate.cli.outfile import OutFile
from durastate.models import ExecutionState, dump_json

from .support import mode, records

OPERATION = {"Id": "a", "Type": "STEP", "StartTimestamp": 1, "Status": "STARTED"}


def state(arn: str) -> ExecutionState:
    page = decode_page(dump_json({"Operations": [OPERATION]}))
    return ExecutionState(arn, page.operations, source="state")


def written(path: Path, *arns: str, payloads: str = "full") -> None:
    out = OutFile.open(path, payloads=payloads, resume=False)
    for arn in arns:
        out.write(state(arn))
    out.close(finished=True)


def refusal(path: Path, *, payloads: str = "full", resume: bool = True) -> tuple[int, str]:
    """The exit code and the reason; the file is as it was."""
    before = path.read_bytes()
    with pytest.raises(Problem) as caught:
        OutFile.open(path, payloads=payloads, resume=resume)
    assert path.read_bytes() == before
    return caught.value.code, caught.value.message


def test_a_line_has_arn_source_and_operations_in_wire_form(tmp_path: Path) -> None:
    written(tmp_path / "out", "a:1")
    assert records(tmp_path / "out") == [
        {"arn": "a:1", "source": "state", "operations": [OPERATION]}
    ]


def test_a_line_says_how_payloads_were_treated(tmp_path: Path) -> None:
    written(tmp_path / "out", "a:1", payloads="size")
    assert records(tmp_path / "out")[0]["payloads"] == "size"


def test_only_its_owner_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        written(tmp_path / "out", "a:1")
    finally:
        os.umask(before)
    assert mode(tmp_path / "out") == "600"


def test_a_file_that_exists_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, "a:1")
    code, reason = refusal(path, resume=False)
    assert (code, "--resume" in reason) == (USAGE, True)


def test_a_hard_link_to_something_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(0o644)
    os.link(elsewhere, tmp_path / "out")
    code, reason = refusal(tmp_path / "out")
    assert (code, "a hard link" in reason) == (USAGE, True)
    os.link(elsewhere, tmp_path / "new.failures.jsonl")
    with pytest.raises(Problem, match="a hard link"):
        FailuresFile(tmp_path / "new.jsonl", resume=True)
    assert mode(elsewhere) == "644"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Problem, match="exists"):
        OutFile.open(tmp_path / "out", payloads="full", resume=False)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["states", "nothing"])
def test_a_link_is_not_followed_by_a_resumed_run(tmp_path: Path, kind: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    if kind == "states":
        written(elsewhere, "a:1")
    (tmp_path / "out").symlink_to(elsewhere)
    with pytest.raises(Problem, match="is a link"):
        OutFile.open(tmp_path / "out", payloads="full", resume=True)
    assert elsewhere.exists() == (kind == "states")


@pytest.mark.parametrize("kind", ["failures", "nothing"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_link_in_the_place_of_the_failures_is_refused_and_stays(
    tmp_path: Path, kind: str, resume: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if kind == "failures":
        elsewhere.write_text('{"line":1}\n')
    link = tmp_path / "out.failures.jsonl"
    link.symlink_to(elsewhere)
    with pytest.raises(Problem):
        FailuresFile(tmp_path / "out", resume=resume)
    assert link.is_symlink()
    assert elsewhere.exists() == (kind == "failures")


def test_a_resumed_file_that_others_could_read_is_for_its_owner_again(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, "a:1")
    path.chmod(0o666)
    OutFile.open(path, payloads="full", resume=True).close(finished=True)
    assert mode(path) == "600"


def test_resuming_knows_what_is_there_and_appends(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, "a:1", 'a:"2\\\n')
    out = OutFile.open(path, payloads="full", resume=True)
    assert [out.holds(arn) for arn in ("a:1", 'a:"2\\\n', "a:3")] == [True, True, False]
    out.write(state("a:3"))
    out.close(finished=True)
    assert [record["arn"] for record in records(path)] == ["a:1", 'a:"2\\\n', "a:3"]


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_resuming_drops_a_torn_last_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "out"
    written(path, "a:1", "a:2")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    out = OutFile.open(path, payloads="full", resume=True)
    assert (out.holds("a:1"), out.holds("a:2")) == (True, False)
    assert out.dropped == len(whole) // 2 - cut
    out.write(state("a:2"))
    out.close(finished=True)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kept", [1, 5, 30])
def test_resuming_a_file_that_is_one_torn_line(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "out"
    written(path, "a:1")
    path.write_bytes(path.read_bytes()[:kept])
    OutFile.open(path, payloads="full", resume=True).close(finished=True)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"hello\n",
        b'{"arn":"a:1","checkpoint_token":"x"}\n',
        b'{"arn":"a:1","source":"state","operations":[]}\n{"other":1}\n',
        b'{"arn":"a:1","source":"state","operations":[]}\nmy notes',
        b'{"arn":"\\x","source":"state","operations":[]}\n',
        b'{"arn":"\xff","source":"state","operations":[]}\n',
        b'{"arn":"a:1","source":"state","payloads":"some","operations":[]}\n',
        b'{"arn":"a:1","source":"state","operations":[]\n',
        b'{"arn":"a:1","source":"state","operations":[]}\nhello',
        b'{"arn":"\\ud800","source":"state","operations":[]}\n',
        b'{"arn":"%b","source":"state","operations":[]}\n' % (b"a" * 20_000),
        b"\n",
    ],
)
def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    code, reason = refusal(path)
    assert (code, "was not written by durastate fetch" in reason) == (USAGE, True)


def test_every_member_of_a_line_is_ours_or_refused(tmp_path: Path) -> None:
    """Operations are not looked into, which would take as long as reading them anew."""
    path = tmp_path / "out"
    members = {"arn": "a:1", "source": "state", "payloads": "full", "operations": [OPERATION]}
    for name in members:
        for value in EVERY_VALUE:
            line = as_json(Members((members | {name: value}).items())) + b"\n"
            path.write_bytes(line)
            try:
                out = OutFile.open(path, payloads="full", resume=True)
            except Problem:
                assert path.read_bytes() == line
            else:
                out.close(finished=True)
                assert name == "operations" or json.loads(line)[name] == value


_SPOILT = st.sampled_from((b"", b"\n", b"\x00", b"\xff", b'"', b"\\", b"}", b"]}\n", b'{"arn":"'))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 250), st.integers(0, 60), _SPOILT)
def test_a_spoilt_file_is_resumed_or_left_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, at: int, gone: int, put: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "spoilt"
    path.unlink(missing_ok=True)
    written(path, "a:1", "a:2")
    whole = path.read_bytes()
    spoilt = whole[:at] + put + whole[at + gone :]
    path.write_bytes(spoilt)
    try:
        out = OutFile.open(path, payloads="full", resume=True)
    except Problem:
        assert path.read_bytes() == spoilt
        return
    out.close(finished=True)
    # Nothing but a torn last line has gone.
    assert spoilt.startswith(path.read_bytes())
    assert b"\n" not in spoilt.removeprefix(path.read_bytes())


def test_resuming_holds_no_line_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        file.write(b'{"arn":"a:1","source":"state","operations":[')
        for _ in range(32):
            file.write(b" " * 1024**2)
        file.write(b']}\n{"arn":"a:2","source":"state","operations":[')
    tracemalloc.start()
    try:
        out = OutFile.open(path, payloads="full", resume=True)
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024**2
    finally:
        tracemalloc.stop()
    assert (out.holds("a:1"), out.holds("a:2"), out.dropped) == (True, False, 44)
    out.close(finished=True)


def test_a_link_is_not_followed_to_be_gone_on_with(tmp_path: Path) -> None:
    written(tmp_path / "theirs", "a:1")
    (tmp_path / "out").symlink_to(tmp_path / "theirs")
    assert "is a link" in refusal(tmp_path / "out")[1]


def test_resuming_with_other_payloads_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "out", "a:1", payloads="none")
    assert "--payloads none" in refusal(tmp_path / "out", payloads="full")[1]


def test_resuming_without_a_file_starts_one(tmp_path: Path) -> None:
    OutFile.open(tmp_path / "out", payloads="full", resume=True).close(finished=True)
    assert (tmp_path / "out").read_bytes() == b""


def test_a_second_run_on_the_same_file_is_refused(tmp_path: Path) -> None:
    first = OutFile.open(tmp_path / "out", payloads="full", resume=False)
    with pytest.raises(Problem, match="another run"):
        OutFile.open(tmp_path / "out", payloads="full", resume=True)
    first.close(finished=True)


def test_a_broken_off_run_leaves_no_empty_file_in_the_way(tmp_path: Path) -> None:
    OutFile.open(tmp_path / "out", payloads="full", resume=False).close(finished=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_that_is_not_there_is_one_clear_line(tmp_path: Path, resume: bool) -> None:
    with pytest.raises(Problem, match=r"cannot create .*: No such file or directory") as caught:
        OutFile.open(tmp_path / "no" / "out", payloads="full", resume=resume)
    assert caught.value.code == OTHER


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out")
    with pytest.raises(Problem, match="no regular file"):
        OutFile.open(tmp_path / "out", payloads="full", resume=True)


@pytest.mark.parametrize("taken", [0, 7])
def test_what_a_full_disk_took_of_a_line_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    lines = LinesFile.create(tmp_path / "out")
    lines.append(b"first\n")
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) <= taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(os, "write", refuse)
        return write(descriptor, data[:taken])

    def refuse(_descriptor: int, _data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full if taken else refuse)
    with pytest.raises(Problem, match="No space left on device") as caught:
        lines.append(b"second line\n")
    monkeypatch.undo()
    assert caught.value.code == OTHER
    lines.append(b"third\n")
    lines.close()
    assert (tmp_path / "out").read_bytes() == b"first\nthird\n"


def test_an_exception_inside_a_write_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = LinesFile.create(tmp_path / "out")
    write = os.write

    def interrupted(descriptor: int, data: Any) -> int:
        write(descriptor, data[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lines.append(b"line\n")
    lines.close()
    assert (tmp_path / "out").read_bytes() == b""
