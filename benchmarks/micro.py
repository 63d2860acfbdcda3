"""The pieces one by one, timed by pyperf on cold, distinct pages.

pyperf runs one benchmark after the other; here it is called once a round, so that what is
compared is interleaved, and ratios are taken within a round.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
import pyperf

from .cases import REGION, Case
from .decoding import STEPS
from .measure import ROOT, cores, ratio, say
from .pages import page_body
from .results import Goal, Options, Result

_CASES = {
    "5 operations": Case("", 1, 5),
    "100 operations": Case("", 1, 100),
    "1,000 operations": Case("", 1, 1000),
    "100 operations, payloads of 4 KiB": Case("", 1, 100, payload_bytes=4096),
}
_BIG = "1,000 operations"
_BASE = "orjson.loads"
_SECRET = "not-a-secret"


def _orjson() -> Callable[[bytes], Any]:
    return orjson.loads


def _ours() -> Callable[[bytes], Any]:
    from durastate.decoding import decode_page

    return decode_page


def _ours_read() -> Callable[[bytes], Any]:
    decode_page = _ours()
    kinds = ("step", "context", "callback", "chained_invoke")
    details_of = {kind.upper(): attrgetter(f"{kind}_details") for kind in kinds}

    def decode_and_read(body: bytes) -> None:
        for one in decode_page(body).operations:
            one.type, one.status, one.name, one.start_timestamp, one.end_timestamp  # noqa: B018
            read = details_of.get(one.type)
            details = read(one) if read else None
            if details is not None:
                details.error  # noqa: B018

    return decode_and_read


def _msgspec() -> Callable[[bytes], Any]:
    import msgspec

    class Operation(msgspec.Struct, rename="pascal"):
        id: str
        type: str
        status: str
        start_timestamp: float
        parent_id: str | None = None
        name: str | None = None
        sub_type: str | None = None
        end_timestamp: float | None = None
        execution_details: dict[str, Any] | None = None
        context_details: dict[str, Any] | None = None
        step_details: dict[str, Any] | None = None
        wait_details: dict[str, Any] | None = None
        callback_details: dict[str, Any] | None = None
        chained_invoke_details: dict[str, Any] | None = None

    page = msgspec.defstruct(
        "Page",
        [("operations", list[Operation]), ("next_marker", str | None, None)],
        rename="pascal",
    )
    return msgspec.json.Decoder(page).decode


DECODERS = {
    _BASE: _orjson,
    "decode_page": _ours,
    "decode_page and six fields": _ours_read,
    "msgspec typed": _msgspec,
}


@cache
def _bodies(name: str) -> list[bytes]:
    case = _CASES[name]
    return [page_body(case, variant, 0, 1000) for variant in range(case.variants)]


def _decode(
    loops: int, make: Callable[[], Callable[[bytes], Any]], name: str, collect: bool
) -> float:
    decode, bodies = make(), itertools.islice(itertools.cycle(_bodies(name)), loops)
    if not collect:
        gc.disable()
    began = time.perf_counter()
    for body in bodies:
        decode(body)
    took = time.perf_counter() - began
    gc.enable()
    return took


def _pieces() -> dict[str, Callable[[], object]]:
    """The small steps of one request."""
    from durastate import gates, pace, requests, signing

    ref = next(_CASES[_BIG].refs())
    path, query = requests.state_path(ref.arn), requests.state_query(ref.token, None, 1000)
    host = f"lambda.{REGION}.amazonaws.com"
    signer = signing.Signer(signing.Credentials("AKID", _SECRET), host=host, region=REGION)
    clock = time.monotonic
    admission, gate = gates.Admission(64, clock), gates.ByteGate(64 * 1024**2, clock)
    ceiling, free = pace.Pace(1e9, 1e9), pace.Pace()

    def build() -> object:
        return requests.state_path(ref.arn), requests.state_query(ref.token, None, 1000)

    def slot() -> None:
        admission.try_enter(free)
        admission.leave()

    def byte_gate() -> None:
        hold = gate.hold()
        hold.try_add(373_000)
        hold.release()

    return {
        "sign": lambda: signer.headers(path, query, time.time()),
        "build a request": build,
        "rate ceiling": lambda: ceiling.take(clock()),
        "request slot": slot,
        "byte gate": byte_gate,
    }


def main() -> None:
    """pyperf's entry: every benchmark, or the one that its worker is asked for."""
    runner = pyperf.Runner(program_args=("-m", __spec__.name))
    for name in _CASES:
        for decoder, make in DECODERS.items():
            runner.bench_time_func(f"{decoder}, {name}", _decode, make, name, True)
    for decoder, make in DECODERS.items():
        runner.bench_time_func(f"{decoder}, {_BIG}, GC off", _decode, make, _BIG, False)
    for step, function in STEPS.items():
        runner.bench_time_func(f"{step}, {_BIG}", _decode, lambda f=function: f, _BIG, True)
    for name, piece in _pieces().items():
        runner.bench_func(name, piece)


def run(options: Options) -> Result:
    """Medians of every benchmark, and what decoding costs against `orjson.loads`."""
    rounds = options.rounds or (1 if options.quick else 7)
    effort = ["--values=3", "--warmups=1"] + ["--min-time=0.01"] * options.quick
    core = cores()[0]
    effort += [] if core is None else [f"--affinity={core}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pyperf.json"
        for number in range(rounds):
            say(f"micro: round {number + 1}/{rounds}")
            command = [sys.executable, "-m", __name__, "--processes=1", "-q", *effort]
            subprocess.run(
                [*command, f"--append={path}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
            )
        # Not pyperf's own file: its metadata name this machine and its paths.
        measured = {
            bench.get_name(): [run.values for run in bench.get_runs() if run.values]
            for bench in pyperf.BenchmarkSuite.load(str(path)).get_benchmarks()
        }
    times = {name: list(map(statistics.median, runs)) for name, runs in measured.items()}
    result = Result(figures={"seconds": measured, "held": _held()})
    for name, values in times.items():
        base = times.get(_BASE + name[name.find(",") :]) if "," in name else None
        result.lines.append(_line(name, values, base))
    for name, size in result.figures["held"].items():
        result.lines.append(f"{f'{name}: held per operation, {_BIG}':<66}{size:10,.0f} bytes")
    result.goals = [
        _goal(times, "decode_page", 1.75),
        _goal(times, "decode_page and six fields", 2.6),
    ]
    return result


def _line(name: str, values: list[float], base: list[float] | None) -> str:
    spread = f"({min(values) * 1e6:,.1f}-{max(values) * 1e6:,.1f})"
    against = f"   {ratio(values, base)} of {_BASE}" if base and base is not values else ""
    return f"{name:<66}{statistics.median(values) * 1e6:10,.1f} us {spread}{against}"


def _goal(times: dict[str, list[float]], decoder: str, most: float) -> Goal:
    found = ratio(times[f"{decoder}, {_BIG}"], times[f"{_BASE}, {_BIG}"])
    figure = f"{decoder} against {_BASE}, cold pages of {_BIG}"
    return Goal(figure, f"at most {most}x", str(found), found.middle <= most, found.doubt(most))


def _held() -> dict[str, float]:
    """Bytes that the decoded form of a page keeps, by operation."""
    held = {}
    bodies = _bodies(_BIG)[:8]
    for decoder in (_BASE, "decode_page", "msgspec typed"):
        decode = DECODERS[decoder]()
        decode(bodies[0])
        tracemalloc.start()
        kept = [decode(body) for body in bodies]
        held[decoder] = tracemalloc.get_traced_memory()[0] / len(kept) / 1000
        tracemalloc.stop()
    return held


if __name__ == "__main__":
    main()
