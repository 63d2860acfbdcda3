"""`durastate show`: one execution as a tree, from its history or out of an audit's directory.

The history is asked of the service, or it is in a file that somebody has saved.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from durastate import (
    ConfigurationError,
    CredentialsError,
    DecodingError,
    ExecutionRef,
    ExecutionState,
    InvalidRefError,
    operations_from_history,
    read_history_file,
)
from durastate.refs import check_version, match_arn, shown_arn

from .ending import COMPLETE, SOME_FAILED, USAGE, Problem, reason
from .extras import audit_extra, directory_problems, say_how_complete
from .one import print_one
from .options import Connection
from .plain import plain
from .signals import ends_tidily
from .streams import results, say
from .tree import View, print_tree

_EXPECTED = "expected the ARN of a durable execution, or the file of a saved history"


def run_show(
    connection: Connection,
    where: tuple[str, ...],
    view: View,
    max_items: int,
    *,
    partial: bool,
    stat: bool,
) -> int:
    """Print what is named: by its ARN, as a file, or in the directory of an audit."""
    if len(where) > 2:
        raise click.UsageError("expected ARN, FILE, or DIR and ARN")
    if len(where) == 2:
        return _show_kept(Path(where[0]), where[1], view, partial=partial)
    if partial:
        raise click.UsageError("--partial is for the directory of an audit")
    (name,) = where
    if not name:
        raise Problem(f"{_EXPECTED}, found an empty text: is its variable set?", USAGE)
    check_version(name)
    if match_arn(name) is None and _is_there(Path(name)):
        if Path(name).is_dir():
            raise click.UsageError("after the directory give the ARN or the name of an execution")
        state = _saved(Path(name))
        with results():
            print_tree(state, view)
        return COMPLETE
    try:
        print_one(
            connection,
            ExecutionRef(name),
            lambda state, skew_s: print_tree(state, replace(view, skew_s=skew_s)),
            source="history",
            max_items=max_items,
            stat=stat,
        )
    except (CredentialsError, InvalidRefError):
        if match_arn(name) is not None:
            raise
        # With an endpoint of one's own it could have been a key of another form.
        shown = repr(name[:200]) if "." in name else shown_arn(name)
        raise Problem(plain(f"{_EXPECTED}, found {shown}, and no such file"), USAGE) from None
    return COMPLETE


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long for a file
        return False


def _saved(file: Path) -> ExecutionState:
    """The state that a saved history comes to. It holds no ARN, so the file's name stands there."""
    try:
        events = read_history_file(file)
        if not any(event.event_type == "ExecutionStarted" for event in events):
            raise DecodingError(str(file), "no event is ExecutionStarted, with which all begin")
        operations = operations_from_history(events)
    except (ConfigurationError, DecodingError) as error:
        told = str(error)
        where = "" if told.startswith(str(file)) else f"{file}: "
        raise Problem(plain(f"{where}{told}"), USAGE) from None
    return ExecutionState(str(file), operations, source="history")


def _show_kept(directory: Path, name: str, view: View, *, partial: bool) -> int:
    """Print what an audit has read of the execution of that ARN or name."""
    check_version(name)
    with audit_extra():
        from durastate.audit.states import find
    with ends_tidily(), directory_problems():
        finding = find(directory, name, partial=partial)
    say_how_complete(finding.partial, is_complete=finding.is_complete)
    found = finding.found
    if not found:
        # It is not repeated, since it may be a token that was pasted.
        raise Problem(
            plain(f"{directory} has no execution of that ARN or name; a name has to be whole"),
            USAGE,
        )
    if len(found) > 1:
        raise Problem(
            f"{len(found):,} executions are called {name}: give the ARN of one, such as "
            f"{found[-1].arn}",
            USAGE,
        )
    (kept,) = found
    failure = reason(kept.failure or "", kept.arn)
    if kept.state is None:
        raise Problem(f"{kept.arn} could not be read: {failure}", SOME_FAILED)
    if view.messages and finding.payloads != "full":
        say("This audit holds no messages: it was made without --payloads full.")
    with results():
        if finding.partial is not None:
            click.echo("Partial: out of an audit that may not have come to its end")
        print_tree(kept.state, replace(view, status=kept.status, read_at=kept.read_at))
    if failure:
        say(f"A later run could not read it anew: {plain(failure)}")
    return COMPLETE
