"""What is wrong with an audit's directory, or with a question to it: one line each."""

from __future__ import annotations

from pathlib import Path

from durastate.errors import ConfigurationError, DurastateError


class DirectoryError(DurastateError):
    """The directory is not what it should be: not ours, changed since, in use, another version."""

    def __init__(self, directory: Path, problem: str) -> None:
        self.directory = directory
        self.problem = problem
        super().__init__(f"{directory}: {problem}")


class EmptyWindowError(ConfigurationError):
    """The times that are asked for leave nothing between them."""


class WriteError(DurastateError):
    """The disk does not take what is written. What was saved before is safe, so that the same
    command goes on once there is space or permission.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"cannot write {path}: {reason}. What was saved before is safe: the same command "
            f"goes on with it"
        )


class QueryError(DurastateError):
    """DuckDB refuses the query, or it is none that only reads."""
