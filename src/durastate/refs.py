"""Which execution to read: its ARN, its checkpoint token, and what is already known of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .decoding import decode_event
from .errors import InvalidRefError
from .models import StatePage

# Shape `DurableExecutionArn` of botocore's model, but for the Region: it becomes part of a host
# name, so it has to be one label of it, in lower case.
_ARN = re.compile(
    r"arn:(?P<partition>[a-zA-Z0-9-]+):lambda:(?P<region>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):(?P<account>[0-9]{12})"
    r":function:(?P<function_name>[a-zA-Z0-9_-]+)"
    r":(?P<version>\$LATEST(?:\.PUBLISHED)?|[0-9]+)"
    r"/durable-execution/(?P<execution_name>[a-zA-Z0-9_-]+)/(?P<execution_id>[a-zA-Z0-9_-]+)"
)
_LONGEST_ARN = 1024
# What a shell makes of `$LATEST` in double quotes.
_EMPTY_VERSION = re.compile(r"arn:[^/]*:function:[^:/]+:(?:\.PUBLISHED)?(?:/.*)?", re.DOTALL)
EMPTY_VERSION = "the version is empty: put an ARN with $LATEST in single quotes"
# Shape `NamespacedFunctionName`: a name, an account's digits and a name, or an ARN; each with a
# version or an alias.
_FUNCTION = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):(?=[0-9]{12}:))?"
    r"(?:(?P<account>[0-9]{12}):)?(?:function:)?"
    r"[a-zA-Z0-9_.-]+(?::(?:\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)
_LONGEST_FUNCTION = 256
# Shape `CheckpointToken`.
_TOKEN = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_LONGEST_TOKEN = 2048


class ExecutionArn(NamedTuple):
    """The parts of the ARN of a durable execution."""

    partition: str
    region: str
    account: str
    function_name: str
    version: str
    execution_name: str
    execution_id: str


class FunctionPlace(NamedTuple):
    """Where a function is, as far as its name or ARN tells."""

    region: str | None
    account: str | None


@dataclass(frozen=True, slots=True)
class ExecutionRef:
    """One durable execution to read.

    `from_event` makes one from the invocation event of a durable function; what the event holds
    inline is then not read again. The `repr` hides the token, which is a capability: it also
    allows checkpointing. Nothing is checked here, so that one bad line of a long list is one
    failed execution and no exception in the middle of reading the list.
    """

    arn: str
    checkpoint_token: str | None = field(default=None, repr=False)
    # The first operations and the marker of the rest, from an invocation event.
    _inline: StatePage | None = field(default=None, repr=False, hash=False, kw_only=True)

    @classmethod
    def from_event(cls, event: dict[str, Any] | str | bytes) -> ExecutionRef:
        """The execution whose invocation event this is, as a dict or as JSON.

        Raises `DecodingError` where it is no such event.
        """
        arn, token, page = decode_event(event)
        return cls(arn, token, _inline=page)

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov`, …"""
        return parse_arn(self.arn).partition

    @property
    def region(self) -> str:
        """The Region, such as `eu-west-1`."""
        return parse_arn(self.arn).region

    @property
    def account(self) -> str:
        """The account's twelve digits."""
        return parse_arn(self.arn).account

    @property
    def function_name(self) -> str:
        """The function's name, without its version."""
        return parse_arn(self.arn).function_name

    @property
    def version(self) -> str:
        """A number, `$LATEST` or `$LATEST.PUBLISHED`."""
        return parse_arn(self.arn).version

    @property
    def execution_name(self) -> str:
        """The name the execution was started with."""
        return parse_arn(self.arn).execution_name

    @property
    def execution_id(self) -> str:
        """The id the service gave the execution."""
        return parse_arn(self.arn).execution_id


def parse_arn(arn: str) -> ExecutionArn:
    """The parts of `arn`; raises `InvalidRefError` where it is no durable execution's ARN."""
    check_version(arn)
    parts = match_arn(arn)
    if parts is None:
        raise InvalidRefError(
            f"arn: expected arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:VERSION"
            f"/durable-execution/NAME/ID, found {shown_arn(arn)}"
        )
    return parts


def check_version(arn: str) -> None:
    """Refuse an ARN whose version a shell has taken away, which no service would explain."""
    if isinstance(arn, str) and _EMPTY_VERSION.fullmatch(arn):
        raise InvalidRefError(f"arn: {EMPTY_VERSION}")


def shown_arn(arn: str) -> str:
    """`arn` for an error's text, unless it is none and may be a token that took its place."""
    is_like_one = isinstance(arn, str) and arn.startswith("arn:")
    return repr(arn[:200]) if is_like_one else "something that is no ARN"


def match_arn(arn: str) -> ExecutionArn | None:
    """The parts of `arn`, or None where it is something else."""
    if not isinstance(arn, str) or len(arn) > _LONGEST_ARN:
        return None
    found = _ARN.fullmatch(arn)
    return None if found is None else ExecutionArn(*found.groups())


def match_function(name: str) -> FunctionPlace | None:
    """Where the function of this name or ARN is, or None where that is neither."""
    if not isinstance(name, str) or len(name) > _LONGEST_FUNCTION:
        return None
    found = _FUNCTION.fullmatch(name)
    return None if found is None else FunctionPlace(found["region"], found["account"])


def is_token(token: object) -> bool:
    """Whether `token` has the form of a checkpoint token: base64, at most 2,048 characters."""
    return (
        isinstance(token, str)
        and len(token) <= _LONGEST_TOKEN
        and _TOKEN.fullmatch(token) is not None
    )
