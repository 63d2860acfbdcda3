"""An audit on a machine whose clock is wrong reads what the service has, and says so."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli.support import KEYS, serving

from durastate.cli.app import run
from durastate.emulator import World

EXECUTIONS = 60
EVERY_S = 600  # The newest started five minutes ago, the oldest ten hours.


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """The command writes its file on the event loop, which serves nobody else."""


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    for name, value in {**KEYS, "AWS_REGION": "eu-west-1", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def called(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["durastate", *map(str, arguments)])
        code = run()
        return code, *capsys.readouterr()

    return called


@pytest.mark.parametrize("hours", [2, -2])
def test_an_audit_goes_by_the_clock_of_the_service(
    hours: int,
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def there() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    first = there().timestamp() - EVERY_S * (EXECUTIONS - 0.5)
    world = World(
        executions=EXECUTIONS, first_start=first, every_s=EVERY_S, functions=1, operations=2
    )
    with serving(world, now=there) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", service.endpoint_url)
        code, out, err = command("audit", "order-flow", "--since", "1h", "-o", tmp_path / "hour")
        assert (code, out.partition(" found")[0]) == (0, "6")
        code, out, err = command("audit", "order-flow", "-o", tmp_path / "all")
        assert (code, out.partition(" found")[0]) == (0, str(EXECUTIONS))
        shown, tree, _ = command("show", world.arn(EXECUTIONS - 1))
    manifest = json.loads((tmp_path / "all" / "manifest.json").read_bytes())
    how = "behind" if hours > 0 else "ahead of"
    said = f"This machine's clock is (2 h 0|1 h 59) min {how} the service's."
    assert manifest["clock_skew_s"] == pytest.approx(3_600 * hours, abs=2)
    assert re.search(said, out)
    assert re.search(said, err)
    until = re.search(r"Looked at: what started up to (.{19}) UTC", out)
    assert until is not None
    assert abs(datetime.fromisoformat(f"{until[1]}+00:00") - there()) < timedelta(minutes=1)
    assert shown == 0
    assert re.search(r"so far", tree)
    assert not re.search(r"[0-9]+ h [0-9]+ min so far| 0 ms so far", tree)
