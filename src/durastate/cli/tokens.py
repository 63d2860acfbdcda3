"""Where `get` takes the checkpoint token from: a file, the environment, stdin; never an argument.

No message repeats what was given, since it may be the token, pasted into the wrong place.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

_TOO_LONG = 16 * 1024  # AWS's tokens have 2,048 characters at most.
_VARIABLE = re.compile("[A-Z_][A-Z0-9_]{0,39}")
_SOMETHING_ELSE = "the place that was named holds something else than a token"


def read_token(file: str | None, variable: str | None, token: str | None) -> str:
    """The token from the one place that was named."""
    if [file, variable, token].count(None) != 2:
        raise click.UsageError("give one of --token-file, --token-env and --token -")
    if file is not None:
        found, empty = _from_file(file), "--token-file: the file is empty"
    elif variable is not None:
        found, empty = os.environ.get(variable, ""), _of_variable(variable)
    else:
        found, empty = _from_stdin(token), "--token -: there is no token on stdin"
    if len(found) >= _TOO_LONG:
        raise click.UsageError(_SOMETHING_ELSE)
    if not (found := found.strip()):
        raise click.UsageError(empty)
    if not found.isascii() or not found.isprintable():
        raise click.UsageError(_SOMETHING_ELSE)
    return found


def _of_variable(name: str) -> str:
    """What is said where it holds no token; its name only where it looks like one."""
    shown = name if _VARIABLE.fullmatch(name) else "the variable that was named"
    return f"--token-env: {shown} is {'empty' if name in os.environ else 'not set'}"


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
