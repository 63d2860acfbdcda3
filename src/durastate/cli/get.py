"""`durastate get`: one state, on stdout."""

from __future__ import annotations

import orjson

from durastate import ExecutionRef, ExecutionState
from durastate.models import dump_json

from .one import print_one
from .options import Connection
from .streams import write_json


def run_get(
    connection: Connection, ref: ExecutionRef, max_items: int, output: str, *, stat: bool
) -> None:
    """Read the state and print it."""
    print_one(
        connection,
        ref,
        lambda state, skew_s: _print(state, output, skew_s),
        source="state",
        max_items=max_items,
        stat=stat,
    )


def _print(state: ExecutionState, output: str, skew_s: float) -> None:
    if output == "table":
        from .tree import View, print_tree

        print_tree(state, View(skew_s=skew_s))
    elif output == "json":
        write_json(_indented(state))
    else:
        for operation in state.operations:
            write_json(dump_json(operation.to_dict()) + b"\n")


def _indented(state: ExecutionState) -> bytes:
    compact = state.to_json()
    try:
        return orjson.dumps(orjson.loads(compact), option=orjson.OPT_INDENT_2) + b"\n"
    except orjson.JSONDecodeError:  # a lone surrogate
        return compact + b"\n"
