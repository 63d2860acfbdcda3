"""The command line as such: help, exit codes, completion, and how quickly it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from durastate import DurastateError
from durastate.cli.app import commands
from durastate.cli.ending import message_of
from durastate.emulator import World

from .conftest import Invoke
from .support import environment, finish, start

ARN = World().arn(0)
COMMANDS = sorted(commands.commands)


def test_these_are_the_commands() -> None:
    assert COMMANDS == [
        "audit",
        "completion",
        "demo",
        "emulator",
        "fetch",
        "get",
        "policy",
        "query",
        "show",
        "verify",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(invoke: Invoke, name: str) -> None:
    done = invoke(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert re.search(rf"Examples?:\n +.*durastate {name}\b", done.out)


@pytest.mark.parametrize("columns", [40, 80])
def test_help_is_as_wide_as_the_terminal(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    widest = max(map(len, invoke("show", "-h").out.splitlines()))
    assert columns - 10 < widest < columns


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    options = [each for each in commands.commands[name].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []


def test_version(invoke: Invoke) -> None:
    assert re.fullmatch(r"durastate, version \d+\.\d+\.\d+\n", invoke("--version").out)


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("fetch",), ("get",)])
def test_what_is_no_command_is_a_usage_error(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    done = invoke(*arguments)
    assert (done.code, done.out) == (252, "")
    assert "Usage: durastate" in done.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("SECRET"), 255, "unexpected ValueError at .*test_app.py"),
        (OSError(28, "No space left on device"), 255, "No space left on device"),
    ],
)
def test_every_other_end_is_one_line_and_a_code(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(commands.commands["emulator"], "callback", fail)
    done = invoke("emulator")
    said_after_ctrl_c = done.err.lstrip()  # click ends the terminal's line first
    assert (done.code, len(said_after_ctrl_c.splitlines())) == (code, 1)
    assert re.match(f"durastate: {said}", said_after_ctrl_c)
    assert "SECRET" not in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(invoke: Invoke, shell: str) -> None:
    done = invoke("completion", shell)
    assert done.code == 0
    assert f"_DURASTATE_COMPLETE={shell}_complete" in done.out


def test_without_its_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('no', name='click')")
    env = environment("")
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"
    done = finish(start("--help", env=env))
    assert (done.code, "pip install '.[cli]' in durastate's clone" in done.err) == (255, True)


SAID = {
    "region_name: none is configured, and a key has none either": "--region",
    "no credentials found: set AWS_PROFILE, or pass profile_name or session": "--profile",
    "no answer for outage_limit_s=0.5 s, so the run ends here": "--outage-limit",
    "nothing but throttling for outage_limit_s=300 s, so": "--outage-limit",
    "HTTP 429: no message. Lower Limits.rates or Limits.quota_share, or ask AWS": "--rate",
    "more than max_state_bytes=5 after 2 pages. stream_pages, iter_pages and iter_history read "
    "it in parts": "5 bytes",
}


@pytest.mark.parametrize("text", SAID)
def test_what_the_library_says_names_the_commands_own_options(text: str) -> None:
    said = message_of(DurastateError(text))
    assert SAID[text] in said
    assert not re.search(r"[a-z]_[a-z]|Limits", said)


def test_a_name_that_looks_like_an_argument_stays_as_it_is() -> None:
    text = "GetDurableExecution of arn:aws:lambda:eu-west-1:1:function:outage_limit_s: max_items"
    assert message_of(DurastateError(text)) == text


def test_what_libraries_log_does_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile corp]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = R\n"
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://x.awsapps.com/start\n"
    )
    env = environment("", AWS_CONFIG_FILE=str(tmp_path / "config"), HOME=str(tmp_path))
    done = finish(start("show", ARN, "--profile", "corp", env=env))
    assert (done.code, done.out) == (253, "")
    assert done.err == (
        "durastate: the SSO login of the profile 'corp' is missing or has expired: run "
        "`aws sso login --profile corp`\n"
    )


def test_the_package_runs_as_the_command() -> None:
    done = finish(start("--version", env=environment(""), program=("-m", "durastate")))
    assert (done.code, done.out.split(",")[0]) == (0, "durastate")


@pytest.mark.parametrize("arguments", [["--help"], ["fetch", "--help"], ["query", "--help"]])
def test_help_loads_nothing_that_it_does_not_need(arguments: list[str]) -> None:
    # How long that takes is measured by `python -m benchmarks imports`.
    code = (
        f"import sys; sys.argv[1:] = {arguments}\n"
        "from durastate.cli.app import run\nrun()\nprint('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(""), stdout=-1, text=True, check=True
    )
    loaded = set(done.stdout.partition("LOADED")[2].split())
    heavy = {
        "asyncio",
        "orjson",
        "rich",
        "aiobotocore",
        "botocore",
        "aiohttp",
        "yarl",
        "durastate.emulator",
    }
    heavy |= {"pyarrow", "duckdb", "durastate.audit"}
    assert not loaded & heavy
    assert {name for name in loaded if name.startswith("durastate.cli.")} == {
        f"durastate.cli.{name}" for name in ("app", "completing", "ending", "options", "streams")
    }
