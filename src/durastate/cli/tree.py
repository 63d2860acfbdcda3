"""A state as a table for people: its operations as a tree, without their payloads."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from durastate import ErrorObject, ExecutionState, Operation

from .columns import COLUMNS, table
from .folding import Line, every_line, folded, only
from .plain import plain
from .progress import span

_DEEPEST_INDENT = 20
_LONGEST_ID = 12
_LONGEST_MESSAGE = 300
_WIDTH_OF_A_FILE = 1_000
_FAILED = ("FAILED", "TIMED_OUT", "CANCELLED", "STOPPED")
_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "CANCELLED": "yellow",
    "STOPPED": "yellow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What of a state is shown, and as of when."""

    whole: bool = True  # False: similar siblings in short
    failed: bool = False  # only what has failed, and what that is in
    messages: bool = False  # of errors, which are payloads
    summed_up: bool = False
    status: str | None = None  # of the execution, where its operations do not say it
    read_at: datetime | None = None  # None: now
    skew_s: float = 0.0  # how far the service's clock is ahead of this machine's


def print_tree(state: ExecutionState, view: View | None = None) -> None:
    """Print it on stdout; into a file every column as wide as it needs."""
    view = view or View()
    now = view.read_at.timestamp() if view.read_at else time.time() + view.skew_s
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    lines = list(_lines(state, view))
    console.print(Text(plain(state.arn)), soft_wrap=True)  # whole, so that it can be copied
    console.print(_head(state, view))
    console.print()
    if not lines:
        console.print("Nothing has failed." if view.failed else "No operations.")
        return
    execution = state.execution
    cells = _Cells(view.messages, now, execution.end_timestamp if execution else None)
    for shown in table([cells.of(line) for line in lines], console.width):
        console.print(shown)


def _lines(state: ExecutionState, view: View) -> Iterator[Line]:
    places = list(in_tree_order(state))
    if view.failed:
        places = only(places, _has_failed)
    return every_line(places) if view.whole else folded(places, _outcome)


def _head(state: ExecutionState, view: View) -> Text:
    status = view.status or state.status or "no EXECUTION operation"
    text = Text(plain(status), _STYLES.get(status, ""))
    text.append(f", {len(state.operations):,} operations from {state.source}")
    if view.read_at:
        text.append(f", read {_moment(view.read_at)} UTC")
    if view.summed_up:
        text.append(f"\n{_sum(state.operations)}")
    return text


def _sum(operations: Sequence[Operation]) -> str:
    """How many there are of each status, and how many attempts after the first."""
    counts = Counter(plain(each.status) for each in operations)
    retries = sum(map(_retries, operations))
    shown = [f"{count:,} {status}" for status, count in counts.most_common()]
    return ", ".join(shown + [f"{retries:,} retries"] * (retries > 0))


class _Cells:
    """What stands in the columns of a line."""

    def __init__(self, messages: bool, now: float, execution_ended: datetime | None) -> None:
        self._messages = messages
        self._is_over = execution_ended is not None
        # What has not ended before its execution has run no longer than that.
        self._until = now if execution_ended is None else execution_ended.timestamp()

    def of(self, line: Line) -> dict[str, Text]:
        operation, alike = line.operation, line.alike or (line.operation,)
        indent = "  " * min(line.depth, _DEEPEST_INDENT)
        label = f"… {len(alike):,} more" if line.alike else _label(operation)
        counted = any(_attempts(each) is not None for each in alike)
        texts = (
            Text(indent + label),
            Text(plain(operation.sub_type or operation.type)),
            Text(plain(operation.status), _STYLES.get(operation.status, "")),
            Text(_range(sorted(_attempts(each) or 0 for each in alike), str) if counted else ""),
            Text(_moment(operation.start_timestamp)),
            Text(self._took(alike)),
            Text(self._note(line)),
        )
        return dict(zip(COLUMNS, texts, strict=True))

    def _took(self, alike: Sequence[Operation]) -> str:
        so_far = " so far" * (alike[0].end_timestamp is None and not self._is_over)
        return _range(sorted(_seconds(each, self._until) for each in alike), span) + so_far

    def _note(self, line: Line) -> str:
        """How it failed, and what it waits for or that nothing more comes of it."""
        operation = line.operation
        is_unfinished = self._is_over and operation.end_timestamp is None
        if line.alike:
            last = f"{line.below:,} operations below" if line.below else ""
        else:
            last = "" if is_unfinished else _next(operation)
        failure = _failure(operation, message=self._messages and not line.alike)
        return "; ".join(filter(None, (failure, "unfinished" * is_unfinished, last)))


def _range(values: Sequence[Any], shown: Callable[[Any], str]) -> str:
    """The first and the last of them, or the only one."""
    if not values:
        return ""
    first, last = shown(values[0]), shown(values[-1])
    return first if first == last else f"{first} to {last}"


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


def _attempts(operation: Operation) -> int | None:
    details = operation.step_details
    return None if details is None else details.attempt


def _retries(operation: Operation) -> int:
    return max(0, (_attempts(operation) or 0) - 1)


def _seconds(operation: Operation, now: float) -> float:
    ended = operation.end_timestamp
    last = now if ended is None else ended.timestamp()
    return max(0.0, last - operation.start_timestamp.timestamp())


def _outcome(operation: Operation) -> tuple[Any, ...]:
    """What distinguishes an operation from others of its kind."""
    is_open = operation.end_timestamp is None
    return operation.status, _failure(operation), _retries(operation) > 0, is_open


def _has_failed(operation: Operation) -> bool:
    return operation.status in _FAILED or bool(_failure(operation))


def _failure(operation: Operation, *, message: bool = False) -> str:
    """The type of its error. The message is a payload, so it is shown on demand."""
    error = error_of(operation)
    if error is None:
        return ""
    kind = plain(error.error_type or "an error without a type")
    text = plain(error.error_message or "") if message else ""
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[:_LONGEST_MESSAGE]}…"
    return f"{kind}: {text}" if text else kind


def error_of(operation: Operation) -> ErrorObject | None:
    """How it failed, wherever its kind keeps that."""
    kinds = (
        operation.step_details,
        operation.context_details,
        operation.execution_details,
        operation.callback_details,
        operation.chained_invoke_details,
        operation.wait_details,
    )
    errors = (each.error for each in kinds if each is not None)
    return next((error for error in errors if error is not None), None)


def _next(operation: Operation) -> str:
    step, wait = operation.step_details, operation.wait_details
    execution = operation.execution_details
    if operation.end_timestamp is None:
        if execution is not None and (pause := execution.pause_details) is not None:
            asked = pause.pause_request_timestamp
            return "paused" if asked is None else f"paused, asked for {_moment(asked)}"
        if step is not None and (due := step.next_attempt_timestamp) is not None:
            return f"next attempt {_moment(due)}"
        if wait is not None and (due := wait.scheduled_end_timestamp) is not None:
            return f"until {_moment(due)}"
    return ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
