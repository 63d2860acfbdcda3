"""``python -m durastate.emulator``: serve until interrupted; one JSON line when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys

from durastate.emulator.asking import moment
from durastate.emulator.behaviour import Options
from durastate.emulator.faults import FaultPlan
from durastate.emulator.process import Configuration, serve
from durastate.emulator.signatures import STANDARD
from durastate.emulator.world import FIRST_START, World, weights


def main() -> None:
    words = sys.argv[1:]
    from_stdin = _parser().parse_args(words).config == "-"
    configuration = configured(words)
    gc.freeze()
    asyncio.run(serve(configuration, watch_stdin=from_stdin))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m durastate.emulator", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--seed", type=int, default=0, help="of the data and the faults")
    add("--executions", type=int, default=1_000)
    add("--operations", type=int, default=None, help="per execution; without it a mix")
    add("--payload-size", type=int, default=None, help="characters; without it a mix")
    add("--functions", type=int, default=4, help="that the executions are of")
    add("--versions", type=int, default=4, help="of each function")
    add("--statuses", type=weights, metavar="STATUS=N,…", help="weights; without it a mix")
    add("--first-start", type=moment, default=FIRST_START, metavar="TIME", help="ISO 8601")
    add("--latency", type=float, default=0, metavar="SECONDS", help="added to each answer")
    add("--rate", type=float, default=None, metavar="PER_SECOND", help="of State allowed")
    add("--history-rate", type=float, default=None, metavar="PER_SECOND", help="of History")
    add("--get-rate", type=float, default=None, metavar="PER_SECOND", help="of Get")
    add("--list-rate", type=float, default=None, metavar="PER_SECOND", help="of List")
    add("--short-pages", type=float, default=0, metavar="SHARE", help="pages that are short")
    add("--page-bytes", type=int, default=5 * 1024**2)
    add("--demo", action="store_true", help="a thousand executions, a dozen of them broken")
    add("--config", help="the whole configuration as JSON; '-' reads it from stdin's first line")
    return parser


def configured(words: list[str]) -> Configuration:
    """What the command line says, or the configuration that it says where to read."""
    arguments = _parser().parse_args(words)
    if arguments.config is not None:
        from_stdin = arguments.config == "-"
        text = sys.stdin.buffer.readline() if from_stdin else arguments.config.encode()
        return Configuration.from_json(text)
    world = World(
        seed=arguments.seed,
        executions=arguments.executions,
        operations=arguments.operations,
        payload_size=arguments.payload_size,
        functions=arguments.functions,
        versions=arguments.versions,
        statuses=arguments.statuses,
        first_start=arguments.first_start,
    )
    if arguments.demo:
        world = World.demo(arguments.seed)
    faults = FaultPlan.demo(world) if arguments.demo else FaultPlan(seed=arguments.seed)
    options: Options = {
        "latency_s": arguments.latency,
        "rate": arguments.rate,
        "history_rate": arguments.history_rate,
        "get_rate": arguments.get_rate,
        "list_rate": arguments.list_rate,
        "short_pages": arguments.short_pages,
        "page_bytes": arguments.page_bytes,
    }
    return Configuration(world, faults, (STANDARD,), arguments.port, options)


if __name__ == "__main__":
    main()
