"""What `--stat` adds: the seconds that requests waited, by cause."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World

from .conftest import Invoke
from .support import Done, serving, write_refs

CAUSES = [
    "rate ceiling",
    "throttling",
    "bytes in flight",
    "requests in flight",
    "retries",
    "outages",
    "slow consumer",
    "the service",
]


def seconds(done: Done) -> dict[str, float]:
    """The table on stderr, which ends what is said there."""
    lines = done.err.splitlines()
    at = next((n for n, line in enumerate(lines) if line.startswith("What requests waited for")), 0)
    rows = [re.fullmatch(r"  (.+?) +([\d,]+\.\d)", line) for line in lines[at + 1 :]]
    return {row[1]: float(row[2].replace(",", "")) for row in rows if row}


def test_fetch_says_only_with_stat_what_requests_waited_for(
    invoke: Invoke, refs: Path, tmp_path: Path
) -> None:
    slowed = ("fetch", refs, "--rate", "60", "-o")
    without = invoke(*slowed, tmp_path / "one")
    assert (without.code, "waited" in without.err, seconds(without)) == (0, False, {})
    done = invoke(*slowed, tmp_path / "two", "--stat")
    found = seconds(done)
    assert (done.code, done.out, list(found)) == (0, "", CAUSES)
    # 30 requests, of which the last waits for half a second and the first for nothing.
    assert 3 < found["rate ceiling"] < 15
    assert found["the service"] > 0
    assert {found[name] for name in ("throttling", "bytes in flight", "outages")} == {0}
    assert "summed over all of them" in done.err


def test_stat_tells_throttling_and_retries_apart(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(executions=8, operations=1)
    refs = write_refs(tmp_path / "refs", world)
    # The service asks for a pause of 1 s after its one refusal; after the other error none is due.
    faults = FaultPlan(
        on={
            1: Fault(FaultKind.THROTTLE, first=1, retry_after_ms=1_000),
            2: Fault(FaultKind.SERVICE_ERROR, first=1),
        }
    )
    with serving(world, faults, latency_s=0.05) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("fetch", refs, "-o", tmp_path / "out", "--stat", "--max-requests", "2")
    found = seconds(done)
    assert done.code == 0
    assert found["throttling"] >= 1
    assert found["retries"] < 0.2
    assert found["requests in flight"] > 0


def test_get_says_it_after_the_state(
    invoke: Invoke, service: Emulator, token: Path, tmp_path: Path
) -> None:
    asked = ("get", service.world.arn(1), "--token-file", token)
    assert seconds(invoke(*asked)) == {}
    done = invoke(*asked, "--stat")
    assert (done.code, list(seconds(done))) == (0, CAUSES)
    refused = invoke("get", service.world.arn(2), "--token-file", token, "--stat")
    assert (refused.code, list(seconds(refused))) == (254, CAUSES)
