"""docs/emulator.md: its lines point the command at ministack, which leaves nothing behind."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli.support import environment
from docs.page import ROOT, blocks
from docs.test_command_page import DURASTATE

from .peer import every_kind, running_ministack
from .test_peer import listens

PAGE = ROOT / "docs" / "emulator.md"
THE_PAGES = "http://127.0.0.1:4566"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """The loop serves nobody meanwhile."""


@pytest.mark.asyncio
async def test_the_lines_read_what_it_holds_and_it_ends_with_its_context(tmp_path: Path) -> None:
    (lines,) = [each.code for each in blocks(PAGE, "sh") if THE_PAGES in each.code]
    async with running_ministack() as server:
        written = await server.write("every-kind", every_kind)
        (tmp_path / "token.txt").write_text(written.token)
        script = DURASTATE + lines.replace(THE_PAGES, server.endpoint_url)
        env = environment("") | {"FUNCTION": "every-kind", "EXECUTION": written.arn}
        done = await asyncio.to_thread(
            subprocess.run,
            ["/bin/bash", "-euc", script],
            env=env | {"PYTHON": sys.executable},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert not await listens(server.endpoint_url)
    assert not server.folder.exists()
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"^RUNNING, (\d+) operations from (\w+)", done.stdout, re.MULTILINE)
    (of_state, state), (of_history, history) = counts
    assert (int(of_state), state, history) == (written.count, "state", "history")
    assert int(of_history) < int(of_state)  # as the page says
    assert "1 found = 0 read before + 1 read + 0 failed + 0 not attempted\n" in done.stdout
    assert "failed ü" in done.stdout
