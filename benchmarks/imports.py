"""What `import durastate` costs over `import asyncio, anyio`, and `durastate --help` over Python.

In fresh interpreters.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from .measure import ROOT, say
from .results import Goal, Options, Result

_TIMED = """
import json, sys, time
import asyncio, anyio
sys.path.insert(0, {source!r})
began = time.perf_counter()
import {module}
took = (time.perf_counter() - began) * 1e3
print(json.dumps([took, [m for m in ("botocore", "aiobotocore", "aiohttp") if m in sys.modules]]))
"""
# The last is for comparison: what a reader on aiobotocore pays.
_MODULES = ("durastate", "aiobotocore.session")
_HELP = ("-m", "durastate.cli", "--help")
_PYTHON = ("-c", "pass")


def run(options: Options) -> Result:
    """The medians of many interpreters, what is compared interleaved."""
    rounds = options.rounds or (5 if options.quick else 40)
    took: dict[str, list[float]] = {module: [] for module in _MODULES}
    loaded: dict[str, list[str]] = {}
    help_over_python = []
    for number in range(rounds + 1):
        for module in _MODULES:
            milliseconds, loaded[module] = _import(module)
            if number:  # the first has no bytecode and no file cache
                took[module].append(milliseconds)
        milliseconds = _run(_HELP) - _run(_PYTHON)
        if number:
            help_over_python.append(milliseconds)
    say(f"imports: {rounds} interpreters for each of {', '.join(_MODULES)}")
    result = Result(figures={"ms": took, "loaded": loaded, "help_over_python_ms": help_over_python})
    for module, values in took.items():
        result.lines.append(
            f"import {module:<22}{statistics.median(values):8.1f} ms "
            f"({min(values):.1f}-{max(values):.1f}), loads {', '.join(loaded[module]) or 'neither'}"
        )
    of_help = statistics.median(help_over_python)
    result.lines.append(
        f"durastate --help over bare Python {of_help:.1f} ms "
        f"({min(help_over_python):.1f}-{max(help_over_python):.1f})"
    )
    median = statistics.median(took["durastate"])
    heavy = ", ".join(loaded["durastate"])
    result.goals = [
        Goal(
            "import durastate over asyncio, anyio",
            "at most 50 ms",
            f"{median:.1f} ms",
            median <= 50,
        ),
        Goal("botocore and aiohttp left out of it", "none", heavy or "none", not heavy),
        Goal(
            "durastate --help over bare Python",
            "at most 200 ms",
            f"{of_help:.1f} ms",
            of_help <= 200,
        ),
    ]
    return result


def _import(module: str) -> tuple[float, list[str]]:
    code = _TIMED.format(module=module, source=str(ROOT / "src"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    milliseconds, loaded = json.loads(done.stdout)
    return milliseconds, loaded


def _run(arguments: tuple[str, ...]) -> float:
    """Milliseconds from starting an interpreter to its end."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1e3
