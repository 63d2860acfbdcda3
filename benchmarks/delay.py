"""How long we hold up the event loop: delay of a ticker, longest callback, pages per turn.

A callback's time is the CPU time of its thread, the collector's pauses taken off. It is measured
around asyncio's own `Handle._run`, which costs time itself, so these runs give no other figures.
"""

from __future__ import annotations

from .cases import LARGE, PAGE_SIZES
from .measure import Contender, Row, compare
from .results import Goal, Options, Result

_ALLOWED_MS = {PAGE_SIZES[-1].name: 20, LARGE.name: 50}


def run(options: Options) -> Result:
    """One line for each case, collector on and off."""
    scale = 0.2 if options.quick else 1
    cases = [case.scaled(scale) for case in (PAGE_SIZES[-1], LARGE)]
    contenders = [Contender("ours"), Contender("ours", collect=False)]
    rounds = options.rounds or (1 if options.quick else 5)
    rows = [row for case in cases for row in compare(case, contenders, rounds, watch=True)]
    result = Result(rows=rows)
    result.lines.append(
        f"{'':<46}{'longest callback, CPU ms':>26}{'pages/turn':>12}"
        f"{'delay ms max/p99':>18}{'GC ms max':>11}"
    )
    for row in rows:
        name = f"{row.case.name}, {row.contender}"
        if row.void:
            result.lines.append(f"{name:<46}void: {row.void}")
            continue
        result.lines.append(_line(name, row))
        if row.contender.collect:
            result.goals += _goals(row)
    return result


def _line(name: str, row: Row) -> str:
    low, high = row.spread("longest_callback_ms")
    longest = f"{row.median('longest_callback_ms'):.1f} ({low:.1f}-{high:.1f})"
    late = f"{row.median('delay_max_ms'):.1f}/{row.median('delay_p99_ms'):.1f}"
    pages = max(run["pages_per_turn"] for run in row.runs)
    return f"{name:<46}{longest:>26}{pages:>12}{late:>18}{row.median('gc_max_ms'):>11.1f}"


def _goals(row: Row) -> list[Goal]:
    longest, allowed = row.median("longest_callback_ms"), _ALLOWED_MS[row.case.name]
    pages = max(run["pages_per_turn"] for run in row.runs)
    name = row.case.name
    return [
        Goal(f"longest callback, {name}, collector apart", f"at most {allowed} ms",
             f"{longest:.1f} ms", longest <= allowed),
        Goal(f"pages decoded in one turn, {name}", "at most 1", str(pages), pages <= 1),
    ]  # fmt: skip
