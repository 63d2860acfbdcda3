"""`durastate show`: one execution as a tree, from its history or out of an audit's directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from .ending import COMPLETE, SOME_FAILED, USAGE, Problem, reason
from .extras import audit_extra, directory_problems, say_how_complete
from .one import print_one
from .options import Connection
from .plain import plain
from .signals import ends_tidily
from .streams import results, say
from .tree import View, print_tree


def show_history(
    connection: Connection,
    arn: str,
    max_items: int,
    *,
    whole: bool,
    failed: bool,
    messages: bool,
    stat: bool,
) -> int:
    """Read its events and print what they come to."""
    view = View(whole=whole, failed=failed, messages=messages, summed_up=True)
    print_one(
        connection,
        lambda client: client.get_state_from_history(arn, max_items=max_items),
        lambda state, skew_s: print_tree(state, replace(view, skew_s=skew_s)),
        stat=stat,
    )
    return COMPLETE


def show_kept(
    directory: Path, name: str, *, partial: bool, whole: bool, failed: bool, messages: bool
) -> int:
    """Print what an audit has read of the execution of that ARN or name."""
    with audit_extra():
        from durastate.audit.states import find
    with ends_tidily(), directory_problems():
        finding = find(directory, name, partial=partial)
    say_how_complete(finding.partial, is_complete=finding.is_complete)
    found = finding.found
    if not found:
        raise Problem(f"{directory} has no such execution", USAGE)
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
    if messages and finding.payloads != "full":
        say("This audit holds no messages: it was made without --payloads full.")
    view = View(
        whole=whole,
        failed=failed,
        messages=messages,
        summed_up=True,
        status=kept.status,
        read_at=kept.read_at,
    )
    with results():
        if finding.partial is not None:
            click.echo("Partial: out of an audit that may not have come to its end")
        print_tree(kept.state, view)
    if failure:
        say(f"A later run could not read it anew: {plain(failure)}")
    return COMPLETE
