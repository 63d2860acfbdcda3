"""What each layer of ours costs for a page of five operations, in CPU time, without a network.

Each line is a piece on its own, or a part of the stack over a transport that answers at once; what
a layer adds is the difference to what it stands on. The rest of a page over a wire, in `plain`, is
the event loop's and the kernel's.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from durastate import ExecutionRef, Limits, StateClient, decode_page
from durastate.answers import Incoming
from durastate.calls import Calls, Persistence
from durastate.gates import Hold
from durastate.http1 import _lines
from durastate.pace import Pace
from durastate.requests import GET_STATE, Request, state_path, state_query
from durastate.signing import Credentials, Signer
from durastate.targets import state_target
from durastate.testing import ScriptedTransport
from durastate.transport import Response
from durastate.walk import Walk

from .cases import REGION, Case
from .measure import ROOT, cores, say
from .pages import page_body
from .results import Options, Result

_CASE = Case("", executions=2000, operations=5)
_AT_ONCE = 32

Piece = Callable[[int], Awaitable[None]]
# What a figure is, by which of the measured ones are taken off.
_LAYERS = {
    "URL": ("request", ()),
    "signature and header lines": ("sign", ()),
    "parse the answer's head and body (httptools)": ("parse", ()),
    "limits: slot, rate, bytes, turn": ("limits", ()),
    "decode and check five operations": ("decode", ()),
    "retry bookkeeping and statistics": ("answer", ("limits",)),
    "paging: target, markers, counts": ("walk", ("answer", "request", "decode")),
    "bulk: workers, results, whole states": ("bulk", ("walk",)),
    "a suspension of each request's task": ("bulk, switching", ("bulk",)),
    "all of these": ("bulk, switching", ()),
}


_REFS = [ExecutionRef(*ref) for ref in _CASE.refs()]
_BODIES = [page_body(_CASE, variant, 0, 1000) for variant in range(_CASE.variants)]
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_ANSWERS = [memoryview(_HEAD % len(body) + body) for body in _BODIES]
_SIGNER = Signer(
    Credentials("AKID", "not-a-secret"), host=f"lambda.{REGION}.amazonaws.com", region=REGION
)


class _Null(ScriptedTransport):
    """Answers at once, or after one turn of the loop."""

    def __init__(self, *, switches: bool) -> None:
        super().__init__([Response(200, {}, _BODIES[0])])
        self._switches = switches

    async def __call__(self, request: Request, hold: Hold) -> Response:  # noqa: ARG002
        if self._switches:
            await asyncio.sleep(0)
        hold.try_add(len(_BODIES[0]))
        return Response(200, {}, _BODIES[0])


def _client(*, switches: bool = False) -> StateClient:
    limits = Limits(max_requests=_AT_ONCE, rates={GET_STATE: 1_000_000})
    return _Null(switches=switches).client(limits=limits)


@asynccontextmanager
async def _calls() -> AsyncIterator[tuple[Calls, Pace]]:
    async with _client() as opened:
        calls = opened._calls
        assert calls is not None
        yield calls, calls.shared.pace(GET_STATE, "1", REGION, own_endpoint=True)


def _request(number: int) -> Request:
    ref = _REFS[number % len(_REFS)]
    query = state_query(ref.checkpoint_token or "", None, 1000)
    return Request(GET_STATE, ref.arn, REGION, state_path(ref.arn), query)


_ONE = _request(0)


def _plain(piece: Callable[[int], object]) -> Piece:
    async def run(count: int) -> None:
        for number in range(count):
            piece(number)

    return run


async def _limits(count: int) -> None:
    async with _calls() as (calls, pace):
        shared = calls.shared
        for _ in range(count):
            hold = shared.gate.hold()
            shared.admission.try_enter(pace)
            hold.try_add(2_000)
            shared.admission.leave()
            if not shared.turns.try_take(2_000):
                await shared.turns.take(2_000)
            hold.release()


async def _answer(count: int) -> None:
    async with _calls() as (calls, pace):
        turns = calls.shared.turns
        for _ in range(count):
            hold = calls.shared.gate.hold()
            await calls.answer(_ONE, "token", pace, hold, persistence=Persistence.RUN)
            if not turns.try_take(2_000):
                await turns.take(2_000)
            hold.release()


async def _walk(count: int) -> None:
    async with _calls() as (calls, _):
        for number in range(count):
            walk = Walk(calls, state_target(_REFS[number % len(_REFS)], 1000), Persistence.RUN)
            await walk.next()
            walk.release()


def _bulk(*, switches: bool) -> Piece:
    async def run(count: int) -> None:
        asked = (_REFS[number % len(_REFS)] for number in range(count))
        async with (
            _client(switches=switches) as opened,
            opened.fetch_many(asked, max_executions=_AT_ONCE) as results,
        ):
            async for result in results:
                assert result.error is None

    return run


_PIECES: dict[str, Piece] = {
    "request": _plain(_request),
    "sign": _plain(lambda _: _lines(_SIGNER.headers(_ONE.path, _ONE.query, time.time()))),
    "parse": _plain(lambda number: Incoming(1 << 20).feed(_ANSWERS[number % len(_ANSWERS)])),
    "decode": _plain(lambda number: decode_page(_BODIES[number % len(_BODIES)])),
    "limits": _limits,
    "answer": _answer,
    "walk": _walk,
    "bulk": _bulk(switches=False),
    "bulk, switching": _bulk(switches=True),
}


async def _measure(rounds: int, count: int) -> dict[str, list[float]]:
    """Microseconds a page of each piece, interleaved."""
    found: dict[str, list[float]] = {name: [] for name in _PIECES}
    for number in range(rounds + 1):
        for name, piece in _PIECES.items():
            began = time.process_time()
            await piece(count)
            took = time.process_time() - began
            if number:  # The first one warms up.
                found[name].append(took / count * 1e6)
    return found


def run(options: Options) -> Result:
    """Each layer's share of a small page."""
    rounds = options.rounds or (3 if options.quick else 9)
    say(f"layers: {rounds} rounds")
    command = [sys.executable, "-m", __name__, str(rounds), "1000" if options.quick else "5000"]
    core = cores()[0]
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    found: dict[str, list[float]] = json.loads(done.stdout)
    result = Result(figures={"microseconds": found})
    for layer, (piece, below) in _LAYERS.items():
        values = [
            each - sum(found[name][number] for name in below)
            for number, each in enumerate(found[piece])
        ]
        spread = f"({min(values):.1f}-{max(values):.1f})"
        result.lines.append(f"{layer:<66}{statistics.median(values):10.1f} us {spread}")
    return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(int(sys.argv[1]), int(sys.argv[2])))))
