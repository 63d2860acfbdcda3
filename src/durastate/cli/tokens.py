"""Where `get` takes the checkpoint token from: a file, the environment, stdin; never an argument.

No message repeats what was given, since it may be the token, pasted into the wrong place.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

_TOO_LONG = 16 * 1024  # AWS's tokens have 2,048 characters at most.
_SOMETHING_ELSE = "the place that was named holds something else than a token"


def read_token(file: str | None, variable: str | None, token: str | None) -> str:
    """The token from the one place that was named."""
    if [file, variable, token].count(None) != 2:
        raise click.UsageError("give one of --token-file, --token-env and --token -")
    if file is not None:
        found = _from_file(file)
    elif variable is not None:
        found = os.environ.get(variable, "")
    else:
        found = _from_stdin(token)
    if len(found) >= _TOO_LONG:
        raise click.UsageError(_SOMETHING_ELSE)
    if not (found := found.strip()):
        raise click.UsageError("there is no token in the place that was named")
    if not found.isascii() or not found.isprintable():
        raise click.UsageError(_SOMETHING_ELSE)
    return found


def _from_file(name: str) -> str:
    try:
        with Path(name).open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(_TOO_LONG)
    except OSError as error:
        raise click.UsageError(f"--token-file: {error.strerror}") from None


def _from_stdin(token: str | None) -> str:
    if token != "-":  # noqa: S105 - a dash
        raise click.UsageError(
            "--token takes only -, for stdin: an argument is seen by every user of the machine"
        )
    if sys.stdin.isatty():
        prompted: str = click.prompt("Checkpoint token", hide_input=True, err=True)
        return prompted
    try:
        return sys.stdin.readline(_TOO_LONG)
    except OSError as error:
        problem = f"--token -: cannot read stdin: {error.strerror}"
    except UnicodeDecodeError:
        problem = _SOMETHING_ELSE
    raise click.UsageError(problem)  # Out here: the exception above holds what was read.
