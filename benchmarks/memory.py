"""Peak memory over the number of executions: bounded where it does not grow with it."""

from __future__ import annotations

from dataclasses import replace

from .cases import Case
from .measure import Contender, Row, compare
from .results import Goal, Options, Result, table

_WHOLE = Case("fetch_many, 100 operations", 2000, operations=100, in_flight=64)
_PAGES = Case("stream_pages, 2 pages", 10_000, operations=40, max_items=20, in_flight=64)


def run(options: Options) -> Result:
    """Rows and goals; `--quick` reads a tenth of the executions and states no goal."""
    scale = 10 if options.quick else 1
    rounds = options.rounds or (1 if options.quick else 2)
    whole = _grow(_WHOLE, (2000, 20_000), "ours", rounds, scale)
    pages = _grow(_PAGES, (10_000, 30_000, 100_000), "ours, stream_pages", rounds, scale)
    goals = [] if options.quick else _goals(whole, pages)
    return Result(table(whole + pages), goals, whole + pages)


def _grow(case: Case, sizes: tuple[int, ...], client: str, rounds: int, scale: int) -> list[Row]:
    rows = []
    for size in sizes:
        count = size // scale
        grown = replace(case, name=f"{case.name}, {count:,} executions", executions=count)
        rows += compare(grown, [Contender(client)], rounds)
    return rows


def _goals(whole: list[Row], pages: list[Row]) -> list[Goal]:
    goals = []
    for rows, figure in (
        (whole, "peak memory, fetch_many: 20,000 executions against 2,000"),
        (pages, "peak memory, stream_pages: 100,000 executions against 10,000"),
    ):
        if not rows or any(row.void for row in rows):
            continue
        first, last = rows[0].median("peak_mb"), rows[-1].median("peak_mb")
        growth = last / first - 1
        goals.append(Goal(figure, "at most +10 %", f"{growth:+.1%}", growth <= 0.1))
        if rows is pages:
            held = "peak memory, stream_pages, 100,000 executions"
            goals.append(Goal(held, "under 150 MB", f"{last:.0f} MB", last < 150))
    return goals
