"""docs/emulator.md: its lines start AWS's emulator, and point the command at it."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from cli.support import environment, wait_until
from docs.page import ROOT, blocks
from docs.test_command_page import DURASTATE

from .peer import HeldExecution

PAGE = ROOT / "docs" / "emulator.md"
THE_PAGES = "http://127.0.0.1:5000"
RUNNER = (
    "import sys; from aws_durable_execution_sdk_python_testing.cli import main; sys.exit(main())"
)


def test_the_lines_read_executions_of_real_functions(
    held_executions: dict[str, HeldExecution], tmp_path: Path
) -> None:
    held = held_executions["contexts"]
    (lines,) = [each.code for each in blocks(PAGE, "sh") if THE_PAGES in each.code]
    script = DURASTATE + lines.replace(THE_PAGES, held.endpoint_url)
    env = environment("") | {"FUNCTION": held.name, "EXECUTION": held.arn, "PYTHON": sys.executable}
    done = subprocess.run(
        ["/bin/bash", "-euc", script], env=env, cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode().count("\n")) == (0, 4)  # the plan
    out = done.stdout.decode()
    assert out.startswith("1 found = 0 read before + 1 read + 0 failed + 0 not attempted\n")
    assert out.count(f"\n{held.arn}\n") == 2
    assert "PaymentDeclined" in out


def test_the_line_starts_it(tmp_path: Path) -> None:
    (line,) = [
        line
        for each in blocks(PAGE, "text")
        for line in each.code.splitlines()
        if line.startswith("dex-local-runner ")
    ]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = shlex.split(line.replace("--port 5000", f"--port {port}"))[1:]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", RUNNER, *words],
            stdout=log,
            stderr=log,
            env=os.environ | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"},
            cwd=tmp_path,
        )
    try:
        wait_until(lambda: b"Server started" in (tmp_path / "log").read_bytes(), server)
        socket.create_connection(("127.0.0.1", port)).close()
    finally:
        server.kill()
        server.wait()
