"""What a part of the suite hands back, the tables made of it, and the files it ends in."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .measure import ROOT, Row, ratio_of

FOLDER = Path(__file__).parent / "results"
_PACKAGES = (
    *("aiobotocore", "aiohttp", "anyio", "aws-durable-execution-sdk-python", "aws-sdk-lambda"),
    *("boto3", "botocore", "msgspec", "orjson", "pyarrow", "pyperf", "uvloop"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """How thorough a part is to be."""

    rounds: int | None = None  # None: the part's own choice
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that the project has promised itself."""

    figure: str
    goal: str
    measured: str
    met: bool
    doubt: str = ""

    def __str__(self) -> str:
        verdict = "met" if self.met else "NOT MET"
        verdict += f", {self.doubt}" if self.doubt else ""
        return f"{self.figure:<74}{self.goal:>17}{self.measured:>22}  {verdict}"


@dataclass(slots=True)
class Result:
    """What one part found."""

    lines: list[str] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)  # of parts that have no rows


_COLUMNS = (
    f"{'':<46}{'CPU ms/page':>12}{'spread':>17}{'op/CPU s':>11}{'ours':>28}"
    f"{'pages/s':>10}{'peak MB':>9}{'delay ms max/p99':>18}{'GC ms sum/max':>15}{'errors':>8}"
)


def table(rows: Sequence[Row]) -> list[str]:
    """One line a row, below the name of its case."""
    lines = [_COLUMNS]
    for case in dict.fromkeys(row.case for row in rows):
        lines.append(case.name)
        mine = [row for row in rows if row.case == case]
        lines += [_line(row, _ours_like(row, mine)) for row in mine]
    if any(row.service_bound for row in rows):
        lines.append(
            "  * service-bound: a bare socket reader is not twice as fast; no figure of the client"
        )
    return lines


def _ours_like(row: Row, rows: Sequence[Row]) -> Row | None:
    """Our row with the same settings."""
    wanted = dataclasses.replace(row.contender, client="ours")
    return next((each for each in rows if each.contender == wanted and each is not row), None)


def _line(row: Row, ours: Row | None) -> str:
    name = f"  {row.contender!s:<44}"
    if row.void:
        return f"{name}void: {row.void}"
    low, high = row.spread("cpu_ms_per_page")
    better = ratio_of("operations_per_cpu_s", ours, row) if ours else None
    wall = f"{row.median('pages_per_s'):,.0f}{'*' if row.service_bound else ' '}"
    delay = f"{row.median('delay_max_ms'):.0f}/{row.median('delay_p99_ms'):.0f}"
    pauses = f"{row.median('gc_total_ms'):.0f}/{row.median('gc_max_ms'):.0f}"
    return (
        f"{name}{row.median('cpu_ms_per_page'):>12.3f}{f'{low:.3f}-{high:.3f}':>17}"
        f"{row.median('operations_per_cpu_s'):>11,.0f}{better or ''!s:>28}{wall:>10}"
        f"{row.median('peak_mb'):>9.0f}{delay:>18}{pauses:>15}{row.median('errors'):>8.0f}"
    )


def summary(results: dict[str, Result]) -> list[str]:
    """The one table at the end."""
    goals = [goal for result in results.values() for goal in result.goals]
    head = f"{'goal':<74}{'wanted':>17}{'measured':>22}"
    lines = [head, *map(str, goals)] if goals else ["no goal belongs to what was measured"]
    void = [row for result in results.values() for row in result.rows if row.void]
    lines += [f"void: {row.case.name}, {row.contender}: {row.void}" for row in void]
    return lines


def save(results: dict[str, Result], stem: str, began: dict[str, Any]) -> Path:
    """Everything measured, as one JSON file."""
    parts = {
        name: {
            "rows": [dataclasses.asdict(row) for row in result.rows],
            "figures": result.figures,
            "goals": [dataclasses.asdict(goal) for goal in result.goals],
            "table": result.lines,
        }
        for name, result in results.items()
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{stem}.json"
    path.write_text(json.dumps({**began, "load_after": os.getloadavg(), "parts": parts}, indent=1))
    return path


def provenance() -> dict[str, Any]:
    """What a reader needs to know of a run to believe it or to repeat it."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": _git("status", "--porcelain", "--", "src", "benchmarks/*.py"),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "own_environments": _own_environments(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _own_environments() -> list[str]:
    found = Path(__file__).parent.glob(".cache/*/lib/*/site-packages/*.dist-info")
    return sorted(path.name.removesuffix(".dist-info") for path in found)


def _git(*arguments: str) -> str:
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
