"""From the bytes of histories to an audit's Parquet, in fresh processes: speed by step, and memory.

Histories are the embedded service's, in pages of at most 1,000 events, with their payloads, which
the audit does not keep. What is written is verified by its counts and digest against what the
world holds; the same executions give the same digest in every round.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from .cases import AUDIT_STEPS, AuditCase
from .measure import ROOT, cores, say
from .results import Goal, Options, Result

_LIMIT_S = 900
_GOAL = 40_000
_SPEED = (AuditCase(20_000, 5), AuditCase(3_000, 100), AuditCase(300, 1_000))
_TYPICAL = 100
_MEMORY = (AuditCase(10_000, 20), AuditCase(100_000, 20))


def run(options: Options) -> Result:
    """Rows, goals; `--quick` does a tenth and says nothing of memory's growth."""
    rounds = options.rounds or (1 if options.quick else 5)
    result = Result()
    _measure_speed(result, rounds, 10 if options.quick else 1)
    _measure_memory(result, 10 if options.quick else 1, state_goals=not options.quick)
    return result


def _measure_speed(result: Result, rounds: int, scale: int) -> None:
    runs: dict[str, list[dict[str, Any]]] = {each.name: [] for each in _SPEED}
    for number in range(rounds):
        for audit in _SPEED if number % 2 == 0 else _SPEED[::-1]:
            scaled = dataclasses.replace(audit, executions=audit.executions // scale)
            found = run_once(scaled)
            runs[audit.name].append(found)
            if found["digest"] != runs[audit.name][0]["digest"]:
                raise RuntimeError(f"audit: {audit.name}: what was written differs between rounds")
            rate = _rate(found)
            say(f"audit: {number + 1}/{rounds}, {audit.name}: {rate:,.0f} operations a CPU second")
    result.figures["speed"] = runs
    result.lines += [
        "operations per CPU second, decode to finish; CPU microseconds an operation by step",
        f"{'':<34}{'op/CPU s':>10}{'spread':>19}"
        + "".join(f"{step:>9}" for step in (*AUDIT_STEPS, "plan")),
    ]
    for name, found in runs.items():
        rates = sorted(map(_rate, found))
        middle = statistics.median(rates)
        steps = "".join(
            f"{statistics.median(_per_operation(each, step) for each in found):9.2f}"
            for step in (*AUDIT_STEPS, "plan")
        )
        spread = f"{rates[0]:,.0f}-{rates[-1]:,.0f}"
        result.lines.append(f"{name:<34}{middle:>10,.0f}{spread:>19}{steps}")
        if name == AuditCase(0, _TYPICAL).name:
            figure = f"history bytes to Parquet, operations per CPU second, {name}"
            doubt = "too few rounds to tell" if len(rates) < 3 else ""
            doubt = doubt or "within the spread" * (rates[0] <= _GOAL <= rates[-1])
            met = middle >= _GOAL
            result.goals.append(Goal(figure, f"at least {_GOAL:,}", f"{middle:,.0f}", met, doubt))


def _measure_memory(result: Result, scale: int, *, state_goals: bool) -> None:
    peaks = {}
    for audit in _MEMORY:
        scaled = dataclasses.replace(audit, executions=audit.executions // scale)
        found = run_once(scaled)
        peaks[scaled.executions] = found
        say(f"audit: {scaled.executions:,} executions: {found['peak_mb']:.0f} MB")
        result.lines.append(
            f"peak memory, {scaled.executions:,} executions of {audit.operations}: "
            f"{found['peak_mb']:.0f} MB ({found['peak_mb_before_finish']:.0f} MB before finish, "
            f"{found['peak_mb_before']:.0f} MB before the first)"
        )
    result.figures["memory"] = peaks
    if state_goals:
        few, many = (each["peak_mb"] for each in peaks.values())
        growth = many / few - 1
        figure = "peak memory, audit: 100,000 executions against 10,000"
        result.goals += [
            Goal(figure, "at most +10 %", f"{growth:+.1%}", growth <= 0.1),
            Goal("peak memory, audit, 100,000", "under 300 MB", f"{many:.0f} MB", many < 300),
        ]


def _rate(found: dict[str, Any]) -> float:
    return float(found["operations"] / sum(found["cpu_s"][step] for step in AUDIT_STEPS))


def _per_operation(found: dict[str, Any], step: str) -> float:
    return float(found["cpu_s"][step] / found["operations"] * 1e6)


def run_once(audit: AuditCase) -> dict[str, Any]:
    """The figures of one fresh process; an error where it has done other work."""
    audit = dataclasses.replace(audit, core=cores()[0])
    asked = json.dumps(dataclasses.asdict(audit))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}.audit_worker", folder, asked],
            check=False,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            cwd=ROOT,
        )
    if done.returncode:
        raise RuntimeError(f"the audit ended with an error:\n{done.stderr[-3000:].strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
