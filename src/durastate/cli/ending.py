"""How the command ends: its exit codes, and the errors that carry one."""

from __future__ import annotations

import re

import click

COMPLETE = 0
SOME_FAILED = 2
INTERRUPTED = 130
TERMINATED = 143
USAGE = 252
CONFIGURATION = 253
SERVICE = 254
OTHER = 255


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does, but for the exit code."""


class Problem(click.ClickException):
    """What ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = exit_code


def code_of(error: BaseException) -> int:
    """The exit code for an error that ended a command."""
    import asyncio

    from durastate import ConfigurationError, DurastateError, InvalidRefError

    # click raises an `Abort` of its own from either.
    if isinstance(error, Terminated) or isinstance(error.__cause__, Terminated):
        return TERMINATED
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError | click.Abort):
        return INTERRUPTED
    if isinstance(error, Problem):
        return error.code
    if isinstance(error, click.ClickException | InvalidRefError):
        return USAGE
    if isinstance(error, ConfigurationError):
        return CONFIGURATION
    return SERVICE if isinstance(error, DurastateError) else OTHER


def message_of(error: BaseException) -> str:
    """The one line that says what happened."""
    if (code := code_of(error)) in (INTERRUPTED, TERMINATED):
        return "interrupted" if code == INTERRUPTED else "terminated"
    if isinstance(error, click.ClickException):
        return error.format_message()
    return str(error) or type(error).__name__


def reason(message: str, arn: str) -> str:
    """An error's text without its execution, where that stands beside it."""
    return re.sub(rf"(\w+ of )?{re.escape(arn)}( at \S+)?: ", "", message, count=1)
