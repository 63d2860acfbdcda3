"""Standard streams that are closed, full or unheard: work goes on, or one clear line."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from audit.support import row, state, step

from durastate.audit import Store
from durastate.cli.app import run
from durastate.emulator import Emulator, Execution, World

from .support import environment, finish, records, serving, start, write_refs

FULL = Path("/dev/full")
# Progress lines so often that a short run prints many.
OFTEN = """
import sys
from durastate.cli import progress
from durastate.cli.app import run
progress._LINE_EVERY_S = 0.01
sys.exit(run())
"""


def closed(number: int) -> dict[str, Any]:
    """What makes `start` give the command none of its stream `number`."""
    return {"preexec_fn": lambda: os.close(number)}


@contextmanager
def unheard() -> Iterator[int]:
    """The end to write to of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("state", ["closed", "full", "unheard"])
def test_a_run_of_which_nobody_hears_is_complete_all_the_same(
    service: Emulator, refs: Path, tmp_path: Path, state: str
) -> None:
    with unheard() as pipe, FULL.open("wb") as full:
        options = {"closed": closed(2), "full": {"stderr": full}, "unheard": {"stderr": pipe}}
        process = start(
            *("fetch", refs, "-o", tmp_path / "out"),
            env=environment(service.endpoint_url),
            **options[state],
        )
        process.communicate(timeout=30)
    assert (process.returncode, len(records(tmp_path / "out"))) == (0, 30)


def test_progress_that_nobody_hears_ends_no_run(tmp_path: Path) -> None:
    world = World(executions=20, operations=3)
    refs = write_refs(tmp_path / "refs", world)
    with serving(world, latency_s=0.05) as emulator, unheard() as pipe:
        process = start(
            *("fetch", refs, "-o", tmp_path / "out", "--max-executions", "2"),
            env=environment(emulator.endpoint_url),
            stderr=pipe,
            program=("-c", OFTEN),
        )
        process.communicate(timeout=30)
    assert (process.returncode, len(records(tmp_path / "out"))) == (0, 20)


def test_a_terminal_that_goes_away_ends_no_run(tmp_path: Path) -> None:
    world = World(executions=20, operations=3)
    refs = write_refs(tmp_path / "refs", world)
    ours, theirs = pty.openpty()
    with serving(world, latency_s=0.1) as emulator:
        process = start(
            *("fetch", refs, "-o", tmp_path / "out", "--max-executions", "2"),
            env=environment(emulator.endpoint_url, TERM="xterm"),
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while b"executions" not in shown:
            shown += os.read(ours, 10_000)
        os.close(ours)
        process.communicate(timeout=30)
    assert (process.returncode, len(records(tmp_path / "out"))) == (0, 20)


@pytest.mark.parametrize("options", [closed(2), {"stderr": subprocess.DEVNULL}])
def test_the_exit_code_needs_no_stderr(options: dict[str, Any]) -> None:
    process = start("fetch", "nothing", env=environment(""), **options)
    process.communicate(timeout=30)
    assert process.returncode == 252


@pytest.mark.parametrize(("output", "state"), [("table", "closed"), ("jsonl", "full")])
def test_results_that_cannot_be_written_are_one_clear_line(
    service: Emulator, token: Path, output: str, state: str
) -> None:
    with FULL.open("wb") as full:
        done = finish(
            start(
                *("get", service.world.arn(1), "--token-file", token, "--output", output),
                env=environment(service.endpoint_url),
                **({"stdout": full} if state == "full" else closed(1)),
            )
        )
    assert (done.code, len(done.err.splitlines())) == (255, 1)
    assert done.err.startswith("durastate: cannot write to stdout: ")


class Gone(io.TextIOWrapper):
    """A stdout whose reader has gone away, so that the first byte fails."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        super().__init__(io.FileIO(writing, "w"), "utf-8", write_through=True)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("streams") / "audit"
    with Store.open(directory) as store:
        store.add(row(1), state(1, [step(0, Name="Grüße ✓")]))
        store.finish(complete=True)
    return directory


SQL = "select name from operations"
COMMANDS = [
    "--help",
    "--version",
    "get ARN --token-file TOKEN",
    "get ARN --token-file TOKEN --output json",
    "get ARN --token-file TOKEN --output jsonl",
    "show ARN",
    "show AUDIT order-1",
    "audit order-flow --plan",
    "audit order-flow -o OUT --quiet",
    "verify AUDIT",
    "query AUDIT SQL",
    "query AUDIT SQL --format csv",
    "query AUDIT SQL --format json",
    "query AUDIT PLAN",
    "policy",
    "completion bash",
    "emulator --executions 1",
]


@pytest.fixture
def known(service: Emulator, token: Path, audited: Path, tmp_path: Path) -> dict[str, str | Path]:
    """What the words of `COMMANDS` stand for."""
    found = {"ARN": service.world.arn(1), "TOKEN": token, "AUDIT": audited, "SQL": SQL}
    return found | {"OUT": tmp_path / "out", "PLAN": f"explain {SQL}"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_gone_ends_every_command_in_silence(
    known: dict[str, str | Path],
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = [str(known.get(word, word)) for word in command.split()]
    monkeypatch.setattr(sys, "argv", ["durastate", *words])
    with Gone() as out:
        monkeypatch.setattr(sys, "stdout", out)
        code = run()
    assert (code, *capfd.readouterr()) == (255, "", "")


@pytest.mark.parametrize("command", ["get json", "get jsonl", "query json", "query csv", "policy"])
def test_what_programs_read_is_utf_8_whatever_the_locale(
    token: Path, audited: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = World(executions=1).arn(0)
    named = {"Id": "1", "Type": "STEP", "Name": "Grüße ✓", "Status": "STARTED", "StartTimestamp": 0}
    world = World(executions=0, extra={arn: Execution(token.read_text().strip(), [named])})
    name, _, output = command.partition(" ")
    words = {
        "get": ["get", arn, "--token-file", str(token), "--output", output],
        "query": ["query", str(audited), SQL, "--format", output],
        "policy": ["policy"],
    }[name]
    out = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "argv", ["durastate", *words])
    monkeypatch.setattr(sys, "stdout", out)
    with serving(world) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        assert run() == 0
    out.flush()
    written = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert ("Grüße ✓" in written) == (name != "policy")


@pytest.mark.parametrize("arguments", [("--help",), ("completion", "bash")])
def test_what_is_said_to_a_closed_stdout_is_an_error(arguments: tuple[str, ...]) -> None:
    done = finish(start(*arguments, env=environment(""), **closed(1)))
    assert (done.code, len(done.err.splitlines())) == (255, 1)
    assert done.err.endswith("Bad file descriptor\n")


def test_references_from_a_closed_stdin_are_one_clear_line(
    service: Emulator, tmp_path: Path
) -> None:
    done = finish(
        start(
            *("fetch", "-", "-o", tmp_path / "out"),
            env=environment(service.endpoint_url),
            **closed(0),
        )
    )
    assert (done.code, "durastate: cannot read stdin: " in done.err) == (255, True)
    assert not (tmp_path / "out").exists()
