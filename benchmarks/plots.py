"""Plots of one file of results: `python -m benchmarks.plots results/FILE.json`."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

Rows = list[dict[str, Any]]


def draw(path: Path) -> list[Path]:
    """Draw what the file has figures for, beside it."""
    parts = json.loads(path.read_text())["parts"]
    made = []
    for part, name, plot in _PLOTS:
        rows = [
            row for row in parts.get(part, {}).get("rows", ()) if row["runs"] and not row["void"]
        ]
        if rows:
            figure, axes = plt.subplots(figsize=(11, 5), layout="constrained")
            axes.set_prop_cycle(color=plt.get_cmap("tab20").colors)  # a pair for each client
            plot(axes, rows)
            made.append(path.with_name(f"{path.stem}-{name}.svg"))
            figure.savefig(made[-1])
            plt.close(figure)
    return made


def _median(row: dict[str, Any], figure: str) -> float:
    return float(statistics.median(run[figure] for run in row["runs"]))


def _label(row: dict[str, Any]) -> str:
    who = row["contender"]
    off = "" if who["collect"] else ", GC off"
    return f"{who['client']}{' + uvloop' * who['uvloop']}{off}"


def _bars(figure: str, title: str) -> Callable[[Any, Rows], None]:
    def plot(axes: Any, rows: Rows) -> None:
        cases = list(dict.fromkeys(row["case"]["name"] for row in rows))
        labels = list(dict.fromkeys(map(_label, rows)))
        width = 0.8 / len(labels)
        for place, label in enumerate(labels):
            values = {r["case"]["name"]: _median(r, figure) for r in rows if _label(r) == label}
            at = [cases.index(case) + (place + 0.5) * width - 0.4 for case in values]
            axes.bar(at, list(values.values()), width, label=label)
        axes.set_xticks(range(len(cases)), cases)
        _finish(axes, title)

    return plot


def _lines(x: str, figure: str, title: str) -> Callable[[Any, Rows], None]:
    def plot(axes: Any, rows: Rows) -> None:
        if x == "in_flight":  # the service's own speed and the case without latency are none of it
            rows = [r for r in rows if r["case"]["latency_ms"] and not r["service_bound"]]
        for label in dict.fromkeys(map(_label, rows)):
            mine = [row for row in rows if _label(row) == label]
            at = [row["case"][x] for row in mine]
            axes.plot(at, [_median(row, figure) for row in mine], marker="o", label=label)
        axes.set_xscale("log")
        axes.set_xlabel(x.replace("_", " "))
        _finish(axes, title)

    return plot


def _finish(axes: Any, title: str) -> None:
    if "MB" in title:
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    else:
        axes.set_yscale("log")
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


_PLOTS = (
    ("headline", "throughput", _bars("operations_per_cpu_s", "operations per CPU second, TLS")),
    ("headline", "loop-delay", _bars("delay_max_ms", "longest delay of the event loop, ms")),
    ("scaling", "scaling", _lines("in_flight", "pages_per_s", "pages a second at 50 ms, TLS")),
    ("memory", "memory", _lines("executions", "peak_mb", "peak memory, MB")),
)

if __name__ == "__main__":
    print(*draw(Path(sys.argv[1])), sep="\n")
