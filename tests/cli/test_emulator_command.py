"""`durastate emulator`: a service for people; what it prints works."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import click
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from durastate.cli.emulator import fault_plan
from durastate.emulator import Emulator, FaultKind, FaultPlan, World

from .conftest import Invoke
from .support import environment, finish, mode, records, start


@contextmanager
def running(*arguments: str | Path) -> Iterator[str]:
    """The command in a process; what it printed. It ends with Ctrl-C, and well."""
    process = start("emulator", *arguments, env=environment("") | {"AWS_PROFILE": "nobody"})
    assert process.stdout is not None
    printed = b""
    while b"durastate fetch" not in printed:
        piece = os.read(process.stdout.fileno(), 10_000)
        assert piece, process.communicate()
        printed += piece
    try:
        yield printed.decode()
    finally:
        process.send_signal(signal.SIGINT)
        done = finish(process)
    assert (done.code, done.out.strip()) == (0, "")
    assert re.fullmatch(r"durastate: ended after [\d,]+ requests\n", done.err)


def tried(
    printed: str, directory: Path, *more: str, line: int = -1
) -> subprocess.CompletedProcess[str]:
    """What happens when a person puts the printed lines into a shell."""
    lines = [line for line in printed.splitlines() if line.startswith(("unset", "export"))]
    command = [each for each in printed.splitlines() if each.startswith("durastate ")][line]
    env = environment("http://nowhere") | {
        "AWS_PROFILE": "nobody",
        "AWS_SESSION_TOKEN": "old",
        "AWS_MAX_ATTEMPTS": "10",  # three may all be throttled
    }
    function = 'durastate() { "$PYTHON" -m durastate.cli "$@"; }'
    script = "\n".join([function, *lines, " ".join([command, *more])])
    return subprocess.run(
        ["/bin/bash", "-euc", script],
        env=env | {"PYTHON": sys.executable},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_lines_to_try_work(tmp_path: Path) -> None:
    with running("--executions", "40") as printed:
        done = tried(printed, tmp_path)
        audited = tried(printed, tmp_path, line=0)
    assert (done.returncode, len(records(tmp_path / "states.jsonl"))) == (0, 40), done.stderr
    assert re.match("[1-9][0-9]* found = 0 read before", audited.stdout), audited.stderr


def test_references_in_a_temporary_file_go_away_with_it() -> None:
    with running("--executions", "2") as printed:
        (refs,) = re.findall(r"durastate fetch (\S+)", printed)
        assert mode(Path(refs)) == "600"
    assert not Path(refs).exists()


def test_every_option_shapes_the_service(tmp_path: Path) -> None:
    refs = tmp_path / "my refs.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ("--port", port, "--executions", "7", "--operations", "5", "--seed", "9")
    with running(*options, "--latency", "0.3", "--rate", "3", "--write-refs", refs) as printed:
        assert f"Serving 7 made-up executions at http://127.0.0.1:{port} until Ctrl-C." in printed
        started = time.monotonic()
        done = tried(printed, tmp_path)
        took = time.monotonic() - started
    world = World(seed=9, executions=7, operations=5)
    written = {each["arn"]: each["operations"] for each in records(tmp_path / "states.jsonl")}
    assert done.returncode == 0, done.stderr
    assert written == {world.arn(index): world.visible_operations(index) for index in range(7)}
    assert [(each["arn"], each["checkpoint_token"]) for each in records(refs)] == [*world.refs()]
    assert mode(refs) == "600"
    assert took > 0.3
    assert not re.search(r" 0 throttled", done.stderr)


def test_the_executions_can_be_of_many_functions_and_of_the_statuses_asked_for() -> None:
    world = ("--executions", "40", "--functions", "6", "--versions", "2")
    shares = ("--statuses", "FAILED=3,RUNNING=0", "--first-start", "2026-07-01T08:00Z")
    with running(*world, *shares) as printed:
        assert "order-flow, invoice-run, nightly_reconciliation, claims and 2 more" in printed
        assert "versions: 7, $LATEST\n" in printed
        rows = asked_of(printed, "list_durable_executions_by_function", FunctionName="function-5")
    assert [row["Status"] for row in rows["DurableExecutions"]] == ["FAILED"] * 6
    oldest = rows["DurableExecutions"][-1]
    first = datetime(2026, 7, 1, 8, 0, tzinfo=UTC)
    assert oldest["StartTimestamp"] == first + timedelta(seconds=5 * 37.5)


def test_each_call_can_be_throttled_by_itself() -> None:
    rates = ("--history-rate", "0.001", "--get-rate", "0.002", "--list-rate", "0.003")
    arn = World(executions=1).arn(0)
    with running("--executions", "1", *rates) as printed:
        for call, name, value in (
            ("get_durable_execution_history", "DurableExecutionArn", arn),
            ("get_durable_execution", "DurableExecutionArn", arn),
            ("list_durable_executions_by_function", "FunctionName", "order-flow"),
        ):
            assert asked_of(printed, call, **{name: value})
            with pytest.raises(ClientError, match="TooManyRequestsException"):
                asked_of(printed, call, **{name: value})


def asked_of(printed: str, call: str, **arguments: str) -> Any:
    """What plain botocore gets, once, with what the command printed for the environment."""
    given = dict(re.findall(r"(AWS_\w+)=(\S+)", printed))
    session = botocore.session.Session()
    client = session.create_client(
        "lambda",
        region_name=given["AWS_REGION"],
        endpoint_url=given["AWS_ENDPOINT_URL_LAMBDA"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        return getattr(client, call)(**arguments)
    finally:
        client.close()


@pytest.mark.parametrize(
    "option",
    [
        ("--statuses", "DONE=1"),
        ("--statuses", "RUNNING"),
        ("--statuses", "RUNNING=0"),
        ("--statuses", "FAILED=-1,RUNNING=2"),
        ("--statuses", "FAILED=inf"),
        ("--statuses", "FAILED=1,FAILED=2"),
        ("--first-start", "yesterday"),
        ("--functions", "0"),
        ("--versions", "0"),
    ],
)
def test_a_world_that_cannot_be_is_a_usage_error(invoke: Invoke, option: tuple[str, str]) -> None:
    done = invoke("emulator", *option)
    assert (done.code, done.out) == (252, "")
    assert option[0] in done.err


def test_faults_break_executions(tmp_path: Path) -> None:
    with running("--executions", "40", "--operations", "3", "--faults", "demo") as printed:
        # A broken execution would be asked for ten times, with pauses.
        done = tried(
            printed.replace("\nexport ", "\nexport AWS_MAX_ATTEMPTS=2\nexport ", 1), tmp_path
        )
    assert done.returncode == 2
    assert "40 requested = 28 complete + 12 failed + 0 not attempted" in done.stderr


WORLD = World(seed=5, executions=20)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("none", FaultPlan(seed=5)),
        ("demo", FaultPlan.demo(WORLD)),
        ("0.25", FaultPlan(seed=5, rate=0.25)),
        (
            "reset,throttle:0.1",
            FaultPlan(seed=5, rate=0.1, kinds=(FaultKind.RESET, FaultKind.THROTTLE)),
        ),
    ],
)
def test_faults_are_a_plan(text: str, plan: FaultPlan) -> None:
    assert fault_plan(text, WORLD) == plan


def test_the_help_says_every_kind_of_fault_and_what_it_does(invoke: Invoke) -> None:
    listed = " ".join(invoke("emulator", "--help").out.partition("Kinds of --faults:")[2].split())
    assert [kind for kind in FaultKind if f"{kind} {kind.about}." not in listed] == []


@pytest.mark.parametrize("text", ["", "1.5", "-1", "nan", "reset", "nonsense:0.1", ":0.1"])
def test_what_is_no_plan_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.UsageError):
        fault_plan(text, WORLD)


def test_references_are_not_written_over_a_file(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert invoke("emulator", "--write-refs", tmp_path / "mine").code == 252
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_port_in_use_is_one_clear_line(invoke: Invoke, service: Emulator) -> None:
    done = invoke("emulator", "--port", service.endpoint_url.rpartition(":")[2])
    assert (done.code, done.out) == (255, "")
    assert done.err == "durastate: cannot listen on 127.0.0.1: Address already in use\n"


def test_references_of_a_service_that_did_not_start_are_not_in_the_way(
    invoke: Invoke, service: Emulator, tmp_path: Path
) -> None:
    port = service.endpoint_url.rpartition(":")[2]
    assert invoke("emulator", "--port", port, "--write-refs", tmp_path / "refs").code == 255
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_of_references_is_removed(tmp_path: Path) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    process = start(
        *("emulator", "--executions", "2000", "--write-refs", tmp_path / "refs"),
        env=environment(""),
        preexec_fn=small_disk,
    )
    done = finish(process)
    assert (done.code, "cannot write" in done.err) == (255, True)
    assert list(tmp_path.iterdir()) == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


def test_a_running_service_keeps_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from durastate.cli import emulator as command

    monkeypatch.setattr(command, "_LOG_EVERY_S", 0.01)

    async def serve() -> int:
        served = Emulator(World(executions=1))
        serving = asyncio.create_task(command._serve(served, Path("refs"), 1))
        await until(lambda: bool(served.endpoint_url))
        async with served.session().create_client(
            "lambda", region_name="eu-west-1", endpoint_url=served.endpoint_url
        ) as client:
            await client.get_durable_execution_state(
                DurableExecutionArn=served.world.arn(0), CheckpointToken=served.world.token(0)
            )
        await until(lambda: len(served.log) == 0)
        os.kill(os.getpid(), signal.SIGTERM)
        return await serving

    assert asyncio.run(serve()) == 1
