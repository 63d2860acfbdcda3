"""`durastate emulator`: the embedded service, for people to try things against."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import click
import orjson

from durastate.emulator import Emulator, FaultKind, FaultPlan, World
from durastate.emulator.asking import moment
from durastate.emulator.world import FIRST_START, STATUSES, weights

from .ending import OTHER, USAGE, Problem
from .jsonl import LinesFile
from .plain import plain
from .streams import results, say

_MOST_TO_TRY = 1_000
_LOG_EVERY_S = 1.0
_NAMES_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the user asked for."""

    port: int
    executions: int
    operations: int | None
    functions: int
    versions: int
    statuses: str | None
    first_start: str | None
    latency_s: float
    rate: float | None
    history_rate: float | None
    get_rate: float | None
    list_rate: float | None
    faults: str
    seed: int
    write_refs: Path | None


def run_emulator(service: Service) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    world = World(
        seed=service.seed,
        executions=service.executions,
        operations=service.operations,
        functions=service.functions,
        versions=service.versions,
        statuses=_statuses(service.statuses),
        first_start=_first_start(service.first_start),
    )
    plan = fault_plan(service.faults, world)
    with tempfile.TemporaryDirectory(prefix="durastate-") as scratch:
        refs = service.write_refs or Path(scratch, "refs.jsonl")
        count = len(world) if service.write_refs else min(len(world), _MOST_TO_TRY)
        _write_refs(refs, world, count)
        emulator = Emulator(
            world,
            plan,
            port=service.port,
            latency_s=service.latency_s,
            rate=service.rate,
            history_rate=service.history_rate,
            get_rate=service.get_rate,
            list_rate=service.list_rate,
        )
        try:
            answered = asyncio.run(_serve(emulator, refs, count))
        except Problem:
            refs.unlink()  # it would be in the way of the next try
            raise
    say(f"durastate: ended after {answered:,} requests")


def fault_plan(text: str, world: World) -> FaultPlan:
    """The plan that `--faults` describes."""
    if text == "none":
        return FaultPlan(seed=world.seed)
    if text == "demo":
        try:
            return FaultPlan.demo(world)
        except ValueError:
            raise click.UsageError(
                "--faults demo breaks a dozen: give it more executions"
            ) from None
    kinds, separator, share = text.rpartition(":")
    try:
        plan = FaultPlan(seed=world.seed, rate=_share(share))
        if separator:
            plan = FaultPlan(
                seed=plan.seed, rate=plan.rate, kinds=tuple(map(FaultKind, kinds.split(",")))
            )
    except ValueError:
        known = ", ".join(FaultKind)
        raise click.UsageError(
            f"--faults: expected none, demo, SHARE or KIND,…:SHARE with a share from 0 to 1 and "
            f"kinds of {known}"
        ) from None
    return plan


def _statuses(text: str | None) -> dict[str, float] | None:
    try:
        return None if text is None else weights(text)
    except ValueError:
        raise click.UsageError(
            f"--statuses: expected STATUS=WEIGHT,… of {', '.join(STATUSES)}, such as "
            f"RUNNING=20,FAILED=5"
        ) from None


def _first_start(text: str | None) -> float:
    try:
        return FIRST_START if text is None else moment(text)
    except ValueError:
        raise click.UsageError("--first-start: expected a time such as 2026-07-01T08:00Z") from None


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


def _write_refs(path: Path, world: World, count: int) -> None:
    try:
        file = LinesFile.create(path)
    except FileExistsError:
        raise Problem(f"{plain(str(path))} exists, and nothing is overwritten", USAGE) from None
    pairs = islice(world.refs(), count)
    try:
        # In large pieces, since nobody goes on with half a file of references.
        while piece := [_ref_line(*pair) for pair in islice(pairs, 1_000)]:
            file.append(b"".join(piece))
    except BaseException:
        file.discard()
        raise
    file.close()


def _ref_line(arn: str, token: str) -> bytes:
    return orjson.dumps({"arn": arn, "checkpoint_token": token}) + b"\n"


def _instructions(emulator: Emulator, refs: Path, count: int) -> str:
    keys, world, endpoint = emulator.credentials, emulator.world, emulator.endpoint_url
    first = datetime.fromtimestamp(world.first_start, timezone.utc)
    return (
        f"Serving {len(world):,} made-up executions at {endpoint} until Ctrl-C.\n\n"
        f"unset AWS_PROFILE AWS_SESSION_TOKEN\n"
        f"export AWS_ACCESS_KEY_ID={keys.access_key_id}\n"
        f"export AWS_SECRET_ACCESS_KEY={keys.secret_access_key}\n"
        f"export AWS_REGION={world.regions[0]} AWS_ENDPOINT_URL_LAMBDA={endpoint}\n\n"
        f"# functions: {_some(world.function_names)}; versions: {_some(world.version_names)}\n\n"
        f"# read a function's without tokens (extra audit); they start on {first:%Y-%m-%d}:\n"
        f"durastate audit {world.function_names[0]} --since {first:%Y-%m-%dT%H:%MZ} -o audit\n\n"
        f"# read {count:,} of them:\n"
        f"durastate fetch {plain(shlex.quote(str(refs)))} -o states.jsonl\n"
    )


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


async def _serve(emulator: Emulator, refs: Path, count: int) -> int:
    """Until a signal; how many requests were answered."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await emulator.__aenter__()
    except OSError as error:
        raise Problem(
            f"cannot listen on 127.0.0.1: {os.strerror(error.errno or 0)}", OTHER
        ) from None
    answered = 0
    try:
        with results():
            click.echo(_instructions(emulator, refs, count))
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOG_EVERY_S)
            # The log is for tests; a service that runs for days must not keep it.
            answered += len(emulator.log)
            emulator.log.clear()
    finally:
        await emulator.__aexit__()
    return answered
