"""What the servers of the contract tests do differently, as data. Nothing else tells them apart.

The defaults are what AWS documents, or what most of the servers do where it documents nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from durastate.errors import (
    ExecutionNotFoundError,
    InvalidRequestError,
    InvalidTokenError,
    ServiceError,
)


@dataclass(frozen=True)
class Refusal:
    """An answer with an error, and the exception that it is; `{arn}` stands for the execution."""

    error: type[ServiceError]
    message: str
    status: int = 400
    code: str = "InvalidParameterValueException"


INVALID_TOKEN = Refusal(InvalidTokenError, "Invalid checkpoint token")


@dataclass(frozen=True)
class Differences:
    """How one server answers."""

    #: Operations of a page where MaxItems is 0.
    default_items: int = 100
    #: A token that a newer one has replaced.
    stale_token: Refusal = INVALID_TOKEN
    #: An execution that does not exist.
    unknown_execution: Refusal = Refusal(
        ExecutionNotFoundError, "Durable Execution does not exist", 404, "ResourceNotFoundException"
    )
    #: A marker of another execution; None where it is answered like one of the execution's own.
    foreign_marker: Refusal | None = Refusal(InvalidRequestError, "Invalid marker")


EMBEDDED = Differences(
    # The call's model has no ResourceNotFoundException.
    unknown_execution=INVALID_TOKEN,
)
AWS_EMULATOR = Differences(
    # It raises MaxItems to its lower bound of 1, and has no default at 0.
    default_items=1,
)
MINISTACK = Differences(
    # Words of its own for the token.
    stale_token=Refusal(
        InvalidTokenError, "CheckpointToken does not match the current state of the execution"
    ),
    # The model has no such error for this call; in ministack each call answers like this.
    unknown_execution=Refusal(
        ExecutionNotFoundError,
        "Durable execution not found: {arn}",
        404,
        "ResourceNotFoundException",
    ),
    # A marker is a position in plain digits, checked against nothing.
    foreign_marker=None,
)
