"""`durastate get`: one state, on stdout."""

from __future__ import annotations

import sys

import orjson

from durastate import ExecutionRef, ExecutionState, Statistics
from durastate.models import dump_json

from .delays import print_delays
from .options import Connection
from .plain import plain_json
from .running import run
from .streams import results


def run_get(
    connection: Connection, ref: ExecutionRef, max_items: int, output: str, *, stat: bool
) -> None:
    """Read the state and print it."""
    seen: list[Statistics] = []
    try:
        state = run(_read(connection, ref, max_items, seen))
        with results():
            _print(state, output)
    finally:
        if stat and seen:
            print_delays(seen[0])


def _print(state: ExecutionState, output: str) -> None:
    if output == "table":
        from .tree import print_tree

        print_tree(state)
    elif output == "json":
        _write(_indented(state))
    else:
        for operation in state.operations:
            _write(dump_json(operation.to_dict()) + b"\n")


async def _read(
    connection: Connection, ref: ExecutionRef, max_items: int, seen: list[Statistics]
) -> ExecutionState:
    async with connection.client() as client:
        try:
            return await client.get_state(ref, max_items=max_items)
        finally:
            seen.append(client.statistics())


def _indented(state: ExecutionState) -> bytes:
    compact = state.to_json()
    try:
        return orjson.dumps(orjson.loads(compact), option=orjson.OPT_INDENT_2) + b"\n"
    except orjson.JSONDecodeError:  # a lone surrogate
        return compact + b"\n"


def _write(data: bytes) -> None:
    if sys.stdout.isatty():
        data = plain_json(data.decode()).encode()
    sys.stdout.buffer.write(data)
