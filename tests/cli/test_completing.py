"""What Tab offers, by the protocol of click and in a real bash."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from durastate import ExecutionStatus
from durastate.cli.app import commands
from durastate.emulator import FaultKind

from .support import environment

STATUSES = [str(status) for status in ExecutionStatus]


def offered(*words: str) -> list[tuple[str, str]]:
    *arguments, typed = words
    complete = BashComplete(commands, {}, "durastate", "_DURASTATE_COMPLETE")
    return [(each.type, each.value) for each in complete.get_completions(arguments, typed)]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("verify", "au"), "dir"),
        (("query", "au"), "dir"),
        (("audit", "-o", "au"), "dir"),
        (("show", "au"), "file"),  # which are files and directories
        (("fetch", "re"), "file"),
        (("fetch", "-o", "re"), "file"),
        (("audit", "--from", "re"), "file"),
        (("get", "--token-file", "re"), "file"),
        (("get", "--ca-bundle", "re"), "file"),
        (("emulator", "--write-refs", "re"), "file"),
    ],
)
def test_paths_are_the_shells_to_complete(words: tuple[str, ...], kind: str) -> None:
    assert offered(*words) == [(kind, words[-1])]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("fe",), ["fetch"]),
        (("audit", "--status", ""), STATUSES),
        (("audit", "--status", "run"), ["RUNNING"]),
        (("audit", "--status", "RUNNING,F"), ["RUNNING,FAILED"]),
        (("emulator", "--statuses", "RUNNING=1,FA"), ["RUNNING=1,FAILED=1"]),
        (("emulator", "--faults", ""), ["none", "demo", *FaultKind]),
        (("emulator", "--faults", "gzip,rese"), ["gzip,reset", "gzip,reset-in-body"]),
        (("emulator", "--faults", "gzip,non"), []),  # none stands by itself
        (("query", "--format", "c"), ["csv"]),
        (("show", "audit", "order"), []),
    ],
)
def test_names_are_completed_the_last_of_several_too(
    words: tuple[str, ...], values: list[str]
) -> None:
    assert offered(*words) == [("plain", value) for value in values]


def test_in_a_real_bash(tmp_path: Path) -> None:
    (tmp_path / "audited").mkdir()
    (tmp_path / "audition").write_text("no directory")
    (tmp_path / "durastate").write_text(f'#!/bin/sh\nexec {sys.executable} -m durastate.cli "$@"\n')
    (tmp_path / "durastate").chmod(0o700)
    env = environment("") | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PS1": "$ "}
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["/bin/bash", "--norc", "--noprofile", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env | {"TERM": "dumb", "HISTFILE": ""},
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(ours, b'eval "$(durastate completion bash)"; echo rea""dy\n')
        read_until(ours, r"\nready")
        for typed, completed in (
            ("durastate query aud\t", "durastate query audited/"),
            ("durastate audit --status RUNNING,F\t", "RUNNING,FAILED "),
            ("durastate fetch audit\t\t", "audited/ +audition"),
        ):
            os.write(ours, typed.encode())
            read_until(ours, completed)
            os.write(ours, b"\x15")  # Ctrl-U
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def read_until(terminal: int, wanted: str) -> None:
    shown = ""
    while not re.search(wanted, shown.replace("\r", "")):
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 10_000).decode()
