"""A state as a table for people: its operations as a tree, without their payloads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime

from rich.console import Console, Group, JustifyMethod
from rich.table import Table
from rich.text import Text

from durastate import ExecutionState, Operation

from .plain import plain
from .progress import span

_DEEPEST_INDENT = 20
_LONGEST_ID = 12
_WIDTH_OF_A_FILE = 1_000
_COLUMNS = ("Operation", "Type", "Status", "Attempt", "Started (UTC)", "Took", "Note")
_FIRST_TO_GO = ("Started (UTC)", "Took")
_SHORTEST_NAME = 12
_GAP = 2
_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "CANCELLED": "yellow",
    "STOPPED": "yellow",
}


def print_tree(state: ExecutionState) -> None:
    """Print it on stdout; into a file every column as wide as it needs."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    table = _table(state, time.time(), console.width)
    console.print(Group(_head(state), Text(), table), soft_wrap=False)


def _head(state: ExecutionState) -> Text:
    execution = state.execution
    status = execution.status if execution else "no EXECUTION operation"
    text = Text(plain(state.arn))
    text.append(f"\n{plain(status)}", _STYLES.get(status, ""))
    text.append(f", {len(state.operations):,} operations from {state.source}")
    return text


def _table(state: ExecutionState, now: float, room: int) -> Table:
    rows = [_cells(operation, depth, now) for operation, depth in in_tree_order(state)]
    needed = {name: max([len(name), *(row[name].cell_len for row in rows)]) for name in _COLUMNS}
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    widths = that_fit(needed, room)
    for name in widths:
        if name == "Note":
            table.add_column(name, overflow="fold")
        else:
            justify: JustifyMethod = "right" if name in ("Attempt", "Took") else "left"
            table.add_column(name, no_wrap=True, max_width=widths[name], justify=justify)
    for row in rows:
        table.add_row(*(row[name] for name in widths))
    return table


def _cells(operation: Operation, depth: int, now: float) -> dict[str, Text]:
    indent = "  " * min(depth, _DEEPEST_INDENT)
    texts = (
        Text(indent + _label(operation)),
        Text(plain(operation.sub_type or operation.type)),
        Text(plain(operation.status), _STYLES.get(operation.status, "")),
        Text(_attempt(operation)),
        Text(_moment(operation.start_timestamp)),
        Text(_took(operation, now)),
        Text(_note(operation)),
    )
    return dict(zip(_COLUMNS, texts, strict=True))


def that_fit(needed: Mapping[str, int], room: int) -> dict[str, int]:
    """The columns to show where `room` is less than they need, with their widths.

    Names are cut first, then times go, because how it failed is what one looks for.
    """
    widths = dict(needed)
    shortest = min(_SHORTEST_NAME, needed["Operation"])
    for dropped in ("", *_FIRST_TO_GO):
        widths.pop(dropped, None)
        others = sum(widths.values()) - widths["Operation"] + _GAP * (len(widths) - 1)
        if room - others >= shortest:
            break
    widths["Operation"] = max(shortest, min(needed["Operation"], room - others))
    return widths


def in_tree_order(state: ExecutionState) -> Iterator[tuple[Operation, int]]:
    """Every operation once, a parent before its children, with its depth.

    What cannot be reached from a root (a parent that is its own descendant) comes last.
    """
    shown: set[int] = set()
    for start in (*state.roots, *state.operations):
        waiting = [(start, 0)]
        while waiting:
            operation, depth = waiting.pop()
            if id(operation) in shown:
                continue
            shown.add(id(operation))
            yield operation, depth
            children = reversed(state.children(operation.id))
            waiting += [(child, depth + 1) for child in children]


def _label(operation: Operation) -> str:
    """Its name; of one without a name the start of its id, which can be 64 digits long."""
    if operation.name:
        return plain(operation.name)
    identity = plain(operation.id)
    return identity if len(identity) <= _LONGEST_ID else f"{identity[:_LONGEST_ID]}…"


def _attempt(operation: Operation) -> str:
    details = operation.step_details
    return "" if details is None or details.attempt is None else str(details.attempt)


def _took(operation: Operation, now: float) -> str:
    started, ended = operation.start_timestamp, operation.end_timestamp
    if ended is None:
        return f"{span(max(0.0, now - started.timestamp()))} so far"
    return span(max(0.0, (ended - started).total_seconds()))


def _note(operation: Operation) -> str:
    """How it failed, or what it waits for. A message is a payload, so it is not shown."""
    return "; ".join(filter(None, (_failure(operation), _next(operation))))


def _failure(operation: Operation) -> str:
    for details in (
        operation.step_details,
        operation.context_details,
        operation.callback_details,
        operation.chained_invoke_details,
    ):
        if details is not None and (error := details.error) is not None:
            return plain(error.error_type or "an error without a type")
    return ""


def _next(operation: Operation) -> str:
    step, wait = operation.step_details, operation.wait_details
    if operation.end_timestamp is None:
        if step is not None and (due := step.next_attempt_timestamp) is not None:
            return f"next attempt {_moment(due)}"
        if wait is not None and (due := wait.scheduled_end_timestamp) is not None:
            return f"until {_moment(due)}"
    return ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
