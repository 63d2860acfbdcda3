"""A run that is ended from outside: signals, a kill, a full disk. Real processes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import signal
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durastate.emulator import Emulator, World

from .support import (
    KEYS,
    Done,
    environment,
    finish,
    records,
    serving,
    start,
    wait_for_lines,
    wait_until,
    write_refs,
)

WORLD = World(seed=2, executions=200, operations=20)


@pytest.fixture(scope="module")
def slow() -> Iterator[Emulator]:
    with serving(WORLD, latency_s=0.05) as emulator:
        yield emulator


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return write_refs(tmp_path / "refs", WORLD)


def begin(emulator: Emulator, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    return start("fetch", *arguments, env=environment(emulator.endpoint_url), **options)


def go_on(emulator: Emulator, refs: Path, out: Path) -> Done:
    return finish(begin(emulator, refs, "-o", out, "--resume"))


def assert_complete(out: Path) -> None:
    arns = [each["arn"] for each in records(out)]
    assert sorted(arns) == sorted(arn for arn, _ in WORLD.refs())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_lines_a_true_count_and_the_way_on(
    slow: Emulator, many: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out put"
    process = begin(slow, many, "-o", out, "--max-executions", "8")
    wait_for_lines(out, process, 10)
    process.send_signal(number)
    done = finish(process)
    complete = len(records(out))
    assert done.code == 128 + number
    assert done.err.splitlines()[0] == (
        f"200 requested = {complete} complete + 0 failed + {200 - complete} not attempted"
    )
    assert f"fetch {many} -o '{out}' --max-executions 8 --resume" in done.err.splitlines()[-1]
    done = go_on(slow, many, out)
    assert done.code == 0
    assert f"200 requested = {complete} already there + {200 - complete} complete" in done.err
    assert_complete(out)


HURRIES = 30 if os.environ.get("DURASTATE_LONG") else 3


PAUSES_S = (0.005, 0.0005, 0.02, 0.05)


@pytest.mark.parametrize("number", range(HURRIES))
def test_whoever_cannot_wait_still_gets_the_count_and_the_way_on(
    slow: Emulator, many: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    process = begin(slow, many, "-o", out, "--max-executions", "8")
    wait_for_lines(out, process, 10)
    pause = threading.Event()
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        pause.wait(PAUSES_S[number % len(PAUSES_S)])
    done = finish(process)
    complete = len(records(out))
    said = done.err.splitlines()
    assert done.code == 130, done.err
    assert said[0].startswith(f"200 requested = {complete} complete + 0 failed + ")
    assert (said[-2], said[-1][-8:]) == ("durastate: interrupted", "--resume")
    assert len(said) == 4, done.err  # no traceback, no coroutine that was never awaited


@pytest.mark.parametrize(
    ("command", "rest"), [("fetch", ("--max-executions", "8")), ("audit", ("--rate", "100"))]
)
def test_what_a_script_runs_in_the_background_lets_its_ctrl_c_pass(
    slow: Emulator, many: Path, tmp_path: Path, command: str, rest: tuple[str, str]
) -> None:
    def in_the_background() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    slow.log.clear()
    given = ("--from", many) if command == "audit" else (many,)
    process = start(
        *(command, *given, "-o", tmp_path / "out", *rest),
        env=environment(slow.endpoint_url),
        preexec_fn=in_the_background,
    )
    wait_until(lambda: len(slow.log) > 20, process)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 0, done.err
    assert "Finishing" not in done.err
    assert " 0 failed + 0 not attempted\n" in done.out + done.err


ARN = WORLD.arn(0)
COMMANDS = {
    "get": ("get", ARN, "--token-env", "THE_TOKEN"),
    "show": ("show", ARN),
    "fetch": ("fetch", "refs", "-o", "out"),
    "audit": ("audit", "order-flow", "-o", "out"),
    "plan": ("audit", ARN, "--plan", "--endpoint-url", "http://127.0.0.1:9"),
}


def hanging_credentials(folder: Path) -> dict[str, str]:
    """The settings of a process that waits for ever for its credential_process to answer."""
    os.mkfifo(folder / "never")
    script = folder / "credentials"
    script.write_text(f"#!/bin/sh\necho $$ > {folder}/pid\nread answer < {folder}/never\n")
    script.chmod(0o700)
    (folder / "config").write_text(f"[default]\ncredential_process = {script}\n")
    settings = environment("http://127.0.0.1:9", AWS_CONFIG_FILE=str(folder / "config"))
    for name in (*KEYS, "AWS_ENDPOINT_URL_LAMBDA"):
        del settings[name]
    return settings | {"THE_TOKEN": WORLD.token(0)}


def is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("command", "number", "word"),
    [
        ("get", signal.SIGINT, "interrupted"),
        ("show", signal.SIGTERM, "terminated"),
        ("fetch", signal.SIGINT, "interrupted"),
        ("audit", signal.SIGTERM, "terminated"),
        ("plan", signal.SIGINT, "interrupted"),
    ],
)
def test_credentials_that_never_come_can_be_interrupted_and_are_not_left_waiting(
    many: Path, tmp_path: Path, command: str, number: signal.Signals, word: str
) -> None:
    said = tmp_path / "pid"
    process = start(*COMMANDS[command], env=hanging_credentials(tmp_path), cwd=tmp_path)
    wait_until(lambda: said.exists() and said.read_text().endswith("\n"), process)
    process.send_signal(number)
    done = finish(process)
    assert (done.code, done.out) == (128 + number, "")
    assert f"durastate: {word}" in done.err.splitlines()
    assert "Traceback" not in done.err
    assert command not in ("fetch", "audit") or f"durastate {command} " in done.err  # how to go on
    assert not is_running(said.read_text())


def test_ctrl_c_at_the_prompt_for_a_code_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = keys\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/somebody\n"
        "[profile keys]\naws_access_key_id = AKIDKEYS\naws_secret_access_key = secret\n"
    )
    settings = environment("http://127.0.0.1:9", AWS_CONFIG_FILE=str(tmp_path / "config"))
    for name in KEYS:
        del settings[name]
    terminal, theirs = pty.openpty()
    process = start(
        *("show", ARN),
        env=settings,
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    said = b""
    while b"MFA code" not in said:
        said += os.read(terminal, 1_000)
    assert not echoes(terminal)
    os.write(terminal, b"\x03")
    assert process.wait(30) == 130
    assert echoes(terminal)
    assert b"durastate: interrupted" in os.read(terminal, 1_000)
    os.close(terminal)
    os.close(theirs)


def echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def test_a_pipe_that_says_no_more_can_be_interrupted(
    slow: Emulator, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = begin(slow, "-", "-o", out, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"".join(many.read_bytes().splitlines(keepends=True)[:3]))
    process.stdin.flush()
    wait_for_lines(out, process, 3)
    process.send_signal(signal.SIGINT)
    process.wait(10)
    done = finish(process)
    assert (done.code, len(records(out))) == (130, 3)
    assert "3 requested = 3 complete + 0 failed + 0 not attempted" in done.err
    assert "with the same references on stdin" in done.err


def test_after_a_kill_resume_goes_on(slow: Emulator, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = begin(slow, many, "-o", out, "--max-executions", "8")
    wait_for_lines(out, process, 10)
    process.kill()
    finish(process)
    assert go_on(slow, many, out).code == 0
    assert_complete(out)


def test_a_full_disk_is_one_clear_line_and_whole_lines(
    slow: Emulator, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    limit = 100_000

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = finish(begin(slow, many, "-o", out, preexec_fn=small_disk))
    complete = len(records(out))
    assert (done.code, 0 < complete < 200) == (255, True)
    assert f"{complete} complete + 0 failed + {200 - complete} not attempted" in done.err
    assert "cannot write" in done.err
    assert "Traceback" not in done.err
    assert go_on(slow, many, out).code == 0
    assert_complete(out)


def test_a_disk_too_full_for_the_failures_ends_the_run_too(slow: Emulator, tmp_path: Path) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    arn, token = next(iter(WORLD.refs()))
    good = json.dumps({"arn": arn, "checkpoint_token": token})
    (tmp_path / "refs").write_text(f"{good}\n" + "no json\n" * 1_000)
    done = finish(begin(slow, tmp_path / "refs", "-o", tmp_path / "out", preexec_fn=small_disk))
    failures = len(records(tmp_path / "out.failures.jsonl"))
    assert (done.code, 0 < failures < 1_000) == (255, True)
    assert f"0 complete + {failures + 1} failed + {1_000 - failures} not attempted" in done.err
    assert "cannot write" in done.err


def test_a_service_that_goes_away_for_good_ends_the_run_and_fails_nothing(
    many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    limited = ("-o", out, "--max-executions", "8", "--outage-limit", "0.5", "--stat")
    with serving(WORLD, latency_s=0.05) as emulator:
        process = begin(emulator, many, *limited)
        wait_for_lines(out, process, 10)
    done = finish(process)
    complete = len(records(out))
    assert (done.code, 10 <= complete < 200) == (254, True)
    said = done.err.splitlines()
    assert f"{complete} complete + 0 failed + {200 - complete} not attempted" in done.err
    assert said[0].startswith("The service has gone away; waiting for it: ")
    assert "Paused" not in done.err  # nor a second time, by Python's logging
    assert re.search(r"^  outages +[1-9]", done.err, re.MULTILINE)  # each of eight waited
    assert said[-2].startswith("durastate: no answer for 0.5 s (--outage-limit)")
    assert said[-1].startswith("To resume: durastate fetch ")
    assert said[-1].endswith("--resume")
    assert not (tmp_path / "out.failures.jsonl").exists()


def test_a_service_that_comes_back_is_waited_for(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(WORLD, latency_s=0.05) as emulator:
        process = begin(emulator, many, "-o", out, "--max-executions", "8")
        wait_for_lines(out, process, 10)
        port = int(emulator.endpoint_url.rpartition(":")[2])
    with serving(WORLD, port=port):
        done = finish(process)
    assert done.code == 0
    assert "200 requested = 200 complete + 0 failed + 0 not attempted" in done.err
    assert "The service answers again, after " in done.err
    assert_complete(out)


def test_no_token_is_in_the_list_of_processes(slow: Emulator, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = begin(slow, many, "-o", out, "--max-executions", "8")
    wait_for_lines(out, process, 1)
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    process.send_signal(signal.SIGINT)
    finish(process)
    assert not [token for _, token in WORLD.refs() if token.encode() in arguments]


def test_a_reader_that_goes_away_is_no_traceback(slow: Emulator, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environ = environment(slow.endpoint_url) | {"THE_TOKEN": WORLD.token(0)}
    process = start(
        *("get", WORLD.arn(0), "--token-env", "THE_TOKEN", "--output", "jsonl"),
        env=environ,
        stdout=writing,
    )
    os.close(writing)
    done_err = process.communicate(timeout=30)[1]
    assert (process.returncode, done_err) == (255, b"")
