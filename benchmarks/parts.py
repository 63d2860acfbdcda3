"""The parts of the suite that compare clients, and the names of all parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from . import audit, delay, health, imports, layers, memory, micro
from .cases import LARGE, PAGE_SIZES, PAGED, Case
from .clients import CLIENTS, LIMITS, PEERS
from .measure import Contender, Row, compare, ratio_of
from .results import Goal, Options, Result, table

_ALL = ("ours", "ours over aiohttp", *PEERS, *LIMITS)
_FEW = ("ours", "aiobotocore", *LIMITS)
_QUICK = ("ours", "aiobotocore", "AWS SDK", "limit: protocol")


def _rows(
    cases: Iterable[Case], clients: Sequence[str], options: Options, *, uvloop: bool = False
) -> list[Row]:
    """Every case with every client, collector on and off."""
    if options.quick:
        cases = [case.scaled(0.2) for case in cases]
        clients = [name for name in clients if name in _QUICK]
    contenders = [
        Contender(name, uvloop=loop, collect=collect)
        for name in clients
        for loop in ((False, True) if uvloop and CLIENTS[name].uvloop else (False,))
        for collect in ((True,) if options.quick else (True, False))
    ]
    rounds = options.rounds or (2 if options.quick else 5)
    return [row for case in cases for row in compare(case, contenders, rounds)]


def _compare(
    cases: Sequence[Case], clients: Sequence[str], *, uvloop: bool = False
) -> Callable[[Options], Result]:
    def run(options: Options) -> Result:
        rows = _rows(cases, clients, options, uvloop=uvloop)
        return Result(table(rows), rows=rows)

    return run


def _headline(options: Options) -> Result:
    rows = _rows(PAGE_SIZES, _ALL, options)
    goals = []
    cases = list(dict.fromkeys(row.case for row in rows))
    for case, over_aiohttp, times in zip(cases, (5, 9, 12), (10, 12, 15), strict=True):
        goals += _at_least(rows, case, "aiobotocore", over_aiohttp, ours="ours over aiohttp")
        goals += _at_least(rows, case, "aiobotocore", times)
        goals += _at_least(rows, case, "AWS SDK", 5)
    return Result(table(rows), goals, rows)


def _plain(options: Options) -> Result:
    """Over plain HTTP; with it, the smallest page over TLS against the limit over plain HTTP."""
    rows = _rows(_PLAIN, ("ours over aiohttp", *_FEW), options)
    goals = []
    cases = list(dict.fromkeys(row.case for row in rows))
    for case, times, most in zip(cases, (13, 15, 15), (1.6, 1.5, 1.5), strict=True):
        goals += _at_least(rows, case, "aiobotocore", times)
        goals += _at_most(rows, case, case, most)
    tls = replace(cases[0], name=f"{PAGE_SIZES[0].name}, TLS", tls=True)
    over_tls = compare(tls, [Contender("ours")], options.rounds or (2 if options.quick else 5))
    goals += _at_most(rows + over_tls, tls, cases[0], 2.5)
    return Result(table(rows + over_tls), goals, rows + over_tls)


def _find(rows: Sequence[Row], client: str, case: Case) -> Row | None:
    wanted = Contender(client)
    return next((r for r in rows if r.contender == wanted and r.case == case and r.runs), None)


def _at_least(
    rows: Sequence[Row], case: Case, peer: str, times: float, *, ours: str = "ours"
) -> list[Goal]:
    mine, theirs = _find(rows, ours, case), _find(rows, peer, case)
    found = ratio_of("operations_per_cpu_s", mine, theirs) if mine and theirs else None
    if found is None:
        return []
    figure = f"operations per CPU second, {ours}, {case.name}, against {peer}"
    met, doubt = found.middle >= times, found.doubt(times)
    return [Goal(figure, f"at least {times:g}x", str(found), met, doubt)]


def _at_most(rows: Sequence[Row], case: Case, limit_case: Case, times: float) -> list[Goal]:
    """Our CPU for a page of `case` against the limit line's for one of `limit_case`."""
    limit = "limit: protocol"
    mine, theirs = _find(rows, "ours", case), _find(rows, limit, limit_case)
    found = ratio_of("cpu_ms_per_page", mine, theirs) if mine and theirs else None
    if found is None:
        return []
    of = limit if case == limit_case else f"{limit}, {limit_case.name}"
    figure = f"CPU per page, {case.name}, against {of}"
    met, doubt = found.middle <= times, found.doubt(times)
    return [Goal(figure, f"at most {times:g}x", str(found), met, doubt)]


def _latency(options: Options) -> Result:
    base = Case("", executions=1500)
    cases = [replace(base, name=f"{ms} ms", latency_ms=ms) for ms in (0, 5, 50)]
    rows = _rows(cases, _FEW, options)
    three = replace(
        PAGED, name="one 3-page state, 50 ms", executions=10, in_flight=1, latency_ms=50
    )
    single = compare(three, [Contender("ours, get_state")], options.rounds or 3)
    goals = []
    for row in single:
        if not row.void:
            took = row.median("wall_ms_per_execution")
            goals.append(Goal(three.name, "at most 172.5 ms", f"{took:.1f} ms", took <= 172.5))
    return Result(table(rows + single), goals, rows + single)


def _scaling(options: Options) -> Result:
    levels = (16, 256) if options.quick else (1, 4, 16, 64, 256, 1024)
    cases = [_at(level, 50) for level in levels] + [_at(256, 0)]
    clients = ("ours", "aiobotocore", "limit: protocol")
    rows = _rows(cases, clients, options)
    busy = [r for r in rows if r.contender == Contender("ours") and r.case.in_flight == 256]
    goals = []
    if len(busy) == 2 and not any(row.void for row in busy):
        waiting, free = (row.median("pages_per_s") for row in busy)
        share = waiting / min(256 / 0.05, free)
        figure = "256 in flight at 50 ms, of min(5,120/s, what the CPU allows)"
        goals.append(Goal(figure, "at least 90 %", f"{share:.0%}", share >= 0.9))
    return Result(table(rows), goals, rows)


def _at(in_flight: int, latency_ms: float) -> Case:
    # Forty waves, so that the first and the last, which are not full, weigh little.
    name = f"{in_flight} in flight, {latency_ms:g} ms"
    return Case(name, 40 * in_flight, in_flight=in_flight, latency_ms=latency_ms)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that can be asked for by name."""

    about: str
    run: Callable[[Options], Result]
    quick: bool = False  # whether --quick includes it


_PLAIN = [replace(case, name=f"{case.name}, plain HTTP", tls=False) for case in PAGE_SIZES]
_PAGINGS = [PAGED, replace(PAGED, name="3,000 operations, max_items 100", max_items=100)]
_PAYLOADS = [
    replace(PAGE_SIZES[1], name=f"100 operations, payloads of {size} bytes", payload_bytes=size)
    for size in (200, 4096)
]
_THROTTLED = Case("429 above 400 requests/s", 2000, requests_per_s=400)

PARTS = {
    "headline": Part("all clients over TLS, pages of 5, 100, 1,000 operations", _headline, True),
    "plain": Part("the same over plain HTTP, fewer clients", _plain),
    "large": Part("executions of one 5 MiB page", _compare([LARGE], _ALL)),
    "paging": Part("3,000 operations at max_items 100 and 1,000", _compare(_PAGINGS, _ALL)),
    "payloads": Part("100 operations with small and large payloads", _compare(_PAYLOADS, _FEW)),
    "uvloop": Part("uvloop on and off", _compare(PAGE_SIZES, _FEW, uvloop=True)),
    "latency": Part("0, 5 and 50 ms; one state of three pages", _latency),
    "scaling": Part("1 to 1,024 requests in flight at 50 ms", _scaling),
    "throttled": Part("a service that refuses: work may differ", _compare([_THROTTLED], _FEW[:2])),
    "memory": Part("peak memory over executions", memory.run, True),
    "delay": Part("event-loop delay and longest callback of ours", delay.run, True),
    "health": Part("delay of /health while its service reads states", health.run),
    "audit": Part("history bytes to an audit's Parquet, by step; its memory", audit.run),
    "imports": Part("what `import durastate` costs", imports.run, True),
    "layers": Part("what each layer of ours costs for a small page", layers.run, True),
    "micro": Part("decoder, signing, requests, limits (pyperf)", micro.run),
}
