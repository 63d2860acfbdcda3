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
    # click raises an `Abort` of its own from either.
    if isinstance(error, Terminated) or isinstance(error.__cause__, Terminated):
        return TERMINATED
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED  # Perhaps in the middle of an import, so that none comes before.
    from durastate import ConfigurationError, DurastateError, InvalidRefError

    if isinstance(error, Problem):
        return error.code
    if isinstance(error, click.ClickException | InvalidRefError):
        return USAGE
    if isinstance(error, ConfigurationError):
        return CONFIGURATION
    return SERVICE if isinstance(error, DurastateError) else OTHER


# What the library says in the words of its users, who write Python.
_IN_OPTIONS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (
            r"^region_name: none is configured, and a key has none either$",
            "no Region is known: give an ARN, which has one, or --region, or set AWS_REGION",
        ),
        (r", or pass profile_name or session$", ", or give --profile"),
        (r"\bfor outage_limit_s=([0-9.e+]+) s\b", r"for \1 s (--outage-limit)"),
        (r"\bLower Limits\.rates or Limits\.quota_share\b", "Lower --rate or --quota-share"),
        (r"\bmore than max_state_bytes=([0-9]+) after\b", r"more than \1 bytes after"),
        (
            r"\bstream_pages, iter_pages and iter_history read it in parts$",
            "The command reads whole executions; durastate's Python API reads this one in parts",
        ),
    )
)


def in_options(text: str) -> str:
    """A message of the library's, with the command's options in the place of its arguments."""
    for pattern, words in _IN_OPTIONS:
        text = pattern.sub(words, text)
    return text


def message_of(error: BaseException) -> str:
    """The one line that says what happened."""
    if (code := code_of(error)) in (INTERRUPTED, TERMINATED):
        return "interrupted" if code == INTERRUPTED else "terminated"
    if isinstance(error, click.ClickException):
        return error.format_message()
    return in_options(str(error)) or type(error).__name__


def reason(message: str, arn: str) -> str:
    """An error's text without its execution, where that stands beside it."""
    return re.sub(rf"(\w+ of )?{re.escape(arn)}( at \S+)?: ", "", message, count=1)
