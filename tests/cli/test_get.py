"""`durastate get`: where the token comes from, what is printed, how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from durastate.emulator import Emulator

from .conftest import Invoke
from .support import environment, finish, start


@pytest.fixture
def arn(service: Emulator) -> str:
    return service.world.arn(1)


def test_the_token_from_a_file(invoke: Invoke, arn: str, token: Path) -> None:
    done = invoke("get", arn, "--token-file", token)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(arn)


def test_the_token_from_the_environment(
    invoke: Invoke, arn: str, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_TOKEN", token.read_text())
    assert invoke("get", arn, "--token-env", "THE_TOKEN").code == 0


def test_the_token_from_stdin(invoke: Invoke, arn: str, token: Path) -> None:
    assert invoke("get", arn, "--token", "-", stdin=token.read_text()).code == 0


def test_a_token_typed_on_a_terminal_is_not_shown(
    service: Emulator, arn: str, token: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    process = start(
        *("get", arn, "--token", "-", "--output", "jsonl"),
        env=environment(service.endpoint_url),
        stdin=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    while b"token: " not in shown:
        shown += os.read(ours, 1_000)
    os.write(ours, token.read_bytes())
    out, _ = process.communicate(timeout=30)
    shown += os.read(ours, 1_000)
    os.close(ours)
    assert (process.returncode, len(out.splitlines())) == (0, 9)
    assert token.read_bytes().strip() not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--token", "SECRET"),
        ("--token", "-", "--token-env", "SECRET"),
        ("--token-env", "SECRETtoken"),
        ("--token-file", "SECRET"),
        ("--token", "-"),
    ],
)
def test_no_token_is_a_usage_error_that_repeats_nothing(
    invoke: Invoke, arn: str, arguments: tuple[str, ...]
) -> None:
    done = invoke("get", arn, *arguments)
    assert (done.code, done.out) == (252, "")
    assert "SECRET" not in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--token-env", "NOPE"), "--token-env: NOPE is not set"),
        (("--token-env", "BLANK"), "--token-env: BLANK is empty"),
        (("--token-env", "c2VjcmV0"), "--token-env: the variable that was named is not set"),
        (("--token-file", "/dev/null"), "--token-file: the file is empty"),
        (("--token", "-"), "--token -: there is no token on stdin"),
    ],
)
def test_where_there_is_no_token_is_said(
    invoke: Invoke,
    arn: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv("BLANK", " ")
    done = invoke("get", arn, *arguments)
    assert (done.code, said in done.err) == (252, True)


@pytest.mark.parametrize("place", ["file", "stdin", "environment"])
def test_what_cannot_be_a_token_is_a_usage_error_that_repeats_nothing(
    arn: str, tmp_path: Path, place: str
) -> None:
    wrong = b"SECRET\xff\n"
    (tmp_path / "token").write_bytes(wrong)
    arguments = {
        "file": ("--token-file", str(tmp_path / "token")),
        "stdin": ("--token", "-"),
        "environment": ("--token-env", "THE_TOKEN"),
    }
    env = environment("http://nowhere", PYTHONIOENCODING="utf-8:strict", THE_TOKEN="SECRET\u00e9")
    process = start("get", arn, *arguments[place], env=env, stdin=subprocess.PIPE)
    done = finish(process, wrong)
    assert (done.code, done.out) == (252, "")
    assert "holds something else than a token" in done.err
    assert "SECRET" not in done.err


@pytest.mark.parametrize("wrong", [b"SE\0CRET", b"SECRET\nSECRET", b"SECRET" * 9_999, None])
def test_a_token_has_one_line_of_bounded_length(
    invoke: Invoke, arn: str, tmp_path: Path, wrong: bytes | None
) -> None:
    """A device without an end is not read to it."""
    (tmp_path / "token").write_bytes(wrong or b"")
    file = tmp_path / "token" if wrong else Path("/dev/zero")
    done = invoke("get", arn, "--token-file", file)
    assert (done.code, done.out) == (252, "")
    assert "holds something else than a token" in done.err
    assert "SECRET" not in done.err
    if wrong and b"\n" not in wrong:
        assert invoke("get", arn, "--token", "-", stdin=wrong.decode()).err == done.err


def test_a_token_may_follow_a_byte_order_mark(invoke: Invoke, arn: str, token: Path) -> None:
    token.write_bytes(b"\xef\xbb\xbf" + token.read_bytes())
    assert invoke("get", arn, "--token-file", token).code == 0


def test_a_table_shows_no_payload(invoke: Invoke, service: Emulator, arn: str, token: Path) -> None:
    done = invoke("get", arn, "--token-file", token, "--output", "table")
    held = service.world.visible_operations(1)
    assert len(done.out.splitlines()) == len(held) + 4
    assert held[0]["ExecutionDetails"]["InputPayload"] not in done.out


def test_json_is_the_whole_state(invoke: Invoke, service: Emulator, arn: str, token: Path) -> None:
    done = invoke("get", arn, "--token-file", token, "--output", "json")
    assert json.loads(done.out) == {
        "arn": arn,
        "source": "state",
        "operations": service.world.visible_operations(1),
    }


def test_jsonl_is_an_operation_a_line(
    invoke: Invoke, service: Emulator, arn: str, token: Path
) -> None:
    done = invoke("get", arn, "--token-file", token, "--output", "jsonl")
    assert list(map(json.loads, done.out.splitlines())) == service.world.visible_operations(1)


def test_a_refused_token_is_the_services_error(invoke: Invoke, arn: str) -> None:
    done = invoke("get", arn, "--token", "-", stdin="AAAA")
    assert (done.code, done.out) == (254, "")
    assert "Invalid checkpoint token" in done.err
    assert "AAAA" not in done.err
    assert len(done.err.splitlines()) == 1


def test_an_unknown_execution_is_the_services_error(
    invoke: Invoke, service: Emulator, token: Path
) -> None:
    arn = service.world.arn(1).replace("run-000001", "run-999999")
    assert invoke("get", arn, "--token-file", token).code == 254


def test_what_is_no_arn_is_a_usage_error(invoke: Invoke, token: Path) -> None:
    aws = ("--endpoint-url", "https://lambda.eu-west-1.amazonaws.com")
    done = invoke("get", "nonsense", "--token-file", token, *aws)
    assert (done.code, "arn: expected" in done.err) == (252, True)


def test_what_a_service_of_ones_own_refuses_is_said_to_be_no_arn(
    invoke: Invoke, token: Path
) -> None:
    done = invoke("get", "nonsense", "--token-file", token)
    assert (done.code, len(done.err.splitlines())) == (254, 1)
    assert done.err.endswith(". What was named is not an ARN of a durable execution\n")


def test_an_arn_that_a_shell_took_the_version_from_is_not_sent(
    invoke: Invoke, service: Emulator, arn: str, token: Path
) -> None:
    done = invoke("get", re.sub(":[^:/]+/", ":/", arn), "--token-file", token)
    assert done.code == 252
    assert "the version is empty: put an ARN with $LATEST in single quotes" in done.err
    assert len(service.log) == 0
