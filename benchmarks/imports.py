"""What `import durastate` costs over `import asyncio, anyio`, and `durastate --help` over Python.

In fresh interpreters. `import durastate` alone loads no more than a table of names, so the goal is
asked of the client, which loads everything; in CPU time, because machines are busy.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys

from .measure import ROOT, say
from .results import Goal, Options, Result

_TIMED = """
import json, sys, time
import asyncio, anyio
sys.path.insert(0, {source!r})
began = time.process_time()
{statement}
took = (time.process_time() - began) * 1e3
print(json.dumps([took, [m for m in ("botocore", "aiobotocore", "aiohttp") if m in sys.modules]]))
"""
# The last is for comparison: what a reader on aiobotocore pays.
_CLIENT = "from durastate import StateClient"
_STATEMENTS = ("import durastate", _CLIENT, "import aiobotocore.session")
_HELP = ("-m", "durastate.cli", "--help")
_PYTHON = ("-c", "pass")


def run(options: Options) -> Result:
    """The medians of many interpreters, what is compared interleaved."""
    rounds = options.rounds or (5 if options.quick else 40)
    took: dict[str, list[float]] = {statement: [] for statement in _STATEMENTS}
    loaded: dict[str, list[str]] = {}
    help_over_python = []
    for number in range(rounds + 1):
        for statement in _STATEMENTS:
            milliseconds, loaded[statement] = _import(statement)
            if number:  # the first has no bytecode and no file cache
                took[statement].append(milliseconds)
        milliseconds = _run(_HELP) - _run(_PYTHON)
        if number:
            help_over_python.append(milliseconds)
    say(f"imports: {rounds} interpreters for each of {', '.join(_STATEMENTS)}")
    result = Result(
        figures={"cpu_ms": took, "loaded": loaded, "help_over_python_ms": help_over_python}
    )
    for statement, values in took.items():
        result.lines.append(
            f"{statement:<37}{statistics.median(values):8.1f} ms "
            f"({min(values):.1f}-{max(values):.1f}), "
            f"loads {', '.join(loaded[statement]) or 'neither'}"
        )
    of_help = statistics.median(help_over_python)
    result.lines.append(
        f"durastate --help over bare Python {of_help:.1f} ms "
        f"({min(help_over_python):.1f}-{max(help_over_python):.1f})"
    )
    median = statistics.median(took[_CLIENT])
    heavy = ", ".join(loaded[_CLIENT])
    result.goals = [
        Goal(
            "import durastate and its client over asyncio, anyio",
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


def _import(statement: str) -> tuple[float, list[str]]:
    code = _TIMED.format(statement=statement, source=str(ROOT / "src"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    milliseconds, loaded = json.loads(done.stdout)
    return milliseconds, loaded


def _run(arguments: tuple[str, ...]) -> float:
    """Milliseconds of CPU of an interpreter from its start to its end."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    before = _of_children()
    subprocess.run([sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, check=True)
    return (_of_children() - before) * 1e3


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
