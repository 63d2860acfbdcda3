"""How the command ends: its exit codes, and the errors that carry one."""

from __future__ import annotations

import re

import click

COMPLETE = 0
SOME_FAILED = 2
INTERRUPTED = 130
USAGE = 252
CONFIGURATION = 253
SERVICE = 254
OTHER = 255


class Problem(click.ClickException):
    """What ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = exit_code


def code_of(error: BaseException) -> int:
    """The exit code for an error that ended a command."""
    import asyncio

    from durastate import ConfigurationError, DurastateError, InvalidRefError

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
    if code_of(error) == INTERRUPTED:
        return "interrupted"
    if isinstance(error, click.ClickException):
        return error.format_message()
    return str(error) or type(error).__name__


def reason(message: str, arn: str) -> str:
    """An error's text without its execution, where that stands beside it."""
    return re.sub(rf"(\w+ of )?{re.escape(arn)}( at \S+)?: ", "", message, count=1)
