"""docs/command.md: its lines run in a shell, and no command or option is missing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from durastate import ExecutionRef
from durastate.cli.app import commands
from durastate.emulator import Emulator

from .page import ROOT, blocks

PAGE = ROOT / "docs" / "command.md"
DURASTATE = 'durastate() { "$PYTHON" -m durastate.cli "$@"; }\n'


@pytest.mark.asyncio
async def test_every_line_for_a_shell_does_what_it_says(
    in_environment: Emulator, refs: list[ExecutionRef], tmp_path: Path
) -> None:
    lines = [{"arn": ref.arn, "checkpoint_token": ref.checkpoint_token} for ref in refs]
    (tmp_path / "refs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    token = refs[0].checkpoint_token or ""
    (tmp_path / "token.txt").write_text(token)
    script = "".join(block.code for block in blocks(PAGE, "sh") if "demo" not in block.code)
    env = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")}
    done = await in_shell(script, env | {"ARN": refs[0].arn, "TOKEN": token}, tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"{len(refs)} requested = {len(refs)} already there" in done.stderr
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["operations"] == in_environment.world.visible_operations(0)
    for name in ("states.jsonl", "sizes.jsonl"):
        written = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert {record["arn"] for record in written} == {ref.arn for ref in refs}
    assert {record["payloads"] for record in written} == {"size"}


async def in_shell(
    script: str, env: dict[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """What a shell makes of `script`, while this loop serves."""
    command = ["/bin/bash", "-euc", DURASTATE + script]
    return await asyncio.to_thread(
        subprocess.run, command, env=env, cwd=directory, capture_output=True, text=True, check=False
    )


def test_every_command_and_option_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    options = [
        option.opts[-1]
        for command in commands.commands.values()
        for option in command.params
        if isinstance(option, click.Option)
    ]
    wanted = [*(f"durastate {name}" for name in commands.commands), *options]
    assert [words for words in wanted if words not in text] == []
