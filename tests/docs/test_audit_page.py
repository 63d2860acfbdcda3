"""docs/audit.md: its lines run over an audit, and it describes every column."""

from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from audit.support import failure, row, state, step

from durastate.audit import SCHEMA_VERSION, Store
from durastate.audit.query import query
from durastate.audit.schema import COLUMNS, PAYLOADS, TABLES
from durastate.emulator import Call, Emulator

from .page import ROOT, blocks, run
from .test_command_page import in_shell

PAGE = ROOT / "docs" / "audit.md"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """The page's reader has no event loop; that its code runs on one here is the runner's way."""


@pytest.fixture
def audited(here: Path) -> Path:
    """`audit` in the working directory, as the page takes it to be."""
    with Store.open(here / "audit") as store:
        for number in range(3):
            failed = step(9, Status="FAILED", StepDetails={"Error": {"ErrorType": "Bad"}})
            store.add(row(number, "RUNNING"), state(number, [*map(step, range(4)), failed]))
        store.fail(row(9), failure())
        store.finish(complete=True)
    return here


@pytest.mark.asyncio
async def test_every_line_for_a_shell_does_what_it_says(
    audited: Path, in_environment: Emulator
) -> None:
    script = "".join(block.code for block in blocks(PAGE, "sh"))
    env = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")}
    done = await in_shell(script, env, audited)
    assert done.returncode == 0, done.stderr
    for part in ("RUNNING", "As it was written", "Reading takes about", "+ 0 not attempted"):
        assert part in done.stdout
    with query(audited / "running", "select distinct status from executions") as answer:
        statuses = {each["status"] for batch in answer for each in batch.to_pylist()}
    assert statuses == {"RUNNING", "FAILED"}
    for call in (Call.LIST, Call.HISTORY):
        assert call in in_environment.log.per_call()
    retried = list(csv.reader((audited / "retried.csv").read_text().splitlines()))
    assert retried[1:] == [[f"order-{number}", "step 2", "3"] for number in range(3)]


def test_the_questions_have_their_answers(audited: Path) -> None:
    block = blocks(PAGE, "text")[-1]
    answers = []
    for sql in block.code.split(";")[:-1]:
        with query(audited / "audit", sql) as answer:
            answers.append([tuple(each.values()) for batch in answer for each in batch.to_pylist()])
    running, failing, retrying = answers
    assert {name for name, _ in running} == {"order-0", "order-1", "order-2"}
    assert [(kind, count) for kind, count, _ in failing] == [("Bad", 3)]
    assert retrying[0] == ("orders", "step 2", 3)


@pytest.mark.asyncio
async def test_the_python_reads_the_files_of_the_manifest(
    audited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await run("docs/audit.md")
    assert re.fullmatch(r"operations-\d+\.parquet 15\n", capsys.readouterr().out)


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_on_the_page_and_no_other(table: Any) -> None:
    text = PAGE.read_text(encoding="utf-8").partition(f"\n### {table}\n")[2].partition("\n#")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    described = re.findall(r"`(\w+)`", "".join(cells))
    assert described == [each.name for each in COLUMNS[table]]


def test_the_page_says_the_version_and_the_modes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"Schema version {SCHEMA_VERSION};" in text
    assert all(f"| `{mode}`" in text for mode in PAYLOADS)
