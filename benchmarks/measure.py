"""Interleaved runs in fresh processes, and what may be said of them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .cases import Case, Work, expected
from .clients import CLIENTS
from .service import Endpoint, running
from .worker import Plan

ROOT = Path(__file__).parent.parent
_CACHE = Path(__file__).parent / ".cache"
_LIMIT_S = 900

Run = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """A client with its settings: one row of a table."""

    client: str
    uvloop: bool = False
    collect: bool = True

    def __str__(self) -> str:
        return f"{self.client}{' + uvloop' * self.uvloop}{', GC off' * (not self.collect)}"


@dataclass(slots=True)
class Row:
    """Every run of one contender on one case."""

    case: Case
    contender: Contender
    runs: list[Run] = field(default_factory=list)
    void: str = ""  # why its figures do not count
    service_bound: bool = False  # its wall-clock figures may be the service's

    def median(self, figure: str) -> float:
        return float(statistics.median(run[figure] for run in self.runs))

    def spread(self, figure: str) -> tuple[float, float]:
        """The quartiles; the extremes where there are fewer than five runs."""
        values = [run[figure] for run in self.runs]
        if len(values) < 5:
            return min(values), max(values)
        low, _, high = statistics.quantiles(values, n=4)
        return low, high


class Unavailable(Exception):
    """A client that cannot run here, and why."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


@cache
def cores() -> tuple[int | None, int | None]:
    """One core for the client and one for the service, where there are two."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[-1]) if len(have) > 1 else (None, None)


@cache
def interpreter(client: str, install: bool = True) -> str:
    """The Python that can run `client`; makes its own environment where it needs one."""
    entry = CLIENTS[client]
    if reason := entry.missing():
        raise Unavailable(reason)
    if entry.environment is None:
        return sys.executable
    version = "{}.{}".format(*sys.version_info)
    folder = _CACHE / f"{entry.environment}-{version}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        if not install:
            raise Unavailable("its environment is not made yet: python -m benchmarks --setup")
        say(f"installing {entry.environment} into its own environment")
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", entry.environment, "uvloop"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"pip could not install it: {done.stderr.strip()[-200:]}")
        (folder / "ready").touch()
    return str(python)


def set_up() -> None:
    """Make the environments of the clients that need their own."""
    for name, client in CLIENTS.items():
        if client.environment:
            can_run(name)


@cache
def can_run(client: str) -> bool:
    """Whether `client` can run here; says why it cannot."""
    try:
        interpreter(client)
    except Unavailable as reason:
        say(f"{client}: not run: {reason}")
        return False
    return True


def run_once(plan: Plan, python: str = sys.executable) -> Run:
    """The figures of one run in a fresh process."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [python, "-m", f"{__package__}.worker", json.dumps(dataclasses.asdict(plan))],
            check=False,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            cwd=ROOT,
            env=environment(plan, home),
        )
    if done.returncode:
        raise RuntimeError(f"{plan.client} ended with an error:\n{done.stderr[-3000:].strip()}")
    run: Run = json.loads(done.stdout.splitlines()[-1])
    return run


def environment(plan: Plan, home: str) -> dict[str, str]:
    """No setting of the person who runs this reaches a client."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PYTHON")) and "proxy" not in name.lower()
    }
    kept |= {
        "HOME": home,
        "AWS_ACCESS_KEY_ID": "AKIDBENCHMARK",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if plan.ca_bundle:
        kept |= {"AWS_CA_BUNDLE": plan.ca_bundle, "SSL_CERT_FILE": plan.ca_bundle}
    return kept


def compare(
    case: Case, contenders: Sequence[Contender], rounds: int, *, watch: bool = False
) -> list[Row]:
    """A row for each contender that can run: A B C, A B C, … against one service."""
    rows = [Row(case, each) for each in contenders if can_run(each.client)]
    wanted = expected(case)
    client_core, service_core = cores()
    with running(case, service_core) as service:
        for number in range(rounds):
            capacity = _capacity(case, service)
            for row in rows if number % 2 == 0 else rows[::-1]:
                if row.void:
                    continue
                each = row.contender
                plan = Plan(
                    each.client,
                    case,
                    service.url,
                    service.ca_bundle,
                    uvloop=each.uvloop,
                    collect=each.collect,
                    core=client_core,
                    watch=watch,
                )
                _add_run(row, plan, capacity, wanted)
                told = row.void or f"{row.runs[-1]['cpu_ms_per_page']:.3f} ms CPU a page"
                say(f"{case.name}, {number + 1}/{rounds}, {each}: {told}")
    return rows


def _add_run(row: Row, plan: Plan, capacity: float, wanted: Work) -> None:
    try:
        run = run_once(plan, interpreter(plan.client))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        say(str(error))
        row.void = str(error).splitlines()[-1][:200]  # the rest names paths of this machine
        return
    run["service_pages_per_s"] = capacity
    row.runs.append(run)
    row.service_bound |= capacity < 2 * run["pages_per_s"]
    if plan.case.requests_per_s is None:
        row.void = Work(**run["work"]).differs(wanted)


def _capacity(case: Case, service: Endpoint) -> float:
    """Pages a second that a bare socket reader gets from the service without its latency."""
    if case.requests_per_s is not None:
        return case.requests_per_s  # the reader does not try again
    has_uvloop = importlib.util.find_spec("uvloop") is not None
    plan = Plan("socket reader", case, service.url, service.ca_bundle, has_uvloop, core=cores()[0])
    service.set_latency(0)
    run = run_once(plan)
    service.set_latency(case.latency_ms)
    return float(run["pages_per_s"])


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times better one row is than another, paired round by round."""

    middle: float
    low: float
    high: float
    rounds: int

    def doubt(self, threshold: float) -> str:
        """Why a verdict about `threshold` is not to be relied on; empty where it is."""
        if self.rounds < 3:
            return "too few rounds to tell"
        return "within the spread" if self.low <= threshold <= self.high else ""

    def __str__(self) -> str:
        if self.low <= 1 <= self.high:
            return f"no difference ({self.low:.2f}-{self.high:.2f})"
        return f"{self.middle:.2f}x ({self.low:.2f}-{self.high:.2f})"


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """The ratio of two figures whose runs were interleaved."""
    pairs = [a / b for a, b in zip(over, under, strict=True)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs), len(pairs))


def ratio_of(figure: str, ours: Row, theirs: Row) -> Ratio | None:
    """The same for two rows; None where either is void."""
    if ours.void or theirs.void or len(ours.runs) != len(theirs.runs):
        return None
    return ratio([run[figure] for run in ours.runs], [run[figure] for run in theirs.runs])
