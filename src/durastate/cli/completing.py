"""What a shell's Tab offers, besides the files and choices that click knows by itself.

Names come from where they are defined, which is imported when Tab is pressed and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def directories(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """The shell's own list of directories."""
    return [CompletionItem(typed, type="dir")]


def files(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The shell's own list of files and directories."""
    return [CompletionItem(typed, type="file")]


def shown(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Of `show`: a directory or a file; what follows is a name in it."""
    is_first = not context.params.get(parameter.name or "")
    return files(context, parameter, typed) if is_first else []


def _names(
    names: Callable[[], Iterable[str]], ending: str = "", *, alone: tuple[str, ...] = ()
) -> Completer:
    """Of names with commas between them the last one; those of `alone` stand by themselves."""

    def complete(
        _context: click.Context, _parameter: click.Parameter, typed: str
    ) -> list[CompletionItem]:
        before, comma, begun = typed.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{name}{ending}")
            for name in (*(() if comma else alone), *names())
            if name.startswith(begun.upper() if name.isupper() else begun)
        ]

    return complete


def _statuses() -> Iterable[str]:
    from durastate import ExecutionStatus

    return map(str, ExecutionStatus)


def _fault_kinds() -> Iterable[str]:
    from durastate.emulator import FaultKind

    return FaultKind


statuses = _names(_statuses)
weighted_statuses = _names(_statuses, "=1")
fault_plans = _names(_fault_kinds, alone=("none", "demo"))
