"""`durastate verify`: whether an audit's directory is as it was written."""

from __future__ import annotations

from pathlib import Path

import click

from .ending import COMPLETE, SOME_FAILED
from .extras import audit_extra, directory_problems
from .plain import plain
from .progress import counted
from .streams import results


def run_verify(directory: Path) -> int:
    """Print what is wrong, or that nothing is."""
    with audit_extra():
        from durastate.audit import read_manifest, verify
    with directory_problems(), results():
        count = 0
        for problem in verify(directory):
            count += 1
            click.echo(plain(problem))
        if count:
            click.echo(f"Not as it was written: {counted(count, 'problem')} found")
            return SOME_FAILED
        manifest = read_manifest(directory)
        ending = (
            "" if manifest.complete else " The run was broken off: the same command resumes it."
        )
        click.echo(
            f"As it was written: {len(manifest.files)} files, {manifest.executions:,} executions, "
            f"{manifest.operations:,} operations, {manifest.failures:,} failures.{ending}\n"
            f"Digest: {manifest.digest}"
        )
    return COMPLETE
