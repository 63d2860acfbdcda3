"""What `import durastate` costs over `import asyncio, anyio`, in fresh interpreters."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

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


def run(options: Options) -> Result:
    """The median of many interpreters, the two modules interleaved."""
    rounds = options.rounds or (5 if options.quick else 40)
    took: dict[str, list[float]] = {module: [] for module in _MODULES}
    loaded: dict[str, list[str]] = {}
    for number in range(rounds + 1):
        for module in _MODULES:
            milliseconds, loaded[module] = _import(module)
            if number:  # the first has no bytecode and no file cache
                took[module].append(milliseconds)
    say(f"imports: {rounds} interpreters for each of {', '.join(_MODULES)}")
    result = Result(figures={"ms": took, "loaded": loaded})
    for module, values in took.items():
        result.lines.append(
            f"import {module:<22}{statistics.median(values):8.1f} ms "
            f"({min(values):.1f}-{max(values):.1f}), loads {', '.join(loaded[module]) or 'neither'}"
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
    ]
    return result


def _import(module: str) -> tuple[float, list[str]]:
    code = _TIMED.format(module=module, source=str(ROOT / "src"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    milliseconds, loaded = json.loads(done.stdout)
    return milliseconds, loaded
