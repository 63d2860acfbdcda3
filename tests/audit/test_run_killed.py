"""A run that is ended from outside: SIGKILL at random moments, Ctrl-C once and twice."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.support import Done, environment, finish, serving, start

import durastate
from durastate.audit import read_manifest, verify
from durastate.emulator import Call, Emulator, Fault, FaultKind, FaultPlan, World

LONG = bool(os.environ.get("DURASTATE_LONG"))
KILLS = 200 if LONG else 3
SEED = 5
WORLD = World(seed=6, executions=60, operations=(6, 40, 9))


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    """Slow enough to be interrupted; of twenty answers one goes wrong once, of all one always."""
    faults = FaultPlan(seed=1, rate=0.05, on={4: Fault(FaultKind.NOT_FOUND)})
    with serving(WORLD, faults, latency_s=0.02) as emulator:
        yield emulator


def env(emulator: Emulator) -> dict[str, str]:
    tests = str(Path(__file__).parents[1])
    found = environment(emulator.endpoint_url)
    source = str(Path(durastate.__file__).parents[1])
    return found | {"PYTHONPATH": f"{tests}{os.pathsep}{source}", "TERM": "dumb"}


@pytest.fixture(scope="module")
def killed(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of a run that nobody interrupts, and of some that were killed and gone on."""
    root = tmp_path_factory.mktemp("killed")
    arguments = ("-m", "audit.killing", root, service.endpoint_url, str(KILLS), str(SEED))
    done = subprocess.run(
        [sys.executable, *arguments], env=env(service), stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(1_800)
def test_after_a_kill_the_same_command_gives_the_result_of_an_uninterrupted_run(
    killed: dict[str, Any],
) -> None:
    expected = killed["expected"]
    assert (killed["code"], expected["problems"]) == (2, [])
    assert (expected["complete"], expected["tidy"]) == (True, True)
    assert len(killed["results"]) == KILLS
    for each in killed["results"]:
        assert (each["whole"], each["code"], each["result"]) == (True, 2, expected), each["after"]
    by_kill = [each for each in killed["results"] if each["killed"] == signal.SIGKILL]
    assert len(by_kill) >= KILLS // 2
    assert any(each["parts"] for each in by_kill)


def begin(emulator: Emulator, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """An audit that reads histories."""
    emulator.log.clear()
    process = start("audit", "order-flow", "claims", "-o", out, *options, env=env(emulator))
    pause = threading.Event()
    for _ in range(2_000):
        if emulator.log.per_call()[Call.HISTORY]:
            return process
        assert process.poll() is None, process.communicate()
        pause.wait(0.01)
    raise AssertionError("it never began")


def read_until(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


def go_on(emulator: Emulator, out: Path) -> Done:
    return finish(start("audit", "order-flow", "claims", "-o", out, env=env(emulator)))


def counts(done: Done) -> tuple[int, int, int, int]:
    """Read before, read, failed, not attempted."""
    found = re.match(
        r"30 found = (\d+) read before \+ (\d+) read \+ (\d) failed \+ (\d+) not attempted",
        done.out,
    )
    assert found is not None, done
    before, read, failed, left = map(int, found.groups())
    assert before + read + failed + left == 30
    return before, read, failed, left


def assert_saved(done: Done, out: Path, code: int) -> None:
    """A signal's end: what was under way is finished, all is saved, and how to go on is said."""
    _, read, _, left = counts(done)
    assert done.code == code
    assert (read > 0, left > 0) == (True, True)
    said = done.err.splitlines()
    assert "Finishing what is under way; Ctrl-C once more stops at once." in said
    assert said[-1].startswith("The same command resumes it: durastate audit order-flow claims -o ")
    manifest = read_manifest(out)
    assert (manifest.complete, manifest.executions, list(verify(out))) == (False, read, [])


def test_sigterm_finishes_what_is_under_way_and_saves(service: Emulator, tmp_path: Path) -> None:
    process = begin(service, tmp_path / "a", "--rate", "15")
    process.send_signal(signal.SIGTERM)
    assert_saved(finish(process), tmp_path / "a", 143)


def test_ctrl_c_once_saves_twice_stops_and_the_same_command_goes_on(
    service: Emulator, tmp_path: Path, killed: dict[str, Any]
) -> None:
    out = tmp_path / "out put"
    # A second's worth of executions is under way; the others are not begun.
    process = begin(service, out, "--rate", "15")
    process.send_signal(signal.SIGINT)
    once = finish(process)
    assert_saved(once, out, 130)
    assert f"-o '{out}'" in once.err.splitlines()[-1]

    process = begin(service, out, "--rate", "0.2")  # what is under way would take a minute
    process.send_signal(signal.SIGINT)
    read_until(process, b"Finishing what is under way")
    process.send_signal(signal.SIGINT)
    twice = finish(process)
    assert (twice.code, "Traceback" in twice.err) == (130, False)
    counts(twice)
    assert read_manifest(out).complete is False
    assert twice.err.splitlines()[-2] == "durastate: interrupted"
    assert twice.err.splitlines()[-1].startswith("The same command resumes it: durastate audit ")

    done = finish(start("audit", "order-flow", "claims", "-o", out, env=env(service)))
    assert (done.code, counts(done)[0] >= counts(once)[1]) == (2, True)
    assert read_manifest(out).digest == killed["expected"]["digest"]


def test_a_full_disk_is_one_clear_line(service: Emulator, tmp_path: Path) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (130_000, 130_000))

    command = ("audit", "order-flow", "claims", "-o", tmp_path / "a", "--quiet")
    full = ("--payloads", "full", "--format", "jsonl")
    done = finish(start(*command, *full, env=env(service), preexec_fn=small_disk))
    assert (done.code, done.out, len(done.err.splitlines())) == (255, "", 1), done
    assert done.err.startswith("durastate: cannot write ")
    assert "the same command goes on with it" in done.err


# A file system of its own for a process that may mount one, in namespaces of its own (Linux).
_ON_A_SMALL_DISK = """
mount -t tmpfs -o size="$1" tmpfs "$2" && cd "$2" && shift 2 || exit 9
"$@" audit order-flow claims -o audit --quiet
echo "code $?"
mount -o remount,size=64m "$PWD"
"$@" audit order-flow claims -o audit --quiet
echo "code $?"
"$@" verify audit
"""

if LONG:

    @pytest.mark.parametrize("size", ["1k", "64k", "200k", "300k"])
    def test_a_file_system_that_is_full_loses_nothing_and_with_room_the_same_command_goes_on(
        service: Emulator, tmp_path: Path, size: str
    ) -> None:
        assert go_on(service, tmp_path / "whole").code == 2
        expected = read_manifest(tmp_path / "whole").digest
        small = tmp_path / "small"
        small.mkdir()
        process = subprocess.Popen(
            [
                *("unshare", "-rm", "sh", "-c", _ON_A_SMALL_DISK, "sh", size, small),
                *(sys.executable, "-m", "durastate.cli"),
            ],
            env=env(service),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        done = finish(process)
        (full,) = done.err.splitlines()
        assert full.startswith("durastate: cannot write "), done
        assert full.endswith("the same command goes on with it")
        first, *rest = done.out.splitlines()
        assert (first, rest.count("code 2")) == ("code 255", 1)
        assert rest[-1] == f"Digest: {expected}"
